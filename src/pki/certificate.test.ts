/** @module */
import assert from "node:assert/strict";
import { createHash, createPublicKey, generateKeyPairSync, X509Certificate } from "node:crypto";
import { test } from "node:test";
import * as fc from "fast-check";
import { systemClock } from "../clock.ts";
import { SallyportError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { createAuthority } from "./authority.ts";
import { dissectCertificate, inspectCertificate, keyTypeOf, matchesKey } from "./certificate.ts";

const authority = await createAuthority({
  commonName: "Inspected",
  keyType: "ec-p256",
  lifetimeMs: 3_600_000,
  clock: systemClock,
});
const leaf = await authority.issue({
  commonName: "client",
  usage: "client",
  keyType: "ec-p256",
  lifetimeMs: 60_000,
});

test("an authority and its leaf are told apart by what they say", () => {
  const [ca, client] = [
    inspectCertificate(authority.certificatePem),
    inspectCertificate(leaf.certificatePem),
  ];

  assert.deepEqual(
    [ca.isCa, ca.subject, ca.keyType, ca.extendedKeyUsage],
    [true, "CN=Inspected", "ec-p256", []],
  );
  assert.deepEqual([client.isCa, client.subject, client.issuer], [false, "CN=client", "CN=Inspected"]);
  assert.deepEqual(client.extendedKeyUsage, ["1.3.6.1.5.5.7.3.2"]);
  assert.deepEqual([client.notBefore, client.notAfter], [leaf.notBefore, leaf.notAfter]);
});

test("the pin is the SHA-256 of the public key, the thumbprint the SHA-1 of the certificate", () => {
  const facts = inspectCertificate(leaf.certificatePem);

  const spki = createPublicKey(leaf.privateKeyPem.reveal()).export({ type: "spki", format: "der" });
  const { raw } = new X509Certificate(leaf.certificatePem);
  assert.equal(facts.publicKeySha256, createHash("sha256").update(spki).digest("hex"));
  assert.equal(facts.thumbprintSha1, createHash("sha1").update(raw).digest("hex").toUpperCase());
  assert.deepEqual(
    [facts.publicKeySha256, facts.thumbprintSha1],
    [leaf.publicKeySha256, leaf.thumbprintSha1],
  );
});

test("a certificate matches its own key and no other, nor something that is no key", () => {
  const other = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });

  assert.equal(matchesKey(leaf.certificatePem, leaf.privateKeyPem), true);
  assert.equal(matchesKey(leaf.certificatePem, new Secret(other.privateKey)), false);
  assert.equal(matchesKey(leaf.certificatePem, new Secret("no key")), false);
});

for (const [what, pem] of [
  ["nothing", ""],
  ["text", "hello"],
  ["a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"],
  ["a certificate cut short", authority.certificatePem.slice(0, 200)],
] as const) {
  test(`${what} in place of a certificate is refused with a code`, () => {
    assert.throws(() => inspectCertificate(pem), { code: "E_CERTIFICATE_INVALID" });
  });
}

test("a certificate with any octet changed is read or refused, never a crash of another kind", () => {
  const der = new X509Certificate(authority.certificatePem).raw;
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.nat(255), (at, octet) => {
      const changed = Buffer.from(der);
      changed[at] = octet;
      try {
        dissectCertificate(changed);
      } catch (error) {
        assert.ok(error instanceof SallyportError && error.code === "E_CERTIFICATE_INVALID");
      }
    }),
  );
});

test("kinds of key have the names that operators use", () => {
  const names = [
    generateKeyPairSync("ec", { namedCurve: "P-384" }),
    generateKeyPairSync("ec", { namedCurve: "secp256k1" }),
    generateKeyPairSync("ed25519"),
    generateKeyPairSync("rsa", { modulusLength: 1024 }),
  ].map((pair) => keyTypeOf(pair.publicKey));

  assert.deepEqual(names, ["ec-p384", "ec-secp256k1", "ed25519", "rsa-1024"]);
});

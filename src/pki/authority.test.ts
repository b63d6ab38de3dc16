/** @module */
import assert from "node:assert/strict";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { inspect } from "node:util";
import { test } from "node:test";
import * as fc from "fast-check";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { systemClock } from "../clock.ts";
import { Secret } from "../secret.ts";
import { clockSkew, createAuthority, loadAuthority } from "./authority.ts";
import type { CertificateRequest } from "./authority.ts";
import { ipOctets, randomSerial } from "./certificate-encoding.ts";
import { dissectCertificate, inspectCertificate, openCertificate } from "./certificate.ts";

const hour = 3_600_000;
const constrained = {
  commonName: "Sallyport account provider",
  keyType: "ec-p256",
  lifetimeMs: 24 * hour,
  permittedDnsNames: ["localhost"],
} as const;
const server: CertificateRequest = {
  commonName: "localhost",
  dnsNames: ["localhost"],
  usage: "server",
  keyType: "ec-p256",
  lifetimeMs: hour,
};
const client: CertificateRequest = {
  commonName: "gmsa-client",
  usage: "client",
  keyType: "ec-p256",
  lifetimeMs: hour,
};

function extension(pem: string, id: string): string | undefined {
  return dissectCertificate(new X509Certificate(pem).raw).extensions.get(id)?.toString("hex");
}

test("an authority signs certificates below itself only, for localhost and for TLS only", async () => {
  const authority = await createAuthority({ ...constrained, clock: systemClock });

  const certificate = new X509Certificate(authority.certificatePem);
  assert.ok(
    certificate.ca && certificate.verify(certificate.publicKey) && certificate.checkIssued(certificate),
  );
  assert.equal(extension(authority.certificatePem, "2.5.29.19"), "30060101ff020100");
  assert.equal(extension(authority.certificatePem, "2.5.29.15"), "03020106");
  assert.deepEqual(inspectCertificate(authority.certificatePem).extendedKeyUsage, [
    "1.3.6.1.5.5.7.3.1",
    "1.3.6.1.5.5.7.3.2",
  ]);
  const permitted = `a00d300b8209${Buffer.from("localhost").toString("hex")}`;
  const excluded = `a130300a8708${"00".repeat(8)}30228720${"00".repeat(32)}`;
  assert.equal(extension(authority.certificatePem, "2.5.29.30"), `3041${permitted}${excluded}`);
});

test("an authority that is not for a machine's trust store has no constraints", async () => {
  const authority = await createAuthority({
    commonName: "Webhook",
    keyType: "ec-p256",
    lifetimeMs: hour,
    clock: systemClock,
  });

  assert.equal(extension(authority.certificatePem, "2.5.29.30"), undefined);
  assert.deepEqual(inspectCertificate(authority.certificatePem).extendedKeyUsage, []);
});

for (const keyType of ["ec-p256", "rsa-2048"] as const) {
  test(`a leaf with a key of ${keyType} is signed by its authority and says what it is for`, async () => {
    const authority = await createAuthority({ ...constrained, clock: systemClock });
    const ca = openCertificate(authority.certificatePem);

    const leaves = [
      await authority.issue({ ...server, keyType }),
      await authority.issue({ ...client, keyType }),
    ].map((issued) => ({ issued, certificate: new X509Certificate(issued.certificatePem) }));

    for (const { issued, certificate } of leaves) {
      assert.ok(certificate.verify(ca.publicKey) && certificate.checkIssued(ca) && !certificate.ca);
      assert.equal(issued.chainPem, issued.certificatePem + authority.certificatePem);
      assert.equal(inspectCertificate(issued.certificatePem).keyType, keyType);
      assert.equal(
        extension(issued.certificatePem, "2.5.29.15"),
        keyType === "rsa-2048" ? "030205a0" : "03020780",
      );
      assert.equal(
        extension(issued.certificatePem, "2.5.29.35")?.slice(8),
        extension(authority.certificatePem, "2.5.29.14")?.slice(4),
      );
    }
    assert.equal(leaves[0]?.certificate.checkHost("localhost"), "localhost");
    assert.equal(leaves[0]?.certificate.checkHost("example.com"), undefined);
    assert.deepEqual(
      leaves.map(({ issued }) => inspectCertificate(issued.certificatePem).extendedKeyUsage),
      [["1.3.6.1.5.5.7.3.1"], ["1.3.6.1.5.5.7.3.2"]],
    );
  });
}

test("an RSA authority signs leaves too", async () => {
  const authority = await createAuthority({ ...constrained, keyType: "rsa-2048", clock: systemClock });

  const leaf = openCertificate((await authority.issue(server)).certificatePem);

  assert.ok(leaf.verify(openCertificate(authority.certificatePem).publicKey));
});

test("names are written with all their kinds", async () => {
  const authority = await createAuthority({
    commonName: "x",
    keyType: "ec-p256",
    lifetimeMs: hour,
    clock: systemClock,
  });

  const leaf = openCertificate(
    (
      await authority.issue({
        ...server,
        dnsNames: ["a.svc", "localhost"],
        ipAddresses: ["127.0.0.1", "::1"],
      })
    ).certificatePem,
  );

  assert.equal(
    leaf.subjectAltName,
    "DNS:a.svc, DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
  );
  assert.equal(leaf.checkIP("127.0.0.1"), "127.0.0.1");
});

test("validity begins five minutes early, in whole seconds, and never outlives the authority", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 0, max: Date.parse("2070-01-01") }),
      fc.integer({ min: 1000, max: 100 * hour }),
      fc.integer({ min: 1000, max: 100 * hour }),
      async (start, caLife, leafLife) => {
        const clock = new FakeClock(start);
        const authority = await createAuthority({ ...constrained, lifetimeMs: caLife, clock });

        const leaf = await authority.issue({ ...client, lifetimeMs: leafLife });

        const read = inspectCertificate(leaf.certificatePem);
        assert.deepEqual([read.notBefore, read.notAfter], [leaf.notBefore, leaf.notAfter]);
        assert.ok(leaf.notBefore >= authority.notBefore && leaf.notAfter <= authority.notAfter);
        assert.ok(leaf.notBefore <= start - clockSkew + 1000 && leaf.notBefore > start - clockSkew - 1000);
        assert.equal(
          leaf.notAfter,
          Math.min(Math.floor((start + leafLife) / 1000) * 1000, authority.notAfter),
        );
        assert.equal(leaf.notAfter % 1000, 0);
      },
    ),
    { numRuns: 40 },
  );
});

test("an expired authority signs nothing", async () => {
  const clock = new FakeClock();
  const authority = await createAuthority({ ...constrained, clock });
  await clock.advance(24 * hour);

  await assert.rejects(authority.issue(client), { code: "E_AUTHORITY_UNUSABLE" });
});

test("serial numbers have sixteen octets, are positive and do not repeat", () => {
  const serials = Array.from({ length: 1000 }, () => randomSerial());

  for (const serial of serials)
    assert.ok(serial.length === 16 && (serial[0] ?? 0) >= 0x40 && (serial[0] ?? 0) < 0x80);
  assert.equal(new Set(serials.map((serial) => serial.toString("hex"))).size, 1000);
});

const refused: readonly (readonly [string, Partial<CertificateRequest>])[] = [
  ["an empty common name", { commonName: "" }],
  ["a common name of 65 characters", { commonName: "x".repeat(65) }],
  ["a common name with a line break", { commonName: "a\nb" }],
  ["a URL in place of a DNS name", { dnsNames: ["https://localhost"] }],
  ["a wildcard", { dnsNames: ["*.localhost"] }],
  ["an empty DNS name", { dnsNames: [""] }],
  ["a host name outside its authority's", { dnsNames: ["example.com"] }],
  ["a host name that only ends alike", { dnsNames: ["notlocalhost"] }],
  ["an IP address under an authority for names", { ipAddresses: ["127.0.0.1"] }],
  ["an IP address with a zone", { ipAddresses: ["fe80::1%eth0"] }],
  ["something that is no IP address", { ipAddresses: ["localhost"] }],
  ["a server without a name", { dnsNames: [] }],
];
for (const [what, fields] of refused) {
  test(`a request with ${what} is refused`, async () => {
    const authority = await createAuthority({ ...constrained, clock: systemClock });

    await assert.rejects(authority.issue({ ...server, ...fields }), {
      code: "E_CERTIFICATE_REQUEST_INVALID",
    });
  });
}

test("a common name of 64 characters and of any language is carried", async () => {
  const authority = await createAuthority({ ...constrained, clock: systemClock });

  const leaf = await authority.issue({ ...client, commonName: `Größe 東京 ${"x".repeat(55)}` });

  assert.equal(openCertificate(leaf.certificatePem).subject, `CN=Größe 東京 ${"x".repeat(55)}`);
});

test("neither the authority nor a leaf shows a private key when it is printed", async () => {
  const authority = await createAuthority({ ...constrained, exportable: true, clock: systemClock });
  const leaf = await authority.issue(client);
  const secret = leaf.privateKeyPem.reveal().split("\n")[1] ?? "";

  const printed = inspect([authority, leaf], { depth: 9 }) + JSON.stringify([authority, leaf]);

  assert.ok(secret.length === 64 && !printed.includes(secret) && !printed.includes("PRIVATE KEY"));
});

test("an authority that was not made to be exported has no way to export its key", async () => {
  const authority = await createAuthority({ ...constrained, clock: systemClock });

  assert.equal("exportPrivateKeyPem" in authority, false);
});

for (const keyType of ["ec-p256", "rsa-2048"] as const) {
  test(`an exported authority of ${keyType} is loaded again and goes on signing`, async () => {
    const first = await createAuthority({ ...constrained, keyType, exportable: true, clock: systemClock });

    const second = loadAuthority(first.certificatePem, await first.exportPrivateKeyPem(), systemClock);
    const leaf = openCertificate((await second.issue(server)).certificatePem);

    const ca = openCertificate(first.certificatePem);
    assert.ok(leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
    assert.deepEqual(
      [second.thumbprintSha1, second.notBefore, second.notAfter],
      [first.thumbprintSha1, first.notBefore, first.notAfter],
    );
  });
}

test("an authority is not loaded with another's key, with a leaf's certificate or with no key", async () => {
  const authority = await createAuthority({ ...constrained, exportable: true, clock: systemClock });
  const leaf = await authority.issue(client);
  const own = await authority.exportPrivateKeyPem();

  for (const [pem, key] of [
    [authority.certificatePem, leaf.privateKeyPem],
    [leaf.certificatePem, leaf.privateKeyPem],
    [authority.certificatePem, new Secret("no key")],
  ] as const) {
    assert.throws(() => loadAuthority(pem, key, systemClock), { code: "E_AUTHORITY_UNUSABLE" });
  }
  assert.throws(() => loadAuthority("no certificate", own, systemClock), { code: "E_CERTIFICATE_INVALID" });
});

test("addresses of both families become their octets", () => {
  const hex = ["127.0.0.1", "::", "::1", "1::", "2001:DB8::ff:0:1", "::ffff:10.1.2.3", "1:2:3:4:5:6:7:8"].map(
    (address) => ipOctets(address).toString("hex"),
  );

  assert.deepEqual(hex, [
    "7f000001",
    "0".repeat(32),
    `${"0".repeat(31)}1`,
    `0001${"0".repeat(28)}`,
    "20010db800000000000000ff00000001",
    "00000000000000000000ffff0a010203",
    "00010002000300040005000600070008",
  ]);
  assert.throws(() => ipOctets("1.2.3"), RangeError);
});

test("a key in the older PKCS#1 and SEC 1 forms loads like one in PKCS#8", async () => {
  for (const keyType of ["ec-p256", "rsa-2048"] as const) {
    const first = await createAuthority({ ...constrained, keyType, exportable: true, clock: systemClock });
    const older = createPrivateKey((await first.exportPrivateKeyPem()).reveal()).export({
      type: keyType === "ec-p256" ? "sec1" : "pkcs1",
      format: "pem",
    });

    assert.equal(
      loadAuthority(first.certificatePem, new Secret(older), systemClock).notAfter,
      first.notAfter,
    );
  }
});

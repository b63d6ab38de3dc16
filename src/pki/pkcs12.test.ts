/** @module */
import assert from "node:assert/strict";
import { createSecureContext } from "node:tls";
import { test } from "node:test";
import { systemClock } from "../clock.ts";
import { createAuthority } from "./authority.ts";
import { encodePkcs12 } from "./pkcs12.ts";

const hour = 3_600_000;
const authority = await createAuthority({
  commonName: "Sallyport test",
  keyType: "ec-p256",
  lifetimeMs: hour,
  permittedDnsNames: ["localhost"],
  clock: systemClock,
});
const client = { commonName: "gmsa-client", usage: "client", lifetimeMs: hour } as const;
const rsa = await authority.issue({ ...client, keyType: "rsa-2048" });
const ec = await authority.issue({ ...client, keyType: "ec-p256" });

test("a PFX with an empty password opens with an empty one and with none", () => {
  const pfx = encodePkcs12({ ...rsa, password: "" });

  assert.ok(createSecureContext({ pfx, passphrase: "" }));
  assert.ok(createSecureContext({ pfx }));
});

test("a PFX with a password opens with that password only", () => {
  const pfx = encodePkcs12({
    ...rsa,
    password: "pässwörd 東京, longer than the thirty-two that fill one block",
  });

  assert.ok(
    createSecureContext({ pfx, passphrase: "pässwörd 東京, longer than the thirty-two that fill one block" }),
  );
  assert.throws(() => createSecureContext({ pfx, passphrase: "" }), /mac verify failure/);
});

test("a PFX that was changed anywhere in its contents does not open", () => {
  const pfx = encodePkcs12({ ...rsa, password: "" });
  const middle = Math.floor(pfx.length / 2);
  pfx[middle] = (pfx[middle] ?? 0) ^ 1;

  assert.throws(() => createSecureContext({ pfx, passphrase: "" }), /mac verify failure/);
});

test("key and certificates are under 3DES with SHA-1, which old CryptoAPI reads, and nothing newer is named", () => {
  const hex = encodePkcs12({ ...rsa, password: "" }).toString("hex");

  const pbeWithSha1And3Des = "060a2a864886f70d010c0103";
  const pkcs5 = "2a864886f70d0105";
  assert.equal(hex.split(pbeWithSha1And3Des).length - 1, 2);
  assert.equal(hex.includes(pkcs5), false);
});

test("the key is in no PFX in clear", () => {
  const pfx = encodePkcs12({ ...rsa, password: "" });
  const key = Buffer.from(rsa.privateKeyPem.reveal().split("\n").slice(1, -2).join(""), "base64");

  assert.equal(pfx.includes(key.subarray(100, 132)), false);
});

test("an identity that the released plugin could not use is refused", () => {
  assert.throws(() => encodePkcs12({ ...ec, password: "" }), { code: "E_PFX_UNSUITABLE" });
  assert.throws(() => encodePkcs12({ ...rsa, privateKeyPem: ec.privateKeyPem, password: "" }), {
    code: "E_PFX_UNSUITABLE",
  });
});

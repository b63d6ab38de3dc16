import assert from "node:assert/strict";
import { test } from "node:test";
import { SecretBytes } from "../secret.ts";
import { aesStringToKey, kerberosKeys, serviceAccountSalt } from "./kerberos-keys.ts";

// RFC 3962, appendix B.
const vectors: readonly (readonly [string | Buffer, string | Buffer, number, string, string])[] = [
  [
    "password",
    "ATHENA.MIT.EDUraeburn",
    1,
    "42263c6e89f4fc28b8df68ee09799f15",
    "fe697b52bc0d3ce14432ba036a92e65bbb52280990a2fa27883998d72af30161",
  ],
  [
    "password",
    "ATHENA.MIT.EDUraeburn",
    2,
    "c651bf29e2300ac27fa469d693bdda13",
    "a2e16d16b36069c135d5e9d2e25f896102685618b95914b467c67622225824ff",
  ],
  [
    "password",
    "ATHENA.MIT.EDUraeburn",
    1200,
    "4c01cd46d632d01e6dbe230a01ed642a",
    "55a6ac740ad17b4846941051e1e8b0a7548d93b0ab30a8bc3ff16280382b8c2a",
  ],
  [
    "X".repeat(64),
    "pass phrase equals block size",
    1200,
    "59d1bb789a828b1aa54ef9c2883f69ed",
    "89adee3608db8bc71f1bfbfe459486b05618b70cbae22092534e56c553ba4b34",
  ],
  [
    "X".repeat(65),
    "pass phrase exceeds block size",
    1200,
    "cb8005dc5f90179a7f02104c0018751d",
    "d78c5c9cb872a8c9dad4697f0bb5b2d21496c82beb2caeda2112fceea057401b",
  ],
  [
    "\u{1d11e}",
    "EXAMPLE.COMpianist",
    50,
    "f149c1f2e154a73452d43e7fe62a56e5",
    "4b6d9839f84406df1f09cc166db4b83c571848b784a3d6bdc346589a3e393f9e",
  ],
];
for (const [password, salt, iterations, aes128, aes256] of vectors) {
  test(`the AES keys of "${String(password).slice(0, 12)}" after ${iterations} rounds are RFC 3962's`, () => {
    const key = (type: "aes128" | "aes256"): string =>
      aesStringToKey(Buffer.from(password), salt.toString(), type, iterations).reveal().toString("hex");

    assert.equal(key("aes128"), aes128);
    assert.equal(key("aes256"), aes256);
  });
}

test("an unpaired surrogate counts as U+FFFD and a pair as its character", () => {
  const units = (...values: number[]): SecretBytes => {
    const bytes = Buffer.alloc(values.length * 2);
    for (const [index, value] of values.entries()) bytes.writeUInt16LE(value, index * 2);
    return new SecretBytes(bytes);
  };
  const keyOf = (password: SecretBytes): Buffer | undefined =>
    kerberosKeys(password, "S", ["aes256"])[0]?.key.reveal();

  assert.deepEqual(
    keyOf(units(0xd800, 0x41)),
    aesStringToKey(Buffer.from("\ufffdA"), "S", "aes256").reveal(),
  );
  assert.deepEqual(
    keyOf(units(0xdc00, 0xd800)),
    aesStringToKey(Buffer.from("\ufffd\ufffd"), "S", "aes256").reveal(),
  );
  assert.deepEqual(
    keyOf(units(0xd834, 0xdd1e)),
    aesStringToKey(Buffer.from("\u{1d11e}"), "S", "aes256").reveal(),
  );
  assert.deepEqual(
    keyOf(units(0xfeff, 0x41)),
    aesStringToKey(Buffer.from("\ufeffA"), "S", "aes256").reveal(),
  );
});

test("the salt has the realm in capitals and the host name in small letters", () => {
  assert.equal(
    serviceAccountSalt("corp.example.test", "WebApp01$"),
    "CORP.EXAMPLE.TESThostwebapp01.corp.example.test",
  );
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parseManagedPasswordBlob } from "./blob.ts";
import { kerberosKeys, serviceAccountSalt } from "./kerberos-keys.ts";

interface Vector {
  readonly account: string;
  readonly realm: string;
  readonly blobBase64: string;
  readonly queryIntervalTicks: string;
  readonly unchangedIntervalTicks: string;
  readonly hasPrevious: boolean;
  readonly salt: string;
  readonly ntHash: string;
  readonly aes256: string;
  readonly aes128: string;
}

// Blobs of a real domain controller, with keys that `kinit` accepted.
const lines = readFileSync(new URL("../../test/vectors/managed-password.ndjson", import.meta.url), "utf8");
const vectors = lines
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Vector);

test("there are vectors", () => assert.ok(vectors.length >= 2));

for (const vector of vectors) {
  test(`the blob of ${vector.account} gives the keys that its domain controller accepted`, () => {
    const password = parseManagedPasswordBlob(Buffer.from(vector.blobBase64, "base64"));
    assert.ok(!("malformed" in password));
    const salt = serviceAccountSalt(vector.realm, vector.account);

    const keys = kerberosKeys(password.current, salt, ["aes256", "aes128", "rc4"]);

    assert.equal(salt, vector.salt);
    assert.deepEqual(
      keys.map(({ key }) => key.reveal().toString("hex")),
      [vector.aes256, vector.aes128, vector.ntHash],
    );
    assert.equal(String(password.queryInterval), vector.queryIntervalTicks);
    assert.equal(String(password.unchangedInterval), vector.unchangedIntervalTicks);
    assert.equal(password.previous !== undefined, vector.hasPrevious);
  });
}

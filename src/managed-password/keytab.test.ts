import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { SecretBytes } from "../secret.ts";
import { decodeKeytab, encodeKeytab, encryptionTypeName, type KeytabEntry } from "./keytab.ts";

const entries = fc.array(
  fc.record({
    realm: fc.string({ unit: "grapheme", maxLength: 20 }),
    components: fc.array(fc.string({ unit: "grapheme", maxLength: 20 }), { minLength: 1, maxLength: 3 }),
    keyVersion: fc.integer({ min: 1, max: 0xffff_ffff }),
    encryptionType: fc.constantFrom(17, 18, 23, 20),
    key: fc.uint8Array({ minLength: 16, maxLength: 32 }).map((bytes) => new SecretBytes(bytes)),
    timestamp: fc.integer({ min: 0, max: 0xffff_ffff }),
  }),
  { maxLength: 6 },
);

const plain = (entry: KeytabEntry): object => ({ ...entry, key: entry.key.reveal().toString("hex") });

test("every keytab that is written can be read again", () => {
  fc.assert(
    fc.property(entries, (list) => {
      const read = decodeKeytab(encodeKeytab(list));
      assert.deepEqual(read?.map(plain), list.map(plain));
    }),
  );
});

test("a file cut anywhere but between entries is refused", () => {
  fc.assert(
    fc.property(entries, fc.nat(), (list, at) => {
      const file = encodeKeytab(list);
      const cut = file.subarray(0, at % (file.length + 1));
      const read = decodeKeytab(cut);
      if (read !== undefined) assert.deepEqual(encodeKeytab(read), cut);
    }),
  );
});

test("octets of any kind never make it fail", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 100 }),
      (bytes) => void decodeKeytab(Buffer.from([5, 2, ...bytes])),
    ),
  );
});

test("holes are skipped", () => {
  const [entry] =
    fc.sample(
      entries.filter((list) => list.length > 0),
      1,
    )[0] ?? [];
  assert.ok(entry !== undefined);
  const file = encodeKeytab([entry]);
  const hole = Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0xfc]), Buffer.from("gone")]);

  const read = decodeKeytab(Buffer.concat([file.subarray(0, 2), hole, file.subarray(2)]));

  assert.equal(read?.length, 1);
});

test("encryption types are named", () => {
  assert.deepEqual([17, 18, 23, 20].map(encryptionTypeName), ["aes128", "aes256", "rc4", "20"]);
});

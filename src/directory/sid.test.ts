import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parseSid, sidFromBytes, sidInDomain, sidToBytes, splitSid, type Sid } from "./sid.ts";

const sids = fc
  .tuple(
    fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    fc.array(fc.integer({ min: 0, max: 0xffff_ffff }), { maxLength: 15 }),
  )
  .map(([authority, subs]) => {
    const bytes = Buffer.alloc(8 + 4 * subs.length);
    bytes[0] = 1;
    bytes[1] = subs.length;
    bytes.writeUIntBE(authority, 2, 6);
    for (const [index, sub] of subs.entries()) bytes.writeUInt32LE(sub, 8 + 4 * index);
    return bytes;
  });

test("a SID's octets become text and come back unchanged", () => {
  fc.assert(
    fc.property(sids, (bytes) => {
      const sid = sidFromBytes(bytes);
      assert.ok(sid !== undefined);
      assert.deepEqual(sidToBytes(sid), bytes);
      assert.equal(parseSid(sid), sid);
      assert.equal(parseSid(sid.toLowerCase()), sid);
    }),
  );
});

test("octets that are not exactly one SID are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const sid = sidFromBytes(bytes);
      if (sid !== undefined) assert.deepEqual(sidToBytes(sid), Buffer.from(bytes));
    }),
  );
  assert.equal(sidFromBytes(Buffer.from("01010000000000052000000000", "hex")), undefined);
  assert.equal(sidFromBytes(Buffer.from("020100000000000520000000", "hex")), undefined);
});

const texts: readonly (readonly [string, string | undefined])[] = [
  ["S-1-5-32-544", "S-1-5-32-544"],
  ["s-1-5-21-1-2-3-500", "S-1-5-21-1-2-3-500"],
  ["S-1-0x0000012345678-1", "S-1-305419896-1"],
  ["S-1-0x123456789ABC-1", "S-1-0x123456789ABC-1"],
  ["S-1-5-4294967296", undefined],
  ["S-2-5-1", undefined],
  ["S-1-5-", undefined],
  ["S-1-5-1 ", undefined],
  ["", undefined],
];
for (const [text, expected] of texts) {
  test(`"${text}" is ${expected === undefined ? "no SID" : `the SID ${expected}`}`, () => {
    const hexadecimal = text.replace("0x0000012345678", "0x000012345678");

    assert.equal(parseSid(hexadecimal), expected);
  });
}

test("a SID splits into its domain and its relative identifier and is put together again", () => {
  const sid = "S-1-5-21-1-2-3-1104" as Sid;

  const split = splitSid(sid);

  assert.deepEqual(split, { domain: "S-1-5-21-1-2-3", rid: 1104 });
  assert.equal(split && sidInDomain(split.domain, split.rid), sid);
});

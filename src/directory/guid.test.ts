import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { guidFromBytes, guidToBytes, parseGuid } from "./guid.ts";

test("the first three groups of a GUID are little-endian", () => {
  const bytes = Buffer.from("33221100554477668899aabbccddeeff", "hex");

  assert.equal(guidFromBytes(bytes), "00112233-4455-6677-8899-aabbccddeeff");
});

test("a GUID's octets become text and come back unchanged", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
      const guid = guidFromBytes(bytes);
      assert.ok(guid !== undefined);
      assert.deepEqual(guidToBytes(guid), Buffer.from(bytes));
      assert.equal(parseGuid(`{${guid.toUpperCase()}}`), guid);
    }),
  );
});

test("anything that is not a GUID is refused", () => {
  for (const text of [
    "",
    "{00112233-4455-6677-8899-aabbccddeeff",
    "00112233445566778899aabbccddeeff",
    "00112233-4455-6677-8899-aabbccddeefg",
    "0011223-34455-6677-8899-aabbccddeeff",
  ]) {
    assert.equal(parseGuid(text), undefined, text);
  }
  assert.equal(guidFromBytes(Buffer.alloc(15)), undefined);
  assert.equal(guidFromBytes(Buffer.alloc(17)), undefined);
});

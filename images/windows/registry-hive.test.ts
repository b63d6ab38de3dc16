import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyHive } from "./registry-hive.ts";

test("a hive has a base block whose checksum is right, and a bin that its cells fill to the end", () => {
  const hive = emptyHive();

  assert.equal(hive.toString("latin1", 0, 4), "regf");
  let sum = 0;
  for (let offset = 0; offset < 508; offset += 4) sum ^= hive.readUInt32LE(offset);
  assert.equal(hive.readUInt32LE(508), sum >>> 0);
  assert.equal(hive.length, 4096 + hive.readUInt32LE(40));
  assert.equal(hive.toString("latin1", 4096, 4100), "hbin");
  const kinds: string[] = [];
  for (let offset = 4096 + 32; offset < hive.length;) {
    const size = hive.readInt32LE(offset);
    kinds.push(size < 0 ? hive.toString("latin1", offset + 4, offset + 6) : "free");
    assert.equal(Math.abs(size) % 8, 0);
    offset += Math.abs(size);
  }
  assert.deepEqual(kinds, ["nk", "sk", "free"]);
});

test("the root key has no keys and no values, and names its security descriptor", () => {
  const hive = emptyHive();
  const root = 4096 + hive.readUInt32LE(36);

  assert.equal(hive.toString("latin1", root + 80, root + 80 + hive.readUInt16LE(root + 76)), "ROOT");
  assert.deepEqual([hive.readUInt32LE(root + 24), hive.readUInt32LE(root + 40)], [0, 0]);
  const security = 4096 + hive.readUInt32LE(root + 48);
  assert.equal(hive.toString("latin1", security + 4, security + 6), "sk");
  // Owner and group are Administrators: S-1-5-32-544.
  const descriptor = hive.subarray(security + 24, security + 24 + hive.readUInt32LE(security + 20));
  const owner = descriptor.subarray(descriptor.readUInt32LE(4));
  assert.deepEqual([owner.readUInt8(1), owner.readUInt32LE(8), owner.readUInt32LE(12)], [2, 32, 544]);
});

/**
 * A permission of COM's read back from its octets.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { readSecurityDescriptor } from "./security-descriptor.ts";

/** `O:BAG:BAD:(A;;0xB;;;SY)(A;;0xB;;;SU)` as Windows writes it: header, list, owner, group. */
const permission = Buffer.from(
  "01000480440000005400000000000000140000000200300002000000" +
    "000014000b000000010100000000000512000000000014000b000000010100000000000506000000" +
    "01020000000000052000000020020000010200000000000520000000" +
    "20020000",
  "hex",
);

test("owner, group and grants are read, wherever in the descriptor they lie", () => {
  const expected = {
    owner: "S-1-5-32-544",
    group: "S-1-5-32-544",
    grants: [
      { account: "S-1-5-18", mask: 0xb },
      { account: "S-1-5-6", mask: 0xb },
    ],
  };
  assert.deepEqual(readSecurityDescriptor(permission), expected);

  // Owner and group first, then the list.
  const [list, owners] = [permission.subarray(20, 68), permission.subarray(68)];
  const header = Buffer.from(permission.subarray(0, 20));
  header.writeUInt32LE(20, 4);
  header.writeUInt32LE(36, 8);
  header.writeUInt32LE(52, 16);
  assert.deepEqual(readSecurityDescriptor(Buffer.concat([header, owners, list])), expected);
});

const spoilt: readonly (readonly [string, (bytes: Buffer) => Buffer])[] = [
  ["another revision", (bytes) => Buffer.from(bytes.fill(2, 0, 1))],
  ["one that is absolute", (bytes) => Buffer.from(bytes.fill(0, 3, 4))],
  ["one without an access list, which lets everybody in", (bytes) => Buffer.from(bytes.fill(0, 2, 3))],
  ["a list that begins behind the end", (bytes) => Buffer.from(bytes.fill(0xff, 16, 17))],
  ["a denial", (bytes) => Buffer.from(bytes.fill(1, 28, 29))],
  ["an inherited entry", (bytes) => Buffer.from(bytes.fill(0x10, 29, 30))],
  ["more entries than there are", (bytes) => Buffer.from(bytes.fill(3, 24, 25))],
  ["one cut short", (bytes) => bytes.subarray(0, 60)],
  ["nothing", () => Buffer.alloc(0)],
];
for (const [name, spoil] of spoilt) {
  test(`${name} is no such descriptor`, () => {
    assert.equal(readSecurityDescriptor(spoil(Buffer.from(permission))), undefined);
  });
}

test("no octets make it throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 120 }), fc.nat(99), (bytes, at) => {
      readSecurityDescriptor(Buffer.from(bytes));
      const changed = Buffer.from(permission);
      changed.set(bytes.subarray(0, changed.length - at), at);
      readSecurityDescriptor(changed);
    }),
  );
});

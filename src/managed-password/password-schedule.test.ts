import assert from "node:assert/strict";
import { test } from "node:test";
import {
  isNextPasswordEarly,
  keyEnd,
  keyStart,
  nextReading,
  parseManagedPasswordId,
} from "./password-schedule.ts";

const minute = 600_000_000n;

function idBytes(l0: number, l1: number, l2: number): Buffer {
  const bytes = Buffer.alloc(60);
  bytes.writeUInt32LE(1, 0);
  bytes.write("KDSK", 4, "latin1");
  bytes.writeInt32LE(l0, 12);
  bytes.writeInt32LE(l1, 16);
  bytes.writeInt32LE(l2, 20);
  return bytes;
}

test("keys live on a grid of ten hours since 1601", () => {
  const id = parseManagedPasswordId(idBytes(364, 3, 7));

  assert.ok(id !== undefined);
  assert.equal(keyStart(id), -11_644_473_600_000 + (364 * 1024 + 3 * 32 + 7) * 36_000_000);
  // 30 days are 72 cycles; 1 day is 2 cycles, not 2.4.
  assert.equal(keyEnd(id, 30) - keyStart(id), 72 * 36_000_000);
  assert.equal(keyEnd(id, 1) - keyStart(id), 2 * 36_000_000);
});

test("octets that are no password identifier are refused", () => {
  const good = idBytes(364, 3, 7);

  assert.equal(parseManagedPasswordId(good.subarray(0, 51)), undefined);
  assert.equal(parseManagedPasswordId(idBytes(364, 32, 7)), undefined);
  assert.equal(parseManagedPasswordId(idBytes(-1, 0, 0)), undefined);
  assert.equal(parseManagedPasswordId(Buffer.alloc(60)), undefined);
});

test("the password is read again when asking gives something new", () => {
  const intervals = { queryInterval: 60n * minute, unchangedInterval: 55n * minute };

  assert.ok(!isNextPasswordEarly(intervals));
  assert.equal(nextReading(intervals, 1000, 0), 1000 + 55 * 60_000 + 1000);
  assert.equal(nextReading(intervals, 1000, 1), 1000 + 55 * 60_000 + 11_000);
});

test("a next password that came early is read again when it is in force", () => {
  const intervals = { queryInterval: 2n * minute, unchangedInterval: 43_200n * minute };

  assert.ok(isNextPasswordEarly(intervals));
  assert.equal(nextReading(intervals, 0, 0), 2 * 60_000 + 1000);
});

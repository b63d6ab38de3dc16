import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  expiryToMilliseconds,
  fileTimeToMilliseconds,
  millisecondsToFileTime,
  neverTicks,
  parseTicks,
} from "./filetime.ts";

test("132223104000000000 is the first of January 2020", () => {
  assert.equal(
    new Date(fileTimeToMilliseconds(132_223_104_000_000_000n)).toISOString(),
    "2020-01-01T00:00:00.000Z",
  );
});

test("every millisecond of a JavaScript date survives the way to FILETIME and back", () => {
  fc.assert(
    fc.property(fc.integer({ min: -11_644_473_600_000, max: 8_640_000_000_000_000 }), (milliseconds) => {
      assert.equal(fileTimeToMilliseconds(millisecondsToFileTime(milliseconds)), milliseconds);
    }),
  );
});

test("ticks within a millisecond are rounded down, before 1970 too", () => {
  assert.equal(fileTimeToMilliseconds(millisecondsToFileTime(5) + 9999n), 5);
  assert.equal(fileTimeToMilliseconds(millisecondsToFileTime(-5) - 1n), -6);
});

test("0 and the largest value of an expiry mean never", () => {
  assert.equal(expiryToMilliseconds(0n), undefined);
  assert.equal(expiryToMilliseconds(neverTicks), undefined);
  assert.equal(expiryToMilliseconds(millisecondsToFileTime(1000)), 1000);
});

test("a LargeInteger is a decimal number of 64 bits and nothing else", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (ticks) =>
      assert.equal(parseTicks(String(ticks)), ticks),
    ),
  );
  for (const text of [
    "",
    "1e3",
    "0x10",
    " 1",
    "9223372036854775808",
    "-9223372036854775809",
    "12345678901234567890",
  ]) {
    assert.equal(parseTicks(text), undefined, text);
  }
});

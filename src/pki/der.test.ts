/** @module */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  element,
  elementsIn,
  namedBits,
  objectIdentifier,
  readElement,
  readElements,
  readObjectIdentifier,
  sequence,
  tags,
  time,
  unsignedInteger,
} from "./der.ts";

test("elements of any length are read back as they were written", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 700 }), { maxLength: 4 }), (bodies) => {
      const parent = sequence(...bodies.map((body) => element(tags.octetString, body)));

      const children = elementsIn(readElement(parent), tags.sequence);

      assert.deepEqual(
        children.map((child) => [child.tag, Buffer.from(child.contents)]),
        bodies.map((body) => [tags.octetString, Buffer.from(body)]),
      );
    }),
  );
});

test("any octets are either read completely or refused with a RangeError", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      try {
        const total = readElements(bytes).reduce((sum, each) => sum + each.whole.length, 0);
        assert.equal(total, bytes.length);
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
    }),
  );
});

test("object identifiers survive the way there and back", () => {
  const arcs = fc.array(fc.nat({ max: 2 ** 31 }), { minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(fc.constantFrom("0.9", "1.2", "1.3", "2.5", "2.47"), arcs, (head, tail) => {
      const dotted = [head, ...tail].join(".");

      assert.equal(readObjectIdentifier(readElement(objectIdentifier(dotted))), dotted);
    }),
  );
});

const faults: readonly (readonly [string, string])[] = [
  ["nothing at all", ""],
  ["a tag without a length", "30"],
  ["an indefinite length", "30800000"],
  ["a length that is longer than need be", "30810101"],
  ["a length that runs past the end", "300501"],
  ["something behind the element", "050005"],
  ["a tag of several octets", "1f8101"],
];
for (const [what, hex] of faults) {
  test(`the reader refuses ${what}`, () => {
    assert.throws(() => readElement(Buffer.from(hex, "hex")), RangeError);
  });
}

test("integers are written in their shortest positive form", () => {
  const written = ["00", "0000", "7f", "80", "0080", "00ff01"].map((hex) =>
    unsignedInteger(Buffer.from(hex, "hex")).toString("hex"),
  );

  assert.deepEqual(written, ["020100", "020100", "02017f", "02020080", "02020080", "020300ff01"]);
});

test("named bits drop their trailing zeros", () => {
  assert.equal(namedBits([0]).toString("hex"), "03020780");
  assert.equal(namedBits([5, 6]).toString("hex"), "03020106");
  assert.equal(namedBits([0, 8]).toString("hex"), "0303078080");
});

test("times are UTCTime until 2049 and GeneralizedTime from 2050", () => {
  assert.equal(time(Date.UTC(2049, 11, 31, 23, 59, 59, 999)).toString("latin1"), "\x17\x0d491231235959Z");
  assert.equal(time(Date.UTC(2050, 0, 1)).toString("latin1"), "\x18\x0f20500101000000Z");
});

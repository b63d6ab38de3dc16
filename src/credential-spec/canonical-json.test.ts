/**
 * Tests of the canonical form, against what Go's encoder prints.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { canonicalJson, sameDocument } from "./canonical-json.ts";
import { nodeOf, readJson, type JsonNode } from "./json.ts";

function nodeFrom(text: string): JsonNode {
  const reading = readJson(text);
  assert.ok(reading.ok);
  return reading.value;
}

const printed: readonly (readonly [name: string, text: string, canonical: string])[] = [
  ["a string", '"str"', '"str"'],
  ["null", "null", "null"],
  ["an empty object", "{ }", "{}"],
  ["an integer above 2^53", "9007199254740993", "9007199254740993"],
  ["the largest 64-bit integer", "9223372036854775807", "9223372036854775807"],
  ["an integer beyond 64 bits, as a double", "12345678901234567000", "12345678901234567000"],
  ["a large double", "1e21", "1e+21"],
  ["a small double", "1e-7", "1e-7"],
  ["a whole number written as a fraction", "1.0", "1"],
  ["negative zero written as a fraction", "-0.0", "-0"],
  ["a number with an exponent", "1E5", "100000"],
  ["angle brackets and ampersands", '"<a>&"', '"\\u003ca\\u003e\\u0026"'],
  ["line separators", '"\u2028\u2029"', '"\\u2028\\u2029"'],
  ["quotes, slashes and DEL", '"\'/\\/\\"\\\\\u007f"', '"\'//\\"\\\\\u007f"'],
  ["short escapes", '"\\b\\f\\n\\r\\t"', '"\\b\\f\\n\\r\\t"'],
  ["other controls", '"\\u0000\\u001f"', '"\\u0000\\u001f"'],
  ["letters beyond ASCII", '"ä€😀"', '"ä€😀"'],
  [
    "nested keys in order",
    '{"b":{"y":1,"x":2},"a":[{"d":1,"c":2}]}',
    '{"a":[{"c":2,"d":1}],"b":{"x":2,"y":1}}',
  ],
  ["upper case before lower case", '{"a":1,"B":2}', '{"B":2,"a":1}'],
  ["keys by UTF-8 bytes, not by UTF-16 units", '{"\u{1f600}":1,"\uff5e":2}', '{"\uff5e":2,"\u{1f600}":1}'],
];

for (const [name, text, canonical] of printed) {
  test(`canonical form: ${name}`, () => {
    assert.equal(canonicalJson(nodeFrom(text)), canonical);
  });
}

test("the canonical form is a fixed point", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const once = canonicalJson(nodeOf(value));

      assert.equal(canonicalJson(nodeFrom(once)), once);
    }),
  );
});

test("a document equals itself with its keys in another order and other spacing", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (generated) => {
      // Through JSON first: it has no negative zero.
      const value: unknown = JSON.parse(JSON.stringify(generated));

      assert.ok(sameDocument(nodeOf(value), nodeFrom(JSON.stringify(reversed(value), null, 3))));
    }),
  );
});

test("documents that differ in one leaf are not equal", () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.string(), { minKeys: 1 }),
      fc.string({ minLength: 1 }),
      (object, more) => {
        const [key] = Object.keys(object);
        const other = { ...object, [key ?? ""]: `${object[key ?? ""]}${more}` };

        assert.ok(!sameDocument(nodeOf(object), nodeOf(other)));
      },
    ),
  );
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, member]) => [key, reversed(member)]),
  );
}

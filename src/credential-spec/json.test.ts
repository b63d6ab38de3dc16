/**
 * Tests of the exact JSON reader.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { memberOf, nodeOf, pointerOf, positionAt, readJson } from "./json.ts";
import { plainValue } from "./render/rendering.ts";

test("any JSON value is read as JSON.parse reads it", () => {
  fc.assert(
    fc.property(
      fc.jsonValue({ noUnicodeString: false }),
      fc.constantFrom(undefined, 1, "\t"),
      (value, indent) => {
        const text = JSON.stringify(value, null, indent);

        const reading = readJson(text);

        if (!text.isWellFormed() || /\\ud[89a-f]/i.test(text)) return;
        assert.ok(reading.ok);
        assert.deepEqual(plainValue(reading.value), JSON.parse(text));
      },
    ),
  );
});

test("no text at all makes the reader throw, and what it accepts JSON.parse accepts", () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom(...Array.from('{}[]",:\\u01e-.truefalsn ')) })),
      (text) => {
        const reading = readJson(text);

        if (reading.ok) assert.doesNotThrow(() => void JSON.parse(text));
      },
    ),
  );
});

test("a value of JavaScript becomes the node that its JSON text has", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (generated) => {
      // Through JSON first: it has no negative zero.
      const value: unknown = JSON.parse(JSON.stringify(generated));

      assert.deepEqual(plainValue(nodeOf(value)), value);
    }),
  );
});

const refused: readonly (readonly [name: string, text: string, problem: RegExp])[] = [
  ["nothing", "", /unexpected end of JSON input/],
  ["an object that does not end", '{"a":1', /unexpected end of JSON input/],
  ["bytes after the end", "{} {}", /after the end/],
  ["a trailing comma", '{"a":1,}', /where a key should be/],
  ["a comment", "{/**/}", /where a key should be/],
  ["a single quote", "{'a':1}", /where a key should be/],
  ["a leading zero", "[01]", /in a list/],
  ["a number beyond a double", "1e999", /out of range/],
  ["half a surrogate pair, escaped", '"\\ud800"', /half of a surrogate pair/],
  ["half a surrogate pair, as it is", '"\ud800"', /half of a surrogate pair/],
  ["a control character in a string", '"a\nb"', /in a string/],
  ["an unknown escape", '"\\x"', /unknown escape/],
  ["a cut Unicode escape", '"\\u12"', /hexadecimal/],
  ["a string that does not end", '"abc', /does not end/],
  ["129 levels", "[".repeat(129) + "]".repeat(129), /nested deeper/],
  ["a million open brackets", "[".repeat(1_000_000), /nested deeper/],
  ["NaN", "NaN", /where a value should be/],
];

for (const [name, text, problem] of refused) {
  test(`${name} is refused`, () => {
    const reading = readJson(text);

    assert.ok(!reading.ok);
    assert.match(reading.problem, problem);
  });
}

test("duplicate keys are reported with their pointer, escapes resolved", () => {
  const reading = readJson('{"a":[{"x":1,"\\u0078":2}],"b/c":{"k":1,"k":2}}');

  assert.ok(reading.ok);
  assert.deepEqual(
    reading.duplicates.map(({ pointer }) => pointer),
    ["/a/0/x", "/b~1c/k"],
  );
});

test("a surrogate pair written as two escapes is one character", () => {
  const reading = readJson('"\\ud83d\\ude00"');

  assert.ok(reading.ok && reading.value.type === "string");
  assert.equal(reading.value.value, "😀");
});

test("a member named __proto__ is a member like any other", () => {
  const reading = readJson('{"__proto__":{"a":1}}');

  assert.ok(reading.ok);
  assert.equal(memberOf(reading.value, "__proto__")?.type, "object");
});

test("pointers escape tilde and slash, and positions count from one", () => {
  assert.equal(pointerOf(["a/b", "~", 0]), "/a~1b/~0/0");
  assert.deepEqual(positionAt("ab\ncd", 4), { line: 2, column: 2 });
});

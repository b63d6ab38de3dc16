/**
 * Documents that people write: every fault at once, at its place, in words that need no knowledge of the schema's library.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { readDocument } from "./document.ts";

const schema = z.strictObject({
  name: z.string(),
  size: z.int(),
  loud: z.boolean().default(false),
  colour: z.enum(["red", "blue"]).optional(),
  source: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("file") }),
      z.strictObject({ kind: z.literal("vault") }),
    ])
    .optional(),
  list: z.array(z.string()).default([]),
});

test("a document that follows its schema is read, with defaults", () => {
  assert.deepEqual(readDocument("{name: a, size: 1}", schema), {
    ok: true,
    content: { name: "a", size: 1, loud: false, list: [] },
  });
});

const faults: readonly (readonly [string, readonly string[]])[] = [
  ["", [": has to be a map"]],
  ["{size: 1}", ["name: is missing"]],
  [
    "{name: 1, size: big, loud: yes please}",
    ["name: has to be text", "size: has to be a number", "loud: has to be true or false"],
  ],
  ["{name: a, size: 1, colour: green}", ["colour: is none of red, blue"]],
  ["{name: a, size: 1, source: {kind: x}}", ["source.kind: is none of file, vault"]],
  ["{name: a, size: 1, list: [a, 2]}", ["list.1: has to be text"]],
  ["{name: a, size: 1, nmae: b}", [': "nmae": there is no such setting']],
];
for (const [text, problems] of faults) {
  test(`${text === "" ? "an empty document" : text} is told: ${problems.join("; ")}`, () => {
    assert.deepEqual(readDocument(text, schema), { ok: false, problems });
  });
}

test("what is no YAML is told in one line", () => {
  const read = readDocument("a: [", schema);

  assert.ok(!read.ok);
  assert.equal(read.problems.length, 1);
  assert.doesNotMatch(read.problems[0] ?? "", /\n/);
});

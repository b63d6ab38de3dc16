import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../..");

interface Cause {
  readonly name: string;
  readonly number: number;
  readonly sentence: string;
  readonly remedy: string;
}

/** Reads the rows of causes.def: a name, a number and two strings of C. */
function readCauses(): readonly Cause[] {
  const text = readFileSync(join(root, "native/ccg-plugin/src/causes.def"), "utf8");
  const row = /^CAUSE\((\w+), (\d+),\s*("(?:[^"\\]|\\.)*"),\s*("(?:[^"\\]|\\.)*")\)$/gm;
  return [...text.matchAll(row)].map(([, name = "", number, sentence = "", remedy = ""]) => ({
    name,
    number: Number(number),
    sentence: JSON.parse(sentence) as string,
    remedy: JSON.parse(remedy) as string,
  }));
}

test("the reference has a row for every cause of the plugin, and no other", () => {
  const reference = readFileSync(join(root, "docs/reference/ccg-plugin.md"), "utf8");
  const rows = reference.split("\n").filter((line) => /^\| \d+ \| `0x/.test(line));

  const expected = readCauses().map(({ name, number, sentence, remedy }) => {
    const result = 0xa0cc_0000 + number;
    const hex = `0x${result.toString(16).toUpperCase()}`;
    const escape = (text: string): string => text.replaceAll("<", "\\<");
    return `| ${number} | \`${hex}\` | ${result | 0} | \`${name}\` | ${escape(sentence)} | ${escape(remedy)} |`;
  });

  assert.ok(expected.length > 50);
  assert.deepEqual(rows, expected);
});

test("names and numbers of causes are unique, and each has a sentence and a remedy", () => {
  const causes = readCauses();

  assert.equal(new Set(causes.map(({ name }) => name)).size, causes.length);
  assert.equal(new Set(causes.map(({ number }) => number)).size, causes.length);
  for (const { sentence, remedy } of causes) {
    assert.match(sentence, /^[A-Z].*\.$/);
    assert.match(remedy, /^[A-Z].*\.$/);
  }
});

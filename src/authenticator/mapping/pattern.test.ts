import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { compareSpecificity, matchesPattern } from "./pattern.ts";

describe("a pattern", () => {
  const cases: readonly [pattern: string, name: string, expected: boolean][] = [
    ["dev-*", "dev-team", true],
    ["dev-*", "dev-", true],
    ["dev-*", "my-dev-team", false],
    ["*-dev", "team-dev", true],
    ["*-dev", "team-dev-2", false],
    ["z*", "dev-team", false],
    ["team-?", "team-1", true],
    ["team-?", "team-12", false],
    ["team-?", "team-", false],
    ["*", "team/dev", false],
    ["*/dev", "team/dev", true],
    ["team/*", "team/dev", true],
    ["team?dev", "team/dev", false],
    ["a*b*c", "a-b-b-c", true],
    ["a*b*c", "a-b-c-d", false],
    ["*", "", true],
    ["dev.team", "devxteam", false],
  ];
  for (const [pattern, name, expected] of cases) {
    test(`${pattern} ${expected ? "matches" : "does not match"} ${JSON.stringify(name)}`, () => {
      assert.equal(matchesPattern(pattern, name), expected);
    });
  }

  test("agrees with an anchored regular expression over path segments", () => {
    const text = fc.string({ unit: fc.constantFrom("a", "b", "/", "*", "?"), maxLength: 8 });
    const name = fc.string({ unit: fc.constantFrom("a", "b", "/"), maxLength: 10 });
    fc.assert(
      fc.property(text, name, (pattern, candidate) => {
        const source = pattern.replace(/[*?]/g, (c) => (c === "*" ? "[^/]*" : "[^/]"));
        assert.equal(matchesPattern(pattern, candidate), new RegExp(`^(?:${source})$`).test(candidate));
      }),
      { numRuns: 3000 },
    );
  });

  test("that would make an expression engine backtrack is decided at once", () => {
    const began = performance.now();
    assert.equal(matchesPattern("*a".repeat(60), "a".repeat(120) + "b"), false);
    assert.ok(performance.now() - began < 50);
  });
});

test("patterns are ordered by literal characters, then by fewer stars, then by text", () => {
  assert.deepEqual(["*", "dev-*", "d*v-*", "dev-??", "dev-te*", "b*", "a*"].sort(compareSpecificity), [
    "dev-te*",
    "dev-??",
    "dev-*",
    "d*v-*",
    "a*",
    "b*",
    "*",
  ]);
});

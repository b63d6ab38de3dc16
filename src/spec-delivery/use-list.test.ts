/**
 * Tests of the list of those who may use a spec.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parseUseList } from "./use-list.ts";

for (const [annotation, name, allowed] of [
  [undefined, "web", false],
  ["", "web", false],
  [" , ", "web", false],
  ["web", "web", true],
  ["web", "webx", false],
  ["web", "xweb", false],
  ["web", "Web", false],
  ["a,web", "web", true],
  ["a\n  web", "web", true],
  ["*", "anything", true],
  ["shop_*", "shop_", true],
  ["shop_*", "shop_api", true],
  ["shop_*", "xshop_api", false],
  ["*_api", "shop_api", true],
  ["*_api", "shop_api2", false],
  ["a*b*c", "aXbYc", true],
  ["a*b*c", "abc", true],
  ["a*b*c", "acb", false],
  ["ab*ba", "aba", false],
  ["**", "x", true],
  ["a.c", "abc", false],
] as const) {
  test(`${JSON.stringify(annotation)} ${allowed ? "allows" : "does not allow"} ${name}`, () => {
    const list = parseUseList(annotation);

    assert.ok(list.ok);
    assert.equal(list.allows(name), allowed);
  });
}

for (const annotation of ["web; rm", "we/b", "[a-z]*", "web,\u0000", "a".repeat(129)]) {
  test(`one pattern that cannot be read spoils the list: ${JSON.stringify(annotation.slice(0, 20))}`, () => {
    const list = parseUseList(annotation);

    assert.ok(!list.ok);
    assert.match(list.problem, /sallyport\.io\/use holds .* no pattern/);
  });
}

test("a pattern means what the same regular expression means", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 8 });
  const pattern = fc.string({ unit: fc.constantFrom("a", "b", ".", "*"), minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(pattern, letters, (glob, name) => {
      const expected = new RegExp(`^${glob.replaceAll(".", "\\.").replaceAll("*", ".*")}$`);
      const list = parseUseList(glob);
      assert.ok(list.ok);
      assert.equal(list.allows(name), expected.test(name));
    }),
  );
});

/**
 * Generated reference pages say what the source says.
 * @module
 */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { generatedPages } from "../scripts/generated-pages.ts";
import { errorTable } from "../src/errors.ts";

const pages = await generatedPages();

for (const [path, text] of pages) {
  test(`${path} is up to date (npm run docs)`, async () => {
    assert.equal(await readFile(new URL(`../${path}`, import.meta.url), "utf8"), text);
  });
}

test("every error of the table has its part", () => {
  const page = pages.get("docs/reference/errors.md") ?? "";

  for (const code of Object.keys(errorTable)) assert.ok(page.includes(`\n## ${code}\n`), code);
});

test("every metric is on the page", () => {
  const page = pages.get("docs/reference/metrics.md") ?? "";
  const sources = globSync("src/observe/*-metrics.ts", { cwd: new URL("..", import.meta.url).pathname });
  const names = sources.flatMap((path) =>
    [...readFileSync(new URL(`../${path}`, import.meta.url), "utf8").matchAll(/name: "(\w+)"/g)].map(
      ([, name = ""]) => name,
    ),
  );

  assert.ok(names.length > 20);
  for (const name of names) assert.ok(page.includes(`\`${name}\``), name);
});

test("every metric has help", () => {
  const page = pages.get("docs/reference/metrics.md") ?? "";
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));

  assert.ok(rows.length > 10);
  for (const row of rows) assert.match(row, /\| [^|]+ \|$/);
});

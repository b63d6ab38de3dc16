/**
 * `npm run docs`: writes the reference pages that are made from the source, `docs/reference/errors.md` and
 * `docs/reference/metrics.md`. `test/docs.test.ts` fails while one of them is out of date.
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { generatedPages } from "./generated-pages.ts";

for (const [path, text] of await generatedPages()) {
  writeFileSync(join(import.meta.dirname, "..", path), text);
  process.stdout.write(`${path}\n`);
}

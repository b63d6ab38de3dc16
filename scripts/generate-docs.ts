/**
 * `npm run docs`: writes the reference pages and the files of the charts that are made from the source
 * (`generated-pages.ts`). `npm run check` and `test/docs.test.ts` fail while one of them is out of date.
 * @module
 */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { generatedFolders, generatedPages } from "./generated-pages.ts";

const repository = join(import.meta.dirname, "..");
const pages = await generatedPages();
for (const folder of generatedFolders(pages)) {
  mkdirSync(join(repository, folder), { recursive: true });
  for (const name of readdirSync(join(repository, folder))) {
    if (!pages.has(`${folder}/${name}`)) rmSync(join(repository, folder, name));
  }
}
for (const [path, text] of pages) {
  mkdirSync(dirname(join(repository, path)), { recursive: true });
  writeFileSync(join(repository, path), text);
  if (path.endsWith(".md")) process.stdout.write(`${path}\n`);
}
process.stdout.write(
  `${[...pages.keys()].filter((path) => path.startsWith("charts/")).length} files in charts\n`,
);

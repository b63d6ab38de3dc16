/**
 * `npm run build [FOLDER]`: what leaves the checkout, in `dist` (or in another folder): `sallyport.mjs`, one file that runs
 * with Node alone, with its source map beside it, and `package/`, which is what `npm publish` takes: the same file as the
 * command `sallyport`, and the library with its types.
 * @module
 */
import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { bundleProgram } from "./bundle.ts";
import { writePackage } from "./published-package.ts";

const root = join(import.meta.dirname, "..");
const folder = resolve(root, process.argv[2] ?? "dist");
const name = "sallyport.mjs";
const bundle = join(folder, name);
for (const stale of [bundle, `${bundle}.map`]) rmSync(stale, { force: true });
mkdirSync(folder, { recursive: true });

const program = await bundleProgram(name);
writeFileSync(bundle, program.text);
writeFileSync(`${bundle}.map`, program.map);
chmodSync(bundle, 0o755);
const kib = (length: number): string => `${(length / 1024).toFixed(0)} KiB`;
process.stdout.write(
  `${relative(root, bundle)}  ${kib(program.sizes.head)} and ${kib(program.sizes.packed)} packed\n`,
);

const files = await writePackage(join(folder, "package"), { name, program });
process.stdout.write(`${relative(root, join(folder, "package"))}  ${files} files for the registry\n`);

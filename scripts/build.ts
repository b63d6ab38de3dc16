/**
 * `npm run build [FOLDER]`: one bundled file that runs with Node alone, `dist/sallyport.mjs` (or in another folder), with
 * its source map beside it.
 * @module
 */
import { build } from "esbuild";
import { chmodSync, readFileSync, rmSync } from "node:fs";
import { join, relative, resolve } from "node:path";

const root = join(import.meta.dirname, "..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
const bundle = resolve(root, process.argv[2] ?? "dist", "sallyport.mjs");
for (const stale of [bundle, `${bundle}.map`]) rmSync(stale, { force: true });

const result = await build({
  entryPoints: [join(root, "src/main.ts")],
  outfile: bundle,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node26",
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: "linked",
  sourcesContent: false,
  legalComments: "none",
  metafile: true,
  define: { SALLYPORT_VERSION: JSON.stringify(manifest.version) },
  // CommonJS packages in the bundle ask for Node's own modules by `require`.
  banner: { js: 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);' },
  logLevel: "warning",
});
chmodSync(bundle, 0o755);
const bytes = Object.entries(result.metafile.outputs).find(([path]) => path.endsWith(".mjs"))?.[1].bytes ?? 0;
process.stdout.write(`${relative(root, bundle)}  ${(bytes / 1024).toFixed(0)} KiB\n`);

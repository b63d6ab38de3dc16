/**
 * `npm run build`: one bundled file that runs with Node alone, `dist/sallyport.mjs`, with its source map beside it.
 * Commands stay separate chunks inside `dist/` only where that saves start-up: see `splitting`.
 * @module
 */
import { build } from "esbuild";
import { chmodSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
rmSync(join(root, "dist"), { recursive: true, force: true });

const result = await build({
  entryPoints: [join(root, "src/main.ts")],
  outfile: join(root, "dist/sallyport.mjs"),
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
chmodSync(join(root, "dist/sallyport.mjs"), 0o755);
const bytes = Object.entries(result.metafile.outputs).find(([path]) => path.endsWith(".mjs"))?.[1].bytes ?? 0;
process.stdout.write(`dist/sallyport.mjs  ${(bytes / 1024).toFixed(0)} KiB\n`);

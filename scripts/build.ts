/**
 * `npm run build [FOLDER]`: one bundled file that runs with Node alone, `dist/sallyport.mjs` (or in another folder), with
 * its source map beside it.
 * @module
 */
import { build, type Plugin } from "esbuild";
import { chmodSync, readFileSync, rmSync } from "node:fs";
import { builtinModules } from "node:module";
import { join, relative, resolve } from "node:path";

const root = join(import.meta.dirname, "..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
const bundle = resolve(root, process.argv[2] ?? "dist", "sallyport.mjs");
for (const stale of [bundle, `${bundle}.map`]) rmSync(stale, { force: true });

/**
 * Node's own modules are loaded where they are used instead of at the head of the bundle: `--version`, and every command
 * that needs no network, starts without TLS, HTTP and crypto.
 */
const lazyBuiltins: Plugin = {
  name: "lazy-builtins",
  setup(bundling) {
    const builtin = new Set(builtinModules.flatMap((name) => [name, `node:${name}`]));
    bundling.onResolve({ filter: /^[a-z_:/]+$/ }, ({ path, kind }) =>
      builtin.has(path) && kind === "import-statement" ? { path, namespace: "builtin" } : undefined,
    );
    bundling.onLoad({ filter: /.*/, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
      loader: "js",
    }));
  },
};

const result = await build({
  entryPoints: [join(root, "src/main.ts")],
  outfile: bundle,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node26",
  minify: true,
  sourcemap: "linked",
  sourcesContent: false,
  legalComments: "none",
  metafile: true,
  plugins: [lazyBuiltins],
  define: { SALLYPORT_VERSION: JSON.stringify(manifest.version) },
  // CommonJS packages in the bundle ask for Node's own modules by `require`.
  banner: { js: 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);' },
  logLevel: "warning",
});
chmodSync(bundle, 0o755);
const bytes = Object.entries(result.metafile.outputs).find(([path]) => path.endsWith(".mjs"))?.[1].bytes ?? 0;
process.stdout.write(`${relative(root, bundle)}  ${(bytes / 1024).toFixed(0)} KiB\n`);

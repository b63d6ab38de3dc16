/**
 * `npm run build [FOLDER]`: one bundled file that runs with Node alone, `dist/sallyport.mjs` (or in another folder), with
 * its source map beside it.
 *
 * The file has two parts. The head is plain code: the entry point and what has to start at once (`sallyport token` runs at
 * every `kubectl` call). The rest, a megabyte and a half of servers and their libraries, lies compressed in a comment
 * behind it, which the engine only skims; a command of that part unpacks it. `docs/decisions/0052` says why. Microsoft's
 * client libraries for Azure are a packed part of their own, which only a provider with Key Vault unpacks (`0100`).
 * @module
 */
import { build, type BuildOptions, type OutputFile, type Plugin } from "esbuild";
import { chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";

const root = join(import.meta.dirname, "..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };
const bundle = resolve(root, process.argv[2] ?? "dist", "sallyport.mjs");
for (const stale of [bundle, `${bundle}.map`]) rmSync(stale, { force: true });

/** Modules of the head that are imported when they are needed and bring libraries along; with what is used of them. */
const packed: Readonly<Record<string, readonly string[]>> = {
  ...Object.fromEntries(commandsOfEntryPoint().map((name) => [`src/commands/${name}.ts`, ["run"]])),
  "src/authenticator/settings.ts": ["readConfigFile"],
};

/** The same for what the packed part imports only sometimes. It shares no module with the rest. */
const packedApart: Readonly<Record<string, readonly string[]>> = {
  "src/secret-store/azure-key-vault/azure-sdk.ts": ["createSdkReader"],
};

/** Every command that the entry point names, but those that have to start at once. */
function commandsOfEntryPoint(): readonly string[] {
  const text = readFileSync(join(root, "src/main.ts"), "utf8");
  const names = [...text.matchAll(/import\("\.\/commands\/([a-z-]+)\.ts"\)/g)].map((match) => match[1] ?? "");
  const atOnce = ["token"];
  return names.filter((name) => !atOnce.includes(name));
}

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

/** Outside its part, a packed module is what comes out of the part under its name. */
function unpacking(part: string, modules: Readonly<Record<string, readonly string[]>>): Plugin {
  return {
    name: "unpacking",
    setup(bundling) {
      bundling.onResolve({ filter: /^\..*\.ts$/ }, ({ path, resolveDir, kind }) => {
        const name = relative(root, resolve(resolveDir, path));
        return kind === "dynamic-import" && name in modules ? { path: name, namespace: "packed" } : undefined;
      });
      bundling.onLoad({ filter: /.*/, namespace: "packed" }, ({ path }) => ({
        contents: `
          import { unpack } from "./scripts/unpack.mjs";
          const load = await unpack(import.meta.url, ${JSON.stringify(part)});
          const { ${(modules[path] ?? []).join(", ")} } = await load(${JSON.stringify(path)});
          export { ${(modules[path] ?? []).join(", ")} };`,
        loader: "js",
        resolveDir: root,
      }));
    },
  };
}

/** The entry of a packed part: its modules by name. */
function entryOf(modules: Readonly<Record<string, readonly string[]>>): string {
  return `const modules = {${Object.keys(modules)
    .map((path) => `${JSON.stringify(path)}: () => import(${JSON.stringify(`./${path}`)})`)
    .join(",")}};
      export const load = (name) => modules[name]();`;
}

const common = {
  bundle: true,
  write: false,
  platform: "node",
  format: "esm",
  target: "node26",
  minify: true,
  legalComments: "none",
  define: { SALLYPORT_VERSION: JSON.stringify(manifest.version) },
  logLevel: "warning",
} as const satisfies BuildOptions;

/** CommonJS packages in the bundle ask for Node's own modules by `require`. */
const requireBanner = {
  js: 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);',
};
const rest = await build({
  ...common,
  stdin: {
    contents: entryOf(packed),
    resolveDir: root,
    sourcefile: "packed.js",
  },
  outfile: bundle,
  sourcemap: "linked",
  sourcesContent: false,
  plugins: [unpacking("packed-apart", packedApart), lazyBuiltins],
  banner: requireBanner,
});
const apart = await build({
  ...common,
  stdin: { contents: entryOf(packedApart), resolveDir: root, sourcefile: "packed-apart.js" },
  outfile: bundle,
  plugins: [lazyBuiltins],
  banner: requireBanner,
});
const head = await build({
  ...common,
  entryPoints: [join(root, "src/main.ts")],
  // Lines stay lines, so that a report from the head can be read without a map.
  minify: false,
  minifySyntax: true,
  plugins: [unpacking("packed", packed), lazyBuiltins],
});

const text = (result: { readonly outputFiles: readonly OutputFile[] }, ending: string): string =>
  result.outputFiles.find((file) => file.path.endsWith(ending) || result.outputFiles.length === 1)?.text ??
  "";
const pack = (source: string): string =>
  brotliCompressSync(source, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }).toString("base64");
const [packedText, apartText] = [pack(text(rest, ".mjs")), pack(text(apart, ".mjs"))];
mkdirSync(dirname(bundle), { recursive: true });
writeFileSync(bundle, `${text(head, ".js")}//packed-apart:${apartText}\n//packed:${packedText}\n`);
writeFileSync(`${bundle}.map`, text(rest, ".map"));
chmodSync(bundle, 0o755);
const kib = (length: number): string => `${(length / 1024).toFixed(0)} KiB`;
process.stdout.write(
  `${relative(root, bundle)}  ${kib(text(head, ".js").length)} and ${kib(packedText.length)} + ${kib(apartText.length)} packed\n`,
);

/**
 * What the source becomes before it leaves the checkout: the program in one file, the same in one module for a single
 * executable, and the library. Each says which packages it took in.
 *
 * The program has two parts. The head is plain code: the entry point and what has to start at once (`sallyport token` runs
 * at every `kubectl` call). The rest, a megabyte and a half of servers and their libraries, lies compressed in a comment
 * behind it, which the engine only skims; a command of that part unpacks it. `docs/decisions/0052` says why. Microsoft's
 * client libraries for Azure are a packed part of their own, which only a provider with Key Vault unpacks (`0100`).
 * @module
 */
import { build, type BuildOptions, type Metafile, type OutputFile, type Plugin } from "esbuild";
import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { join, relative, resolve } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";

const root = join(import.meta.dirname, "..");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { readonly version: string };

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

/**
 * Azure's client libraries bring agents for the environment's proxies, which are never asked: `azure-transport.ts` sends their
 * requests (`docs/decisions/0101`). What stands in for them keeps the libraries' constructors working.
 */
const withoutProxyAgents: Plugin = {
  name: "without-proxy-agents",
  setup(bundling) {
    bundling.onResolve({ filter: /^https?-proxy-agent$/ }, ({ path }) => ({ path, namespace: "unused" }));
    bundling.onLoad({ filter: /.*/, namespace: "unused" }, () => ({
      contents: "export class HttpProxyAgent {} export class HttpsProxyAgent {}",
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
  metafile: true,
  platform: "node",
  format: "esm",
  target: "node26",
  minify: true,
  legalComments: "none",
  define: { SALLYPORT_VERSION: JSON.stringify(manifest.version) },
  logLevel: "warning",
} as const satisfies BuildOptions;

// CommonJS packages in a bundle ask for Node's own modules by `require`.
const requireBanner = 'import{createRequire as __cr}from"node:module";const require=__cr(import.meta.url);';

export interface Bundle {
  readonly text: string;
  /** Folders of the packages that were taken in, as the lockfile names them: `node_modules/zod`. */
  readonly packages: readonly string[];
}

export interface Program extends Bundle {
  /** Source map of the packed part. */
  readonly map: string;
  /** Characters of the head and of all that is packed. */
  readonly sizes: { readonly head: number; readonly packed: number };
}

/** The program in one file that runs with Node alone. @param name of the file, which the source map is named after. */
export async function bundleProgram(name: string): Promise<Program> {
  const rest = await build({
    ...common,
    stdin: {
      contents: entryOf(packed),
      resolveDir: root,
      sourcefile: "packed.js",
    },
    // Written by nobody; the map's paths are relative to it.
    outfile: join(root, "dist", name),
    sourcemap: "linked",
    sourcesContent: false,
    plugins: [unpacking("packed-apart", packedApart), lazyBuiltins],
    banner: { js: requireBanner },
  });
  const apart = await build({
    ...common,
    stdin: { contents: entryOf(packedApart), resolveDir: root, sourcefile: "packed-apart.js" },
    plugins: [withoutProxyAgents, lazyBuiltins],
    banner: { js: requireBanner },
  });
  const head = await build({
    ...common,
    entryPoints: [join(root, "src/main.ts")],
    // Lines stay lines, so that a report from the head can be read without a map.
    minify: false,
    minifySyntax: true,
    plugins: [unpacking("packed", packed), lazyBuiltins],
  });
  const headText = outputText(head, ".js");
  const pack = (text: string): string =>
    brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }).toString("base64");
  const [packedText, apartText] = [pack(outputText(rest, ".mjs")), pack(outputText(apart, ".js"))];
  return {
    text: `${headText}//packed-apart:${apartText}\n//packed:${packedText}\n`,
    map: outputText(rest, ".map"),
    sizes: { head: headText.length, packed: packedText.length + apartText.length },
    packages: packagesOf(head.metafile, rest.metafile, apart.metafile),
  };
}

/** The program as one plain module: inside an executable there is no file that the packed part could be read from. */
export async function bundleExecutable(): Promise<Bundle> {
  const whole = await build({
    ...common,
    entryPoints: [join(root, "src/main.ts")],
    plugins: [withoutProxyAgents, lazyBuiltins],
    banner: { js: requireBanner },
  });
  return { text: outputText(whole, ".js"), packages: packagesOf(whole.metafile) };
}

export interface Library extends Bundle {
  /** Packages that it imports: an application installs them with it. */
  readonly dependencies: readonly string[];
}

/** `src/index.ts` in one module, its dependencies outside. */
export async function bundleLibrary(): Promise<Library> {
  const library = await build({
    ...common,
    entryPoints: [join(root, "src/index.ts")],
    minify: false,
    packages: "external",
  });
  const imports = Object.values(library.metafile.outputs).flatMap((output) => output.imports);
  const names = imports.map(({ path }) => path).filter((path) => !path.startsWith("node:"));
  return {
    text: outputText(library, ".js"),
    packages: packagesOf(library.metafile),
    dependencies: [...new Set(names)].sort(),
  };
}

function outputText(result: { readonly outputFiles: readonly OutputFile[] }, ending: string): string {
  return (
    result.outputFiles.find((file) => file.path.endsWith(ending) || result.outputFiles.length === 1)?.text ??
    ""
  );
}

function packagesOf(...metafiles: readonly Metafile[]): readonly string[] {
  const folders = metafiles.flatMap((metafile) =>
    Object.values(metafile.outputs).flatMap(({ inputs }) =>
      Object.entries(inputs).flatMap(([path, { bytesInOutput }]) => {
        const folder = /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0];
        return folder === undefined || bytesInOutput === 0 ? [] : [folder];
      }),
    ),
  );
  return [...new Set(folders)].sort();
}

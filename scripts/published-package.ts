/**
 * The package as a registry gets it. Its `package.json` is another than the checkout's: `exports` names the built library
 * where the checkout has its source, and what the bundled command took in is no dependency any more.
 * @module
 */
import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { bundleLibrary, type Program } from "./bundle.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");

export interface PackageParts {
  /** The program's file name. */
  readonly name: string;
  readonly program: Program;
}

interface CheckoutManifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly engines: Readonly<Record<string, string>>;
}

/** Writes the package's folder anew; answers how many files it has. */
export async function writePackage(folder: string, { name, program }: PackageParts): Promise<number> {
  const library = await bundleLibrary();
  const checkout = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as CheckoutManifest;
  await rm(folder, { recursive: true, force: true });
  await mkdir(join(folder, "library"), { recursive: true });
  await writeFile(join(folder, name), program.text);
  await chmod(join(folder, name), 0o755);
  await writeFile(join(folder, "library/index.js"), library.text);
  const types = await writeTypes(join(folder, "library"));
  const documents = ["LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md"];
  for (const document of documents) await copyFile(join(root, document), join(folder, document));
  const manifest = {
    name: checkout.name,
    version: checkout.version,
    description: checkout.description,
    license: checkout.license,
    type: "module",
    bin: { sallyport: name },
    exports: { ".": { types: "./library/index.d.ts", default: "./library/index.js" } },
    files: [name, "library", ...documents],
    dependencies: Object.fromEntries(
      library.dependencies.map((each) => [each, versionOf(each, checkout.dependencies)]),
    ),
    engines: checkout.engines,
  };
  await writeFile(join(folder, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  return types + documents.length + 3;
}

function versionOf(name: string, pinned: Readonly<Record<string, string>>): string {
  const version = pinned[name];
  if (version === undefined) throw new Error(`the library imports ${name}, which is no dependency`);
  return version;
}

/** Declarations of everything that `src/index.ts` reaches; a published one names its neighbours with `.js`. */
async function writeTypes(folder: string): Promise<number> {
  const work = await mkdtemp(join(tmpdir(), "sallyport-types-"));
  try {
    await writeFile(
      join(work, "tsconfig.json"),
      JSON.stringify({
        extends: join(root, "tsconfig.json"),
        compilerOptions: {
          noEmit: false,
          declaration: true,
          emitDeclarationOnly: true,
          stripInternal: true,
          rewriteRelativeImportExtensions: true,
          outDir: join(work, "types"),
          rootDir: join(root, "src"),
          typeRoots: [join(root, "node_modules/@types")],
        },
        include: [],
        files: [join(root, "src/index.ts")],
      }),
    );
    await run(join(root, "node_modules/.bin/tsc"), ["-p", work]);
    const paths = await readdir(join(work, "types"), { recursive: true });
    const declarations = paths.filter((path) => path.endsWith(".d.ts"));
    for (const path of declarations) {
      const text = await readFile(join(work, "types", path), "utf8");
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text.replaceAll(/(["'])(\.[^"']*)\.ts\1/g, "$1$2.js$1"));
    }
    return declarations.length;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

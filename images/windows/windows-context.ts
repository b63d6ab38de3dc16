/**
 * The build context of the Windows image, and its layers as Windows wants them: files below `Files/`, their attributes in
 * pax records, and a lowest layer with the hives that an import looks for.
 * @module
 */
import { chmodSync, copyFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pluginFileName } from "../../src/plugin-host/plugin-identity.ts";
import { makeExecutable, accountProviderFlags } from "../single-executable.ts";
import type { NodeBinary } from "../node-binary.ts";
import { readTree, writeTar, type Entry } from "../tar-archive.ts";
import { emptyHive } from "./registry-hive.ts";

const root = join(import.meta.dirname, "../..");

export interface WindowsParts {
  readonly node: NodeBinary;
  /** The program as one module. */
  readonly program: string;
  /** Path of the CCG plugin. */
  readonly plugin: string;
  readonly billOfMaterials: Uint8Array;
  readonly licences: string;
}

/** Writes the context anew. The DLL lies beside the executable, where `plugin install` looks for it. */
export async function writeWindowsContext(folder: string, parts: WindowsParts): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  const program = join(folder, "program");
  mkdirSync(program, { recursive: true });
  chmodSync(program, 0o755);
  await makeExecutable({
    node: parts.node,
    program: parts.program,
    output: join(program, "sallyport.exe"),
    flags: accountProviderFlags,
  });
  copyFileSync(parts.plugin, join(program, pluginFileName));
  copyFileSync(join(root, "LICENSE"), join(program, "LICENSE.txt"));
  writeFileSync(join(program, "THIRD-PARTY-LICENSES.txt"), parts.licences);
  writeFileSync(join(program, "sbom.cdx.json"), parts.billOfMaterials);
  for (const name of [pluginFileName, "LICENSE.txt", "THIRD-PARTY-LICENSES.txt", "sbom.cdx.json"])
    chmodSync(join(program, name), 0o644);
}

/** FILE_ATTRIBUTE_DIRECTORY and FILE_ATTRIBUTE_ARCHIVE (MS-FSCC 2.6). */
const attributes = (entry: Entry): Readonly<Record<string, string>> => ({
  "MSWINDOWS.fileattr": entry.kind === "directory" ? "16" : "32",
});

/** A layer with the files of a folder at the root of the container's drive. */
export function windowsLayer(folder: string, modified: number): Buffer {
  const files = readTree(folder).map((entry): Entry => ({ ...entry, path: `Files/${entry.path}` }));
  return writeTar([directory("Files"), ...files, directory("Hives")], { modified, attributes });
}

/** The lowest layer: what Microsoft's HostProcess base image has, five hives, here empty and well-formed. */
export function windowsBaseLayer(modified: number): Buffer {
  const content = emptyHive();
  const folders = ["Files", "Files/Windows", "Files/Windows/System32", "Files/Windows/System32/config"];
  const hives = ["DEFAULT", "SAM", "SECURITY", "SOFTWARE", "SYSTEM"];
  const entries: readonly Entry[] = [
    ...folders.map(directory),
    ...hives.map((name): Entry => {
      return { kind: "file", path: `Files/Windows/System32/config/${name}`, mode: 0o644, content };
    }),
  ];
  return writeTar(entries, { modified, attributes });
}

function directory(path: string): Entry {
  return { kind: "directory", path, mode: 0o755 };
}

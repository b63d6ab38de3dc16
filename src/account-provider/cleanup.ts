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
import { heldByAnother, keyVaultDirectoryBeside } from "./key-vault-directory.ts";

export interface CleanupResult {
  readonly path: string;
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
  if (there === undefined) return { path, found: false, left: [] };
  if (!there.isDirectory())
    return { path, found: true, left: [`${path} is a link or a file, not a directory: left alone`] };
  const left = [
    ...(windows === undefined ? [] : await createTrustedRoots(path, windows, log).replace([])),
    ...(await new HostDirectory(path, windows).remove()),
  ];
  log.info("host.cleaned", { directory: path, left: left.length });
  return { path, found: true, left };
}

/**
 * The same for the directory of Key Vault plugin input beside `hostDirectory`, where it is there, and unless another
 * namespace's provider is using it. Its authority is the one of the host directory.
 */
export async function cleanUpKeyVaultDirectory(
  hostDirectory: string,
  namespace: string,
  windows: WindowsHost | undefined,
  log: Log,
): Promise<readonly CleanupResult[]> {
  const path = keyVaultDirectoryBeside(hostDirectory);
  if ((await lstat(path).catch(() => undefined)) === undefined) return [];
  const owner = await heldByAnother(new HostDirectory(path, windows), namespace);
  if (owner !== undefined) {
    log.info("host.left-alone", { directory: path, reason: `the account provider of ${owner} uses it` });
    return [];
  }
  return [await cleanUpHost(path, undefined, log)];
}

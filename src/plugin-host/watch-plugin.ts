/**
 * `install --watch`: looks at the host again and again, and repairs what somebody took away or changed.
 *
 * Two that watch one host, during the upgrade of a node say, must not replace each other's file for ever: the newer version
 * stays. Where both say the same version, or one says none, ours counts: releases are the same bytes for the same version.
 * @module
 */
import { readFile } from "node:fs/promises";
import { delay } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import { installPlugin, missingParts, type InstallOptions } from "./install-plugin.ts";
import { readPluginFile } from "./plugin-file.ts";
import { pluginPath } from "./plugin-identity.ts";
import { readPluginState, type PluginHost } from "./plugin-state.ts";

/** Runs until the signal is aborted. A repair that fails is logged and tried again next time. */
export async function watchPlugin(
  host: PluginHost,
  options: InstallOptions & { readonly intervalMs: number },
  signal: AbortSignal,
): Promise<void> {
  const { clock, intervalMs, log } = options;
  while (!signal.aborted) {
    try {
      const state = await readPluginState(host);
      const wanted = readPluginFile(await readFile(options.dll).catch(() => Buffer.alloc(0)));
      const newerThere = isNewer(state.file?.version, wanted?.version);
      const missing = [...missingParts(state, options)];
      if (state.file !== undefined && wanted !== undefined && state.file.sha256 !== wanted.sha256) {
        if (!newerThere) missing.push(`${pluginPath} is another file (SHA-256 ${state.file.sha256})`);
      }
      if (missing.length > 0) {
        log.warn("plugin.drifted", { missing });
        // What a newer version lacks in the registry, it gets with its own file.
        await installPlugin(host, newerThere ? { ...options, dll: host.localPath(pluginPath) } : options);
        log.info("plugin.repaired", { missing });
      }
    } catch (error) {
      log.error("plugin.repair-failed", { reason: reasonOf(error) });
    }
    await delay(clock, intervalMs, signal).catch(() => undefined);
  }
}

/**
 * By their numbers, then a release above its own previews (Semantic Versioning 2.0.0, section 11.3); two previews of one
 * version are not compared.
 */
export function isNewer(one: string | undefined, other: string | undefined): boolean {
  const [first, second] = [readNumbers(one), readNumbers(other)];
  if (first === undefined || second === undefined) return false;
  for (const [index, number] of first.entries()) {
    const difference = number - (second[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** Three numbers, and a fourth that is 1 for a release and 0 for a preview. */
function readNumbers(version: string | undefined): readonly number[] | undefined {
  const [, major, minor, patch, preview] = /^(\d+)\.(\d+)\.(\d+)(?:\.\d+)?(-)?/.exec(version ?? "") ?? [];
  if (major === undefined) return undefined;
  return [Number(major), Number(minor), Number(patch), preview === undefined ? 1 : 0];
}

/**
 * `install --watch`: looks at the host again and again, and repairs what somebody took away.
 * @module
 */
import { delay } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import { installPlugin, missingParts, type InstallOptions } from "./install-plugin.ts";
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
      const missing = missingParts(await readPluginState(host), options);
      if (missing.length > 0) {
        log.warn("plugin.drifted", { missing });
        await installPlugin(host, options);
        log.info("plugin.repaired", { missing });
      }
    } catch (error) {
      log.error("plugin.repair-failed", { reason: reasonOf(error) });
    }
    await delay(clock, intervalMs, signal).catch(() => undefined);
  }
}

/**
 * A prefix as the host that `sallyport plugin` changes: files, regsvr32 and registry are Wine's.
 * @module
 */
import { systemClock } from "../../src/clock.ts";
import { silentLog } from "../../src/observe/log.ts";
import type { InstallOptions } from "../../src/plugin-host/install-plugin.ts";
import type { PluginHost } from "../../src/plugin-host/plugin-state.ts";
import { builtFile, type Wine } from "./wine.ts";

export function pluginHostOf(wine: Wine): PluginHost {
  return {
    windows: {
      async run(call) {
        const { code, stdout } = await wine.run(call.program, call.args);
        return { exitCode: code, output: stdout.trim() };
      },
    },
    localPath: (path) => wine.path(path),
  };
}

/** `plugin install` without a flag, of the DLL that the bed built. */
export function installOptions(changed: Partial<InstallOptions> = {}): InstallOptions {
  return {
    dll: builtFile("SallyportCcgPlugin.dll"),
    takeOver: false,
    answerKeyVaultPlugin: false,
    authenticatedUsers: false,
    log: silentLog,
    clock: systemClock,
    lockWaitMs: 30_000,
    ...changed,
  };
}

/**
 * `sallyport plugin install | uninstall | status`.
 * @module
 */
import { platform } from "node:process";
import { join, resolve } from "node:path";
import { chainHolds, chainIsBroken, renderChain } from "../chain.ts";
import { systemClock } from "../clock.ts";
import { SallyportError, type ConfigFault } from "../errors.ts";
import { createLog } from "../observe/log.ts";
import { installPlugin, uninstallPlugin, type InstallOutcome } from "../plugin-host/install-plugin.ts";
import { pluginFileName } from "../plugin-host/plugin-identity.ts";
import type { PluginHost } from "../plugin-host/plugin-state.ts";
import { readPluginStatus } from "../plugin-host/plugin-status.ts";
import { watchPlugin } from "../plugin-host/watch-plugin.ts";
import { untilShutdown } from "../server/shutdown.ts";
import { createWindowsHost } from "../windows-host/windows-host.ts";
import { createProgram, durationMs, runProgram, throwIfFaulty } from "./command-line.ts";

interface InstallFlags {
  readonly dll: string;
  readonly takeOver: boolean;
  readonly answerKeyVaultPlugin: boolean;
  readonly authenticatedUsers: boolean;
  readonly watch: boolean;
  readonly interval: string;
  readonly wait: string;
}

/** The DLL lies beside the program in a release. */
function defaultDll(): string {
  return process.env["SALLYPORT_CCG_PLUGIN"] ?? join(import.meta.dirname, pluginFileName);
}

type Print = (text: string) => void;

/** @param host for tests against another host than this one. @param print for what it tells people. */
export async function run(
  args: readonly string[],
  host?: PluginHost,
  print: Print = (text) => process.stdout.write(text),
): Promise<number> {
  let exitCode = 0;
  const program = createProgram(
    "sallyport plugin",
    "Puts the CCG plugin on this Windows host, takes it away, or says how it is.",
  );
  program
    .command("install")
    .description("install, repair or upgrade; does nothing when all is well")
    .option("--dll <file>", "the plugin to install [SALLYPORT_CCG_PLUGIN]", defaultDll())
    .option("--take-over", "take the class ids of other plugins, also where those are installed", false)
    .option(
      "--answer-key-vault-plugin",
      "answer to the class id of Microsoft's Azure Key Vault plugin, too",
      false,
    )
    .option(
      "--authenticated-users",
      "let every authenticated user start the plugin (CCG event 4, 0x80070005)",
      false,
    )
    .option("--watch", "stay, and repair what somebody takes away", false)
    .option("--interval <duration>", "how often --watch looks", "30s")
    .option("--wait <duration>", "how long to wait for another run on this host", "60s")
    .action(async (flags: InstallFlags) => {
      exitCode = await install(flags, host ?? thisHost(), print);
    });
  program
    .command("uninstall")
    .description("remove everything; succeeds on a clean host")
    .option("--dll <file>", "a plugin to unregister with, should the installed one be gone", defaultDll())
    .option("--wait <duration>", "how long to wait for another run on this host", "60s")
    .action(async (flags: Pick<InstallFlags, "dll" | "wait">) => {
      exitCode = await uninstall(flags, host ?? thisHost(), print);
    });
  program
    .command("status")
    .description(
      "look at every link between CCG and the account provider; 0 when all hold, 3 when some could not be looked at, else 1",
    )
    .option("--json", "print the links as JSON", false)
    .action(async (flags: { readonly json: boolean }) => {
      exitCode = await status(flags.json, host ?? thisHost(), print);
    });
  // The clock's timers keep no process alive; waiting for another run, or for a file in use, must not end this one.
  const alive = setInterval(() => undefined, 60_000);
  try {
    return (await runProgram(program, args)) || exitCode;
  } finally {
    clearInterval(alive);
  }
}

function thisHost(): PluginHost {
  if (platform !== "win32")
    throw new SallyportError("E_PLUGIN_HOST", { reasons: `this host runs ${platform}` });
  return { windows: createWindowsHost(), localPath: (path) => path };
}

async function install(flags: InstallFlags, host: PluginHost, print: Print): Promise<number> {
  const faults: ConfigFault[] = [];
  const intervalMs = durationMs("--interval", flags.interval, faults) ?? 0;
  const lockWaitMs = durationMs("--wait", flags.wait, faults) ?? 0;
  if (flags.watch && intervalMs < 1_000) faults.push({ setting: "--interval", problem: "shorter than 1s" });
  throwIfFaulty(faults);
  const options = {
    dll: resolve(flags.dll),
    takeOver: flags.takeOver,
    answerKeyVaultPlugin: flags.answerKeyVaultPlugin,
    authenticatedUsers: flags.authenticatedUsers,
    log: createLog().with({ role: "plugin" }),
    clock: systemClock,
    lockWaitMs,
  };
  print(`${describe(await installPlugin(host, options))}\n`);
  if (!flags.watch) return 0;
  await untilShutdown((stopping) => watchPlugin(host, { ...options, intervalMs }, stopping));
  return 0;
}

function describe(outcome: InstallOutcome): string {
  switch (outcome.kind) {
    case "already installed":
      return "The CCG plugin is installed and up to date.";
    case "installed":
      return "The CCG plugin was installed.";
    case "repaired":
      return `The CCG plugin was repaired: ${outcome.was.join("; ")}.`;
    case "upgraded":
      return `The CCG plugin was upgraded from ${outcome.from} to ${outcome.to}.`;
  }
}

async function uninstall(
  flags: Pick<InstallFlags, "dll" | "wait">,
  host: PluginHost,
  print: Print,
): Promise<number> {
  const faults: ConfigFault[] = [];
  const lockWaitMs = durationMs("--wait", flags.wait, faults) ?? 0;
  throwIfFaulty(faults);
  const found = await uninstallPlugin(host, {
    dll: resolve(flags.dll),
    log: createLog().with({ role: "plugin" }),
    clock: systemClock,
    lockWaitMs,
  });
  print(found ? "The CCG plugin was removed.\n" : "The CCG plugin is not installed.\n");
  return 0;
}

async function status(json: boolean, host: PluginHost, print: Print): Promise<number> {
  const chain = await readPluginStatus(host);
  const holds = chainHolds(chain);
  const broken = chainIsBroken(chain);
  const colour = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
  const text = json
    ? `${JSON.stringify({ ok: holds, links: chain.links }, undefined, 2)}\n`
    : renderChain(chain, { colour });
  print(text);
  return holds ? 0 : broken ? 1 : 3;
}

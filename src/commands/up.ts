/**
 * `sallyport up`: every role on loopback from a folder of manifests, the main job done once before your eyes.
 * @module
 */
import { mkdir, open, type FileHandle } from "node:fs/promises";
import { join, resolve } from "node:path";
import { chainHolds, renderChain, type Chain } from "../chain.ts";
import { systemClock } from "../clock.ts";
import { configError, reasonOf, type ConfigFault } from "../errors.ts";
import { homeFolder } from "../home-folder.ts";
import { createManifestFolderSource } from "../kubernetes/manifest-folder-source.ts";
import { createLog, type Log, type LogLevel, logLevels } from "../observe/log.ts";
import { aborted, untilShutdown } from "../server/shutdown.ts";
import { accountProviderRole } from "../up/account-provider-role.ts";
import { admissionRole } from "../up/admission-role.ts";
import { authenticatorRole } from "../up/authenticator-role.ts";
import { directoryRole } from "../up/directory-role.ts";
import type { Role, RunningRole } from "../up/role.ts";
import { createProgram, existingFolder, runProgram, throwIfFaulty } from "./command-line.ts";

const roles: readonly Role[] = [accountProviderRole, admissionRole, authenticatorRole, directoryRole];

interface UpFlags {
  readonly manifests: string;
  readonly state: string;
  readonly once: boolean;
  readonly json: boolean;
  readonly logLevel: LogLevel;
}

export async function run(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = createProgram("sallyport up", "Runs every role on loopback from a folder of manifests.")
    .requiredOption("--manifests <folder>", "Kubernetes manifests: Secrets, GMSACredentialSpecs, …")
    .option("--state <folder>", "where host files, certificates and the log are kept", defaultState())
    .option("--once", "end after the check: 0 when every link holds, else 1", false)
    .option("--json", "print the chains as JSON", false)
    .option("--log-level <level>", `one of ${logLevels.join(", ")}`, "info")
    .action(async (flags: UpFlags) => {
      exitCode = await up(flags);
    });
  return (await runProgram(program, args)) || exitCode;
}

async function up(flags: UpFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  if (!logLevels.includes(flags.logLevel)) {
    faults.push({
      setting: "--log-level",
      problem: `"${flags.logLevel}" is none of ${logLevels.join(", ")}`,
    });
  }
  await existingFolder("--manifests", flags.manifests, faults);
  throwIfFaulty(faults);
  const state = resolve(flags.state);
  const logFile = await openLogFile(state).catch((error: unknown) => {
    throw configError([{ setting: "--state", problem: `cannot be written: ${reasonOf(error)}` }]);
  });
  const log = createLog({ level: flags.logLevel, sink: { write: (line) => void logFile.appendFile(line) } });
  try {
    return await untilShutdown((stopping) => serve(flags, state, log, stopping));
  } finally {
    await logFile.close();
  }
}

async function openLogFile(state: string): Promise<FileHandle> {
  await mkdir(state, { recursive: true, mode: 0o700 });
  return await open(join(state, "sallyport.log"), "a", 0o600);
}

async function serve(flags: UpFlags, state: string, log: Log, stopping: AbortSignal): Promise<number> {
  const source = createManifestFolderSource(resolve(flags.manifests), { log, clock: systemClock });
  const running: RunningRole[] = [];
  const say = (text: string): void => {
    if (!flags.json) process.stdout.write(text);
  };
  try {
    say(`Sallyport from ${source.describe()}; log in ${join(state, "sallyport.log")}\n\n`);
    for (const role of roles) {
      const stateFolder = join(state, role.name.replaceAll(" ", "-"));
      await mkdir(stateFolder, { recursive: true, mode: 0o700 });
      const started = await role.start({
        source,
        stateFolder,
        log,
        clock: systemClock,
        signal: stopping,
      });
      if (started === undefined) continue;
      running.push(started);
      for (const { what, where } of started.listens) say(`  ${what.padEnd(44)} ${where}\n`);
    }
    const chains = (await Promise.all(running.map((role) => role.check()))).flat();
    const holds = chains.length > 0 && chains.every(chainHolds);
    print(chains, holds, flags.json);
    if (chains.length === 0) say(`\nNothing in ${flags.manifests} asks for an impersonation account.\n`);
    if (flags.once) return holds ? 0 : 1;
    say("\nCtrl-C stops everything.\n");
    await aborted(stopping);
    say("\nStopping…\n");
    return 0;
  } catch (error) {
    if (stopping.aborted) return 0;
    throw error;
  } finally {
    for (const role of running.toReversed()) await role.stop();
    await source.close();
  }
}

function print(chains: readonly Chain[], holds: boolean, json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify({ ok: holds, chains }, undefined, 2)}\n`);
    return;
  }
  const colour = process.stdout.isTTY && process.env["NO_COLOR"] === undefined;
  for (const chain of chains) process.stdout.write(`\n${renderChain(chain, { colour })}`);
}

function defaultState(): string {
  const base = process.env["XDG_STATE_HOME"];
  return join(base === undefined || base === "" ? join(homeFolder(), ".local", "state") : base, "sallyport");
}

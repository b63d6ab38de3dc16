/**
 * `install` and `uninstall`: the DLL in its folder, registered by its own entry point, and everything put back when a step
 * fails. The DLL writes the registry; this decides when, and checks that it is so afterwards.
 * @module
 */
import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isTemporaryName, writeFileAtomically } from "../atomic-file.ts";
import { delay, type Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import {
  endProcess,
  listProcessesWithModule,
  parseProcessList,
  protectProgramFolder,
  registerDll,
  unregisterDll,
} from "../windows-host/programs.ts";
import { withHostLock } from "./host-lock.ts";
import { readPluginFile } from "./plugin-file.ts";
import {
  lockPath,
  pluginFileName,
  pluginFolder,
  pluginName,
  pluginPath,
  registryKeys,
} from "./plugin-identity.ts";
import {
  classHolder,
  leftParts,
  presentChoices,
  readPluginState,
  registrationParts,
  unsuitability,
  type PluginChoices,
  type PluginHost,
  type PluginState,
} from "./plugin-state.ts";

export interface PluginOptions {
  readonly log: Log;
  readonly clock: Clock;
  /** Milliseconds to wait for another process that changes the host. */
  readonly lockWaitMs: number;
}

export interface InstallOptions extends PluginOptions, PluginChoices {
  /** The DLL to be installed, where this process reads it. */
  readonly dll: string;
}

export type InstallOutcome =
  | { readonly kind: "already installed" }
  | { readonly kind: "installed" | "repaired"; readonly was: readonly string[] }
  | { readonly kind: "upgraded"; readonly from: string; readonly to: string };

/** What an old file is called until it can be deleted. */
const retiredMark = ".retired-";

/** A surrogate ends, and lets go of its file, this soon after it was told to: tries of growing pauses in milliseconds. */
const deletePauses = [50, 100, 200, 400, 800, 1_600];

/**
 * Brings a host to the installed state from whatever state it is in; a host that is there already is left alone.
 * @throws {SallyportError} `E_PLUGIN_FILE`, `E_PLUGIN_HOST`, `E_PLUGIN_BUSY`, `E_PLUGIN_LOCK`, `E_REGISTRY`,
 * `E_PLUGIN_INSTALL`; the host is as it was. `E_PLUGIN_ROLLBACK` when it could not be made so.
 */
export async function installPlugin(host: PluginHost, options: InstallOptions): Promise<InstallOutcome> {
  const bytes = await readNewFile(options.dll);
  const wanted = readPluginFile(bytes);
  if (wanted?.architecture !== "x64") {
    throw new SallyportError("E_PLUGIN_FILE", { file: options.dll, detail: "it is no 64-bit DLL for x64" });
  }
  return changeHost(host, options, async () => {
    const before = await readPluginState(host);
    const reasons = unsuitability(before);
    if (reasons.length > 0) throw new SallyportError("E_PLUGIN_HOST", { reasons: reasons.join("; ") });
    await deleteRetired(host, options);

    const faults = missingParts(before, options);
    const sameFile = before.file?.sha256 === wanted.sha256;
    if (sameFile && faults.length === 0) return { kind: "already installed" };

    const undoFile = sameFile ? await keepFile(host) : await placeFile(host, options, bytes);
    const failure = await register(host, options);
    if (failure !== undefined) {
      const left = await rollBack(host, options, before, undoFile).catch(reasonOf);
      if (left === undefined) throw new SallyportError("E_PLUGIN_INSTALL", { detail: failure });
      throw new SallyportError("E_PLUGIN_ROLLBACK", { detail: failure, left });
    }
    await endSurrogates(host, options);
    await deleteRetired(host, options);
    options.log.info("plugin.installed", { version: wanted.version, sha256: wanted.sha256 });
    if (before.file !== undefined && !sameFile) {
      return { kind: "upgraded", from: describeFile(before.file), to: describeFile(wanted) };
    }
    return before.file === undefined && leftParts(before).length === 0
      ? { kind: "installed", was: [] }
      : {
          kind: "repaired",
          was: faults,
        };
  });
}

/**
 * Takes everything away, from a whole installation or what a broken one left.
 * @returns whether there was anything. @throws {SallyportError} `E_PLUGIN_BUSY`, `E_PLUGIN_LOCK`, `E_REGISTRY`, `E_PLUGIN_UNINSTALL`
 * naming what is left.
 */
export async function uninstallPlugin(
  host: PluginHost,
  options: PluginOptions & { readonly dll: string },
): Promise<boolean> {
  return changeHost(host, options, async () => {
    const before = await readPluginState(host);
    const folder = host.localPath(pluginFolder);
    const folderThere = (await stat(folder).catch(() => undefined)) !== undefined;
    const registered = leftParts(before).length > 0;
    if (!registered && !folderThere) return false;

    if (registered) {
      // Only the DLL knows how to take its registration back: one that was deleted by hand is needed once more, and
      // one that cannot do it may be damaged.
      if (before.file === undefined) await placeFile(host, options, await readNewFile(options.dll));
      let { exitCode, output } = await host.windows.run(unregisterDll(pluginPath));
      if (exitCode !== 0 && before.file !== undefined && (await placeSpareFile(host, options, before))) {
        ({ exitCode, output } = await host.windows.run(unregisterDll(pluginPath)));
      }
      if (exitCode !== 0) options.log.error("plugin.unregister-failed", { exitCode, output });
    }
    await endSurrogates(host, options);
    const busy = await removeFolder(folder, options.clock);
    const left = [...leftParts(await readPluginState(host)), ...busy];
    if (left.length > 0) throw new SallyportError("E_PLUGIN_UNINSTALL", { left: left.join(", ") });
    options.log.info("plugin.uninstalled", {});
    return true;
  });
}

/** What an installation with these choices lacks, a sentence each. */
export function missingParts(state: PluginState, choices: PluginChoices): readonly string[] {
  const faults = registrationParts(state, choices)
    .filter(({ holds }) => !holds)
    .map(({ detail }) => detail);
  if (state.file === undefined) faults.unshift(`${pluginPath} is missing`);
  return faults;
}

/**
 * Undoes an installation that failed half-way. What the host has decides, not what regsvr32 said: one that was ended for
 * its time may have registered everything.
 * @returns what could not be undone.
 */
async function rollBack(
  host: PluginHost,
  options: PluginOptions,
  before: PluginState,
  undoFile: () => Promise<void>,
): Promise<string | undefined> {
  // Only the new file knows what it has registered, and has to take that back before it goes.
  if (partsAdded(before, await readPluginState(host)).length > 0) {
    const { exitCode } = await host.windows.run(unregisterDll(pluginPath));
    const added = exitCode === 0 ? [] : partsAdded(before, await readPluginState(host));
    if (added.length > 0) return `regsvr32 /u ended with ${exitCode}, and left are: ${added.join(", ")}`;
  }
  // CCG may have started one with the new file in the meantime.
  await endSurrogates(host, options);
  try {
    await undoFile();
  } catch (error) {
    return `${pluginPath}: ${reasonOf(error)}`;
  }
  await deleteRetired(host, options);
  // What had been registered before is registered again, as it was chosen, from the file that is back.
  if (before.file !== undefined && wasRegistered(before)) {
    const { exitCode } = await host.windows.run(registerDll(pluginPath, wordsFor(presentChoices(before))));
    if (exitCode !== 0) {
      return `the version before could not be registered again (regsvr32 ended with ${exitCode})`;
    }
  }
  const differences = differencesFrom(before, await readPluginState(host));
  return differences.length === 0 ? undefined : differences.join("; ");
}

function partsAdded(before: PluginState, now: PluginState): readonly string[] {
  const had = leftParts(before);
  return leftParts(now).filter((key) => !had.includes(key));
}

/**
 * In what a host is worse off than it was, a sentence each. That the file of before, registered again, has also mended what
 * was broken then counts for nothing.
 */
function differencesFrom(before: PluginState, now: PluginState): readonly string[] {
  const differences: string[] = [];
  if (before.file?.sha256 !== now.file?.sha256) differences.push(`${pluginPath} is another file`);
  for (const key of [registryKeys.replacedClass, registryKeys.keyVaultClass]) {
    if (classHolder(before, key) === "another plugin" && classHolder(now, key) !== "another plugin") {
      differences.push(`${key} was not given back to the plugin that had it`);
    }
  }
  if (before.file !== undefined && wasRegistered(before)) {
    const choices = presentChoices(before);
    const had = missingParts(before, choices);
    return [...differences, ...missingParts(now, choices).filter((fault) => !had.includes(fault))];
  }
  return [
    ...differences,
    ...partsAdded(before, now).map((key) => `${key} is left`),
    ...partsAdded(now, before).map((key) => `${key} is gone`),
  ];
}

function wasRegistered(state: PluginState): boolean {
  return state.registry.has(registryKeys.pluginClass.toLowerCase());
}

/** Choices as `DllInstall` reads them. */
function wordsFor(choices: PluginChoices): readonly string[] {
  return [
    ...(choices.takeOver ? ["take-over"] : []),
    ...(choices.answerKeyVaultPlugin ? ["answer-key-vault-plugin"] : []),
    ...(choices.authenticatedUsers ? ["authenticated-users"] : []),
  ];
}

async function changeHost<T>(host: PluginHost, options: PluginOptions, change: () => Promise<T>): Promise<T> {
  const { clock, lockWaitMs: waitMs } = options;
  return withHostLock(host.localPath(lockPath), { clock, waitMs }, change);
}

async function readNewFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new SallyportError("E_PLUGIN_FILE", { file: path, detail: reasonOf(error) }, { cause: error });
  }
}

/**
 * Puts the new file under the old one's name, which is only renamed: a process that has it loaded keeps it, and a failure
 * later puts it back.
 */
async function placeFile(
  host: PluginHost,
  options: PluginOptions,
  bytes: Buffer,
): Promise<() => Promise<void>> {
  const folder = host.localPath(pluginFolder);
  const file = host.localPath(pluginPath);
  const failed = (detail: string, cause?: unknown): SallyportError =>
    new SallyportError("E_PLUGIN_INSTALL", { detail }, { cause });
  const made = await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw failed(reasonOf(error), error);
  });
  const unmake = async (): Promise<void> => {
    const left = made === undefined ? [] : await removeFolder(folder, options.clock);
    if (left.length > 0) throw new Error(`left is ${left.join(", ")}`);
  };
  try {
    await protectFolder(host);
  } catch (error) {
    await unmake().catch((second: unknown) => {
      const left = reasonOf(second);
      throw new SallyportError("E_PLUGIN_ROLLBACK", { detail: reasonOf(error), left }, { cause: error });
    });
    throw error;
  }
  const retired = `${file}${retiredMark}${options.clock.now().toString(36)}`;
  let hadFile = true;
  try {
    await rename(file, retired);
  } catch (error) {
    // A file that is there and does not let itself be renamed must not be touched any further.
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw failed(reasonOf(error), error);
    hadFile = false;
  }
  const undo = async (): Promise<void> => {
    // A file that a process has loaded does not let itself be deleted, but renamed.
    await rename(file, `${retired}-undone`).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    });
    if (hadFile) await rename(retired, file);
    else await unmake();
  };
  try {
    await writeFileAtomically(file, bytes);
  } catch (error) {
    await undo().catch((second: unknown) => {
      const left = `${retired}: ${reasonOf(second)}`;
      throw new SallyportError("E_PLUGIN_ROLLBACK", { detail: reasonOf(error), left }, { cause: error });
    });
    throw failed(reasonOf(error), error);
  }
  return undo;
}

/** @throws {SallyportError} `E_PLUGIN_INSTALL` when the folder's access list cannot be set. */
async function protectFolder(host: PluginHost): Promise<void> {
  for (const call of protectProgramFolder(pluginFolder)) {
    const { exitCode, output } = await host.windows.run(call);
    if (exitCode === 0) continue;
    throw new SallyportError("E_PLUGIN_INSTALL", {
      detail: `${pluginFolder} could not be protected: icacls ended with ${exitCode}: ${output}`,
    });
  }
}

/** The file is right already: only its folder is made so again. */
async function keepFile(host: PluginHost): Promise<() => Promise<void>> {
  await protectFolder(host);
  return async () => undefined;
}

/** Puts the DLL at hand in place of an installed one that does not do its work; not if it is the same. */
async function placeSpareFile(
  host: PluginHost,
  options: PluginOptions & { readonly dll: string },
  before: PluginState,
): Promise<boolean> {
  const bytes = await readFile(options.dll).catch(() => undefined);
  const spare = bytes === undefined ? undefined : readPluginFile(bytes);
  if (bytes === undefined || spare === undefined || spare.sha256 === before.file?.sha256) return false;
  await placeFile(host, options, bytes);
  return true;
}

/** Registers and reads back; what is wrong, or `undefined`. */
async function register(host: PluginHost, options: InstallOptions): Promise<string | undefined> {
  const { exitCode, output } = await host.windows.run(registerDll(pluginPath, wordsFor(options)));
  if (exitCode !== 0) {
    const said = output === "" ? "" : ` (${output})`;
    return `regsvr32 ended with ${exitCode}${said}; the Application event log has an entry of "${pluginName}"`;
  }
  try {
    const faults = missingParts(await readPluginState(host), options);
    return faults.length === 0 ? undefined : faults.join("; ");
  } catch (error) {
    return reasonOf(error);
  }
}

/** Surrogates keep the file they have loaded until they end; CCG starts a new one for the next call. */
async function endSurrogates(host: PluginHost, options: PluginOptions): Promise<void> {
  const listed = await host.windows.run(listProcessesWithModule(`${pluginFileName}*`));
  for (const id of parseProcessList(listed.output)) {
    const { exitCode } = await host.windows.run(endProcess(id));
    if (exitCode === 0) options.log.info("plugin.surrogate-ended", { processId: id });
  }
}

/** Deletes files of earlier versions and of writers that died. One that is still loaded waits for the next run. */
async function deleteRetired(host: PluginHost, options: PluginOptions): Promise<void> {
  const folder = host.localPath(pluginFolder);
  const names = await readdir(folder).catch((): readonly string[] => []);
  for (const name of names.filter((entry) => entry.includes(retiredMark) || isTemporaryName(entry))) {
    await rm(join(folder, name), { force: true }).catch(() => {
      options.log.info("plugin.file-in-use", { file: name });
    });
  }
}

/** @returns what could not be removed. */
async function removeFolder(folder: string, clock: Clock): Promise<readonly string[]> {
  for (const pause of [...deletePauses, undefined]) {
    try {
      await rm(folder, { recursive: true, force: true });
      return [];
    } catch (error) {
      if (pause === undefined) return [`${pluginFolder} (${reasonOf(error)})`];
      await delay(clock, pause);
    }
  }
  return [];
}

function describeFile(file: { readonly version: string | undefined; readonly sha256: string }): string {
  return `${file.version ?? "unknown version"} (${file.sha256.slice(0, 12)})`;
}

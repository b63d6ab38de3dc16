/**
 * The Windows bed: builds the CCG plugin with the cross compiler, and has Wine run it. Installs the Debian packages for
 * both when they are missing; the rest is kept in the cache folder.
 * @module
 */
import { join } from "node:path";
import { prepare as prepareActiveDirectory } from "../active-directory/prepare.ts";
import { BedUnavailable, type Prepare } from "../bed.ts";
import { runCommand } from "../guarded-process.ts";
import { prepare as prepareKubernetes } from "../kubernetes/prepare.ts";
import { fetchWindowsNode } from "./windows-node.ts";
import { pluginSources } from "./wine.ts";

/** Packages, library and DLL: the longest is a fresh machine's installation. */
const buildLimitMs = 10 * 60 * 1000;

export const prepare: Prepare = async (context) => {
  const { cacheDirectory, say } = context;
  const build = join(cacheDirectory, "ccg-plugin");
  const step = async (what: string, command: string, args: readonly string[]): Promise<void> => {
    const result = await runCommand(command, args, { timeoutMs: buildLimitMs, background: true });
    if (result.code === 0) return;
    throw new BedUnavailable(`${what} failed:\n${`${result.stdout}${result.stderr}`.trim().slice(-2000)}`);
  };
  // Does nothing where everything is there; installing takes root.
  await step("Installing the packages of native/ccg-plugin/setup.sh", "sh", [
    join(pluginSources, "setup.sh"),
    "all",
  ]);
  say("building the CCG plugin");
  await step("Building the CCG plugin", "make", [
    "-C",
    pluginSources,
    `BUILD=${build}`,
    `SOURCES_DIR=${build}`,
    "all",
    "test-tools",
  ]);
  const windowsNode = await fetchWindowsNode(join(cacheDirectory, "windows-node"), say);
  // The chain from a Secret to COM begins in an API server.
  const kubernetes = await prepareKubernetes(context);
  // And what the strings are for ends at a domain controller.
  const directory = await prepareActiveDirectory(context);
  return {
    environment: {
      ...kubernetes.environment,
      ...directory.environment,
      SALLYPORT_E2E_CCG_PLUGIN: build,
      SALLYPORT_E2E_WINDOWS_NODE: windowsNode,
    },
    close: async () => {
      await kubernetes.close();
      await directory.close();
    },
  };
};

/**
 * The Windows bed: builds the CCG plugin with the cross compiler, and has Wine run it. Installs the Debian packages for
 * both when they are missing; the rest is kept in the cache folder.
 * @module
 */
import { join } from "node:path";
import { BedUnavailable, type Prepare } from "../bed.ts";
import { runCommand } from "../guarded-process.ts";
import { prepare as prepareKubernetes } from "../kubernetes/prepare.ts";
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
  // The chain from a Secret to COM begins in an API server.
  const kubernetes = await prepareKubernetes(context);
  return {
    environment: { ...kubernetes.environment, SALLYPORT_E2E_CCG_PLUGIN: build },
    close: kubernetes.close,
  };
};

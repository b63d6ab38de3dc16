/**
 * The images bed: builds the images as a release does, without a container engine. The suites inspect them, and start the
 * Linux one as a container runtime would; that takes root.
 * @module
 */
import { join } from "node:path";
import { BedUnavailable, type Prepare } from "../bed.ts";
import { runCommand } from "../guarded-process.ts";
import { pluginSources } from "../windows/wine.ts";

const buildLimitMs = 10 * 60 * 1000;
const root = join(import.meta.dirname, "../..");

export const prepare: Prepare = async ({ runDirectory, cacheDirectory, say }) => {
  if (process.getuid?.() !== 0)
    throw new BedUnavailable("The images bed mounts and changes its root folder: run it as root.");
  const step = async (what: string, command: string, args: readonly string[]): Promise<void> => {
    const result = await runCommand(command, args, { timeoutMs: buildLimitMs, background: true });
    if (result.code === 0) return;
    throw new BedUnavailable(`${what} failed:\n${`${result.stdout}${result.stderr}`.trim().slice(-2000)}`);
  };
  // The same plugin as the Windows bed's; where that ran before, nothing is left to do.
  const plugin = join(cacheDirectory, "ccg-plugin");
  await step("Installing the packages of native/ccg-plugin/setup.sh", "sh", [
    join(pluginSources, "setup.sh"),
  ]);
  say("building the CCG plugin and the images");
  await step("Building the CCG plugin", "make", [
    ...["-C", pluginSources, `BUILD=${plugin}`, `SOURCES_DIR=${plugin}`, "all"],
  ]);
  const images = join(runDirectory, "images");
  const environment = {
    SALLYPORT_E2E_IMAGES: images,
    SALLYPORT_E2E_IMAGES_CACHE: join(cacheDirectory, "images"),
    SALLYPORT_E2E_CCG_PLUGIN: plugin,
  };
  await step("Building the images", process.execPath, [
    join(root, "images/build.ts"),
    ...["--output", images, "--cache", environment.SALLYPORT_E2E_IMAGES_CACHE],
    // Debian forgets a version when it has a newer one; a release insists on the pinned ones, a test does not.
    ...["--plugin", join(plugin, "SallyportCcgPlugin.dll"), "--allow-newer-base"],
  ]);
  return { environment, close: () => Promise.resolve() };
};

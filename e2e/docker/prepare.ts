/**
 * Makes the Docker bed ready: Debian's engine. Each suite starts one of its own, in namespaces of its own.
 * @module
 */
import { join } from "node:path";
import { BedUnavailable, type BedContext, type PreparedBed } from "../bed.ts";
import { runCommand } from "../guarded-process.ts";

export async function prepare({ say }: BedContext): Promise<PreparedBed> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new BedUnavailable(
      "The Docker bed needs Linux and root: the engine runs in namespaces of its own.",
    );
  }
  say("installing what is missing of Docker");
  const installed = await runCommand("sh", [join(import.meta.dirname, "setup.sh")], { timeoutMs: 900_000 });
  if (installed.code !== 0) {
    const said = `${installed.stdout}${installed.stderr}`.trim().slice(-2000);
    throw new BedUnavailable(`e2e/docker/setup.sh failed:\n${said}`);
  }
  // The binary of the package, also where another Docker is installed beside it.
  const version = await runCommand("dockerd", ["--version"]);
  if (version.code !== 0) throw new BedUnavailable(`dockerd does not run: ${version.stderr}`);
  say(version.stdout.trim());
  return { environment: {}, close: () => Promise.resolve() };
}

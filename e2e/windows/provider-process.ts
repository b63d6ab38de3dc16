/**
 * The account provider as a process of its own, that writes into a prefix's drive C.
 * @module
 */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardedProcess } from "../guarded-process.ts";
import { hostDirectory } from "./provider-fixture.ts";
import type { Wine } from "./wine.ts";

const main = join(import.meta.dirname, "..", "..", "src", "main.ts");

/** Runs `account-provider run` for the secret `webapp01` against the prefix's host directory until the test ends. */
export async function startProvider(
  t: TestContext,
  wine: Wine,
  logs: string,
  namespace: string,
  flags: readonly string[],
): Promise<GuardedProcess> {
  mkdirSync(join(hostDirectory(wine, namespace), ".."), { recursive: true });
  const provider = new GuardedProcess(
    process.execPath,
    [
      main,
      "account-provider",
      "run",
      "--namespace",
      namespace,
      "--secret",
      "webapp01",
      "--no-legacy-plugin",
      "--host-dir",
      hostDirectory(wine, namespace),
      ...flags,
    ],
    { logFile: join(logs, `${namespace}.log`) },
  );
  t.after(() => provider.stop());
  const portFile = join(hostDirectory(wine, namespace), "port.txt");
  for (let wait = 0; wait < 300; wait++) {
    if (statSync(portFile, { throwIfNoEntry: false }) !== undefined) return provider;
    if (provider.exit !== undefined) break;
    await sleep(50);
  }
  throw new Error(`the provider did not start: ${provider.tail()}`);
}

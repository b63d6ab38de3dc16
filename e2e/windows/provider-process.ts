/**
 * The account provider as a process of its own, that writes into a prefix's drive C.
 * @module
 */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardedProcess } from "../guarded-process.ts";
import { hostDirectory, keyVaultDirectory } from "./provider-fixture.ts";
import type { Wine } from "./wine.ts";

const main = join(import.meta.dirname, "..", "..", "src", "main.ts");

/** Whose end is the provider's, too: a test's, or a suite's. */
export interface Lifetime {
  after(end: () => Promise<unknown>): void;
}

/** Runs `account-provider run` for the secret `webapp01` against the prefix's host directory until the test ends. */
export function startProvider(
  lifetime: Lifetime,
  wine: Wine,
  logs: string,
  namespace: string,
  flags: readonly string[],
): Promise<GuardedProcess> {
  return start(lifetime, wine, logs, namespace, ["--secret", "webapp01", ...flags], [namespace]);
}

/** The same for the accounts and the Key Vault plugin input of an accounts file. */
export function startAccountsProvider(
  lifetime: Lifetime,
  wine: Wine,
  logs: string,
  namespace: string,
  { accounts, environment }: { readonly accounts: string; readonly environment: NodeJS.ProcessEnv },
): Promise<GuardedProcess> {
  const flags = ["--accounts", accounts];
  return start(lifetime, wine, logs, namespace, flags, [namespace, keyVaultDirectory], environment);
}

async function start(
  lifetime: Lifetime,
  wine: Wine,
  logs: string,
  namespace: string,
  flags: readonly string[],
  directories: readonly string[],
  environment: NodeJS.ProcessEnv = {},
): Promise<GuardedProcess> {
  mkdirSync(join(hostDirectory(wine, namespace), ".."), { recursive: true });
  const provider = new GuardedProcess(
    process.execPath,
    [
      ...[main, "account-provider", "run", "--namespace", namespace, "--no-legacy-plugin"],
      ...["--host-dir", hostDirectory(wine, namespace), ...flags],
    ],
    { logFile: join(logs, `${namespace}.log`), environment },
  );
  lifetime.after(() => provider.stop());
  const ports = directories.map((each) => join(hostDirectory(wine, each), "port.txt"));
  for (let wait = 0; wait < 300; wait++) {
    if (ports.every((port) => statSync(port, { throwIfNoEntry: false }) !== undefined)) return provider;
    if (provider.exit !== undefined) break;
    await sleep(50);
  }
  throw new Error(`the provider did not start: ${provider.tail()}`);
}

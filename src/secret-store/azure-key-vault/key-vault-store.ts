/**
 * Impersonation accounts kept in Azure Key Vault, each a secret of its own.
 * @module
 */
import type { Clock } from "../../clock.ts";
import type { KeyVaultMetrics } from "../../observe/key-vault-metrics.ts";
import type { Log } from "../../observe/log.ts";
import { unlessAborted } from "../../unless-aborted.ts";
import { worstStatus } from "../combined-secret-store.ts";
import type { SecretStore } from "../secret-store.ts";
import { describeIdentity, type AzureIdentity } from "./azure-identity.ts";
import type { AzureNetwork } from "./azure-transport.ts";
import { createKeyVaultReader } from "./key-vault-reading.ts";
import { secretUriOf, type SecretAddress } from "./secret-uri.ts";
import { WatchedSecret } from "./watched-secret.ts";

/** What a secret in a vault needs to be read. */
export interface KeyVaultDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: KeyVaultMetrics | undefined;
  readonly network?: AzureNetwork;
  readonly random?: () => number;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

export interface KeyVaultSecretOptions {
  readonly address: SecretAddress;
  readonly identity: AzureIdentity;
  readonly authorityHost?: string | undefined;
  readonly useByMs?: number;
}

export interface KeyVaultAccount extends KeyVaultSecretOptions {
  readonly name: string;
}

/** What a start waits for first answers at most. */
const longestStartMs = 5_000;

const defaultUseByMs = 5 * 60_000;

export function watchKeyVaultSecret(options: KeyVaultSecretOptions, deps: KeyVaultDeps): WatchedSecret {
  const { address, authorityHost, identity } = options;
  const { clock, log, metrics, random = Math.random } = deps;
  return new WatchedSecret({
    reader: createKeyVaultReader({
      address,
      identity,
      authorityHost,
      network: deps.network ?? {},
      clock,
      random,
      environment: deps.environment ?? process.env,
    }),
    label: secretUriOf(address).slice("https://".length),
    useByMs: options.useByMs ?? defaultUseByMs,
    clock,
    random,
    log,
    metrics,
  });
}

/**
 * Begins to read at once. `ready()` resolves when every secret was asked for once, answered or not, and after 5 s in any
 * case: one vault that is away does not keep the accounts of others waiting.
 */
export function createKeyVaultSecretStore(
  accounts: readonly KeyVaultAccount[],
  deps: KeyVaultDeps,
): SecretStore {
  const secrets = new Map(accounts.map((account) => [account.name, watchKeyVaultSecret(account, deps)]));
  const first = atMost(Promise.all([...secrets.values()].map((secret) => secret.refresh())), deps.clock);
  first.catch(() => undefined);
  return {
    find: (name) => secrets.get(name)?.outcome ?? { outcome: "missing" },
    origin: (name) => secrets.get(name)?.origin,
    status: () => worstStatus([...secrets.values()].map((secret) => secret.status)),
    statusOf: (name) => secrets.get(name)?.status,
    ready: (signal) => unlessAborted(first, signal),
    onChange(listener) {
      let stopped = false;
      for (const [name, secret] of secrets) {
        secret.onChange(() => {
          if (!stopped) listener(name);
        });
      }
      return () => {
        stopped = true;
      };
    },
    describe: () =>
      accounts
        .map(
          ({ name, address, identity }) =>
            `${name} from ${secretUriOf(address)} as ${describeIdentity(identity)}`,
        )
        .join(", "),
    async close() {
      await Promise.all([...secrets.values()].map((secret) => secret.close()));
    },
  };
}

/** Waits for the work, but not longer than a provider's start should. */
async function atMost(work: Promise<unknown>, clock: Clock): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(longestStartMs, resolve);
  try {
    await Promise.race([work, promise]);
  } finally {
    cancel();
  }
}

/**
 * One secret of a vault read once, with retries inside a budget: what Azure said becomes one of a few readings.
 * @module
 */
import { delay, type Clock } from "../../clock.ts";
import { reasonOf } from "../../errors.ts";
import { Secret } from "../../secret.ts";
import type { RefusalReason } from "../secret-store.ts";
import type { AzureIdentity } from "./azure-identity.ts";
import type { SdkReader, SdkSecret } from "./azure-sdk.ts";
import { AzureTransport, type AzureNetwork, type AzureService, type Exchange } from "./azure-transport.ts";
import { azureClouds, type SecretAddress } from "./secret-uri.ts";
import type { SecretValidity } from "./secret-value.ts";

/** Why nothing could be learnt about the secret; metrics carry it as a label. */
export type ReadFailure =
  | "identity-refused"
  | "identity-unavailable"
  | "identity-throttled"
  | "vault-unavailable"
  | "vault-throttled"
  | "token-refused"
  | "redirected"
  | "protocol"
  | "configuration";

export type KeyVaultReading =
  | {
      readonly kind: "value";
      readonly value: Secret;
      /** 32 hexadecimal digits. */
      readonly version: string | undefined;
      readonly validity: SecretValidity;
    }
  | { readonly kind: "missing" }
  | { readonly kind: "refused"; readonly reason: RefusalReason }
  | {
      readonly kind: "failed";
      readonly failure: ReadFailure;
      /** A sentence for the operator. */
      readonly reason: string;
      readonly retryAfterMs?: number;
    };

export interface KeyVaultReader {
  /** Never rejects, but with the signal's reason. */
  read(signal: AbortSignal): Promise<KeyVaultReading>;
}

export interface KeyVaultReaderOptions {
  readonly address: SecretAddress;
  readonly identity: AzureIdentity;
  /** Default: the authority of the vault's cloud, or AZURE_AUTHORITY_HOST. */
  readonly authorityHost?: string | undefined;
  readonly network: AzureNetwork;
  readonly clock: Clock;
  /** A number from 0 to 1 for the part of a wait that is left to chance. */
  readonly random: () => number;
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** All attempts and waits of one reading together. */
const budgetMs = 20_000;
const firstWaitMs = 800;

export function createKeyVaultReader(options: KeyVaultReaderOptions): KeyVaultReader {
  const { address, clock, identity, network, random } = options;
  const authorityHost = authorityOf(options);
  const transport = new AzureTransport({ vaultHost: address.vaultHost, authorityHost, network, clock });
  let reader: SdkReader | undefined;

  async function attempt(signal: AbortSignal): Promise<KeyVaultReading> {
    transport.begin(signal);
    try {
      const { createSdkReader } = await import("./azure-sdk.ts");
      reader ??= createSdkReader({
        vaultUrl: `https://${address.vaultHost}`,
        scope: `https://${address.vaultSuffix}/.default`,
        authorityHost,
        identity,
        send: (request) => transport.send(request),
      });
      return readingOf(await reader(address.name, address.version));
    } catch (error) {
      // A client that was refused starts from the beginning, with a new challenge and, where it can, a new token.
      reader = undefined;
      return explain(transport.last, error);
    }
  }

  return {
    async read(signal) {
      const ending = new AbortController();
      const stop = clock.after(budgetMs, () =>
        ending.abort(new Error(`no answer within ${budgetMs / 1000} s`)),
      );
      const within = AbortSignal.any([signal, ending.signal]);
      const end = clock.now() + budgetMs;
      try {
        for (let count = 0; ; count++) {
          const reading = await attempt(within);
          if (signal.aborted) throw reasonAsError(signal);
          if (reading.kind !== "failed" || !worthRepeating.has(reading.failure)) return reading;
          const wait = reading.retryAfterMs ?? firstWaitMs * 2 ** count * (0.5 + random() / 2);
          if (clock.now() + wait >= end) return reading;
          await delay(clock, wait, signal);
        }
      } finally {
        stop();
      }
    },
  };
}

const worthRepeating: ReadonlySet<ReadFailure> = new Set([
  "identity-unavailable",
  "identity-throttled",
  "vault-unavailable",
  "vault-throttled",
]);

function authorityOf({ address, authorityHost, environment }: KeyVaultReaderOptions): string {
  const known = azureClouds.find((cloud) => cloud.vaultSuffix === address.vaultSuffix)?.authorityHost;
  const named = authorityHost ?? environment["AZURE_AUTHORITY_HOST"];
  return named ?? known ?? "https://login.microsoftonline.com";
}

function readingOf(secret: SdkSecret): KeyVaultReading {
  if (secret.enabled === false) return { kind: "refused", reason: "disabled" };
  if (typeof secret.value !== "string")
    return { kind: "failed", failure: "protocol", reason: "The vault's answer has no value." };
  return {
    kind: "value",
    value: new Secret(secret.value),
    version: /^[a-f0-9]{32}$/.test(secret.version ?? "") ? secret.version : undefined,
    validity: {
      ...(secret.notBefore === undefined ? {} : { notBefore: secret.notBefore }),
      ...(secret.expires === undefined ? {} : { expires: secret.expires }),
    },
  };
}

const services: Readonly<Record<AzureService, string>> = {
  identity: "What gives tokens",
  vault: "The vault",
};

/** What the last exchange means. The libraries' own messages are left out: they repeat what services wrote. */
function explain(last: Exchange | undefined, error: unknown): KeyVaultReading {
  const failed = (failure: ReadFailure, reason: string, retryAfterMs?: number): KeyVaultReading => ({
    kind: "failed",
    failure,
    reason,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
  const first = reasonOf(error).split("\n")[0]?.slice(0, 200) ?? "";
  if (last === undefined) return failed("configuration", `No request could be made: ${first}`);
  const who = services[last.service];
  if ("failure" in last)
    return failed(`${last.service}-unavailable`, `${who} cannot be asked: ${last.failure}.`);
  const { authorized, service, status, retryAfterMs, code, innerCode } = last;
  const said = `${who} answered ${status}${code === undefined ? "" : ` ${innerCode ?? code}`}`;
  if (status === 429) return failed(`${service}-throttled`, `${said}.`, retryAfterMs);
  if (status >= 500) return failed(`${service}-unavailable`, `${said}.`, retryAfterMs);
  if (status >= 300 && status < 400)
    return failed("redirected", `${said}, a redirect, which is not followed.`);
  if (service === "identity") {
    // 404 and 410: the metadata service is being updated (Azure docs, "Error handling" of managed identities).
    if (status === 404 || status === 410 || status === 408)
      return failed("identity-unavailable", `${said}.`, retryAfterMs);
    if (status >= 400) return failed("identity-refused", `${said}: it gives no token for this identity.`);
    return failed("protocol", `${said}, which is no token.`);
  }
  if (status === 401 && !authorized)
    return failed("configuration", `There is no token to ask with: ${first}`);
  if (status === 401) return failed("token-refused", `${said}: it does not accept our token.`);
  if (status === 403 && innerCode === "SecretDisabled") return { kind: "refused", reason: "disabled" };
  // A firewall speaks about the network, not about the secret.
  if (status === 403 && code === "Forbidden" && !/Firewall|Connection/i.test(innerCode ?? ""))
    return { kind: "refused", reason: "forbidden" };
  if (status === 404 && code === "SecretNotFound") return { kind: "missing" };
  return failed("protocol", `${said}, which tells nothing about the secret.`);
}

function reasonAsError(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error("aborted");
}

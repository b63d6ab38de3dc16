/**
 * One secret of a vault kept fresh: read again before its use-by, the last good answer kept while nothing can be learnt,
 * dropped at once when the vault says that it is disabled, deleted or not for us.
 * @module
 */
import type { Clock } from "../../clock.ts";
import type { KeyVaultMetrics } from "../../observe/key-vault-metrics.ts";
import type { Log } from "../../observe/log.ts";
import type { AccountOrigin, AccountOutcome, StoreStatus } from "../secret-store.ts";
import type { KeyVaultReader, KeyVaultReading } from "./key-vault-reading.ts";
import { accountFromSecretValue } from "./secret-value.ts";

export interface WatchedSecretParts {
  readonly reader: KeyVaultReader;
  /** `contoso.vault.azure.net/secrets/web`, for the log. */
  readonly label: string;
  /** Age from which an answer counts as stale, milliseconds; it is read again before. */
  readonly useByMs: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: KeyVaultMetrics | undefined;
}

interface Known {
  readonly outcome: AccountOutcome;
  readonly version: string | undefined;
  readonly confirmedAt: number;
}

/** First and longest wait after a reading from which nothing was learnt; also how soon a refusal is asked about again. */
const firstRetryMs = 15_000;
const longestRetryMs = 60_000;
/** The longest wait that a service may ask for with Retry-After. */
const longestHoldMs = 5 * 60_000;

export class WatchedSecret {
  readonly #parts: WatchedSecretParts;
  readonly #ending = new AbortController();
  readonly #listeners = new Set<() => void>();
  #known: Known | undefined;
  #trouble: string | undefined;
  #failures = 0;
  #running: Promise<void> | undefined;
  #cancel: (() => void) | undefined;
  #heldUntil = 0;

  constructor(parts: WatchedSecretParts) {
    this.#parts = parts;
  }

  get outcome(): AccountOutcome {
    return this.#known?.outcome ?? { outcome: "unavailable", reason: this.#trouble ?? "it was not read yet" };
  }

  get origin(): AccountOrigin {
    const version = this.#known?.version;
    return {
      store: "azure-key-vault",
      ...(version === undefined ? {} : { version }),
      confirmedAt: this.#known?.confirmedAt ?? 0,
    };
  }

  get status(): StoreStatus {
    const { clock, useByMs } = this.#parts;
    const reason = this.#trouble;
    if (this.#known === undefined)
      return { state: "syncing", confirmedAt: 0, ...(reason === undefined ? {} : { reason }) };
    const { confirmedAt } = this.#known;
    if (reason !== undefined) return { state: "stale", confirmedAt, reason };
    if (clock.now() - confirmedAt > useByMs)
      return { state: "stale", confirmedAt, reason: "The vault has not answered yet." };
    return { state: "synced", confirmedAt };
  }

  /** Until when the service asked to be left alone (Retry-After), milliseconds since the epoch; 0 when it did not. */
  get heldUntil(): number {
    return this.#heldUntil;
  }

  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Reads now, or waits for the reading that is under way. Rejects only when it is closed. */
  refresh(): Promise<void> {
    this.#running ??= this.#read().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async close(): Promise<void> {
    this.#cancel?.();
    this.#ending.abort(new Error("the store is closed"));
    await this.#running?.catch(() => undefined);
    this.#cancel?.();
  }

  async #read(): Promise<void> {
    this.#cancel?.();
    const { clock, label, log, metrics, random, reader, useByMs } = this.#parts;
    const began = clock.now();
    const reading = await reader.read(this.#ending.signal);
    this.#ending.signal.throwIfAborted();
    const outcome = reading.kind === "failed" ? reading.failure : reading.kind;
    metrics?.readEnded(outcome, (clock.now() - began) / 1000);
    log.debug("key-vault.read", { secret: label, outcome, ms: clock.now() - began });
    const changed = this.#take(reading);
    // A revoked secret must be noticed whatever a service, or what stands before it, asks for.
    const hold = reading.kind === "failed" ? Math.min(reading.retryAfterMs ?? 0, longestHoldMs) : 0;
    this.#heldUntil = hold === 0 ? 0 : clock.now() + hold;
    const wait =
      reading.kind === "value"
        ? useByMs * (0.75 + random() * 0.1)
        : Math.max(Math.min(firstRetryMs * 2 ** Math.max(0, this.#failures - 1), longestRetryMs), hold);
    this.#cancel = clock.after(wait, () => {
      this.refresh().catch(() => undefined);
    });
    if (changed) for (const listener of this.#listeners) listener();
  }

  /** @returns whether the answer is another one now. */
  #take(reading: KeyVaultReading): boolean {
    const { clock, label, log } = this.#parts;
    const before = this.outcome;
    if (reading.kind === "failed") {
      this.#failures++;
      if (this.#trouble !== reading.reason)
        log.warn("key-vault.trouble", { secret: label, failure: reading.failure, reason: reading.reason });
      this.#trouble = reading.reason;
      return false;
    }
    if (this.#trouble !== undefined) log.info("key-vault.answers-again", { secret: label });
    this.#trouble = undefined;
    this.#failures = 0;
    const confirmedAt = clock.now();
    this.#known =
      reading.kind === "value"
        ? {
            outcome: accountFromSecretValue(reading.value.reveal(), reading.validity, confirmedAt),
            version: reading.version,
            confirmedAt,
          }
        : {
            outcome:
              reading.kind === "missing"
                ? { outcome: "missing" }
                : { outcome: "refused", reason: reading.reason },
            version: undefined,
            confirmedAt,
          };
    return !sameOutcome(before, this.#known.outcome);
  }
}

function sameOutcome(one: AccountOutcome, other: AccountOutcome): boolean {
  if (one.outcome !== "found" || other.outcome !== "found")
    return JSON.stringify(one) === JSON.stringify(other);
  return (
    one.account.username === other.account.username &&
    one.account.domainName === other.account.domainName &&
    one.account.password.equals(other.account.password) &&
    JSON.stringify(one.warnings) === JSON.stringify(other.warnings)
  );
}

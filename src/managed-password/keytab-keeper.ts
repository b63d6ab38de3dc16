/**
 * A keytab that stays right: written at once, again before the password changes, and switched over at the moment of the
 * change, whether or not a domain controller can be asked just then.
 * @module
 */
import { delay, type Clock } from "../clock.ts";
import { asSallyportError, type SallyportError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { accountKeytabEntries, type AccountKeytabOptions } from "./account-keytab.ts";
import { encodeKeytab, type KeytabEntry } from "./keytab.ts";
import { nextReading } from "./password-schedule.ts";
import type { Retrieval, RetrievedPassword } from "./retrieve.ts";

export interface KeytabKeeperOptions extends Pick<
  AccountKeytabOptions,
  "realm" | "encryptionTypes" | "serviceNames"
> {
  readonly clock: Clock;
  readonly log: Log;
  /** Asks the directory. Rejects when it cannot be asked. */
  readonly retrieve: (signal: AbortSignal) => Promise<Retrieval>;
  /** The entries of the file as it is. */
  readonly read: () => Promise<readonly KeytabEntry[]>;
  readonly write: (contents: Buffer) => Promise<void>;
  /** 0 to 1. */
  readonly random?: () => number;
}

/** What one round did, and when the next is due (milliseconds since 1970). */
export type KeytabRound =
  | { readonly outcome: "written"; readonly retrieved: RetrievedPassword; readonly next: number }
  | {
      readonly outcome: "refused";
      readonly retrieval: Exclude<Retrieval, { readonly outcome: "retrieved" }>;
      readonly next: number;
    }
  | { readonly outcome: "failed"; readonly error: SallyportError; readonly next: number };

const firstRetryMs = 1000;
const longestRetryMs = 60_000;
/** An account that may not be read: somebody has to do something about it first. */
const refusedRetryMs = 60_000;

export class KeytabKeeper {
  readonly #options: KeytabKeeperOptions;
  readonly #random: () => number;
  #failures = 0;
  /** The password that was read early, until it has been switched to. */
  #pending: { readonly retrieved: RetrievedPassword; readonly at: number } | undefined;

  constructor(options: KeytabKeeperOptions) {
    this.#options = options;
    this.#random = options.random ?? Math.random;
  }

  /** Reads and writes once. Throws nothing. */
  async round(signal: AbortSignal): Promise<KeytabRound> {
    const { clock, log } = this.#options;
    try {
      await this.#switchIfDue();
      const retrieval = await this.#options.retrieve(signal);
      this.#failures = 0;
      if (retrieval.outcome !== "retrieved") {
        log.error("keytab.failed", { reason: retrieval.outcome });
        return { outcome: "refused", retrieval, next: this.#soonest(clock.now() + refusedRetryMs) };
      }
      await this.#write(retrieval, false);
      const next = nextReading(retrieval.password, retrieval.readAt, this.#random());
      const expiry = retrieval.readAt + Number(retrieval.password.queryInterval / 10_000n);
      this.#pending = retrieval.early ? { retrieved: retrieval, at: expiry } : undefined;
      log.info("keytab.written", {
        account: retrieval.account.accountName,
        keyVersion: retrieval.currentVersion,
        early: retrieval.early,
        next: new Date(this.#soonest(next)).toISOString(),
      });
      return { outcome: "written", retrieved: retrieval, next: this.#soonest(next) };
    } catch (thrown) {
      const error = asSallyportError(thrown);
      const pause =
        Math.min(firstRetryMs * 2 ** this.#failures++, longestRetryMs) * (0.5 + this.#random() / 2);
      log.warn("keytab.failed", { code: error.code, reason: error.message });
      return { outcome: "failed", error, next: this.#soonest(clock.now() + pause) };
    }
  }

  /** Rounds until the signal is aborted. */
  async keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { next } = await this.round(signal);
      try {
        await delay(this.#options.clock, Math.max(next - this.#options.clock.now(), 0), signal);
      } catch {
        return;
      }
    }
  }

  /** A switch that is due comes before anything else. */
  #soonest(next: number): number {
    return this.#pending === undefined ? next : Math.min(next, this.#pending.at);
  }

  /** The early password is in force: the account's own name takes its keys, even if nobody can be asked now. */
  async #switchIfDue(): Promise<void> {
    const { clock, log } = this.#options;
    const pending = this.#pending;
    if (pending === undefined || clock.now() < pending.at) return;
    await this.#write(pending.retrieved, true);
    this.#pending = undefined;
    log.info("keytab.switched", {
      account: pending.retrieved.account.accountName,
      keyVersion: pending.retrieved.currentVersion,
    });
  }

  async #write(retrieved: RetrievedPassword, inForce: boolean): Promise<void> {
    const { clock, realm, encryptionTypes, serviceNames } = this.#options;
    const replaces = await this.#options.read();
    const entries = accountKeytabEntries(retrieved, {
      realm,
      ...(encryptionTypes === undefined ? {} : { encryptionTypes }),
      ...(serviceNames === undefined ? {} : { serviceNames }),
      now: clock.now(),
      inForce,
      replaces,
    });
    // The same keys again would only move the file under its readers.
    if (sameKeys(replaces, entries)) {
      this.#options.log.debug("keytab.current", { keyVersion: retrieved.currentVersion });
      return;
    }
    await this.#options.write(encodeKeytab(entries));
  }
}

/** Whether two lists hold the same keys, whenever they were written. */
function sameKeys(one: readonly KeytabEntry[], other: readonly KeytabEntry[]): boolean {
  const untimed = (entries: readonly KeytabEntry[]): Buffer =>
    encodeKeytab(entries.map((entry) => ({ ...entry, timestamp: 0 })));
  return untimed(one).equals(untimed(other));
}

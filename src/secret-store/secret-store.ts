/**
 * Where impersonation accounts are kept: the port that every store implements. A store answers from memory; keeping
 * that memory fresh is its own business, and how fresh it is, it says in `status()`.
 * @module
 */
import type { Secret } from "../secret.ts";

/** The ordinary AD account that may retrieve a gMSA's managed password ("portable identity"). */
export interface ImpersonationAccount {
  readonly username: string;
  readonly password: Secret;
  /** DNS name of the account's domain. */
  readonly domainName: string;
}

/** Something about an account that works but should be mended; never holds a value. */
export interface AccountWarning {
  readonly key: AccountKey;
  readonly problem: "trailing newline trimmed" | "not a fully qualified domain name";
}

/** The keys of a Kubernetes Secret that holds an impersonation account. */
export const accountKeys = ["username", "password", "domainName"] as const;
export type AccountKey = (typeof accountKeys)[number];

export type AccountOutcome =
  | {
      readonly outcome: "found";
      readonly account: ImpersonationAccount;
      readonly warnings: readonly AccountWarning[];
    }
  | { readonly outcome: "missing" }
  /** The store holds something under this name that is no account: which key, and what is wrong with it. */
  | { readonly outcome: "invalid"; readonly key: AccountKey; readonly problem: AccountProblem };

export type AccountProblem = "missing" | "empty" | "not UTF-8" | "not base64";

/** How far what the store answers may be behind the truth. */
export interface StoreStatus {
  readonly state: "syncing" | "synced" | "stale";
  /** When the store last knew that it was up to date, milliseconds since the epoch; 0: never. */
  readonly confirmedAt: number;
  /** Why it is not in sync, as a sentence. */
  readonly reason?: string;
}

export interface SecretStore {
  /** The account of this name, from memory. */
  find(name: string): AccountOutcome;
  status(): StoreStatus;
  /** Resolves when the store has read everything once. Rejects when the signal is aborted first. */
  ready(signal: AbortSignal): Promise<void>;
  /** Calls back with the account's name whenever an answer may have changed. */
  onChange(listener: (name: string) => void): () => void;
  /** What the store reads, for the log: `secret contoso/web-creds in the cluster at …`. */
  describe(): string;
  close(): Promise<void>;
}

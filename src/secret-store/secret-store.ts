/**
 * Where impersonation accounts are kept: the port that every store implements. A store answers from memory; keeping
 * that memory fresh is its own business, and how fresh it is, it says in `status()`.
 *
 * Every adapter passes `test/contracts/secret-store-contract.ts`.
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
  readonly key: AccountKey | "value";
  readonly problem:
    | "trailing newline trimmed"
    | "not a fully qualified domain name"
    | "past its expiry date"
    | "before its activation date";
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
  /**
   * The store holds something under this name that is no account: which key, and what is wrong with it. `value` is the
   * whole of a secret that is one text.
   */
  | { readonly outcome: "invalid"; readonly key: AccountKey | "value"; readonly problem: AccountProblem }
  /** The store says that it will not hand it out, or not to us; the last good value is not used any more. */
  | { readonly outcome: "refused"; readonly reason: RefusalReason }
  /** Nothing is known: it was never read. Why, as a sentence without a secret in it. */
  | { readonly outcome: "unavailable"; readonly reason: string };

export type AccountProblem =
  | "missing"
  | "empty"
  | "not UTF-8"
  | "not base64"
  | "too long"
  | "without a backslash"
  | "without a colon after the backslash"
  | "not the JSON of an account";

/** Why a store refuses: the secret is switched off, or the identity that asks may not read it. */
export type RefusalReason = "disabled" | "forbidden";

/** The kinds of store, as audit and metrics name them. */
export const storeKinds = ["kubernetes", "folder", "azure-key-vault"] as const;
export type StoreKind = (typeof storeKinds)[number];

/** Where an answer came from, for the audit log. */
export interface AccountOrigin {
  readonly store: StoreKind;
  /** The store's own name for this version of the secret, where it has one. */
  readonly version?: string;
  /** When the store last confirmed this answer, milliseconds since the epoch; 0: never. */
  readonly confirmedAt: number;
}

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
  /** Which store answers for this name, with which version, confirmed when; `undefined`: none that we know. */
  origin(name: string): AccountOrigin | undefined;
  /** The worst of all accounts. */
  status(): StoreStatus;
  /** How fresh the answer for this name is; `undefined`: nothing is known about the name. */
  statusOf(name: string): StoreStatus | undefined;
  /**
   * Resolves when the store has read everything once; one that asks for each account apart, when it has asked. Rejects
   * when the signal is aborted first.
   */
  ready(signal: AbortSignal): Promise<void>;
  /** Calls back with the account's name whenever an answer may have changed. */
  onChange(listener: (name: string) => void): () => void;
  /** What the store reads, for the log: `secret contoso/web-creds in the cluster at …`. */
  describe(): string;
  close(): Promise<void>;
}

/** What is wrong, in words that follow the account's name: `is not there`. */
export function unusableBecause(outcome: Exclude<AccountOutcome, { readonly outcome: "found" }>): string {
  switch (outcome.outcome) {
    case "missing":
      return "is not there";
    case "invalid":
      return `cannot be used: its ${outcome.key} is ${outcome.problem}`;
    case "refused":
      return outcome.reason === "disabled" ? "is disabled" : "may not be read by our identity";
    case "unavailable":
      return `could not be read yet: ${outcome.reason}`;
  }
}

/**
 * Keeps the login endpoint from being a way to guess passwords, to lock other people's accounts, or to load the domain
 * controllers. Everything is counted in memory; what a replica cannot see, the directory's own count tells it.
 * @module
 */
import type { Clock } from "../../clock.ts";

export interface LoginGuardOptions {
  readonly clock: Clock;
  /** Attempts from one source address in a minute. */
  readonly perAddress: number;
  /** Attempts of everybody together in a minute. */
  readonly overall: number;
}

/** AD's lock-out policy, as the domain says it. */
export interface LockoutPolicy {
  /** Wrong passwords after which AD locks an account; 0: never. */
  readonly threshold: number;
  readonly windowMs: number;
}

/** What the directory knows of wrong passwords; it forgets them after its window. */
export interface DirectoryCount {
  readonly wrongPasswords: number;
  readonly lastWrongAt: number | undefined;
}

const minute = 60_000;
/** Where the domain locks nobody out, guessing still has a price. */
const withoutPolicy = { most: 10, windowMs: 15 * minute } as const;
const mostRemembered = 50_000;

interface Window {
  readonly began: number;
  count: number;
}

/** One attempt on an account. Exactly one of the two ends it. */
export interface Attempt {
  /** The password was wrong, or whether it was is not known. */
  failed(): void;
  /** It was right, or it was never sent. */
  cleared(): void;
}

export class LoginGuard {
  readonly #options: LoginGuardOptions;
  readonly #addresses = new Map<string, Window>();
  readonly #accounts = new Map<string, { failures: readonly number[]; pending: number }>();
  #all: Window | undefined;

  constructor(options: LoginGuardOptions) {
    this.#options = options;
  }

  /** Whether this source may try now. IPv6 sources are counted by their /64. */
  admits(address: string): boolean {
    const now = this.#options.clock.now();
    const source = sourceOf(address);
    const window = current(this.#addresses.get(source), now);
    this.#addresses.delete(source);
    this.#addresses.set(source, window);
    forgetOldest(this.#addresses);
    this.#all = current(this.#all, now);
    if (window.count >= this.#options.perAddress || this.#all.count >= this.#options.overall) return false;
    window.count += 1;
    this.#all.count += 1;
    return true;
  }

  /**
   * Whether a password may be tried on this account: always one fewer than would lock it, those counted that are still
   * under way. `undefined`: not now.
   *
   * @param account GUID of the account, or a digest of the name of one that does not exist, which must look alike
   * @param counted wrong passwords that the directory itself has counted, through whatever door they came
   */
  attempt(account: string, policy: LockoutPolicy, counted: DirectoryCount | undefined): Attempt | undefined {
    const now = this.#options.clock.now();
    const { most, windowMs } =
      policy.threshold === 0
        ? withoutPolicy
        : { most: Math.max(policy.threshold - 1, 1), windowMs: Math.max(policy.windowMs, minute) };
    const known = this.#accounts.get(account) ?? { failures: [], pending: 0 };
    known.failures = known.failures.filter((at) => now - at < windowMs);
    // Our own failures are among the directory's, once it has counted them.
    const lastWrongAt = counted?.lastWrongAt ?? -Infinity;
    const theirs =
      policy.threshold === 0 || now - lastWrongAt >= windowMs ? 0 : (counted?.wrongPasswords ?? 0);
    if (Math.max(known.failures.length, theirs) + known.pending >= most) return undefined;
    known.pending += 1;
    this.#accounts.delete(account);
    this.#accounts.set(account, known);
    forgetOldest(this.#accounts);
    let ended = false;
    const end = (failed: boolean): void => {
      if (ended) return;
      ended = true;
      known.pending -= 1;
      if (failed) known.failures = [...known.failures, this.#options.clock.now()];
      else known.failures = [];
    };
    return { failed: () => end(true), cleared: () => end(false) };
  }
}

function current(window: Window | undefined, now: number): Window {
  return window !== undefined && now - window.began < minute ? window : { began: now, count: 0 };
}

function forgetOldest(map: Map<string, unknown>): void {
  for (const oldest of map.keys()) {
    if (map.size <= mostRemembered) return;
    map.delete(oldest);
  }
}

function sourceOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined || !address.includes(":")) return mapped ?? address;
  const [head = "", tail = ""] = address.split("%")[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  const rest = tail === "" ? [] : tail.split(":");
  const zeros = address.includes("::")
    ? Array.from({ length: Math.max(8 - groups.length - rest.length, 0) }, () => "0")
    : [];
  return [...groups, ...zeros, ...rest]
    .slice(0, 4)
    .map((group) => group.toLowerCase().replace(/^0+(?=.)/, ""))
    .join(":");
}

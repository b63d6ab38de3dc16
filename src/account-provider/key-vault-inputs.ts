/**
 * Answers to plugin inputs that name a Key Vault secret themselves (`ObjectId=…;SecretUri=…`). A credential spec is written
 * by people who may not make this host call any URL: only vaults and identities that the administrator listed are asked,
 * and everything else is refused before a request leaves.
 * @module
 */
import { delay, type Clock } from "../clock.ts";
import { readKeyVaultInput, type KeyVaultInputProblem } from "../credential-spec/key-vault-input.ts";
import type { Log } from "../observe/log.ts";
import {
  readSecretUri,
  secretUriOf,
  type SecretAddress,
  type SecretUriProblem,
} from "../secret-store/azure-key-vault/secret-uri.ts";
import type { WatchedSecret } from "../secret-store/azure-key-vault/watched-secret.ts";
import { worstStatus } from "../secret-store/combined-secret-store.ts";
import type { AccountOrigin, AccountOutcome, StoreStatus } from "../secret-store/secret-store.ts";
import type { AllowedIdentity } from "./accounts-file.ts";

/** Why an input was refused before anything was asked. */
export type InputRefusal =
  | KeyVaultInputProblem
  | SecretUriProblem
  | "switched off"
  | "a vault that is not allowed"
  | "an identity that is not allowed";

export type KeyVaultInputAnswer =
  | { readonly allowed: false; readonly reason: InputRefusal }
  | {
      readonly allowed: true;
      /** `contoso.vault.azure.net/secrets/web`. */
      readonly secret: string;
      readonly objectId: string;
      readonly outcome: AccountOutcome;
      readonly origin: AccountOrigin;
    };

export interface KeyVaultInputsOptions {
  readonly vaults: ReadonlySet<string>;
  readonly identities: ReadonlyMap<string, AllowedIdentity>;
  /** Begins to follow a secret. */
  readonly watch: (address: SecretAddress, as: AllowedIdentity) => WatchedSecret;
  readonly clock: Clock;
  readonly log: Log;
  /** Secrets that are kept fresh at most; for one more, the one that was asked for longest ago is forgotten. */
  readonly capacity?: number;
}

interface Followed {
  readonly watched: WatchedSecret;
  /** The reading that a request without an answer waits for, and when it ended. */
  asked: Promise<void>;
  askedUntil: number | undefined;
}

/** The plugin waits 10 s for an answer as long as nothing else is set. */
const patienceMs = 9_000;
/** How long a secret from which nothing was learnt is not asked about again, however often it is asked for. */
const restMs = 5_000;
const defaultCapacity = 64;
/** Places beyond the capacity for first readings, in which it turns out whether a secret is there at all. */
const newcomers = 8;
const tooMany: AccountOutcome = {
  outcome: "unavailable",
  reason: "too many other secrets are being read",
};

export class KeyVaultInputs {
  readonly #options: KeyVaultInputsOptions;
  readonly #suffixes: readonly string[];
  readonly #capacity: number;
  /** The one that was asked for last comes last. */
  readonly #followed = new Map<string, Followed>();

  constructor(options: KeyVaultInputsOptions) {
    this.#options = options;
    this.#capacity = options.capacity ?? defaultCapacity;
    this.#suffixes = [...options.vaults].map((host) => host.slice(host.indexOf(".") + 1));
  }

  /** @param text the request's `object` as it came. */
  async find(text: string): Promise<KeyVaultInputAnswer> {
    const input = readKeyVaultInput(text);
    if (!input.ok) return { allowed: false, reason: input.problem };
    const uri = readSecretUri(input.secretUri, this.#suffixes);
    if (!uri.ok) return { allowed: false, reason: uri.problem };
    const { address } = uri;
    if (!this.#options.vaults.has(address.vaultHost))
      return { allowed: false, reason: "a vault that is not allowed" };
    const identity = this.#options.identities.get(input.objectId);
    if (identity === undefined) return { allowed: false, reason: "an identity that is not allowed" };
    const followed = await this.#follow(input.objectId, address, identity);
    return {
      allowed: true,
      secret: secretUriOf(address).slice("https://".length),
      objectId: input.objectId,
      outcome: followed?.watched.outcome ?? tooMany,
      origin: followed?.watched.origin ?? { store: "azure-key-vault", confirmedAt: 0 },
    };
  }

  /** Of the secrets that are followed, the worst; `undefined` while there is none. */
  status(): StoreStatus | undefined {
    const all = [...this.#followed.values()].map(({ watched }) => watched.status);
    const read = all.filter(({ state }) => state !== "syncing");
    return read.length === 0 ? undefined : worstStatus(read);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#followed.values()].map(({ watched }) => watched.close()));
    this.#followed.clear();
  }

  /** @returns `undefined` when there is no place for one more. */
  async #follow(
    objectId: string,
    address: SecretAddress,
    identity: AllowedIdentity,
  ): Promise<Followed | undefined> {
    const { clock } = this.#options;
    const key = `${objectId} ${secretUriOf(address)}`;
    const known = this.#followed.get(key);
    if (known === undefined && !this.#makeRoom()) return undefined;
    const followed = known ?? this.#begin(key, address, identity);
    this.#followed.delete(key);
    this.#followed.set(key, followed);
    const usable = (): boolean => ["found", "invalid"].includes(followed.watched.outcome.outcome);
    if (usable()) return followed;
    if (mayAskAgain(followed, clock.now())) this.#ask(key, followed);
    const enough = new AbortController();
    await Promise.race([followed.asked, delay(clock, patienceMs, enough.signal)]).catch(() => undefined);
    enough.abort();
    return followed;
  }

  #begin(key: string, address: SecretAddress, identity: AllowedIdentity): Followed {
    const watched = this.#options.watch(address, identity);
    const followed: Followed = { watched, asked: Promise.resolve(), askedUntil: undefined };
    this.#ask(key, followed);
    return followed;
  }

  #ask(key: string, followed: Followed): void {
    const { clock } = this.#options;
    followed.askedUntil = undefined;
    followed.asked = followed.watched
      .refresh()
      .catch(() => undefined)
      .finally(() => {
        followed.askedUntil = clock.now();
        if (followed.watched.outcome.outcome === "found") {
          this.#settle(key);
          return;
        }
        // Made-up names must not keep the vault busy: what is no account is forgotten, not followed. But with it, the
        // vault's wish to be left alone would be forgotten, too.
        const rest = Math.max(restMs, followed.watched.heldUntil - clock.now());
        clock.after(rest, () => {
          const asking = followed.askedUntil === undefined;
          if (!asking && followed.watched.outcome.outcome !== "found") this.#forget(key, followed);
        });
      });
  }

  #forget(key: string, followed: Followed): void {
    if (this.#followed.get(key) === followed) this.#followed.delete(key);
    followed.watched.close().catch(() => undefined);
  }

  /**
   * Makes room for a newcomer, of which nobody knows yet whether it is there: only what turned out to be no account goes.
   * @returns whether there is room.
   */
  #makeRoom(): boolean {
    const { clock } = this.#options;
    if (this.#followed.size < this.#capacity) return true;
    const useless = [...this.#followed].find(
      ([, each]) => each.watched.outcome.outcome !== "found" && mayBeForgotten(each, clock.now()),
    );
    if (useless !== undefined) this.#forget(...useless);
    return this.#followed.size < this.#capacity + newcomers;
  }

  /** An account was found: the one that was asked for longest ago makes room for it. */
  #settle(key: string): void {
    const { clock, log } = this.#options;
    if (this.#followed.size <= this.#capacity || !this.#followed.has(key)) return;
    const others = [...this.#followed].filter(
      ([other, each]) => other !== key && mayBeForgotten(each, clock.now()),
    );
    const leaving = others.find(([, { watched }]) => watched.outcome.outcome !== "found") ?? others[0];
    if (leaving === undefined) return;
    const [objectId, secret] = leaving[0].split(" https://");
    log.info("key-vault.input-forgotten", { identity: objectId, secret, kept: this.#capacity });
    this.#forget(...leaving);
  }
}

function mayAskAgain({ askedUntil, watched }: Followed, now: number): boolean {
  return askedUntil !== undefined && now - askedUntil >= restMs && now >= watched.heldUntil;
}

/** Its first reading has ended, and the vault does not want to be left alone about it. */
function mayBeForgotten({ askedUntil, watched }: Followed, now: number): boolean {
  return askedUntil !== undefined && now >= watched.heldUntil;
}

/**
 * An authority for a process that outlives it. A successor is made when the present authority is two thirds through its
 * life, and published beside it; it signs nothing before clients could have learned of it, that is before the rotation
 * of leaves that follows its publication. The predecessor stays trusted until the last leaf it signed has expired.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { CertificateAuthority, CertificateRequest, IssuedCertificate } from "./authority.ts";
import { renewalTime } from "./rotation.ts";

/** What {@link decideAuthorities} needs to know of one authority. Times are milliseconds since the epoch. */
export interface AuthorityState {
  /** When this process made or received it. */
  readonly since: number;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Whether the clients' trust bundle has it. */
  readonly published: boolean;
  /** End of the last leaf that it signed; `undefined` when it signed none. */
  readonly lastLeafNotAfter: number | undefined;
}

export interface AuthorityDecision {
  /** Index of the authority that signs from now on; `undefined` when the one to be created has to. */
  readonly signer: number | undefined;
  /** Whether a successor is to be made now. */
  readonly create: boolean;
  /** Indexes of the authorities that nothing depends on any more. */
  readonly drop: readonly number[];
}

/**
 * Decides at the start of a rotation of leaves. `authorities` stand in the order in which they were made; `signer` is
 * the index of the one that signed last, or `undefined` at the very start.
 *
 * An authority that has expired never signs: its successor takes over at once then, published or not, since nothing
 * that it could break still works.
 */
export function decideAuthorities(
  authorities: readonly AuthorityState[],
  signer: number | undefined,
  now: number,
): AuthorityDecision {
  const isAlive = (index: number): boolean => (authorities[index]?.notAfter ?? 0) > now;
  const newest = authorities.length - 1;
  const present = signer !== undefined && isAlive(signer) ? signer : undefined;
  const successorReady =
    newest >= 0 && isAlive(newest) && (authorities[newest]?.published === true || present === undefined);
  const next = successorReady ? newest : present;
  const newestState = authorities[newest];
  const create =
    newestState === undefined || !isAlive(newest) || now >= renewalTime(newestState, newestState.since);
  const drop = [...authorities.entries()]
    .filter(([index]) => index !== next)
    .filter(([index, state]) => !isAlive(index) || (index !== newest && (state.lastLeafNotAfter ?? 0) <= now))
    .map(([index]) => index);
  return { signer: next, create, drop };
}

/** What {@link AuthorityChain.advance} did. */
export interface AuthorityChange {
  /** New in the trust bundle: publish it, then call {@link AuthorityChain.confirmPublished}. */
  readonly added: readonly CertificateAuthority[];
  /** No longer in the trust bundle: clients can forget them. */
  readonly removed: readonly CertificateAuthority[];
  /** Why no successor could be made, when one was due and the present authority goes on instead. */
  readonly creationFailure?: unknown;
}

export interface AuthorityChain {
  /** Every authority that clients have to trust, oldest first. */
  readonly trusted: readonly CertificateAuthority[];
  /** Their certificates, one after another. */
  trustBundlePem(): string;
  /**
   * Call it at the start of every rotation of leaves, before {@link issue}. Calls one after another are made to wait.
   * Rejects only when no authority is left that could sign.
   */
  advance(): Promise<AuthorityChange>;
  /** Says that clients can see these authorities: {@link trusted} as it was when the bundle was written for them. */
  confirmPublished(published: readonly CertificateAuthority[]): void;
  /** Signs with the present authority, which {@link advance} has to have chosen. See {@link CertificateAuthority}. */
  issue(request: CertificateRequest): Promise<IssuedCertificate>;
}

interface Member {
  readonly authority: CertificateAuthority;
  readonly since: number;
  published: boolean;
  lastLeafNotAfter: number | undefined;
}

/** @param ports.createAuthority makes one authority more, the first one too. */
export function createAuthorityChain(ports: {
  readonly clock: Clock;
  readonly createAuthority: () => Promise<CertificateAuthority>;
}): AuthorityChain {
  const { clock, createAuthority } = ports;
  let members: readonly Member[] = [];
  let signer: Member | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  const step = async (): Promise<AuthorityChange> => {
    const states = members.map(({ authority, ...state }) => ({
      ...state,
      notBefore: authority.notBefore,
      notAfter: authority.notAfter,
    }));
    const present = signer === undefined ? undefined : members.indexOf(signer);
    const decision = decideAuthorities(states, present, clock.now());
    const added: CertificateAuthority[] = [];
    let failure: { readonly creationFailure?: unknown } = {};
    let next = decision.signer === undefined ? undefined : members[decision.signer];
    let created: Member | undefined;
    if (decision.create) {
      try {
        const authority = await createAuthority();
        created = { authority, since: clock.now(), published: false, lastLeafNotAfter: undefined };
        added.push(authority);
      } catch (error) {
        if (next === undefined) throw error;
        failure = { creationFailure: error };
      }
    }
    next ??= created;
    const removed = members.filter((_, index) => decision.drop.includes(index));
    members = [
      ...members.filter((member) => !removed.includes(member)),
      ...(created === undefined ? [] : [created]),
    ];
    signer = next;
    return { added, removed: removed.map((member) => member.authority), ...failure };
  };

  return {
    get trusted() {
      return members.map((member) => member.authority);
    },
    trustBundlePem: () => members.map((member) => member.authority.certificatePem).join(""),
    advance() {
      const done = queue.then(step);
      queue = done.catch(() => undefined);
      return done;
    },
    confirmPublished(published) {
      for (const member of members) member.published ||= published.includes(member.authority);
    },
    async issue(request) {
      const by = signer;
      if (by === undefined) throw new TypeError("advance() chooses the signing authority and was not called");
      // Noted before the leaf exists, so that no change meanwhile can drop the authority that is signing it.
      const latestEnd = Math.min(clock.now() + request.lifetimeMs, by.authority.notAfter);
      by.lastLeafNotAfter = Math.max(by.lastLeafNotAfter ?? 0, latestEnd);
      const issued = await by.authority.issue(request);
      by.lastLeafNotAfter = Math.max(by.lastLeafNotAfter, issued.notAfter);
      return issued;
    },
  };
}

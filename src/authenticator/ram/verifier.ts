/**
 * Verifies RAM tokens: parses, asks STS who signed, remembers the answer for as long as the token lives.
 *
 * What is remembered is the identity, never the mapping, so that a mapping counts at once. Tokens are kept as a keyed
 * hash only. Reviews of one token that come together share one call; what STS refuses for good is remembered shortly;
 * everything that may pass is answered so that the API server asks again.
 * @module
 */
import { createHmac, randomBytes } from "node:crypto";
import { STATUS_CODES } from "node:http";
import type { Clock } from "../../clock.ts";
import type { Log } from "../../observe/log.ts";
import type { AuthenticatorMetrics } from "../../observe/authenticator-metrics.ts";
import type { IdentityVerifier, Refused, Unavailable, Verification } from "../identity-verifier.ts";
import { parseToken, signatureLifeMs, type RamToken } from "./parse-token.ts";
import type { RamIdentity } from "./ram-identity.ts";
import { describeStsError } from "./sts-answer.ts";
import type { StsCall, StsClient } from "./sts-client.ts";
import { createKeyedBuckets, createTokenBucket, type BucketOptions } from "./token-bucket.ts";
import { v1Prefix, v2Prefix } from "./token.ts";

export interface RamVerifierOptions {
  readonly clusterId: string;
  readonly acceptV1: boolean;
  readonly extraParameters: readonly string[];
  /** Longest token in characters. */
  readonly maxTokenLength: number;
  /** How far a client's clock may be ahead, in milliseconds. */
  readonly clockSkewMs: number;
  /** Longest time that an identity is remembered, in milliseconds; never longer than the token lives. */
  readonly identityTtlMs: number;
  /** How long a definite refusal is remembered, in milliseconds. */
  readonly refusalTtlMs: number;
  /** Identities and refusals remembered at once, each. */
  readonly cacheEntries: number;
  readonly stsRate: BucketOptions;
  readonly accessKeyRate: BucketOptions;
  /** Calls to STS at once. */
  readonly stsConcurrency: number;
}

export const ramVerifierDefaults = {
  acceptV1: false,
  extraParameters: [],
  maxTokenLength: 8192,
  clockSkewMs: 5 * 60 * 1000,
  identityTtlMs: signatureLifeMs,
  refusalTtlMs: 10_000,
  cacheEntries: 65_536,
  // STS allows 100 calls a second for each account; half of it leaves room for a second authenticator.
  stsRate: { rate: 50, burst: 100 },
  accessKeyRate: { rate: 10, burst: 40 },
  stsConcurrency: 64,
} as const satisfies Omit<RamVerifierOptions, "clusterId">;

export interface RamVerifierDeps {
  readonly sts: StsClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: AuthenticatorMetrics;
}

type RamVerification = Verification<RamIdentity>;

export function createRamVerifier(
  deps: RamVerifierDeps,
  options: RamVerifierOptions,
): IdentityVerifier<RamIdentity> {
  const { clock, metrics } = deps;
  const cacheKey = randomBytes(32);
  const identities = createExpiringMap<RamVerification>(clock, options.cacheEntries);
  const refusals = createExpiringMap<RamVerification>(clock, options.cacheEntries);
  const inFlight = new Map<string, Promise<RamVerification>>();
  const ownBucket = createTokenBucket(clock, options.stsRate);
  const keyBuckets = createKeyedBuckets(clock, { ...options.accessKeyRate, keys: 10_000 });
  let pausedUntil = 0;

  /** Whether STS may be asked now; counts the call if so. */
  function admit(accessKeyId: string): Unavailable | undefined {
    const now = clock.now();
    if (now < pausedUntil) return throttled("sts-throttling", pausedUntil - now);
    if (inFlight.size >= options.stsConcurrency) return unavailable("sts-busy", "too many calls in flight");
    const waitForKey = keyBuckets.take(accessKeyId);
    if (waitForKey > 0) return throttled("access-key-rate", waitForKey);
    const wait = ownBucket.take();
    if (wait > 0) {
      keyBuckets.giveBack(accessKeyId);
      return throttled("sts-rate", wait);
    }
    return undefined;
  }

  async function ask(key: string, token: RamToken): Promise<RamVerification> {
    const answer = await deps.sts.getCallerIdentity(token);
    metrics.stsAnswered(answer.outcome, "error" in answer ? answer.error.status : undefined);
    const result = decide(answer, token);
    if (result.outcome === "verified") {
      const end = Math.min(token.signedAt + signatureLifeMs, clock.now() + options.identityTtlMs);
      identities.set(key, result, end);
    } else if (result.outcome === "refused") {
      refusals.set(key, result, clock.now() + options.refusalTtlMs);
    } else if (answer.outcome === "throttled") {
      pausedUntil = clock.now() + result.retryAfterSeconds * 1000;
    }
    if (result.outcome === "unavailable") {
      deps.log.warn("authenticator.sts-trouble", { reason: result.reason, detail: result.detail });
    }
    return result;
  }

  return {
    name: "ram",
    claims: (text) => text.startsWith(v2Prefix) || text.startsWith(v1Prefix),
    verify(text) {
      // Too long is said before anything is hashed.
      if (text.length > options.maxTokenLength) {
        return Promise.resolve(refused("too-large", malformed("token is too large")));
      }
      const key = createHmac("sha256", cacheKey).update(text).digest("latin1");
      const known = identities.get(key) ?? refusals.get(key);
      if (known !== undefined) {
        metrics.identityLookup("cached");
        return Promise.resolve(known);
      }
      const running = inFlight.get(key);
      if (running !== undefined) {
        metrics.identityLookup("shared");
        return running;
      }
      const parsed = parseToken(text, {
        clusterId: options.clusterId,
        now: clock.now(),
        clockSkewMs: options.clockSkewMs,
        maxLength: options.maxTokenLength,
        acceptV1: options.acceptV1,
        extraParameters: options.extraParameters,
      });
      if (!parsed.ok) return Promise.resolve(refused(parsed.reason, malformed(parsed.message)));
      const held = admit(parsed.token.accessKeyId);
      if (held !== undefined) {
        metrics.identityLookup("held");
        return Promise.resolve(held);
      }
      metrics.identityLookup("asked");
      const call = ask(key, parsed.token).finally(() => inFlight.delete(key));
      inFlight.set(key, call);
      return call;
    },
  };
}

function decide(answer: StsCall, token: RamToken): RamVerification {
  switch (answer.outcome) {
    case "identity": {
      const { arn, canonicalArn, accountId, principalId, sessionName } = answer.identity;
      return {
        outcome: "verified",
        identity: {
          verifier: "ram",
          subject: arn,
          arn,
          canonicalArn,
          accountId,
          userId: principalId,
          sessionName,
          accessKeyId: token.accessKeyId,
        },
      };
    }
    case "refused":
      return refused(
        "sts-refused",
        describeStsError(answer.error, STATUS_CODES[answer.error.status] ?? String(answer.error.status)),
        `${answer.error.status} ${answer.error.code} (request ${answer.error.requestId})`,
      );
    case "inconsistent":
      return refused("sts-inconsistent", "invalid token", answer.detail);
    case "throttled":
      return { ...throttled("sts-throttling", 1000), detail: `${answer.error.status} ${answer.error.code}` };
    case "unusable":
      return unavailable("sts-answer", answer.detail);
    case "unreachable":
      return unavailable("sts-unreachable", answer.detail);
  }
}

function malformed(message: string): string {
  return `parse token failed. input token was not properly formatted: ${message}`;
}

function refused(reason: string, message: string, detail?: string): Refused {
  return { outcome: "refused", reason, message, ...(detail === undefined ? {} : { detail }) };
}

function throttled(reason: string, waitMs: number): Unavailable {
  return {
    outcome: "unavailable",
    reason,
    status: 429,
    retryAfterSeconds: Math.max(1, Math.ceil(waitMs / 1000)),
  };
}

function unavailable(reason: string, detail: string): Unavailable {
  return { outcome: "unavailable", reason, status: 503, retryAfterSeconds: 1, detail };
}

interface ExpiringMap<Value> {
  get(key: string): Value | undefined;
  set(key: string, value: Value, end: number): void;
}

/** A map whose entries end; beyond its size the oldest go first. */
function createExpiringMap<Value>(clock: Clock, entries: number): ExpiringMap<Value> {
  const map = new Map<string, { readonly value: Value; readonly end: number }>();
  return {
    get(key) {
      const entry = map.get(key);
      if (entry === undefined) return undefined;
      if (entry.end > clock.now()) return entry.value;
      map.delete(key);
      return undefined;
    },
    set(key, value, end) {
      const now = clock.now();
      // Entries end roughly in the order in which they came, so looking at the oldest few keeps the map clean.
      for (const [oldest, entry] of map) {
        if (map.size < entries && entry.end > now) break;
        map.delete(oldest);
      }
      map.set(key, { value, end });
    },
  };
}

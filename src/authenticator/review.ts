/**
 * Decides a token: which verifier it belongs to, who STS or the directory says it is, and who that is in the cluster. One
 * audit line and one measurement for each decision; tokens and signatures appear in neither.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { AuthenticationResult, AuthenticatorMetrics } from "../observe/authenticator-metrics.ts";
import type { Log } from "../observe/log.ts";
import type { ClusterUser, IdentityMapper } from "./identity-mapper.ts";
import type { Identity, IdentityVerifier } from "./identity-verifier.ts";

export type Decision =
  | { readonly outcome: "allowed"; readonly user: ClusterUser }
  /** @property message the sentence for `status.error`. */
  | { readonly outcome: "denied"; readonly message: string }
  | {
      readonly outcome: "retry";
      readonly status: 429 | 503;
      readonly retryAfterSeconds: number;
      readonly message: string;
    };

/** Decides about tokens of every kind that the authenticator knows. */
export interface Reviewer {
  review(token: string): Promise<Decision>;
}

export interface ReviewerDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: AuthenticatorMetrics;
}

/** A verifier with the mapper for its identities. */
export interface Authority {
  readonly name: string;
  claims(token: string): boolean;
  review(token: string, deps: ReviewerDeps): Promise<Decision>;
}

/** A token of nobody's: the API server shows every bearer token that it does not know itself. */
const foreign: Decision = {
  outcome: "denied",
  message:
    'parse token failed. input token was not properly formatted: token is missing expected "k8s-ack-v2." prefix',
};

export function createReviewer(authorities: readonly Authority[], deps: ReviewerDeps): Reviewer {
  return {
    review(token) {
      const authority = authorities.find((each) => each.claims(token));
      if (authority !== undefined) return authority.review(token, deps);
      deps.metrics.foreignToken();
      return Promise.resolve(foreign);
    },
  };
}

export function createAuthority<Verified extends Identity>(
  verifier: IdentityVerifier<Verified>,
  mapper: IdentityMapper<Verified>,
): Authority {
  return {
    name: verifier.name,
    claims: (token) => verifier.claims(token),
    async review(token, deps) {
      const began = deps.clock.now();
      const verification = await verifier.verify(token);
      const latencyMs = (): number => deps.clock.now() - began;
      const audit = { verifier: verifier.name };
      const measure = (result: AuthenticationResult): void =>
        deps.metrics.reviewed(result, latencyMs() / 1000);

      if (verification.outcome === "unavailable") {
        const { reason, status, retryAfterSeconds, detail } = verification;
        measure(status === 429 ? "sts_throttling" : "sts_error");
        deps.log.warn("authenticator.review", {
          ...audit,
          decision: "retry",
          reason,
          detail,
          latencyMs: latencyMs(),
        });
        const message = "the identity cannot be checked at the moment";
        return { outcome: "retry", status, retryAfterSeconds, message };
      }
      if (verification.outcome === "refused") {
        const { reason, message, detail } = verification;
        measure(reason.startsWith("sts-") ? "sts_error" : "invalid_token");
        deps.log.info("authenticator.review", {
          ...audit,
          decision: "denied",
          reason,
          detail,
          latencyMs: latencyMs(),
        });
        return { outcome: "denied", message };
      }

      const { identity } = verification;
      const decision = mapper.map(identity);
      const who = decision.scrubbed === true ? { subject: "(scrubbed)" } : describe(identity);
      if (decision.outcome === "unmapped") {
        const { reason, message, detail } = decision;
        measure("uknown_user");
        deps.log.info("authenticator.review", {
          ...audit,
          ...who,
          decision: "denied",
          reason,
          detail,
          latencyMs: latencyMs(),
        });
        return { outcome: "denied", message };
      }
      measure("success");
      deps.log.info("authenticator.review", {
        ...audit,
        ...who,
        decision: "allowed",
        user: decision.user.username,
        backend: decision.backend,
        entry: decision.entry,
        latencyMs: latencyMs(),
      });
      return { outcome: "allowed", user: decision.user };
    },
  };
}

/** The identity's own fields: all of them are plain texts that the authority answered. */
function describe(identity: Identity): Readonly<Record<string, string>> {
  const { verifier: _verifier, ...fields } = identity;
  return Object.fromEntries(
    Object.entries(fields).filter((field): field is [string, string] => typeof field[1] === "string"),
  );
}

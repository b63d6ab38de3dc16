/**
 * The port that decides who a verified identity is in the cluster.
 * @module
 */
import type { Identity } from "./identity-verifier.ts";

/** A user as Kubernetes knows it: the `UserInfo` of a TokenReview. */
export interface ClusterUser {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export type MappingDecision =
  | {
      readonly outcome: "mapped";
      readonly user: ClusterUser;
      /** Which source of mappings decided, and which entry of it. */
      readonly backend: string;
      readonly entry: string;
      /** The subject must not be logged: its account is scrubbed. */
      readonly scrubbed?: boolean;
    }
  | {
      readonly outcome: "unmapped";
      /** A stable word for the audit log and the metrics. */
      readonly reason: string;
      /** The sentence for `status.error`. */
      readonly message: string;
      readonly detail?: string;
      readonly scrubbed?: boolean;
    };

export interface IdentityMapper<Verified extends Identity> {
  /** Decides from what is known now: no I/O, so that a review never waits for a mapping source. */
  map(identity: Verified): MappingDecision;
}

/**
 * The port that turns a bearer token into an identity. Each kind of login (Alibaba Cloud RAM, the directory) is one
 * adapter; the TokenReview service asks the one whose prefix the token carries and knows nothing else about it.
 * @module
 */

/** What every verified identity has; each verifier adds its own fields. */
export interface Identity {
  /** Name of the verifier that vouches for it. */
  readonly verifier: string;
  /** The identity as an operator recognises it, for the audit log: an ARN, a distinguished name. */
  readonly subject: string;
}

/** A refusal that asking again will not change, for as long as the token is the same. */
export interface Refused {
  readonly outcome: "refused";
  /** A stable word for the audit log and the metrics. */
  readonly reason: string;
  /** The sentence for `status.error`: it tells the caller no more than what the token itself says. */
  readonly message: string;
  /** The exact cause, for the audit log alone. */
  readonly detail?: string;
}

/** Trouble that may pass: the API server is told to ask again instead of telling the user 401. */
export interface Unavailable {
  readonly outcome: "unavailable";
  readonly reason: string;
  /** 429: asked too often. 503: the authority does not answer as it should. */
  readonly status: 429 | 503;
  readonly retryAfterSeconds: number;
  readonly detail?: string;
}

export type Verification<Verified extends Identity> =
  | { readonly outcome: "verified"; readonly identity: Verified }
  | Refused
  | Unavailable;

export interface IdentityVerifier<Verified extends Identity> {
  /** Name in logs and metrics. */
  readonly name: string;
  /** Whether the token is of this verifier's kind, by its prefix alone: it is asked for every foreign bearer token. */
  claims(token: string): boolean;
  /** Never throws for anything in a token. */
  verify(token: string): Promise<Verification<Verified>>;
}

/**
 * A RAM identity that STS vouched for.
 * @module
 */
import type { Identity } from "../identity-verifier.ts";

export interface RamIdentity extends Identity {
  readonly verifier: "ram";
  /** As STS returned it; also the subject. */
  readonly arn: string;
  /** With the role in place of its session. */
  readonly canonicalArn: string;
  readonly accountId: string;
  /** The id of the user, the role or the account, never used again for another one. */
  readonly userId: string;
  /** Empty for users and root. */
  readonly sessionName: string;
  /** The access key that signed the token. */
  readonly accessKeyId: string;
}

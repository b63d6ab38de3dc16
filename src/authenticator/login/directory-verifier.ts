/**
 * Session tokens as a kind of bearer token beside RAM's. A review checks the signature here; with `recheck` it also asks the
 * directory whether the account is still welcome.
 * @module
 */
import type { Directory } from "../../directory/directory.ts";
import type { IdentityVerifier, Refused } from "../identity-verifier.ts";
import type { DirectoryIdentity } from "./directory-identity.ts";
import { sessionTokenPrefix, type SessionTokens } from "./session-tokens.ts";

export interface DirectoryVerifierOptions {
  readonly tokens: SessionTokens;
  /** Asked at every review when given. */
  readonly recheck: Directory | undefined;
}

const refused = (reason: string, detail?: string): Refused => ({
  outcome: "refused",
  reason,
  message: "the session is not valid; log in again",
  ...(detail === undefined ? {} : { detail }),
});

export function createDirectoryVerifier(
  options: DirectoryVerifierOptions,
): IdentityVerifier<DirectoryIdentity> {
  return {
    name: "directory",
    claims: (token) => token.startsWith(sessionTokenPrefix),
    async verify(token) {
      const check = await options.tokens.check("cluster", token);
      if (!check.ok) return refused(`session-${check.problem}`);
      const session = check.subject;
      if (options.recheck !== undefined) {
        const now = await options.recheck.refresh(session.guid, session.passwordSet, { groups: false });
        if (now.outcome === "unavailable") {
          return {
            outcome: "unavailable",
            reason: "directory",
            status: 503,
            retryAfterSeconds: 2,
            detail: now.error.message,
          };
        }
        if (now.outcome === "invalid") return refused(`account-${now.reason}`, session.guid);
      }
      return { outcome: "verified", identity: { verifier: "directory", subject: session.guid, session } };
    },
  };
}

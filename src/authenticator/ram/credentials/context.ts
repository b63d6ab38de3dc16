/**
 * What the sources of credentials get from outside.
 * @module
 */
import type { Clock } from "../../../clock.ts";
import type { CredentialCache } from "./credential-cache.ts";

export interface CredentialContext {
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Home directory. */
  readonly home: string;
  readonly clock: Clock;
  /** Keeps temporary credentials between runs. */
  readonly cache: CredentialCache;
  /** Host or `https://host` of STS instead of the public one. */
  readonly stsEndpoint?: string;
  readonly region?: string;
  /** PEM of authorities to trust for STS instead of the public ones. */
  readonly stsAuthoritiesPem?: string;
  /** Name of sessions when neither profile nor environment has one. */
  readonly sessionName?: string;
}

/** The first of these variables that is not empty. */
export function firstOf(
  environment: CredentialContext["environment"],
  names: readonly string[],
): string | undefined {
  for (const name of names) {
    const value = environment[name];
    if (value !== undefined && value !== "") return value;
  }
  return undefined;
}

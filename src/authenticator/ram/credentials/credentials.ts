/**
 * Credentials of Alibaba Cloud: an access key, or temporary ones with a security token and an end.
 * @module
 */
import { SallyportError } from "../../../errors.ts";
import type { Secret } from "../../../secret.ts";

export interface Credentials {
  readonly accessKeyId: string;
  readonly accessKeySecret: Secret;
  readonly securityToken?: Secret;
  /** Milliseconds since the epoch; absent for access keys of a user. */
  readonly expiresAt?: number;
}

/** What one source has: credentials, or why it has none. That it cannot be used is an error instead. */
export type Lookup =
  | { readonly found: true; readonly credentials: Credentials }
  | { readonly found: false; readonly why: string };

/** @throws the error for a source that is there and cannot be used, with what to do about it. */
export function unusable(source: string, problem: string, advice: string, cause?: unknown): SallyportError {
  return new SallyportError("E_RAM_CREDENTIALS", { source, problem, advice }, { cause });
}

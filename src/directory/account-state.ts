/**
 * What an entry says about its account: whether it may be used now, and if not, why.
 * @module
 */
import { expiryToMilliseconds, type Ticks } from "./filetime.ts";

/** Bits of `userAccountControl` and `msDS-User-Account-Control-Computed` (MS-ADTS 2.2.16). */
export const accountControl = {
  disabled: 0x2,
  lockedOut: 0x10,
  normalAccount: 0x200,
  workstationTrust: 0x1000,
  passwordNeverExpires: 0x1_0000,
  passwordExpired: 0x80_0000,
} as const;

/** Why an account must not be used, in the order in which they are told. */
export type AccountProblem =
  | "disabled"
  | "locked-out"
  | "expired"
  | "must-change-password"
  | "password-expired";

export interface AccountAttributes {
  readonly userAccountControl: number;
  /** `msDS-User-Account-Control-Computed`; lock-out and password expiry stand only there (MS-ADTS 3.1.1.4.5.17). */
  readonly computedAccountControl: number;
  readonly accountExpires: Ticks;
  readonly pwdLastSet: Ticks;
}

/** Everything wrong with the account at `now` (milliseconds since 1970); empty when it may be used. */
export function accountProblems(account: AccountAttributes, now: number): readonly AccountProblem[] {
  const problems: AccountProblem[] = [];
  const bits = account.userAccountControl | account.computedAccountControl;
  if ((bits & accountControl.disabled) !== 0) problems.push("disabled");
  if ((account.computedAccountControl & accountControl.lockedOut) !== 0) problems.push("locked-out");
  const expiry = expiryToMilliseconds(account.accountExpires);
  if (expiry !== undefined && expiry <= now) problems.push("expired");
  if (account.pwdLastSet === 0n && (account.userAccountControl & accountControl.passwordNeverExpires) === 0) {
    problems.push("must-change-password");
  } else if ((account.computedAccountControl & accountControl.passwordExpired) !== 0) {
    problems.push("password-expired");
  }
  return problems;
}

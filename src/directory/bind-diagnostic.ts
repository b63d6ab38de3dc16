/**
 * What AD means by "invalid credentials" (result 49): the diagnostic text carries a status and a `data` field whose codes
 * name the exact reason. Texts differ between servers, so only these two fields are read.
 * @module
 */

/**
 * Why a bind was refused. All but `locked-out` of the account states are told by AD only after the password proved right
 * (MS-ADTS 5.1.1.1.1).
 */
export type BindRefusal =
  | "wrong-password"
  | "unknown-account"
  | "logon-hours"
  | "workstation-restriction"
  | "password-expired"
  | "account-disabled"
  | "too-many-groups"
  | "account-expired"
  | "must-change-password"
  | "locked-out"
  | "channel-binding"
  | "logon-type-not-granted"
  | "unrecognised";

/** Win32 codes after `data`, hexadecimal (winerror.h). */
const byDataCode: Readonly<Record<number, BindRefusal>> = {
  0x525: "unknown-account",
  0x52e: "wrong-password",
  0x530: "logon-hours",
  0x531: "workstation-restriction",
  0x532: "password-expired",
  0x533: "account-disabled",
  0x568: "too-many-groups",
  0x569: "logon-type-not-granted",
  0x701: "account-expired",
  0x773: "must-change-password",
  0x775: "locked-out",
};

/** SEC_E_BAD_BINDINGS: the server insists on channel binding; the password was not looked at. */
const badBindings = 0x8009_0346;

export interface BindDiagnostic {
  readonly refusal: BindRefusal;
  /** The code after `data`, as it was sent (`52e`), for the audit log. */
  readonly dataCode?: string;
}

/** Reads the diagnostic of a result 49; an unreadable one is `unrecognised`, never "wrong password". */
export function parseBindDiagnostic(message: string): BindDiagnostic {
  const status = /^\s*([0-9a-f]{8}):/i.exec(message)?.[1];
  const dataCode = /\bdata ([0-9a-f]{1,8})\b/i.exec(message)?.[1]?.toLowerCase();
  const code = dataCode === undefined ? {} : { dataCode };
  if (status !== undefined && Number.parseInt(status, 16) === badBindings)
    return { refusal: "channel-binding", ...code };
  if (dataCode === undefined) return { refusal: "unrecognised" };
  return { refusal: byDataCode[Number.parseInt(dataCode, 16)] ?? "unrecognised", ...code };
}

/** Refusals that AD gives only to someone who sent the right password: these alone may be told to the person. */
export function provesPassword(refusal: BindRefusal): boolean {
  return refusal === "password-expired" || refusal === "must-change-password";
}

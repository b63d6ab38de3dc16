/**
 * The two things that a bind needs, each checked once. A name is a DN from an entry or comes from checked configuration,
 * never from what a user typed; a password is never one that a directory would take for an anonymous bind.
 * @module
 */
import type { Secret } from "../secret.ts";

declare const bindNameBrand: unique symbol;
declare const bindPasswordBrand: unique symbol;

/** A name that may be sent in a bind. */
export type BindName = string & { readonly [bindNameBrand]: true };

/** A password that may be sent in a bind. */
export type BindPassword = Secret & { readonly [bindPasswordBrand]: true };

/** The DN of an entry that a search returned. */
export function bindNameOfEntry(entry: { readonly dn: string }): BindName | undefined {
  return checkedName(entry.dn);
}

/** The service account's name from configuration: a DN, `user@domain` or `DOMAIN\user`; `undefined` when it is none. */
export function bindNameOfConfiguration(name: string): BindName | undefined {
  return checkedName(name);
}

/**
 * A name without `=`, `@` or `\` is none of AD's unambiguous forms, and some such names ("EXTERNAL", "PLAIN") the client
 * library would take for SASL mechanisms.
 */
function checkedName(name: string): BindName | undefined {
  return /[=@\\]/.test(name) && !name.includes("\0") ? (name as BindName) : undefined;
}

const longestPassword = 1024;

/**
 * A typed password, or why it cannot be one. Empty ones are an *unauthenticated bind*, which directories answer with
 * success (RFC 4513, 5.1.2 and 6.3.1); some treat a leading NUL the same.
 */
export function bindPassword(
  password: Secret,
):
  | { readonly ok: true; readonly password: BindPassword }
  | { readonly ok: false; readonly problem: "empty-password" | "malformed-password" } {
  const text = password.reveal();
  if (text.trim() === "" || text.startsWith("\0")) return { ok: false, problem: "empty-password" };
  if (text.includes("\0") || text.length > longestPassword)
    return { ok: false, problem: "malformed-password" };
  return { ok: true, password: password as BindPassword };
}

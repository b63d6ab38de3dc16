/**
 * The wire contract with the CCG plugin as pure functions: which account is asked for, and the bytes of the answer.
 * @module
 */
import type { ImpersonationAccount } from "../secret-store/secret-store.ts";

/** Name of a Kubernetes object, RFC 1123 subdomain (Kubernetes docs, "Object Names and IDs"). */
const objectName = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

export type AskedAccount =
  | { readonly asked: "account"; readonly name: string }
  /** The input of Microsoft's Key Vault plugin, or something like it; not checked yet. */
  | { readonly asked: "key-vault-input"; readonly text: string }
  /** No `object` header, or an empty one: status 400. */
  | { readonly asked: "nothing" }
  /** A name that no Secret can have: status 404, as for a Secret that is not there. */
  | { readonly asked: "impossible-name" };

/** @param header the request's `object` header as Node gives it: several are joined by `, `, which is no name. */
export function askedAccount(header: string | readonly string[] | undefined): AskedAccount {
  if (header === undefined || header === "") return { asked: "nothing" };
  // No name of a Kubernetes object has one.
  if (typeof header === "string" && header.includes("=")) return { asked: "key-vault-input", text: header };
  if (typeof header !== "string" || header.length > 253 || !objectName.test(header))
    return { asked: "impossible-name" };
  return { asked: "account", name: header };
}

/**
 * The body of a 200 answer, to be sent as UTF-8: `{"username":…,"password":…,"domainName":…}` in this order, without spaces or a
 * final newline, escaped as Go's encoding/json does it, so that what parsed the old provider's answers parses these.
 */
export function credentialsBody(account: ImpersonationAccount): string {
  const username = goJsonString(account.username);
  const password = goJsonString(account.password.reveal());
  const domainName = goJsonString(account.domainName);
  return `{"username":${username},"password":${password},"domainName":${domainName}}`;
}

/** Go's encoding/json also escapes `<`, `>`, `&`, U+2028 and U+2029, and replaces lone surrogates by U+FFFD. */
function goJsonString(text: string): string {
  return JSON.stringify(text.toWellFormed()).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

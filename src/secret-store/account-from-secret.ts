/**
 * A Kubernetes Secret read as an impersonation account.
 * @module
 */
import { Secret } from "../secret.ts";
import {
  accountKeys,
  type AccountKey,
  type AccountOutcome,
  type AccountProblem,
  type AccountWarning,
} from "./secret-store.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A DNS name of at least two labels, RFC 1123 section 2.1; a trailing dot is allowed. */
const fullyQualified =
  /^(?=.{1,254}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+\.?$/i;

/** Does this name a domain in the DNS, as Kerberos needs it? */
export function qualifiedDomainName(text: string): boolean {
  return fullyQualified.test(text);
}

/** Base64 with padding, RFC 4648 section 4, line breaks allowed as the API server allows them. */
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Some editors put it in front; no password starts with it. */
const utf8Bom = "\uFEFF";

/**
 * @param data the Secret's `data`: base64 values by key (Kubernetes API reference, Secret v1). The Secret's type does
 * not matter, nor do further keys.
 */
export function accountFromSecret(
  data: Readonly<Record<string, string>> | undefined,
): Extract<AccountOutcome, { outcome: "found" | "invalid" }> {
  const values = {} as Record<AccountKey, string>;
  const warnings: AccountWarning[] = [];
  for (const key of accountKeys) {
    const encoded = data !== undefined && Object.hasOwn(data, key) ? data[key] : undefined;
    const decoded = decode(encoded);
    if ("problem" in decoded) return { outcome: "invalid", key, problem: decoded.problem };
    const trimmed = decoded.text.replace(/\r?\n$/, "");
    if (trimmed === "") return { outcome: "invalid", key, problem: "empty" };
    if (trimmed !== decoded.text) warnings.push({ key, problem: "trailing newline trimmed" });
    values[key] = trimmed;
  }
  if (!qualifiedDomainName(values.domainName)) {
    warnings.push({ key: "domainName", problem: "not a fully qualified domain name" });
  }
  const account = {
    username: values.username,
    password: new Secret(values.password),
    domainName: values.domainName,
  };
  return { outcome: "found", account, warnings };
}

function decode(
  encoded: string | undefined,
): { readonly text: string } | { readonly problem: AccountProblem } {
  if (encoded === undefined) return { problem: "missing" };
  const compact = encoded.replace(/[\r\n]/g, "");
  if (!base64.test(compact)) return { problem: "not base64" };
  try {
    const text = utf8.decode(Buffer.from(compact, "base64"));
    return { text: text.startsWith(utf8Bom) ? text.slice(1) : text };
  } catch {
    return { problem: "not UTF-8" };
  }
}

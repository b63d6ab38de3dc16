/**
 * What a person types as their name: `DOMAIN\user`, `user@suffix` (a UPN or an e-mail address) or a bare account name.
 * It is only ever a question to the directory; who the person is, the entry that answers it says.
 * @module
 */
import { all, any, equals, type Filter } from "./filter.ts";

export type LoginName =
  | { readonly kind: "down-level"; readonly domain: string; readonly account: string }
  | { readonly kind: "principal"; readonly user: string; readonly suffix: string }
  | { readonly kind: "bare"; readonly account: string };

const longestName = 256;

/** Parses a typed name; `undefined` for what can be nobody's. */
export function parseLoginName(typed: string): LoginName | undefined {
  // Control characters and invisible ones that change how a name is shown have no place in a name.
  if (
    typed.length > longestName ||
    /[\p{Cc}\p{Cs}\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u.test(typed)
  )
    return undefined;
  const backslash = typed.indexOf("\\");
  if (backslash >= 0) {
    const [domain, account] = [typed.slice(0, backslash), typed.slice(backslash + 1)];
    return domain.trim() === "" || account.trim() === ""
      ? undefined
      : { kind: "down-level", domain, account };
  }
  const at = typed.lastIndexOf("@");
  if (at >= 0) {
    const [user, suffix] = [typed.slice(0, at), typed.slice(at + 1)];
    return user.trim() === "" || suffix.trim() === "" ? undefined : { kind: "principal", user, suffix };
  }
  return typed.trim() === "" ? undefined : { kind: "bare", account: typed };
}

export interface NameRules {
  /** DNS name of the domain; an implicit UPN is an account name at it. */
  readonly domain: string;
  /** NetBIOS name of the domain. */
  readonly netbiosName: string | undefined;
  /** `user@suffix` may be an e-mail address too. */
  readonly allowMail: boolean;
}

/**
 * The search for a person of this name: a user account, no computer, no managed account, no trust.
 * `undefined` when the name belongs to another domain.
 */
export function personFilter(name: LoginName, rules: NameRules): Filter | undefined {
  const byName = nameFilter(name, rules);
  return byName === undefined
    ? undefined
    : all(
        equals("objectCategory", "person"),
        equals("objectClass", "user"),
        // SAM_NORMAL_USER_ACCOUNT.
        equals("sAMAccountType", "805306368"),
        byName,
      );
}

function nameFilter(name: LoginName, rules: NameRules): Filter | undefined {
  switch (name.kind) {
    case "bare":
      return equals("sAMAccountName", name.account);
    case "down-level": {
      const ours = [rules.netbiosName, rules.domain].some(
        (domain) => domain !== undefined && sameName(domain, name.domain),
      );
      return ours ? equals("sAMAccountName", name.account) : undefined;
    }
    case "principal": {
      const typed = `${name.user}@${name.suffix}`;
      return any(
        equals("userPrincipalName", typed),
        ...(sameName(name.suffix, rules.domain) ? [equals("sAMAccountName", name.user)] : []),
        ...(rules.allowMail ? [equals("mail", typed)] : []),
      );
    }
  }
}

function sameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

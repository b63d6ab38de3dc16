/**
 * The text of a Key Vault secret read as an account, in every published form:
 *
 *     domain\user:password                                        Microsoft's plugin; the password may hold `:` and `\`
 *     {"domainName": …, "username": …, "password": …}             Sallyport, AWS; `domain` is another name of `domainName`
 *
 * @module
 */
import { z } from "zod";
import { Secret } from "../../secret.ts";
import { qualifiedDomainName } from "../account-from-secret.ts";
import type { AccountKey, AccountOutcome, AccountProblem, AccountWarning } from "../secret-store.ts";

type ReadAccount = Extract<AccountOutcome, { outcome: "found" | "invalid" }>;

/** What the CCG plugin takes, in UTF-16 units: nothing longer is a name or a password of Active Directory. */
const longest: Readonly<Record<AccountKey, number>> = { domainName: 255, username: 256, password: 256 };

const document = z.object({
  domainName: z.string().optional(),
  domain: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
});

/** Times outside which a secret should not be used; Key Vault hands it out all the same. */
export interface SecretValidity {
  readonly notBefore?: number;
  readonly expires?: number;
}

/**
 * A byte order mark in front, and one line end behind (with a warning), are left out: editors and shells add them.
 * Everything else of the password is kept to the last character.
 * @param validity milliseconds since the epoch.
 */
export function accountFromSecretValue(value: string, validity: SecretValidity = {}, now = 0): ReadAccount {
  const invalid = (key: AccountKey | "value", problem: AccountProblem): ReadAccount => ({
    outcome: "invalid",
    key,
    problem,
  });
  const text = value.startsWith("\uFEFF") ? value.slice(1) : value;
  if (/^[\s]*$/.test(text)) return invalid("value", "empty");
  const read = text.trimStart().startsWith("{") ? fromJson(text) : fromText(text);
  if (typeof read === "string") return invalid("value", read);
  for (const key of ["domainName", "username", "password"] as const) {
    const part = read.values[key];
    if (part === undefined) return invalid(key, "missing");
    if (part === "") return invalid(key, "empty");
    if (part.length > longest[key]) return invalid(key, "too long");
  }
  const { domainName = "", username = "", password = "" } = read.values;
  const warnings: AccountWarning[] = [];
  if (read.trimmed) warnings.push({ key: "value", problem: "trailing newline trimmed" });
  if (!qualifiedDomainName(domainName))
    warnings.push({ key: "domainName", problem: "not a fully qualified domain name" });
  if (validity.expires !== undefined && validity.expires <= now)
    warnings.push({ key: "value", problem: "past its expiry date" });
  if (validity.notBefore !== undefined && validity.notBefore > now)
    warnings.push({ key: "value", problem: "before its activation date" });
  return { outcome: "found", account: { domainName, username, password: new Secret(password) }, warnings };
}

interface Read {
  readonly values: Readonly<Partial<Record<AccountKey, string>>>;
  readonly trimmed: boolean;
}

/** The first backslash ends the domain, the first colon after it the user. */
function fromText(text: string): Read | AccountProblem {
  const whole = text.replace(/\r?\n$/, "");
  const backslash = whole.indexOf("\\");
  if (backslash < 0) return "without a backslash";
  const colon = whole.indexOf(":", backslash);
  if (colon < 0) return "without a colon after the backslash";
  const values = {
    domainName: whole.slice(0, backslash),
    username: whole.slice(backslash + 1, colon),
    password: whole.slice(colon + 1),
  };
  return { values, trimmed: whole !== text };
}

function fromJson(text: string): Read | AccountProblem {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return "not the JSON of an account";
  }
  const result = document.safeParse(parsed);
  if (!result.success) return "not the JSON of an account";
  const { domain, domainName = domain, username, password } = result.data;
  if (domain !== undefined && domainName !== domain) return "not the JSON of an account";
  return {
    values: {
      ...(domainName === undefined ? {} : { domainName }),
      ...(username === undefined ? {} : { username }),
      ...(password === undefined ? {} : { password }),
    },
    trimmed: false,
  };
}

/**
 * A person's entry, read once into what the rest of the program may rely on. Nothing in it comes from what was typed.
 * @module
 */
import { SallyportError } from "../errors.ts";
import { accountProblems, type AccountAttributes, type AccountProblem } from "./account-state.ts";
import type { DirectoryEntry } from "./connection.ts";
import { domainOf, parseDistinguishedName } from "./distinguished-name.ts";
import { expiryToMilliseconds, neverTicks, parseTicks, type Ticks } from "./filetime.ts";
import { guidFromBytes, type Guid } from "./guid.ts";
import { sidFromBytes, sidInDomain, splitSid, type Sid } from "./sid.ts";

/** Someone in the directory. */
export interface Person {
  /** `objectGUID`: the one name that survives renaming and moving. */
  readonly guid: Guid;
  readonly sid: Sid;
  readonly dn: string;
  /** `sAMAccountName`. */
  readonly accountName: string;
  /** DNS name of the person's domain, from the DN. */
  readonly domain: string;
  /** `userPrincipalName`; accounts need not have one. */
  readonly principalName: string | undefined;
  readonly mail: string | undefined;
  readonly displayName: string | undefined;
  /** `pwdLastSet` in ticks, as decimal text: changes with the password. */
  readonly passwordSet: string;
}

/** A person together with what only this folder needs to know. */
export interface PersonRecord {
  readonly person: Person;
  readonly account: AccountAttributes;
  readonly primaryGroup: Sid | undefined;
  /** `badPwdCount`: wrong passwords since the last right one, as this domain controller knows them. */
  readonly wrongPasswords: number;
  /** `badPasswordTime`, milliseconds since 1970. */
  readonly lastWrongAt: number | undefined;
}

export const personAttributes = [
  "objectGUID",
  "objectSid",
  "sAMAccountName",
  "userPrincipalName",
  "mail",
  "displayName",
  "userAccountControl",
  "msDS-User-Account-Control-Computed",
  "accountExpires",
  "pwdLastSet",
  "primaryGroupID",
  "badPwdCount",
  "badPasswordTime",
] as const;

export const personBinaryAttributes = ["objectGUID", "objectSid"] as const;

/** Reads an entry. Throws `E_DIRECTORY_ENTRY` when the service account may not read what identity rests on. */
export function readPerson(entry: DirectoryEntry): PersonRecord {
  const need = <Value>(attribute: string, value: Value | undefined): Value => {
    if (value === undefined) throw new SallyportError("E_DIRECTORY_ENTRY", { dn: entry.dn, attribute });
    return value;
  };
  const guid = need("objectGUID", guidFromBytes(entry.octets("objectGUID") ?? Buffer.alloc(0)));
  const sid = need("objectSid", sidFromBytes(entry.octets("objectSid") ?? Buffer.alloc(0)));
  const accountName = need("sAMAccountName", nonEmpty(entry.text("sAMAccountName")));
  const domain = need("domain in its DN", domainOf(parseDistinguishedName(entry.dn) ?? []));
  const userAccountControl = need("userAccountControl", parseInteger(entry.text("userAccountControl")));
  const pwdLastSet = need("pwdLastSet", parseTicks(entry.text("pwdLastSet") ?? ""));
  const primaryGroupId = parseInteger(entry.text("primaryGroupID"));
  const domainSid = splitSid(sid)?.domain;
  return {
    person: {
      guid,
      sid,
      dn: entry.dn,
      accountName,
      domain,
      principalName: nonEmpty(entry.text("userPrincipalName")),
      mail: nonEmpty(entry.text("mail")),
      displayName: nonEmpty(entry.text("displayName")),
      passwordSet: String(pwdLastSet),
    },
    account: {
      userAccountControl,
      // Lock-out stands nowhere else, so a server that does not compute it cannot be relied on.
      computedAccountControl: need(
        "msDS-User-Account-Control-Computed",
        parseInteger(entry.text("msDS-User-Account-Control-Computed")),
      ),
      accountExpires: optionalTicks(entry.text("accountExpires")),
      pwdLastSet,
    },
    primaryGroup:
      primaryGroupId === undefined || domainSid === undefined
        ? undefined
        : sidInDomain(domainSid, primaryGroupId),
    wrongPasswords: parseInteger(entry.text("badPwdCount")) ?? 0,
    lastWrongAt: expiryToMilliseconds(parseTicks(entry.text("badPasswordTime") ?? "") ?? 0n),
  };
}

/** Why the person's account must not be used at `now`; empty when it may. */
export function problemsOf(record: PersonRecord, now: number): readonly AccountProblem[] {
  return accountProblems(record.account, now);
}

function optionalTicks(text: string | undefined): Ticks {
  return parseTicks(text ?? "") ?? neverTicks;
}

/** AD's 32-bit Integer syntax, which is signed and holds bit masks. */
export function parseInteger(text: string | undefined): number | undefined {
  return text !== undefined && /^-?\d{1,10}$/.test(text) ? Number(text) : undefined;
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === "" ? undefined : text;
}

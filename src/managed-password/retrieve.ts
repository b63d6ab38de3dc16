/**
 * Reading a group managed service account and its password as the impersonation account (MS-ADTS 3.1.1.4.5.39). The
 * password is a constructed attribute: it comes only when asked for by name, over an encrypted connection, and is simply
 * missing for somebody who may not have it.
 * @module
 */
import type { Clock } from "../clock.ts";
import { accountControl } from "../directory/account-state.ts";
import type { DirectoryConnection, DirectoryEntry } from "../directory/connection.ts";
import type { Directory } from "../directory/directory.ts";
import { domainToDistinguishedName } from "../directory/distinguished-name.ts";
import { all, equals } from "../directory/filter.ts";
import { guidFromBytes, type Guid } from "../directory/guid.ts";
import { parseInteger } from "../directory/person.ts";
import { sidFromBytes, type Sid } from "../directory/sid.ts";
import { SallyportError } from "../errors.ts";
import { parseManagedPasswordBlob, type ManagedPassword } from "./blob.ts";
import { isNextPasswordEarly, keyEnd, parseManagedPasswordId } from "./password-schedule.ts";

/** What everybody may know about the account. */
export interface ManagedAccount {
  readonly dn: string;
  /** `sAMAccountName` exactly as the directory spells it, with its `$`: Kerberos clients compare case. */
  readonly accountName: string;
  readonly guid: Guid;
  readonly sid: Sid;
  readonly enabled: boolean;
  /** `msDS-SupportedEncryptionTypes` says AES; without it service tickets come out as RC4. */
  readonly aesEnabled: boolean;
  readonly serviceNames: readonly string[];
  /** Days between changes. */
  readonly intervalDays: number | undefined;
  /** When the password that the directory last recorded stops being in force, milliseconds since 1970. */
  readonly recordedUntil: number | undefined;
}

export interface RetrievedPassword {
  readonly account: ManagedAccount;
  readonly password: ManagedPassword;
  /** Key version numbers of the current and the previous password. */
  readonly currentVersion: number;
  readonly previousVersion: number;
  /** The current password is the next one, given a few minutes before it is in force. */
  readonly early: boolean;
  /** When it was asked for, milliseconds since 1970 on our clock. */
  readonly readAt: number;
}

export type Retrieval =
  | ({ readonly outcome: "retrieved" } & RetrievedPassword)
  /** There is no such managed account. */
  | { readonly outcome: "absent" }
  /** It exists, and the impersonation account is not among those that may retrieve its password. */
  | { readonly outcome: "not-permitted"; readonly account: ManagedAccount };

const accountAttributes = [
  "objectGUID",
  "objectSid",
  "sAMAccountName",
  "userAccountControl",
  "msDS-SupportedEncryptionTypes",
  "servicePrincipalName",
  "msDS-ManagedPasswordInterval",
  "msDS-ManagedPasswordId",
  "msDS-KeyVersionNumber",
] as const;

const binary = ["objectGUID", "objectSid", "msDS-ManagedPasswordId", "msDS-ManagedPassword"] as const;
const aesBits = 0x18;

export interface RetrieveOptions {
  readonly clock: Clock;
  readonly signal?: AbortSignal;
}

/**
 * Reads the account and its password. Throws `E_DIRECTORY_…` when the directory cannot be asked and
 * `E_MANAGED_PASSWORD_BLOB` when what it answers is no password.
 * @param name `sAMAccountName`, with or without its `$`
 */
export async function retrieveManagedPassword(
  directory: Directory,
  domain: string,
  name: string,
  options: RetrieveOptions,
): Promise<Retrieval> {
  return directory.asService(async (connection, signal): Promise<Retrieval> => {
    const found = await findEntry(connection, domain, name, signal);
    if (found === undefined) return { outcome: "absent" };
    const readAt = options.clock.now();
    const [withPassword] = await connection.search(
      { base: found.dn, scope: "base", attributes: ["msDS-ManagedPassword"], binary },
      signal,
    );
    const blob = withPassword?.octets("msDS-ManagedPassword");
    // Domain controllers bring the account up to date when its password is read, so versions come from a later reading.
    const [entry] = await connection.search(
      { base: found.dn, scope: "base", attributes: accountAttributes, binary },
      signal,
    );
    if (entry === undefined) return { outcome: "absent" };
    const account = readAccount(entry);
    if (blob === undefined || blob.length === 0) return { outcome: "not-permitted", account };
    const password = parseManagedPasswordBlob(blob);
    blob.fill(0);
    if ("malformed" in password) {
      throw new SallyportError("E_MANAGED_PASSWORD_BLOB", {
        account: account.accountName,
        detail: password.malformed,
      });
    }
    const recorded = parseInteger(entry.text("msDS-KeyVersionNumber"));
    if (recorded === undefined)
      throw new SallyportError("E_DIRECTORY_ENTRY", { dn: entry.dn, attribute: "msDS-KeyVersionNumber" });
    const early = isNextPasswordEarly(password);
    const currentVersion = early ? recorded + 1 : recorded;
    return {
      outcome: "retrieved",
      account,
      password,
      currentVersion,
      previousVersion: currentVersion - 1,
      early,
      readAt,
    };
  }, options.signal);
}

/**
 * Looks the account up and leaves its password alone. Throws `E_DIRECTORY_…` when the directory cannot be asked.
 * @param name `sAMAccountName`, with or without its `$`
 */
export async function findManagedAccount(
  directory: Directory,
  domain: string,
  name: string,
): Promise<ManagedAccount | undefined> {
  return directory.asService(async (connection, signal) => {
    const entry = await findEntry(connection, domain, name, signal);
    return entry === undefined ? undefined : readAccount(entry);
  });
}

async function findEntry(
  connection: DirectoryConnection,
  domain: string,
  name: string,
  signal: AbortSignal,
): Promise<DirectoryEntry | undefined> {
  const accountName = name.endsWith("$") ? name : `${name}$`;
  const [entry] = await connection.search(
    {
      base: domainToDistinguishedName(domain),
      scope: "sub",
      filter: all(
        equals("objectClass", "msDS-GroupManagedServiceAccount"),
        equals("sAMAccountName", accountName),
      ),
      attributes: accountAttributes,
      binary,
    },
    signal,
  );
  return entry;
}

function readAccount(entry: DirectoryEntry): ManagedAccount {
  const need = <Value>(attribute: string, value: Value | undefined): Value => {
    if (value === undefined) throw new SallyportError("E_DIRECTORY_ENTRY", { dn: entry.dn, attribute });
    return value;
  };
  const intervalDays = parseInteger(entry.text("msDS-ManagedPasswordInterval"));
  const id = parseManagedPasswordId(entry.octets("msDS-ManagedPasswordId") ?? Buffer.alloc(0));
  const control = need("userAccountControl", parseInteger(entry.text("userAccountControl")));
  return {
    dn: entry.dn,
    accountName: need("sAMAccountName", entry.text("sAMAccountName")),
    guid: need("objectGUID", guidFromBytes(entry.octets("objectGUID") ?? Buffer.alloc(0))),
    sid: need("objectSid", sidFromBytes(entry.octets("objectSid") ?? Buffer.alloc(0))),
    enabled: (control & accountControl.disabled) === 0,
    aesEnabled: ((parseInteger(entry.text("msDS-SupportedEncryptionTypes")) ?? 0) & aesBits) !== 0,
    serviceNames: entry.texts("servicePrincipalName"),
    intervalDays,
    recordedUntil: id === undefined || intervalDays === undefined ? undefined : keyEnd(id, intervalDays),
  };
}

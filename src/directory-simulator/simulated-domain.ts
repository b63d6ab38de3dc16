/**
 * The content of a simulated domain: people, groups and managed accounts, with the attributes that AD would give them.
 * A simulator for laptops and tests: it keeps passwords in memory as they were written and is no directory to rely on.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import type { Clock } from "../clock.ts";
import { accountControl } from "../directory/account-state.ts";
import { domainToDistinguishedName, escapeDistinguishedNameValue } from "../directory/distinguished-name.ts";
import { millisecondsToFileTime, neverTicks } from "../directory/filetime.ts";
import { guidFromBytes, guidToBytes, type Guid } from "../directory/guid.ts";
import { sidInDomain, sidToBytes, type Sid } from "../directory/sid.ts";
import { Secret } from "../secret.ts";

export interface SimulatedPerson {
  readonly accountName: string;
  readonly password: string;
  readonly displayName?: string | undefined;
  readonly mail?: string | undefined;
  readonly memberOf?: readonly string[] | undefined;
  readonly state?:
    | "enabled"
    | "disabled"
    | "locked"
    | "expired"
    | "password-expired"
    | "must-change-password"
    | undefined;
}

export interface SimulatedGroup {
  readonly name: string;
  readonly memberOf?: readonly string[] | undefined;
}

export interface SimulatedManagedAccount {
  /** Without its `$`. */
  readonly name: string;
  /** Groups and people that may retrieve its password. */
  readonly readers: readonly string[];
}

export interface SimulatedDomainContent {
  readonly domain: string;
  readonly netbiosName: string;
  readonly people: readonly SimulatedPerson[];
  readonly groups: readonly SimulatedGroup[];
  readonly managedAccounts: readonly SimulatedManagedAccount[];
}

/** An entry; constructed attributes are computed when they are asked for. */
export interface SimulatedEntry {
  readonly dn: string;
  readonly guid: Guid;
  readonly sid: Sid | undefined;
  readonly accountName: string | undefined;
  readonly attributes: ReadonlyMap<string, readonly (string | Buffer)[]>;
}

/** Wrong passwords after which an account is locked, as Windows' security baseline has it. */
const lockoutThreshold = 10;
const lockoutWindowMs = 10 * 60_000;
const passwordDays = 30;

export class SimulatedDomain {
  readonly baseDn: string;
  readonly sid: Sid;
  readonly #clock: Clock;
  #content: SimulatedDomainContent;
  readonly #created: bigint;
  readonly #wrong = new Map<string, { count: number; since: number }>();
  readonly #disabled = new Set<string>();
  readonly #managedPasswords = new Map<string, Buffer>();
  readonly #rids = new Map<string, number>();

  constructor(content: SimulatedDomainContent, clock: Clock) {
    this.#content = content;
    this.#clock = clock;
    this.#created = millisecondsToFileTime(clock.now());
    this.baseDn = domainToDistinguishedName(content.domain);
    const digest = createHash("sha256").update(content.domain).digest();
    const parts = [0, 4, 8].map((at) => digest.readUInt32LE(at));
    this.sid = `S-1-5-21-${parts.join("-")}` as Sid;
    const names = [
      ...content.people.map((one) => one.accountName),
      ...content.groups.map((one) => one.name),
      ...content.managedAccounts.map((one) => `${one.name}$`),
    ];
    for (const [index, name] of names.entries()) this.#rids.set(name.toLowerCase(), 1100 + index);
  }

  get content(): SimulatedDomainContent {
    return this.#content;
  }

  get configurationDn(): string {
    return `CN=Configuration,${this.baseDn}`;
  }

  /** The same people and groups, in other states or memberships. */
  replaceContent(content: SimulatedDomainContent): void {
    this.#content = content;
  }

  /** Disables or enables somebody, as an administrator would. */
  setDisabled(accountName: string, disabled: boolean): void {
    if (disabled) this.#disabled.add(accountName.toLowerCase());
    else this.#disabled.delete(accountName.toLowerCase());
  }

  entries(): readonly SimulatedEntry[] {
    return [
      this.#domainEntry(),
      this.#partitionEntry(),
      ...this.content.people.map((person) => this.#personEntry(person)),
      this.#groupEntry({ name: "Domain Users" }, 513),
      ...this.content.groups.map((group) => this.#groupEntry(group, this.#rid(group.name))),
      ...this.content.managedAccounts.map((account) => this.#managedEntry(account)),
    ];
  }

  /** A simple bind by DN, UPN or `DOMAIN\name`: the person, or AD's diagnostic (MS-ADTS 5.1.1.1.1). */
  bind(name: string, password: string): { readonly accountName: string } | { readonly dataCode: string } {
    const person = this.content.people.find((one) => this.#answersTo(one, name));
    if (person === undefined) return { dataCode: "52e" };
    if (this.#isLocked(person)) return { dataCode: "775" };
    if (!new Secret(person.password).equals(new Secret(password))) {
      this.#countWrong(person.accountName);
      return { dataCode: "52e" };
    }
    if (this.#isDisabled(person)) return { dataCode: "533" };
    if (person.state === "expired") return { dataCode: "701" };
    if (person.state === "must-change-password") return { dataCode: "773" };
    if (person.state === "password-expired") return { dataCode: "532" };
    this.#wrong.delete(person.accountName.toLowerCase());
    return { accountName: person.accountName };
  }

  /** SIDs of every group an account is in, through others too, and of its primary group. */
  tokenGroups(accountName: string): readonly Sid[] {
    const names = this.#groupsOf(accountName);
    return [...names.map((name) => sidInDomain(this.sid, this.#rid(name))), sidInDomain(this.sid, 513)];
  }

  /** The blob of a managed account's password, for a reader who may have it. */
  managedPassword(accountName: string, reader: string): Buffer | undefined {
    const account = this.content.managedAccounts.find(
      ({ name }) => `${name}$`.toLowerCase() === accountName.toLowerCase(),
    );
    const isReader = account?.readers.some(
      (allowed) => allowed.toLowerCase() === reader.toLowerCase() || this.#groupsOf(reader).includes(allowed),
    );
    if (account === undefined || isReader !== true) return undefined;
    const known = this.#managedPasswords.get(account.name) ?? randomPassword();
    this.#managedPasswords.set(account.name, known);
    return encodeBlob(known, BigInt(passwordDays) * 864_000_000_000n);
  }

  /** Names of the groups an account or a group is in, directly or through others; a circle ends where it began. */
  #groupsOf(name: string): readonly string[] {
    const found = new Set<string>();
    const visit = (names: readonly string[]): void => {
      for (const one of names) {
        if (found.has(one)) continue;
        found.add(one);
        visit(this.content.groups.find((group) => group.name === one)?.memberOf ?? []);
      }
    };
    const lower = name.toLowerCase();
    const direct =
      this.content.people.find((one) => one.accountName.toLowerCase() === lower) ??
      this.content.groups.find((one) => one.name.toLowerCase() === lower);
    visit(direct?.memberOf ?? []);
    return [...found];
  }

  #answersTo(person: SimulatedPerson, name: string): boolean {
    const { domain, netbiosName } = this.content;
    const { accountName } = person;
    const names = [this.#personDn(person), `${accountName}@${domain}`, `${netbiosName}\\${accountName}`];
    return names.some((one) => one.toLowerCase() === name.toLowerCase());
  }

  #isDisabled(person: SimulatedPerson): boolean {
    return person.state === "disabled" || this.#disabled.has(person.accountName.toLowerCase());
  }

  #isLocked(person: SimulatedPerson): boolean {
    if (person.state === "locked") return true;
    const wrong = this.#wrong.get(person.accountName.toLowerCase());
    return (
      wrong !== undefined &&
      wrong.count >= lockoutThreshold &&
      this.#clock.now() - wrong.since < lockoutWindowMs
    );
  }

  #wrongSince(person: SimulatedPerson): bigint {
    const wrong = this.#wrong.get(person.accountName.toLowerCase());
    return wrong === undefined ? 0n : millisecondsToFileTime(wrong.since);
  }

  #countWrong(accountName: string): void {
    const key = accountName.toLowerCase();
    const now = this.#clock.now();
    const known = this.#wrong.get(key);
    const count = known !== undefined && now - known.since < lockoutWindowMs ? known.count + 1 : 1;
    this.#wrong.set(key, { count, since: now });
  }

  #rid(name: string): number {
    return this.#rids.get(name.toLowerCase()) ?? 0;
  }

  #personDn(person: SimulatedPerson): string {
    return `CN=${escapeDistinguishedNameValue(person.displayName ?? person.accountName)},OU=People,${this.baseDn}`;
  }

  #groupDn(name: string): string {
    return `CN=${escapeDistinguishedNameValue(name)},OU=Groups,${this.baseDn}`;
  }

  #entry(
    dn: string,
    sid: Sid | undefined,
    accountName: string | undefined,
    attributes: Readonly<Record<string, readonly (string | Buffer)[] | undefined>>,
  ): SimulatedEntry {
    const guid = guidFromBytes(
      createHash("sha256")
        .update(`${this.content.domain}\0${accountName ?? dn}`)
        .digest()
        .subarray(0, 16),
    );
    if (guid === undefined) throw new TypeError("16 octets make a GUID");
    const all: Readonly<Record<string, readonly (string | Buffer)[] | undefined>> = {
      distinguishedName: [dn],
      objectGUID: [guidToBytes(guid)],
      ...(sid === undefined ? {} : { objectSid: [sidToBytes(sid)] }),
      ...(accountName === undefined ? {} : { sAMAccountName: [accountName] }),
      ...attributes,
    };
    const values = Object.entries(all).filter(
      (pair): pair is [string, readonly (string | Buffer)[]] => pair[1] !== undefined && pair[1].length > 0,
    );
    return { dn, guid, sid, accountName, attributes: new Map(values.map(([name, list]) => [name, list])) };
  }

  #domainEntry(): SimulatedEntry {
    return this.#entry(this.baseDn, this.sid, undefined, {
      objectClass: ["top", "domain", "domainDNS"],
      lockoutThreshold: [String(lockoutThreshold)],
      lockOutObservationWindow: [String(-10_000n * BigInt(lockoutWindowMs))],
    });
  }

  #partitionEntry(): SimulatedEntry {
    const { netbiosName } = this.content;
    return this.#entry(`CN=${netbiosName},CN=Partitions,${this.configurationDn}`, undefined, undefined, {
      objectClass: ["top", "crossRef"],
      nCName: [this.baseDn],
      nETBIOSName: [netbiosName],
    });
  }

  #personEntry(person: SimulatedPerson): SimulatedEntry {
    const computed =
      (this.#isLocked(person) ? accountControl.lockedOut : 0) |
      (person.state === "password-expired" ? accountControl.passwordExpired : 0);
    return this.#entry(
      this.#personDn(person),
      sidInDomain(this.sid, this.#rid(person.accountName)),
      person.accountName,
      {
        objectClass: ["top", "person", "organizationalPerson", "user"],
        objectCategory: ["person"],
        sAMAccountType: ["805306368"],
        userPrincipalName: [`${person.accountName}@${this.content.domain}`],
        displayName: [person.displayName ?? person.accountName],
        mail: person.mail === undefined ? undefined : [person.mail],
        userAccountControl: [
          String(accountControl.normalAccount | (this.#isDisabled(person) ? accountControl.disabled : 0)),
        ],
        "msDS-User-Account-Control-Computed": [String(computed)],
        accountExpires: [person.state === "expired" ? "132223104000000000" : String(neverTicks)],
        pwdLastSet: [person.state === "must-change-password" ? "0" : String(this.#created)],
        primaryGroupID: ["513"],
        badPwdCount: [String(this.#wrong.get(person.accountName.toLowerCase())?.count ?? 0)],
        badPasswordTime: [String(this.#wrongSince(person))],
        memberOf: (person.memberOf ?? []).map((name) => this.#groupDn(name)),
      },
    );
  }

  #groupEntry(group: SimulatedGroup, rid: number): SimulatedEntry {
    const members = [
      ...this.content.people
        .filter((one) => one.memberOf?.includes(group.name))
        .map((one) => this.#personDn(one)),
      ...this.content.groups
        .filter((one) => one.memberOf?.includes(group.name))
        .map((one) => this.#groupDn(one.name)),
    ];
    return this.#entry(this.#groupDn(group.name), sidInDomain(this.sid, rid), group.name, {
      objectClass: ["top", "group"],
      objectCategory: ["group"],
      // A global security group.
      groupType: ["-2147483646"],
      member: members,
      memberOf: (group.memberOf ?? []).map((name) => this.#groupDn(name)),
    });
  }

  #managedEntry(account: SimulatedManagedAccount): SimulatedEntry {
    const { domain } = this.content;
    const accountName = `${account.name}$`;
    return this.#entry(
      `CN=${escapeDistinguishedNameValue(account.name)},CN=Managed Service Accounts,${this.baseDn}`,
      sidInDomain(this.sid, this.#rid(accountName)),
      accountName,
      {
        objectClass: [
          "top",
          "person",
          "organizationalPerson",
          "user",
          "computer",
          "msDS-GroupManagedServiceAccount",
        ],
        userAccountControl: [String(accountControl.workstationTrust)],
        "msDS-SupportedEncryptionTypes": ["24"],
        "msDS-ManagedPasswordInterval": [String(passwordDays)],
        "msDS-KeyVersionNumber": ["1"],
        servicePrincipalName: [`HTTP/${account.name}.${domain}`, `HTTP/${account.name}`],
      },
    );
  }
}

function randomPassword(): Buffer {
  const bytes = randomBytes(256);
  // Domain controllers leave no NUL unit inside.
  for (let at = 0; at < bytes.length; at += 2) if (bytes.readUInt16LE(at) === 0) bytes.writeUInt16LE(1, at);
  return bytes;
}

/** MS-ADTS 2.2.19, without a previous password. */
function encodeBlob(password: Buffer, interval: bigint): Buffer {
  const query = 16 + password.length + 2;
  const blob = Buffer.alloc(query + 16);
  blob.writeUInt16LE(1, 0);
  blob.writeUInt32LE(blob.length, 4);
  blob.writeUInt16LE(16, 8);
  blob.writeUInt16LE(query, 12);
  blob.writeUInt16LE(query + 8, 14);
  password.copy(blob, 16);
  blob.writeBigUInt64LE(interval, query);
  blob.writeBigUInt64LE(interval - 3_000_000_000n, query + 8);
  return blob;
}

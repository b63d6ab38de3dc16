/**
 * The groups of a person, by one of three ways, and what they are called. A number beyond the limit fails with a name:
 * a list cut short could hide the one group that would have denied something.
 * @module
 */
import { createHash } from "node:crypto";
import { SallyportError } from "../errors.ts";
import type { Clock } from "../clock.ts";
import type { DirectoryConnection, DirectoryEntry } from "./connection.ts";
import { domainOf, isWithin, parseDistinguishedName } from "./distinguished-name.ts";
import { all, any, equals, linksTo, type Filter } from "./filter.ts";
import type { Guid } from "./guid.ts";
import { parseInteger, type PersonRecord } from "./person.ts";
import { sidFromBytes, sidToBytes, type Sid } from "./sid.ts";

/** A group the person is a member of, directly or through others. */
export interface Group {
  readonly sid: Sid;
  /** `sAMAccountName`, unique in its domain only. */
  readonly name: string;
  /** DNS name of the group's domain. */
  readonly domain: string;
  readonly dn: string;
}

/**
 * `token-groups`: what the domain controller itself puts into a logon, in one read (MS-ADTS 3.1.1.4.5.19).
 * `in-chain`: a search that follows memberships; costs the server more, and needs no right to read `tokenGroups`.
 * `member-of`: direct memberships only.
 */
export const groupStrategies = ["token-groups", "in-chain", "member-of"] as const;
export type GroupStrategy = (typeof groupStrategies)[number];

export interface GroupRules {
  readonly strategy: GroupStrategy;
  /** More groups than this fail with `E_DIRECTORY_TOO_MANY_GROUPS`. */
  readonly limit: number;
  /** Distribution groups too; Windows gives them no rights. */
  readonly includeDistribution: boolean;
  /** Groups of the domain controllers themselves (`BUILTIN\Users`). */
  readonly includeBuiltin: boolean;
  /** Only groups below this DN. */
  readonly below?: string | undefined;
  /** How long memberships of groups in groups may be remembered, milliseconds; 0: not at all. */
  readonly chainsKeptMs: number;
}

export const defaultGroupRules: GroupRules = {
  strategy: "token-groups",
  limit: 2000,
  includeDistribution: false,
  includeBuiltin: false,
  chainsKeptMs: 60_000,
};

const groupAttributes = ["objectSid", "sAMAccountName", "groupType"] as const;
const binary = ["objectSid", "tokenGroups"] as const;
const securityGroup = 0x8000_0000;
/** Assertions in one filter; servers limit the length of a request and the cost of a search. */
const batch = 100;
const cacheKeptMs = 600_000;
const cacheSize = 20_000;
const tokensSize = 1000;

interface Known {
  readonly group: Group;
  readonly security: boolean;
}

export class GroupResolver {
  readonly #rules: GroupRules;
  readonly #clock: Clock;
  readonly #bySid = new Map<Sid, { readonly known: Known | undefined; readonly at: number }>();
  readonly #tokens = new Map<
    Guid,
    { readonly sids: readonly Sid[]; readonly print: string; readonly at: number }
  >();

  constructor(rules: GroupRules, clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
  }

  /** The groups, sorted by SID. Throws `E_DIRECTORY_TOO_MANY_GROUPS`. */
  async groupsOf(
    record: PersonRecord,
    connection: DirectoryConnection,
    searchBase: string,
    signal: AbortSignal,
  ): Promise<readonly Group[]> {
    const found = await this.#find(record, connection, searchBase, signal);
    const below = this.#rules.below === undefined ? undefined : parseDistinguishedName(this.#rules.below);
    const groups = found
      .filter(({ security }) => security || this.#rules.includeDistribution)
      .map(({ group }) => group)
      .filter(({ sid }) => this.#rules.includeBuiltin || !sid.startsWith("S-1-5-32-"))
      .filter(({ dn }) => below === undefined || isWithin(parseDistinguishedName(dn) ?? [], below));
    return [...new Map(groups.map((group) => [group.sid, group])).values()].sort((a, b) =>
      a.sid < b.sid ? -1 : 1,
    );
  }

  async #find(
    record: PersonRecord,
    connection: DirectoryConnection,
    searchBase: string,
    signal: AbortSignal,
  ): Promise<readonly Known[]> {
    const { strategy } = this.#rules;
    const primary = record.primaryGroup === undefined ? [] : [record.primaryGroup];
    if (strategy === "token-groups") {
      const sids = await this.#tokenGroups(record, connection, signal);
      return this.#bySids(sids, connection, searchBase, signal);
    }
    if (strategy === "in-chain") {
      const entries = await connection.search(
        {
          base: searchBase,
          scope: "sub",
          filter: all(equals("objectCategory", "group"), linksTo("member", record.person.dn)),
          attributes: groupAttributes,
          binary,
          pageSize: 500,
        },
        signal,
      );
      this.#check(entries.length);
      return [...entries.flatMap(toKnown), ...(await this.#bySids(primary, connection, searchBase, signal))];
    }
    const [entry] = await connection.search(
      { base: record.person.dn, scope: "base", attributes: ["memberOf"] },
      signal,
    );
    const memberOf = entry?.texts("memberOf") ?? [];
    this.#check(memberOf.length);
    const direct = await searchInBatches(
      memberOf.map((dn) => equals("distinguishedName", dn)),
      connection,
      searchBase,
      signal,
    );
    return [...direct.flatMap(toKnown), ...(await this.#bySids(primary, connection, searchBase, signal))];
  }

  /**
   * `tokenGroups`, which costs a domain controller much where somebody is in many groups. Within a minute it is asked
   * again only when the direct memberships are other ones, which it is cheap to see; so a change in the middle of a
   * chain of groups is noticed after a minute.
   */
  async #tokenGroups(
    record: PersonRecord,
    connection: DirectoryConnection,
    signal: AbortSignal,
  ): Promise<readonly Sid[]> {
    const { guid, dn } = record.person;
    const read = async (...attributes: readonly string[]): Promise<DirectoryEntry | undefined> =>
      (await connection.search({ base: dn, scope: "base", attributes, binary }, signal))[0];
    const printOf = (entry: DirectoryEntry | undefined): string => {
      const direct = JSON.stringify([record.primaryGroup, entry?.texts("memberOf").toSorted()]);
      return createHash("sha256").update(direct).digest("base64");
    };
    const now = this.#clock.now();
    const known = this.#tokens.get(guid);
    if (known !== undefined && now - known.at < this.#rules.chainsKeptMs) {
      if (printOf(await read("memberOf")) === known.print) return known.sids;
    }
    const entry = await read("tokenGroups", "memberOf");
    const sids = (entry?.allOctets("tokenGroups") ?? []).map(sidFromBytes);
    if (sids.length === 0 || sids.some((sid) => sid === undefined)) {
      throw new SallyportError("E_DIRECTORY_ENTRY", { dn, attribute: "tokenGroups" });
    }
    this.#check(sids.length);
    const checked = sids as readonly Sid[];
    remember(this.#tokens, guid, { sids: checked, print: printOf(entry), at: now }, tokensSize);
    return checked;
  }

  #check(count: number): void {
    const { limit } = this.#rules;
    if (count > limit) throw new SallyportError("E_DIRECTORY_TOO_MANY_GROUPS", { limit });
  }

  /** Looks groups up by SID. Those of other domains are not found here, and give no rights by name. */
  async #bySids(
    sids: readonly Sid[],
    connection: DirectoryConnection,
    searchBase: string,
    signal: AbortSignal,
  ): Promise<readonly Known[]> {
    const now = this.#clock.now();
    const fresh = (sid: Sid): boolean => now - (this.#bySid.get(sid)?.at ?? -Infinity) < cacheKeptMs;
    const missing = sids.filter((sid) => !fresh(sid));
    const entries = await searchInBatches(
      missing.map((sid) => equals("objectSid", sidToBytes(sid))),
      connection,
      searchBase,
      signal,
    );
    const found = new Map(entries.flatMap(toKnown).map((known) => [known.group.sid, known]));
    for (const sid of missing) remember(this.#bySid, sid, { known: found.get(sid), at: now }, cacheSize);
    return sids.flatMap((sid) => found.get(sid) ?? this.#bySid.get(sid)?.known ?? []);
  }
}

/** A Map keeps the order of insertion: the first is the oldest. */
function remember<Key, Value>(map: Map<Key, Value>, key: Key, value: Value, size: number): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= size) break;
    map.delete(oldest);
  }
}

async function searchInBatches(
  assertions: readonly Filter[],
  connection: DirectoryConnection,
  searchBase: string,
  signal: AbortSignal,
): Promise<readonly DirectoryEntry[]> {
  const entries: DirectoryEntry[] = [];
  for (let at = 0; at < assertions.length; at += batch) {
    const filter = any(...assertions.slice(at, at + batch));
    entries.push(
      ...(await connection.search(
        { base: searchBase, scope: "sub", filter, attributes: groupAttributes, binary },
        signal,
      )),
    );
  }
  return entries;
}

function toKnown(entry: DirectoryEntry): readonly Known[] {
  const sid = sidFromBytes(entry.octets("objectSid") ?? Buffer.alloc(0));
  const name = entry.text("sAMAccountName");
  const domain = domainOf(parseDistinguishedName(entry.dn) ?? []);
  const type = parseInteger(entry.text("groupType"));
  if (sid === undefined || name === undefined || name === "" || domain === undefined || type === undefined)
    return [];
  return [{ group: { sid, name, domain, dn: entry.dn }, security: (type & securityGroup) !== 0 }];
}

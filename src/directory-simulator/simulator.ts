/**
 * A directory simulator: a small in-process stand-in for a domain controller, real LDAP over TLS around made-up content.
 * For laptops and tests, where no Active Directory is at hand; never for anything that matters.
 * @module
 */
import type { SecureContext } from "node:tls";
import { isWithin, parseDistinguishedName, sameDistinguishedName } from "../directory/distinguished-name.ts";
import type { Filter } from "../directory/filter.ts";
import { parseGuid } from "../directory/guid.ts";
import { parseSid, sidToBytes } from "../directory/sid.ts";
import {
  bindResponse,
  extendedResponse,
  refusal,
  resultCode,
  searchDone,
  searchEntry,
  type LdapRequest,
  type RequestedSearch,
} from "./ldap-messages.ts";
import { startLdapServer, type LdapSession, type RunningLdapServer } from "./ldap-server.ts";
import type { SimulatedDomain, SimulatedEntry } from "./simulated-domain.ts";

export interface SimulatorOptions {
  readonly domain: SimulatedDomain;
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly security: "ldaps" | "starttls";
  readonly secureContext: () => SecureContext;
}

export function startDirectorySimulator(options: SimulatorOptions): Promise<RunningLdapServer> {
  return startLdapServer({
    ...options,
    handler: (request, session) => answer(options.domain, request, session),
  });
}

const whoAmIOid = "1.3.6.1.4.1.4203.1.11.3";

function answer(domain: SimulatedDomain, request: LdapRequest, session: LdapSession): void {
  const bound = session.memory.get("account") as string | undefined;
  switch (request.kind) {
    case "bind": {
      session.memory.delete("account");
      // As AD does, with the pitfall that clients must avoid: an empty password is an anonymous bind that succeeds.
      if (request.password === "") return session.send(bindResponse(request.id, resultCode.success));
      const outcome = domain.bind(request.name, request.password);
      if ("dataCode" in outcome) {
        const diagnostic = `80090308: LdapErr: DSID-0C090000, comment: AcceptSecurityContext error, data ${outcome.dataCode}, vsim`;
        return session.send(bindResponse(request.id, resultCode.invalidCredentials, diagnostic));
      }
      session.memory.set("account", outcome.accountName);
      return session.send(bindResponse(request.id, resultCode.success));
    }
    case "extended":
      return session.send(
        request.oid === whoAmIOid
          ? extendedResponse(
              request.id,
              resultCode.success,
              "",
              bound === undefined ? "" : `u:${domain.content.netbiosName}\\${bound}`,
            )
          : extendedResponse(request.id, resultCode.protocolError, "not simulated"),
      );
    case "search":
      return search(domain, request.id, request.search, bound, session);
    case "unbind":
      return session.end();
    case "other":
      return session.send(refusal(request.id, request.operation, "the simulator is read-only"));
  }
}

function search(
  domain: SimulatedDomain,
  id: number,
  asked: RequestedSearch,
  bound: string | undefined,
  session: LdapSession,
): void {
  if (asked.base === "" && asked.scope === "base") {
    const root = {
      defaultNamingContext: [domain.baseDn],
      rootDomainNamingContext: [domain.baseDn],
      configurationNamingContext: [domain.configurationDn],
      supportedLDAPVersion: ["3"],
    };
    return session.send(
      searchEntry(id, "", selected(Object.entries(root), asked.attributes)),
      searchDone(id),
    );
  }
  if (bound === undefined) {
    const diagnostic =
      "000004DC: LdapErr: DSID-0C090000, comment: In order to perform this operation a successful bind must be completed on the connection., data 0, vsim";
    return session.send(searchDone(id, resultCode.operationsError, diagnostic));
  }
  const entries = domain.entries();
  const base = parseDistinguishedName(baseDn(asked.base, entries) ?? asked.base);
  const inScope = entries.filter(({ dn }) => {
    const name = parseDistinguishedName(dn);
    if (name === undefined || base === undefined) return false;
    return asked.scope === "base" ? sameDistinguishedName(name, base) : isWithin(name, base);
  });
  if (asked.scope === "base" && inScope.length === 0) {
    return session.send(
      searchDone(
        id,
        resultCode.noSuchObject,
        "0000208D: NameErr: DSID-0C090000, problem 2001 (NO_OBJECT), vsim",
      ),
    );
  }
  const { filter } = asked;
  const found = filter === undefined ? [] : inScope.filter((entry) => matches(filter, entry, entries));
  const start = asked.page === undefined ? 0 : Number(asked.page.cookie.toString("latin1") || "0");
  const limit = asked.sizeLimit === 0 ? Infinity : asked.sizeLimit;
  const page = found.slice(start, start + Math.min(asked.page?.size || Infinity, limit));
  const end = start + page.length;
  const cookie = asked.page === undefined ? undefined : Buffer.from(end < found.length ? String(end) : "");
  const truncated = asked.page === undefined && found.length > limit;
  return session.send(
    ...page.map((entry) =>
      searchEntry(id, entry.dn, selected(attributesOf(domain, entry, asked, bound), asked.attributes)),
    ),
    searchDone(id, truncated ? resultCode.sizeLimitExceeded : resultCode.success, "", cookie),
  );
}

type Attributes = readonly (readonly [string, readonly (string | Buffer)[]])[];

/** Stored attributes and, when asked for by name as AD wants it, constructed ones. */
function attributesOf(
  domain: SimulatedDomain,
  entry: SimulatedEntry,
  asked: RequestedSearch,
  bound: string,
): Attributes {
  const names = new Set(asked.attributes.map((name) => name.toLowerCase()));
  const constructed: (readonly [string, readonly (string | Buffer)[]])[] = [];
  if (names.has("tokengroups") && asked.scope === "base" && entry.accountName !== undefined) {
    constructed.push(["tokenGroups", domain.tokenGroups(entry.accountName).map(sidToBytes)]);
  }
  if (names.has("msds-managedpassword") && asked.scope === "base" && entry.accountName !== undefined) {
    const blob = domain.managedPassword(entry.accountName, bound);
    if (blob !== undefined) constructed.push(["msDS-ManagedPassword", [blob]]);
  }
  return [...entry.attributes, ...constructed];
}

function selected(attributes: Attributes, asked: readonly string[]): Attributes {
  const names = new Set(asked.map((name) => name.toLowerCase()));
  return names.size === 0 || names.has("*")
    ? attributes
    : attributes.filter(([name]) => names.has(name.toLowerCase()));
}

/** `<GUID=…>` and `<SID=…>` stand for an entry's DN (MS-ADTS 3.1.1.3.1.2.4). */
function baseDn(base: string, entries: readonly SimulatedEntry[]): string | undefined {
  const match = /^<(GUID|SID)=([^>]+)>$/i.exec(base);
  if (match?.[2] === undefined) return base;
  const guid = match[1]?.toUpperCase() === "GUID" ? parseGuid(match[2]) : undefined;
  const sid = match[1]?.toUpperCase() === "SID" ? parseSid(match[2]) : undefined;
  return (
    entries.find(
      (entry) => (guid !== undefined && entry.guid === guid) || (sid !== undefined && entry.sid === sid),
    )?.dn ?? "CN=absent"
  );
}

function matches(filter: Filter, entry: SimulatedEntry, entries: readonly SimulatedEntry[]): boolean {
  switch (filter.kind) {
    case "and":
      return filter.of.every((one) => matches(one, entry, entries));
    case "or":
      return filter.of.some((one) => matches(one, entry, entries));
    case "not":
      return !matches(filter.of, entry, entries);
    case "present":
      return valuesOf(entry, filter.attribute).length > 0;
    case "equals": {
      const wanted = Buffer.isBuffer(filter.value) ? filter.value : Buffer.from(filter.value);
      return valuesOf(entry, filter.attribute).some((value) =>
        typeof value === "string"
          ? foldedText(value) === foldedText(wanted.toString("utf8"))
          : value.equals(wanted),
      );
    }
    case "extensible":
      return matchesRule(filter, entry, entries);
  }
}

function matchesRule(
  filter: Extract<Filter, { readonly kind: "extensible" }>,
  entry: SimulatedEntry,
  entries: readonly SimulatedEntry[],
): boolean {
  if (filter.rule === "1.2.840.113556.1.4.803") {
    const bits = Number(filter.value);
    return valuesOf(entry, filter.attribute).some((value) => (Number(value) & bits) === bits);
  }
  if (filter.rule !== "1.2.840.113556.1.4.1941") return false;
  const target = parseDistinguishedName(filter.value);
  const seen = new Set<string>();
  const reaches = (from: SimulatedEntry): boolean =>
    valuesOf(from, filter.attribute).some((value) => {
      const name = parseDistinguishedName(String(value));
      if (name === undefined || target === undefined || seen.has(String(value))) return false;
      if (sameDistinguishedName(name, target)) return true;
      seen.add(String(value));
      const next = entries.find(({ dn }) => dn === value);
      return next !== undefined && reaches(next);
    });
  return reaches(entry);
}

function valuesOf(entry: SimulatedEntry, attribute: string): readonly (string | Buffer)[] {
  const name = attribute.toLowerCase();
  for (const [key, values] of entry.attributes) if (key.toLowerCase() === name) return values;
  return [];
}

/** AD compares text without regard to case, and to spaces at the end. */
function foldedText(text: string): string {
  return text.toLowerCase().trimEnd();
}

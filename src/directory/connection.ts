/**
 * One connection to a domain controller, the only module that knows the LDAP client library. It makes that library's known
 * defects impossible (`docs/decisions/0060-ldapts-behind-one-module.md`): the stream is encrypted before the library
 * sees it, is handed over once and never again, carries only checked messages, and dies at the first trouble.
 * @module
 */
import {
  AndFilter,
  Client,
  Control,
  EqualityFilter,
  ExtensibleFilter,
  NotFilter,
  OrFilter,
  PresenceFilter,
  ResultCodeError,
  type BerWriter,
  type Filter as WireFilter,
  type SearchOptions,
} from "ldapts";
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { reasonOf, SallyportError } from "../errors.ts";
import { ber, berInteger, berTag } from "./ber.ts";
import { parseBindDiagnostic, type BindDiagnostic } from "./bind-diagnostic.ts";
import type { BindName, BindPassword } from "./bind-name.ts";
import { filterToText, present, type Filter } from "./filter.ts";
import { MessageStream, operationTag, pagedResultsOid, type FrameLimits } from "./message-frames.ts";
import { openTransport, serverName, type DirectoryServer, type TlsTrust } from "./transport.ts";

export interface SearchRequest {
  readonly base: string;
  readonly scope: "base" | "sub";
  /** Default: any entry. */
  readonly filter?: Filter;
  readonly attributes: readonly string[];
  /** Attributes whose values are octets, not text; they must be among `attributes`. */
  readonly binary?: readonly string[];
  /** Asks the server for no more entries than this. */
  readonly sizeLimit?: number;
  /** Entries a page (RFC 2696): for searches that may find more than AD's limit of 1000. */
  readonly pageSize?: number;
}

/** An entry as it came: values by attribute name, whatever its case. */
export interface DirectoryEntry {
  readonly dn: string;
  /** First value as text. */
  text(attribute: string): string | undefined;
  texts(attribute: string): readonly string[];
  /** First value as octets, of an attribute that the request named as binary. */
  octets(attribute: string): Buffer | undefined;
  allOctets(attribute: string): readonly Buffer[];
}

export type BindOutcome = { readonly outcome: "bound" } | ({ readonly outcome: "refused" } & BindDiagnostic);

export interface DirectoryConnection {
  readonly server: DirectoryServer;
  /** No longer of use: closed by either side, or given up after trouble. */
  readonly closed: boolean;
  /** A simple bind. Wrong credentials are an outcome; anything else that goes wrong is thrown and ends the connection. */
  bind(name: BindName, password: BindPassword, signal: AbortSignal): Promise<BindOutcome>;
  /** The entries found; empty when the base does not exist. Referrals to other servers are ignored. */
  search(request: SearchRequest, signal: AbortSignal): Promise<readonly DirectoryEntry[]>;
  /** Who the server takes us for (RFC 4532): `u:CONTOSO\alice`, or empty for nobody. */
  whoAmI(signal: AbortSignal): Promise<string>;
  /** Calls back once when the connection has ended, for whatever reason. */
  onClose(listener: () => void): void;
  close(): void;
}

export interface ConnectionLimits extends FrameLimits {
  /** Most values that are put together for one attribute from ranges (MS-ADTS 3.1.1.3.1.3.3). */
  readonly maxValues: number;
}

export const defaultConnectionLimits: ConnectionLimits = {
  maxMessageBytes: 4 * 1024 * 1024,
  maxEntries: 20_000,
  maxValues: 100_000,
};

/** Only a backstop: every operation has a signal, which is checked first. */
const libraryTimeoutMs = 120_000;

/** Connects to a domain controller; see {@link openTransport} for what it throws. */
export async function openConnection(
  server: DirectoryServer,
  trust: TlsTrust,
  signal: AbortSignal,
  limits: ConnectionLimits = defaultConnectionLimits,
): Promise<DirectoryConnection> {
  return new LdapConnection(server, await openTransport(server, trust, signal), limits);
}

class LdapConnection implements DirectoryConnection {
  readonly server: DirectoryServer;
  readonly #client: Client;
  readonly #stream: MessageStream;
  readonly #limits: ConnectionLimits;
  #taken = false;
  #failure: SallyportError | undefined;
  #pageCookie: Buffer | undefined;

  constructor(server: DirectoryServer, socket: TLSSocket, limits: ConnectionLimits) {
    this.server = server;
    this.#limits = limits;
    this.#stream = new MessageStream(socket, limits, (frame) => {
      if (frame.operation === operationTag.searchDone) this.#pageCookie = frame.pageCookie;
    });
    this.#stream.on("error", (error) => {
      this.#failure ??= this.#broken(reasonOf(error));
    });
    this.#client = new Client({
      // Never `ldaps:` nor TLS options: with either the library would ignore our stream and dial by itself.
      url: "ldap://prepared.invalid",
      timeout: libraryTimeoutMs,
      connectTimeout: libraryTimeoutMs,
      autoRebind: false,
      createConnection: () => {
        if (this.#taken) throw this.#broken("the connection was lost");
        this.#taken = true;
        return this.#stream as unknown as Socket;
      },
    });
  }

  get closed(): boolean {
    return this.#stream.destroyed;
  }

  async bind(name: BindName, password: BindPassword, signal: AbortSignal): Promise<BindOutcome> {
    const secret = password.reveal();
    // Checked by type and checked again here, where it matters: an empty password is no proof of anything.
    if (secret.trim() === "" || secret.startsWith("\0"))
      throw new TypeError("an empty password reached a bind");
    try {
      await this.#run("bind", signal, () => this.#client.bind(name, secret));
      return { outcome: "bound" };
    } catch (thrown) {
      if (!(thrown instanceof ResultCodeError)) throw thrown;
      if (thrown.code === 49) return { outcome: "refused", ...parseBindDiagnostic(thrown.message) };
      throw this.#giveUp(this.#refused(thrown));
    }
  }

  async search(request: SearchRequest, signal: AbortSignal): Promise<readonly DirectoryEntry[]> {
    const found: DirectoryEntry[] = [];
    let cookie: Buffer | undefined;
    do {
      const page = await this.#searchOnce(request, cookie, signal);
      for (const entry of page) found.push(await this.#completeRanges(entry, request, signal));
      if (found.length > this.#limits.maxEntries) {
        throw this.#giveUp(this.#broken(`it sent more than ${this.#limits.maxEntries} entries`));
      }
      cookie = this.#pageCookie;
    } while (request.pageSize !== undefined && cookie !== undefined && cookie.length > 0);
    return found;
  }

  async whoAmI(signal: AbortSignal): Promise<string> {
    try {
      const answer = await this.#run("WhoAmI", signal, () => this.#client.exop("1.3.6.1.4.1.4203.1.11.3"));
      return answer.value ?? "";
    } catch (thrown) {
      throw thrown instanceof ResultCodeError ? this.#giveUp(this.#refused(thrown)) : thrown;
    }
  }

  onClose(listener: () => void): void {
    this.#stream.once("close", listener);
  }

  close(): void {
    if (this.closed) return;
    // The library answers an unbind by ending the stream; whatever it says about it no longer matters.
    this.#client.unbind().catch(() => undefined);
    this.#stream.destroy();
  }

  async #searchOnce(
    request: SearchRequest,
    cookie: Buffer | undefined,
    signal: AbortSignal,
  ): Promise<readonly Collected[]> {
    this.#pageCookie = undefined;
    const options: SearchOptions = {
      scope: request.scope,
      filter: toWire(request.filter ?? present("objectClass")),
      attributes: [...request.attributes],
      // All of them as octets: the library's text loses a leading U+FEFF.
      explicitBufferAttributes: [...request.attributes],
      sizeLimit: request.sizeLimit ?? 0,
      derefAliases: "never",
    };
    const controls = request.pageSize === undefined ? [] : [new PageRequest(request.pageSize, cookie)];
    try {
      const result = await this.#run("search", signal, () =>
        this.#client.search(request.base, options, controls),
      );
      const binary = new Set(request.binary?.map((name) => name.toLowerCase()));
      return result.searchEntries.map((entry) => this.#collect(entry, binary));
    } catch (thrown) {
      if (!(thrown instanceof ResultCodeError)) throw thrown;
      // noSuchObject: AD's way to say that a base by DN, GUID or SID does not exist.
      if (thrown.code === 32) return [];
      throw this.#giveUp(this.#refused(thrown));
    }
  }

  #collect(
    entry: Readonly<Record<string, unknown>> & { readonly dn: string },
    binary: ReadonlySet<string>,
  ): Collected {
    const values = new Map<string, readonly Buffer[]>();
    const ranges: { readonly attribute: string; readonly next: number }[] = [];
    for (const [name, value] of Object.entries(entry)) {
      if (name === "dn") continue;
      const list = (Array.isArray(value) ? value : [value]) as readonly (string | Buffer)[];
      const range = /^([^;]+);range=\d+-(\d+|\*)$/i.exec(name);
      const key = (range?.[1] ?? name).toLowerCase();
      if (binary.has(key) && list.some((item) => typeof item === "string")) {
        throw this.#giveUp(
          this.#broken(`it spelt the binary attribute ${key} in a way that would alter its octets`),
        );
      }
      const octets = list.map((item) => (typeof item === "string" ? Buffer.from(item, "utf8") : item));
      if (octets.length > 0 || !values.has(key)) values.set(key, octets);
      if (range?.[2] !== undefined && range[2] !== "*")
        ranges.push({ attribute: key, next: Number(range[2]) + 1 });
    }
    return { dn: entry.dn, values, ranges };
  }

  /** Fetches the rest of attributes that came in part (`member;range=0-1499`), so that nothing is cut off silently. */
  async #completeRanges(
    entry: Collected,
    request: SearchRequest,
    signal: AbortSignal,
  ): Promise<DirectoryEntry> {
    const values = new Map(entry.values);
    for (const range of entry.ranges) {
      let next: number | undefined = range.next;
      while (next !== undefined) {
        const soFar: readonly Buffer[] = values.get(range.attribute) ?? [];
        if (soFar.length > this.#limits.maxValues) {
          throw this.#giveUp(
            this.#broken(`${range.attribute} has more than ${this.#limits.maxValues} values`),
          );
        }
        const attributes = [`${range.attribute};range=${next}-*`];
        const [part] = await this.#searchOnce(
          { base: entry.dn, scope: "base", attributes, binary: request.binary ?? [] },
          undefined,
          signal,
        );
        const more: readonly Buffer[] = part?.values.get(range.attribute) ?? [];
        const following: number | undefined = part?.ranges.find(
          (other) => other.attribute === range.attribute,
        )?.next;
        if (more.length === 0 || (following !== undefined && following <= next)) {
          throw this.#giveUp(this.#broken(`it stopped in the middle of ${range.attribute}`));
        }
        values.set(range.attribute, [...soFar, ...more]);
        next = following;
      }
    }
    return new CollectedEntry(entry.dn, values);
  }

  /** Runs one operation. Every failure but an LDAP result ends the connection: what follows it could not be trusted. */
  async #run<Result>(step: string, signal: AbortSignal, operation: () => Promise<Result>): Promise<Result> {
    const late = (): SallyportError =>
      new SallyportError("E_DIRECTORY_TIMEOUT", { detail: `${step}, ${serverName(this.server)}` });
    if (this.#failure !== undefined) throw this.#failure;
    if (this.closed) throw this.#broken("the connection was closed");
    if (signal.aborted) throw this.#giveUp(late());
    const onAbort = (): void => void this.#giveUp(late());
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const result = await operation();
      if (!this.#taken) throw this.#broken("the client library made a connection of its own");
      return result;
    } catch (thrown) {
      if (thrown instanceof ResultCodeError) throw thrown;
      throw this.#giveUp(
        thrown instanceof SallyportError ? thrown : this.#broken(firstLine(reasonOf(thrown))),
      );
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  #giveUp(failure: SallyportError): SallyportError {
    this.#failure ??= failure;
    this.#stream.destroy();
    return this.#failure;
  }

  #broken(detail: string): SallyportError {
    return new SallyportError("E_DIRECTORY_PROTOCOL", { server: serverName(this.server), detail });
  }

  #refused(error: ResultCodeError): SallyportError {
    return new SallyportError(
      "E_DIRECTORY_RESULT",
      { server: serverName(this.server), result: error.code, detail: firstLine(error.message) },
      { cause: error },
    );
  }
}

interface Collected {
  readonly dn: string;
  readonly values: ReadonlyMap<string, readonly Buffer[]>;
  readonly ranges: readonly { readonly attribute: string; readonly next: number }[];
}

class CollectedEntry implements DirectoryEntry {
  readonly dn: string;
  readonly #values: ReadonlyMap<string, readonly Buffer[]>;

  constructor(dn: string, values: ReadonlyMap<string, readonly Buffer[]>) {
    this.dn = dn;
    this.#values = values;
  }

  text(attribute: string): string | undefined {
    return this.allOctets(attribute)[0]?.toString("utf8");
  }

  texts(attribute: string): readonly string[] {
    return this.allOctets(attribute).map((value) => value.toString("utf8"));
  }

  octets(attribute: string): Buffer | undefined {
    return this.allOctets(attribute)[0];
  }

  allOctets(attribute: string): readonly Buffer[] {
    return this.#values.get(attribute.toLowerCase()) ?? [];
  }
}

/** A page of a search. The library's own control hides the cookie and stops at a page without entries. */
class PageRequest extends Control {
  readonly #value: Buffer;

  constructor(size: number, cookie: Buffer = Buffer.alloc(0)) {
    super(pagedResultsOid, { critical: true });
    this.#value = ber(berTag.sequence, berInteger(size), ber(berTag.octetString, cookie));
  }

  override writeControl(writer: BerWriter): void {
    writer.writeBuffer(this.#value, berTag.octetString);
  }
}

function toWire(filter: Filter): WireFilter {
  switch (filter.kind) {
    case "and":
      return new AndFilter({ filters: filter.of.map(toWire) });
    case "or":
      return new OrFilter({ filters: filter.of.map(toWire) });
    case "not":
      return new NotFilter({ filter: toWire(filter.of) });
    case "equals":
      return new EqualityFilter({ attribute: filter.attribute, value: filter.value });
    case "present":
      return new PresenceFilter({ attribute: filter.attribute });
    case "extensible":
      return new ExtensibleFilter({ matchType: filter.attribute, rule: filter.rule, value: filter.value });
    default:
      throw new TypeError(`no such filter: ${filterToText(filter)}`);
  }
}

function firstLine(text: string): string {
  // Windows ends its diagnostics with a NUL.
  return (text.split(/[\r\n]/)[0] ?? "").replaceAll("\0", "").slice(0, 300);
}

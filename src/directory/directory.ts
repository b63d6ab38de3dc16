/**
 * Active Directory as applications want it: who is this name, is this their password, what groups are they in, and are
 * they still welcome.
 * @module
 */
import { systemClock, delay, type Clock } from "../clock.ts";
import { SallyportError } from "../errors.ts";
import { silentLog, type Log } from "../observe/log.ts";
import { Secret } from "../secret.ts";
import type { AccountProblem } from "./account-state.ts";
import { provesPassword, type BindRefusal } from "./bind-diagnostic.ts";
import { bindNameOfEntry, bindPassword, type BindName, type BindPassword } from "./bind-name.ts";
import type { ConnectionLimits, DirectoryConnection } from "./connection.ts";
import { Controllers, type ControllerSource } from "./controllers.ts";
import type { LookUpServices } from "./service-records.ts";
import { startDeadline } from "./deadline.ts";
import { domainToDistinguishedName, escapeDistinguishedNameValue } from "./distinguished-name.ts";
import { all, equals, filterToText } from "./filter.ts";
import { parseTicks, ticksToMilliseconds } from "./filetime.ts";
import { defaultGroupRules, GroupResolver, type Group, type GroupRules } from "./groups.ts";
import { guidFromBytes, type Guid } from "./guid.ts";
import { parseLoginName, personFilter, type NameRules } from "./login-name.ts";
import {
  parseInteger,
  personAttributes,
  personBinaryAttributes,
  problemsOf,
  readPerson,
  type Person,
  type PersonRecord,
} from "./person.ts";
import { isControllersFault, ServiceSession, type ServiceAccount, type Turn } from "./service-session.ts";
import { sidFromBytes, type Sid } from "./sid.ts";
import { serverName, type TlsTrust } from "./transport.ts";

export interface DirectoryOptions {
  /** DNS name of the AD domain, `contoso.test`. */
  readonly domain: string;
  /** Default: DNS, with LDAPS. */
  readonly controllers?: ControllerSource;
  readonly trust?: TlsTrust;
  /** The account that searches: an ordinary one will do. */
  readonly serviceAccount: ServiceAccount;
  /** Where people are looked for; default: the whole domain. */
  readonly searchBase?: string;
  /** `user@suffix` may be an e-mail address too; default: true. */
  readonly allowMail?: boolean;
  readonly groups?: Partial<GroupRules>;
  /** For a whole operation; default: 10 seconds. */
  readonly timeoutMs?: number;
  /** For one connection attempt; default: 3 seconds. */
  readonly connectTimeoutMs?: number;
  /** No refusal is told sooner than this after the question, so that it tells nothing by its speed; default: 250 ms. */
  readonly refusalFloorMs?: number;
  /** Most connections to one domain controller, for each of the two pools; default: 16. */
  readonly maxConnections?: number;
  /** Default: 10 minutes; domain controllers close after 15. */
  readonly idleMs?: number;
  readonly limits?: ConnectionLimits;
}

export interface DirectoryDependencies {
  readonly clock?: Clock;
  readonly log?: Log;
  readonly lookUp?: LookUpServices;
  readonly random?: () => number;
}

/** What an operation did, step by step, for a person who wants to know why. Holds no secret. */
export interface Step {
  readonly step: string;
  readonly detail: string;
  /** Since the operation began. */
  readonly atMs: number;
}

export interface OperationOptions {
  readonly signal?: AbortSignal;
  readonly onStep?: (step: Step) => void;
  /** Resolve groups too; default: true. */
  readonly groups?: boolean;
}

/** Decides whether a person's password may be sent to the directory; asked once, for absent people too. */
export type BindGuard = (
  account:
    | {
        readonly guid: Guid;
        /** Wrong passwords since the last right one, as the asked domain controller knows them… */
        readonly wrongPasswords: number;
        /** …and when the last of them came, milliseconds since 1970: AD forgets them after its window. */
        readonly lastWrongAt: number | undefined;
      }
    | undefined,
) => boolean;

export interface AuthenticateOptions extends OperationOptions {
  /** Default: it may. Otherwise the outcome is `refused` with the reason `held-back`, after the usual steps. */
  readonly mayBind?: BindGuard;
}

export type Resolution =
  | {
      readonly outcome: "found";
      readonly person: Person;
      readonly groups: readonly Group[];
      /** Why the account could not be used now; mostly empty. */
      readonly problems: readonly AccountProblem[];
    }
  | { readonly outcome: "absent"; readonly reason: "malformed-name" | "other-domain" | "unknown-account" }
  /** More than one account answers to the name: the directory needs mending. */
  | { readonly outcome: "ambiguous" };

/** Why somebody was refused, exactly; for audit logs. */
export type RefusalReason =
  | BindRefusal
  | AccountProblem
  | "malformed-name"
  | "other-domain"
  | "ambiguous-name"
  | "empty-password"
  | "malformed-password"
  | "identity-mismatch"
  | "held-back";

export type Authentication =
  | {
      readonly outcome: "authenticated";
      readonly person: Person;
      readonly groups: readonly Group[];
      /** Milliseconds since 1970. */
      readonly authenticatedAt: number;
    }
  | {
      readonly outcome: "refused";
      /** For the audit log. Never tell it to the person, except when `passwordProven`. */
      readonly reason: RefusalReason;
      /**
       * The password was right, but expired or to be changed: that may be told to the person, and only then.
       */
      readonly passwordProven: boolean;
      /** The account that was meant, where there is one. */
      readonly person?: Person;
    }
  /** The directory could not be asked; trying later may help. */
  | { readonly outcome: "unavailable"; readonly error: SallyportError };

export type Refreshed =
  | { readonly outcome: "valid"; readonly person: Person; readonly groups: readonly Group[] }
  | { readonly outcome: "invalid"; readonly reason: AccountProblem | "deleted" | "password-changed" }
  | { readonly outcome: "unavailable"; readonly error: SallyportError };

/** What the domain says about itself. */
export interface DomainFacts {
  readonly domain: string;
  readonly netbiosName: string | undefined;
  readonly sid: Sid;
  readonly guid: Guid;
  /** DNS name of the forest's root domain. */
  readonly forest: string;
  /** Wrong passwords after which AD locks an account; 0: never. */
  readonly lockoutThreshold: number;
  /** Time after which AD forgets wrong passwords, milliseconds. */
  readonly lockoutWindowMs: number;
}

const factsKeptMs = 600_000;

/**
 * A connection to one AD domain. Long-lived: it keeps connections open, so make one and {@link close} it at the end.
 *
 * @example
 * ```ts
 * const directory = new Directory({
 *   domain: "contoso.test",
 *   trust: { certificateAuthority: readFileSync("ca.pem", "utf8") },
 *   serviceAccount: { name: "reader@contoso.test", password: new Secret(process.env.READER_PASSWORD ?? "") },
 * });
 * const result = await directory.authenticate("alice", new Secret(typed));
 * if (result.outcome === "authenticated") console.log(result.person.guid, result.groups.length);
 * directory.close();
 * ```
 */
export class Directory {
  readonly #options: DirectoryOptions;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #controllers: Controllers;
  readonly #session: ServiceSession;
  readonly #groups: GroupResolver;
  readonly #searchBase: string;
  #facts: { readonly facts: DomainFacts; readonly at: number } | undefined;

  constructor(options: DirectoryOptions, dependencies: DirectoryDependencies = {}) {
    this.#options = options;
    this.#clock = dependencies.clock ?? systemClock;
    this.#log = dependencies.log ?? silentLog;
    this.#controllers = new Controllers(
      options.controllers ?? { from: "dns", domain: options.domain, security: "ldaps" },
      { ...dependencies, clock: this.#clock },
    );
    this.#session = new ServiceSession({
      clock: this.#clock,
      controllers: this.#controllers,
      trust: options.trust ?? {},
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      account: options.serviceAccount,
      connectTimeoutMs: options.connectTimeoutMs ?? 3000,
      idleMs: options.idleMs ?? 600_000,
      maxConnections: options.maxConnections ?? 16,
    });
    this.#groups = new GroupResolver({ ...defaultGroupRules, ...options.groups }, this.#clock);
    this.#searchBase = options.searchBase ?? domainToDistinguishedName(options.domain);
  }

  /** Finds whom a typed name means. Throws a `SallyportError` (`E_DIRECTORY_…`) when the directory cannot be asked. */
  async resolve(typed: string, options: OperationOptions = {}): Promise<Resolution> {
    const step = this.#tracer(options);
    return this.#inTime(options.signal, async (signal) => {
      const name = parseLoginName(typed);
      if (name === undefined) return { outcome: "absent", reason: "malformed-name" };
      return this.#session.run(signal, async (turn) => {
        const found = await this.#findPerson(turn, name, signal, step);
        if (found.outcome !== "found") return found;
        const { record } = found;
        const groups = options.groups === false ? [] : await this.#groupsOf(turn, record, signal, step);
        return {
          outcome: "found",
          person: record.person,
          groups,
          problems: problemsOf(record, this.#clock.now()),
        };
      });
    });
  }

  /**
   * Checks a person's password by binding as them, after finding who they are. An absent person takes the same steps as
   * a present one, and a refusal the same time. Throws nothing: a directory that cannot be asked is `unavailable`.
   */
  async authenticate(
    typed: string,
    password: Secret,
    options: AuthenticateOptions = {},
  ): Promise<Authentication> {
    const began = this.#clock.now();
    const result = await this.#authenticate(typed, password, options);
    if (result.outcome === "refused") {
      // Refusals that asked nobody tell nothing by their speed.
      const asked = !["malformed-name", "empty-password", "malformed-password"].includes(result.reason);
      const left = !asked ? 0 : began + (this.#options.refusalFloorMs ?? 250) - this.#clock.now();
      if (left > 0) await delay(this.#clock, left);
      this.#log.info("directory.refused", {
        reason: result.reason,
        ...(result.person && { guid: result.person.guid }),
      });
    } else if (result.outcome === "authenticated") {
      this.#log.info("directory.authenticated", { guid: result.person.guid });
    } else {
      this.#log.warn("directory.unavailable", { code: result.error.code, detail: result.error.message });
    }
    return result;
  }

  /**
   * Whether somebody who logged in before is still welcome: the account is read again by its GUID.
   * @param passwordSet `passwordSet` of the person at login; the login ends when the password changes
   */
  async refresh(guid: Guid, passwordSet: string, options: OperationOptions = {}): Promise<Refreshed> {
    const step = this.#tracer(options);
    try {
      return await this.#inTime(options.signal, (signal) =>
        this.#session.run(signal, async (turn): Promise<Refreshed> => {
          const entries = await turn.asService((connection) =>
            connection.search(
              {
                base: `<GUID=${guid}>`,
                scope: "base",
                attributes: personAttributes,
                binary: personBinaryAttributes,
              },
              signal,
            ),
          );
          step("re-read", `${entries.length} entry of GUID ${guid} at ${serverName(turn.server)}`);
          const [entry] = entries;
          if (entry === undefined) return { outcome: "invalid", reason: "deleted" };
          const record = readPerson(entry);
          const [problem] = problemsOf(record, this.#clock.now());
          if (problem !== undefined) return { outcome: "invalid", reason: problem };
          if (record.person.passwordSet !== passwordSet)
            return { outcome: "invalid", reason: "password-changed" };
          const groups = options.groups === false ? [] : await this.#groupsOf(turn, record, signal, step);
          return { outcome: "valid", person: record.person, groups };
        }),
      );
    } catch (thrown) {
      return { outcome: "unavailable", error: unavailable(thrown) };
    }
  }

  /** What the domain says about itself; kept for ten minutes. Throws a `SallyportError` when it cannot be asked. */
  async facts(signal?: AbortSignal): Promise<DomainFacts> {
    const now = this.#clock.now();
    if (this.#facts !== undefined && now - this.#facts.at < factsKeptMs) return this.#facts.facts;
    const facts = await this.#inTime(signal, (inner) =>
      this.#session.run(inner, (turn) => turn.asService((connection) => this.#readFacts(connection, inner))),
    );
    this.#facts = { facts, at: now };
    return facts;
  }

  /** Runs other reading work as the service account, with the same fail-over and deadline. */
  async asService<Result>(
    work: (connection: DirectoryConnection, signal: AbortSignal) => Promise<Result>,
    signal?: AbortSignal,
  ): Promise<Result> {
    return this.#inTime(signal, (inner) =>
      this.#session.run(inner, (turn) => turn.asService((connection) => work(connection, inner))),
    );
  }

  /** Domain controllers that failed when they were last asked. */
  failingControllers(): ReturnType<Controllers["failing"]> {
    return this.#controllers.failing();
  }

  close(): void {
    this.#session.close();
  }

  async #authenticate(typed: string, secret: Secret, options: AuthenticateOptions): Promise<Authentication> {
    const step = this.#tracer(options);
    const password = bindPassword(secret);
    if (!password.ok) return { outcome: "refused", reason: password.problem, passwordProven: false };
    const name = parseLoginName(typed);
    if (name === undefined) return { outcome: "refused", reason: "malformed-name", passwordProven: false };
    try {
      return await this.#inTime(options.signal, (signal) =>
        this.#session.run(signal, async (turn): Promise<Authentication> => {
          const found = await this.#findPerson(turn, name, signal, step);
          if (found.outcome !== "found") {
            // As long as with a person, and as many round trips: a bind that must fail.
            options.mayBind?.(undefined);
            await this.#bindAs(turn, this.#decoy, decoyPassword, signal, step);
            const reason = found.outcome === "ambiguous" ? "ambiguous-name" : found.reason;
            return { outcome: "refused", reason, passwordProven: false };
          }
          const { record } = found;
          const { person } = record;
          const refuse = (reason: RefusalReason, passwordProven: boolean): Authentication => ({
            outcome: "refused",
            reason,
            passwordProven,
            person,
          });
          const bindName = bindNameOfEntry(person);
          if (bindName === undefined)
            throw new SallyportError("E_DIRECTORY_ENTRY", { dn: person.dn, attribute: "DN" });
          const { wrongPasswords, lastWrongAt } = record;
          const account = { guid: person.guid, wrongPasswords, lastWrongAt };
          if (options.mayBind?.(account) === false) {
            await this.#bindAs(turn, this.#decoy, decoyPassword, signal, step);
            return refuse("held-back", false);
          }
          const bound = await this.#bindAs(turn, bindName, password.password, signal, step);
          if (bound.outcome === "refused") return refuse(bound.refusal, provesPassword(bound.refusal));
          if (!namesPerson(bound.whoAmI, person)) return refuse("identity-mismatch", false);
          const [problem] = problemsOf(record, this.#clock.now());
          if (problem !== undefined) {
            return refuse(problem, problem === "must-change-password" || problem === "password-expired");
          }
          const groups = options.groups === false ? [] : await this.#groupsOf(turn, record, signal, step);
          return { outcome: "authenticated", person, groups, authenticatedAt: this.#clock.now() };
        }),
      );
    } catch (thrown) {
      return { outcome: "unavailable", error: unavailable(thrown) };
    }
  }

  async #findPerson(
    turn: Turn,
    name: NonNullable<ReturnType<typeof parseLoginName>>,
    signal: AbortSignal,
    step: Tracer,
  ): Promise<
    | { readonly outcome: "found"; readonly record: PersonRecord }
    | { readonly outcome: "absent"; readonly reason: "other-domain" | "unknown-account" }
    | { readonly outcome: "ambiguous" }
  > {
    step("controller", serverName(turn.server));
    return turn.asService(async (connection) => {
      const rules: NameRules = {
        domain: this.#options.domain,
        netbiosName: name.kind === "down-level" ? await this.#netbiosName(connection, signal) : undefined,
        allowMail: this.#options.allowMail ?? true,
      };
      const filter = personFilter(name, rules);
      // For a foreign domain a search that finds nobody, so that it takes as long as one that might.
      const asked = filter ?? all(equals("objectClass", "user"), equals("objectGUID", Buffer.alloc(16)));
      step("search", `${this.#searchBase} ${filterToText(asked)}`);
      const entries = await connection.search(
        {
          base: this.#searchBase,
          scope: "sub",
          filter: asked,
          attributes: personAttributes,
          binary: personBinaryAttributes,
          sizeLimit: 2,
        },
        signal,
      );
      step("entries", entries.map(({ dn }) => dn).join("; ") || "none");
      const [entry, second] = entries;
      if (filter === undefined) return { outcome: "absent", reason: "other-domain" };
      if (entry === undefined) return { outcome: "absent", reason: "unknown-account" };
      if (second !== undefined) {
        this.#log.error("directory.ambiguous", { dns: entries.map(({ dn }) => dn) });
        return { outcome: "ambiguous" };
      }
      const record = readPerson(entry);
      const problems = problemsOf(record, this.#clock.now());
      step("account", problems.length === 0 ? "may be used" : problems.join(", "));
      return { outcome: "found", record };
    });
  }

  /** The one place where a person's password is sent: on a connection of its own, to the server that knew the person. */
  async #bindAs(
    turn: Turn,
    name: BindName,
    password: BindPassword,
    signal: AbortSignal,
    step: Tracer,
  ): Promise<
    | { readonly outcome: "bound"; readonly whoAmI: string }
    | { readonly outcome: "refused"; readonly refusal: BindRefusal }
  > {
    for (;;) {
      const lease = await turn.forUser();
      // A connection that had idled may have been closed by the server, which then saw no bind: once more on a fresh one.
      if (!lease.reused) turn.commit();
      try {
        const bound = await lease.connection.bind(name, password, signal);
        if (bound.outcome === "refused") {
          lease.release();
          step(
            "bind",
            `refused: ${bound.refusal}${bound.dataCode === undefined ? "" : ` (data ${bound.dataCode})`}`,
          );
          return { outcome: "refused", refusal: bound.refusal };
        }
        const whoAmI = await lease.connection.whoAmI(signal);
        lease.release();
        step("bind", `accepted as ${whoAmI === "" ? "nobody" : whoAmI}`);
        return { outcome: "bound", whoAmI };
      } catch (thrown) {
        lease.discard();
        if (!(lease.reused && isControllersFault(thrown)) || signal.aborted) throw thrown;
      }
    }
  }

  async #groupsOf(
    turn: Turn,
    record: PersonRecord,
    signal: AbortSignal,
    step: Tracer,
  ): Promise<readonly Group[]> {
    const groups = await turn.asService((connection) =>
      this.#groups.groupsOf(record, connection, this.#groupBase, signal),
    );
    step(
      "groups",
      `${groups.length}: ${groups
        .slice(0, 20)
        .map(({ name }) => name)
        .join(", ")}${groups.length > 20 ? ", …" : ""}`,
    );
    return groups;
  }

  /** Groups may lie outside the part of the tree where people are looked for. */
  get #groupBase(): string {
    return domainToDistinguishedName(this.#options.domain);
  }

  get #decoy(): BindName {
    const name = bindNameOfEntry({
      dn: `CN=${escapeDistinguishedNameValue("sallyport: nobody has this name")},${this.#groupBase}`,
    });
    if (name === undefined) throw new TypeError("the decoy has no name");
    return name;
  }

  async #netbiosName(connection: DirectoryConnection, signal: AbortSignal): Promise<string | undefined> {
    const now = this.#clock.now();
    if (this.#facts === undefined || now - this.#facts.at >= factsKeptMs) {
      this.#facts = { facts: await this.#readFacts(connection, signal), at: now };
    }
    return this.#facts.facts.netbiosName;
  }

  async #readFacts(connection: DirectoryConnection, signal: AbortSignal): Promise<DomainFacts> {
    const base = this.#groupBase;
    const [root] = await connection.search(
      { base: "", scope: "base", attributes: ["configurationNamingContext", "rootDomainNamingContext"] },
      signal,
    );
    const configuration = root?.text("configurationNamingContext") ?? "";
    const [domain] = await connection.search(
      {
        base,
        scope: "base",
        attributes: ["objectSid", "objectGUID", "lockoutThreshold", "lockOutObservationWindow"],
        binary: ["objectSid", "objectGUID"],
      },
      signal,
    );
    const [partition] = await connection.search(
      {
        base: `CN=Partitions,${configuration}`,
        scope: "sub",
        filter: all(equals("objectClass", "crossRef"), equals("nCName", base)),
        attributes: ["nETBIOSName"],
      },
      signal,
    );
    const sid = sidFromBytes(domain?.octets("objectSid") ?? Buffer.alloc(0));
    const guid = guidFromBytes(domain?.octets("objectGUID") ?? Buffer.alloc(0));
    if (sid === undefined || guid === undefined) {
      throw new SallyportError("E_DIRECTORY_ENTRY", {
        dn: base,
        attribute: sid === undefined ? "objectSid" : "objectGUID",
      });
    }
    const window = parseTicks(domain?.text("lockOutObservationWindow") ?? "") ?? 0n;
    const forest = /^DC=/i.test(root?.text("rootDomainNamingContext") ?? "")
      ? root?.text("rootDomainNamingContext")
      : base;
    return {
      domain: this.#options.domain,
      netbiosName: partition?.text("nETBIOSName"),
      sid,
      guid,
      forest: (forest ?? base).replace(/DC=/gi, "").replaceAll(",", ".").toLowerCase(),
      lockoutThreshold: parseInteger(domain?.text("lockoutThreshold")) ?? 0,
      // Durations are kept as negative ticks (MS-ADTS 2.2.21).
      lockoutWindowMs: ticksToMilliseconds(window < 0n ? -window : window),
    };
  }

  async #inTime<Result>(
    outer: AbortSignal | undefined,
    work: (signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const deadline = startDeadline(this.#clock, this.#options.timeoutMs ?? 10_000, outer);
    try {
      return await work(deadline.signal);
    } finally {
      deadline.release();
    }
  }

  #tracer(options: OperationOptions): Tracer {
    const began = this.#clock.now();
    return (step, detail) => options.onStep?.({ step, detail, atMs: this.#clock.now() - began });
  }
}

type Tracer = (step: string, detail: string) => void;

/** Of a shape no account's password has; sent only to a name that nobody has. */
const decoyPassword = ((): BindPassword => {
  const made = bindPassword(new Secret("nobody's password"));
  if (!made.ok) throw new TypeError("the decoy has no password");
  return made.password;
})();

/** After a bind the server says who we are (`u:CONTOSO\alice`): an anonymous session, or somebody else's, is no proof. */
function namesPerson(whoAmI: string, person: Person): boolean {
  const authorised = /^u:(?:[^\\]*\\)?(.+)$/s.exec(whoAmI)?.[1];
  if (authorised === undefined) return false;
  return [person.accountName, person.principalName, person.dn].some(
    (name) => name !== undefined && name.toLowerCase() === authorised.toLowerCase(),
  );
}

function unavailable(thrown: unknown): SallyportError {
  if (thrown instanceof SallyportError) return thrown;
  throw thrown;
}

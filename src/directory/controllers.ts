/**
 * Which domain controller to ask, and in what order: from a list or from DNS (MS-ADTS 6.3.6, RFC 2782), those that lately
 * failed last and, while their pause lasts, not at all.
 * @module
 */
import type { Clock } from "../clock.ts";
import { reasonOf, SallyportError } from "../errors.ts";
import { lookUpServices, type LookUpServices, type ServiceRecord } from "./service-records.ts";
import { serverName, type DirectoryServer } from "./transport.ts";

/** Where candidates come from. */
export type ControllerSource =
  | { readonly from: "list"; readonly servers: readonly DirectoryServer[] }
  | {
      readonly from: "dns";
      readonly domain: string;
      /** AD site whose controllers come first. */
      readonly site?: string | undefined;
      readonly security: DirectoryServer["security"];
    };

export interface ControllersDependencies {
  readonly clock: Clock;
  readonly lookUp?: LookUpServices;
  /** 0 to 1. */
  readonly random?: () => number;
}

const firstPauseMs = 1000;
const longestPauseMs = 60_000;
const dnsKeptMs = 300_000;

export class Controllers {
  readonly #source: ControllerSource;
  readonly #clock: Clock;
  readonly #lookUp: LookUpServices;
  readonly #random: () => number;
  readonly #health = new Map<string, { failures: number; pausedUntil: number }>();
  #records: { readonly groups: readonly (readonly ServiceRecord[])[]; readonly at: number } | undefined;

  constructor(source: ControllerSource, dependencies: ControllersDependencies) {
    this.#source = source;
    this.#clock = dependencies.clock;
    this.#lookUp = dependencies.lookUp ?? lookUpServices;
    this.#random = dependencies.random ?? Math.random;
  }

  /** Those to try, best first; never empty. Throws `E_DIRECTORY_UNREACHABLE` when DNS knows none. */
  async candidates(signal: AbortSignal): Promise<readonly DirectoryServer[]> {
    const known = await this.#ordered(signal);
    const now = this.#clock.now();
    const pausedUntil = (server: DirectoryServer): number =>
      this.#health.get(serverName(server))?.pausedUntil ?? 0;
    const open = known.filter((server) => pausedUntil(server) <= now);
    // All are paused: ask the one whose turn comes first rather than none.
    return open.length > 0 ? open : [...known].sort((a, b) => pausedUntil(a) - pausedUntil(b)).slice(0, 1);
  }

  succeeded(server: DirectoryServer): void {
    this.#health.delete(serverName(server));
  }

  failed(server: DirectoryServer): void {
    const failures = (this.#health.get(serverName(server))?.failures ?? 0) + 1;
    const pause = Math.min(firstPauseMs * 2 ** (failures - 1), longestPauseMs);
    this.#health.set(serverName(server), { failures, pausedUntil: this.#clock.now() + pause });
  }

  /** Every controller that failed when it was last asked. */
  failing(): readonly { readonly server: string; readonly failures: number; readonly pausedUntil: number }[] {
    return [...this.#health].map(([server, { failures, pausedUntil }]) => ({
      server,
      failures,
      pausedUntil,
    }));
  }

  async #ordered(signal: AbortSignal): Promise<readonly DirectoryServer[]> {
    if (this.#source.from === "list") return this.#source.servers;
    const { security } = this.#source;
    const groups = await this.#found(this.#source, signal);
    const seen = new Set<string>();
    const servers: DirectoryServer[] = [];
    for (const record of groups.flatMap((group) => orderServices(group, this.#random))) {
      const host = record.name.replace(/\.$/, "").toLowerCase();
      if (seen.has(host)) continue;
      seen.add(host);
      // SRV records give the plain port; LDAPS has its own, which DNS does not publish.
      servers.push({ host, port: security === "ldaps" ? 636 : record.port, security });
    }
    return servers;
  }

  async #found(
    source: Extract<ControllerSource, { from: "dns" }>,
    signal: AbortSignal,
  ): Promise<readonly (readonly ServiceRecord[])[]> {
    const now = this.#clock.now();
    if (this.#records !== undefined && now - this.#records.at < dnsKeptMs) return this.#records.groups;
    const names = [
      ...(source.site === undefined ? [] : [`_ldap._tcp.${source.site}._sites.dc._msdcs.${source.domain}`]),
      `_ldap._tcp.dc._msdcs.${source.domain}`,
    ];
    const answers = await Promise.allSettled(names.map((name) => this.#lookUp(name, signal)));
    const groups = answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
    if (groups.some((group) => group.length > 0)) {
      this.#records = { groups, at: now };
      return groups;
    }
    // What DNS said last is better than nothing.
    if (this.#records !== undefined) return this.#records.groups;
    const failure = answers.find((answer) => answer.status === "rejected");
    const detail = failure === undefined ? "there is no such record" : reasonOf(failure.reason);
    throw new SallyportError("E_DIRECTORY_UNREACHABLE", {
      detail: `DNS lookup of ${names.join(" and ")}: ${detail}`,
    });
  }
}

/** Puts records in the order RFC 2782 prescribes: by priority, and at random by weight within one. */
export function orderServices(
  records: readonly ServiceRecord[],
  random: () => number,
): readonly ServiceRecord[] {
  const ordered: ServiceRecord[] = [];
  const priorities = [...new Set(records.map(({ priority }) => priority))].sort((a, b) => a - b);
  for (const priority of priorities) {
    // Records of weight 0 first, so that they are drawn only with the small chance the RFC leaves them.
    const left = records.filter((record) => record.priority === priority).sort((a, b) => a.weight - b.weight);
    while (left.length > 0) {
      const total = left.reduce((sum, { weight }) => sum + weight, 0);
      const drawn = Math.floor(random() * (total + 1));
      let sum = 0;
      const index = left.findIndex(({ weight }) => (sum += weight) >= drawn);
      ordered.push(...left.splice(Math.max(index, 0), 1));
    }
  }
  return ordered;
}

/**
 * The mappings of one backend, arranged for looking up: exact ARNs by a hash table, patterns by account and kind with the
 * most specific first. Every change is applied to the mapping itself, so nothing of an old one stays behind.
 * @module
 */
import type { Mapping } from "./mapping.ts";
import { compareSpecificity, matchesPattern } from "./pattern.ts";

export type Found =
  | { readonly outcome: "found"; readonly mapping: Mapping }
  /** There is a mapping for the ARN, but for another user or role of that name. */
  | { readonly outcome: "pinned"; readonly mapping: Mapping };

/** Two mappings of one ARN: the winner counts, the loser does not. */
export interface MappingConflict {
  readonly winner: Mapping;
  readonly loser: Mapping;
}

export class MappingIndex {
  readonly #byId = new Map<string, Mapping>();
  readonly #exact = new Map<string, Mapping[]>();
  readonly #patterns = new Map<string, Mapping[]>();
  #accounts: ReadonlySet<string> = new Set();

  get size(): number {
    return this.#byId.size + this.#accounts.size;
  }

  /** All mappings at once, each under its entry. */
  replace(mappings: readonly Mapping[], accounts: readonly string[]): readonly MappingConflict[] {
    this.#byId.clear();
    this.#exact.clear();
    this.#patterns.clear();
    this.#accounts = new Set(accounts);
    return mappings.flatMap((mapping) => this.put(mapping.entry, mapping));
  }

  /** Adds a mapping or puts it in place of the one with that id; reports the conflicts that it is part of. */
  put(id: string, mapping: Mapping): readonly MappingConflict[] {
    this.delete(id);
    this.#byId.set(id, mapping);
    const [table, key] = this.#placeOf(mapping);
    const list = table.get(key) ?? [];
    table.set(key, list);
    list.push(mapping);
    list.sort(mapping.wildcard ? compareMappings : compareRank);
    const same = list.filter(
      (other) => keyOf(other) === keyOf(mapping) && other.pinnedId === mapping.pinnedId,
    );
    const winner = same[0];
    if (winner === undefined || same.length < 2) return [];
    return winner === mapping
      ? same.slice(1).map((loser) => ({ winner, loser }))
      : [{ winner, loser: mapping }];
  }

  delete(id: string): void {
    const mapping = this.#byId.get(id);
    if (mapping === undefined) return;
    this.#byId.delete(id);
    const [table, key] = this.#placeOf(mapping);
    const left = (table.get(key) ?? []).filter((other) => other !== mapping);
    if (left.length === 0) table.delete(key);
    else table.set(key, left);
  }

  hasAccount(accountId: string): boolean {
    return this.#accounts.has(accountId);
  }

  /** @param userId id of the user or role that STS named. */
  find(canonicalArn: string, userId: string): Found | undefined {
    const lower = canonicalArn.toLowerCase();
    const exact = this.#exact.get(lower);
    if (exact !== undefined) {
      // A pin on an ARN also stands against mappings of the same ARN that have none.
      const pinned = exact.filter((mapping) => mapping.pinnedId !== undefined);
      const mapping = pinned.length === 0 ? exact[0] : pinned.find((each) => each.pinnedId === userId);
      if (mapping !== undefined) return { outcome: "found", mapping };
      const other = pinned[0];
      if (other !== undefined) return { outcome: "pinned", mapping: other };
    }
    const slash = lower.indexOf("/");
    if (slash < 0) return undefined;
    const name = lower.slice(slash + 1);
    const match = this.#patterns
      .get(lower.slice(0, slash))
      ?.find((mapping) => matchesPattern(mapping.arn.name.toLowerCase(), name));
    return match === undefined ? undefined : { outcome: "found", mapping: match };
  }

  #placeOf(mapping: Mapping): readonly [table: Map<string, Mapping[]>, key: string] {
    const key = keyOf(mapping);
    return mapping.wildcard ? [this.#patterns, key.slice(0, key.indexOf("/"))] : [this.#exact, key];
  }
}

function keyOf(mapping: Mapping): string {
  return mapping.arn.text.toLowerCase();
}

function compareRank(a: Mapping, b: Mapping): number {
  return a.rank < b.rank ? -1 : Number(a.rank > b.rank);
}

function compareMappings(a: Mapping, b: Mapping): number {
  return compareSpecificity(a.arn.name.toLowerCase(), b.arn.name.toLowerCase()) || compareRank(a, b);
}

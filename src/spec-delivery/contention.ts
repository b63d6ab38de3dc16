/**
 * What a delivery that goes on remembers of its own changes, so that two of them that want different things of one Swarm
 * (checkouts of one repository, one of them behind) do not answer each other without end: each update of a service replaces
 * its tasks, and is news for the other. Nothing of this is written down; a delivery that was started anew knows nothing.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { EngineConfig, EngineService } from "../container-engine/container-engine.ts";

/** How the wish to point a service at a config stands. */
export interface Standing {
  /** Milliseconds since the epoch; absent: it may be pointed now. */
  readonly heldUntil: number | undefined;
  /** How often it had to be pointed at the same config again, one soon after the other. */
  readonly times: number;
}

export interface Contention {
  /**
   * Absent: it was not pointed at this config a short time ago.
   *
   * @param service its id.
   * @param config its name.
   */
  standing(service: string, config: string): Standing | undefined;
  /** Whether a config that this delivery does not know was there for a moment only: another one may be about to use it. */
  isFresh(configId: string): boolean;
}

/** Of a single look. */
export const noContention: Contention = { standing: () => undefined, isFresh: () => false };

/** Longest time that a service is left alone, milliseconds, unless the first one is longer. */
const longestHoldMs = 3_600_000;

interface Pointed {
  readonly config: string;
  readonly at: number;
  readonly times: number;
}

export class OwnChanges implements Contention {
  readonly #clock: Clock;
  readonly #holdMs: number;
  readonly #pointed = new Map<string, Pointed>();
  /** Ids of configs, by the time from which they may go. */
  #free = new Map<string, number>();

  /** @param holdMs how long a service is left alone after a change of ours, milliseconds; each time in a row twice as long. */
  constructor(clock: Clock, holdMs: number) {
    this.#clock = clock;
    this.#holdMs = holdMs;
  }

  /** A service was pointed at a config. */
  pointed(service: string, config: string): void {
    const before = this.#recent(service, config);
    const times = before === undefined ? 0 : before.times + 1;
    this.#pointed.set(service, { config, at: this.#clock.now(), times });
  }

  /** What is there now; `offered` are the names of the configs that the folder wants. */
  saw(
    {
      configs,
      services,
    }: {
      readonly configs: readonly Pick<EngineConfig, "id" | "name">[];
      readonly services: readonly Pick<EngineService, "id">[];
    },
    offered: ReadonlySet<string>,
  ): void {
    const now = this.#clock.now();
    this.#free = new Map(
      configs.map(({ id, name }) => [
        id,
        // Whoever made it may have been held from using it, and gets as long again.
        offered.has(name) ? now : Math.min(this.#free.get(id) ?? Infinity, now + 2 * this.#holdMs),
      ]),
    );
    const there = new Set(services.map(({ id }) => id));
    for (const id of this.#pointed.keys()) if (!there.has(id)) this.#pointed.delete(id);
  }

  standing(service: string, config: string): Standing | undefined {
    const before = this.#recent(service, config);
    if (before === undefined) return undefined;
    const heldUntil = before.at + this.#holdOf(before);
    return { heldUntil: this.#clock.now() < heldUntil ? heldUntil : undefined, times: before.times };
  }

  isFresh(configId: string): boolean {
    return this.#clock.now() < (this.#free.get(configId) ?? 0);
  }

  /** Another config is the folder's own change; and what was left alone for twice its time is at rest. */
  #recent(service: string, config: string): Pointed | undefined {
    const before = this.#pointed.get(service);
    if (before?.config !== config) return undefined;
    const elapsed = this.#clock.now() - before.at;
    // A clock that was set back must not hold anything for as long.
    return elapsed >= 0 && elapsed < 2 * this.#holdOf(before) ? before : undefined;
  }

  #holdOf({ times }: Pointed): number {
    return Math.min(this.#holdMs * 2 ** times, Math.max(this.#holdMs, longestHoldMs));
  }
}

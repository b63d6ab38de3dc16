/**
 * Token buckets: how often something may happen, with a burst. The authenticator asks STS through one for itself and one
 * for each access key, so that nobody can spend the quota of everybody.
 * @module
 */
import type { Clock } from "../../clock.ts";

export interface BucketOptions {
  /** Calls a second, in the long run. */
  readonly rate: number;
  /** Calls at once. */
  readonly burst: number;
}

interface Level {
  tokens: number;
  at: number;
}

/** Milliseconds to wait; 0 when the call may be made, and is then counted. */
export interface TokenBucket {
  take(): number;
  /** Gives back what `take` counted for a call that was not made. */
  giveBack(): void;
}

export function createTokenBucket(clock: Clock, options: BucketOptions): TokenBucket {
  const level: Level = { tokens: options.burst, at: clock.now() };
  return {
    take: () => take(level, clock.now(), options),
    giveBack() {
      level.tokens = Math.min(options.burst, level.tokens + 1);
    },
  };
}

/** One bucket for each key, forgetting the least recently used ones beyond `keys`. */
export function createKeyedBuckets(
  clock: Clock,
  options: BucketOptions & { readonly keys: number },
): { take(key: string): number; giveBack(key: string): void } {
  const levels = new Map<string, Level>();
  return {
    take(key) {
      const level = levels.get(key) ?? { tokens: options.burst, at: clock.now() };
      levels.delete(key);
      levels.set(key, level);
      if (levels.size > options.keys) {
        for (const oldest of levels.keys()) {
          levels.delete(oldest);
          break;
        }
      }
      return take(level, clock.now(), options);
    },
    giveBack(key) {
      const level = levels.get(key);
      if (level !== undefined) level.tokens = Math.min(options.burst, level.tokens + 1);
    },
  };
}

function take(level: Level, now: number, options: BucketOptions): number {
  const gained = (Math.max(0, now - level.at) / 1000) * options.rate;
  level.tokens = Math.min(options.burst, level.tokens + gained);
  level.at = now;
  if (level.tokens < 1) return Math.ceil(((1 - level.tokens) / options.rate) * 1000);
  level.tokens -= 1;
  return 0;
}

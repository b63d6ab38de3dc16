/**
 * How many requests a public caller may make: a token bucket each, refilled evenly over a minute. Staff change the limits.
 * @module
 */
export interface Caller {
  readonly name: string;
  /** Requests a minute. */
  readonly limit: number;
}

export type Admission =
  | { readonly admitted: true; readonly limit: number; readonly remaining: number }
  | { readonly admitted: false; readonly limit: number; readonly retryAfterSeconds: number };

interface Bucket {
  limit: number;
  tokens: number;
  at: number;
}

const minute = 60_000;
export const highestLimit = 100_000;

export class RateLimits {
  readonly #buckets: Map<string, Bucket>;
  readonly #now: () => number;

  constructor(callers: readonly Caller[], now: () => number) {
    this.#now = now;
    this.#buckets = new Map(callers.map(({ name, limit }) => [name, { limit, tokens: limit, at: now() }]));
  }

  callers(): readonly Caller[] {
    return [...this.#buckets].map(([name, { limit }]) => ({ name, limit }));
  }

  /** Takes one request of a caller; unknown callers share the bucket `anonymous`. */
  take(name: string): Admission {
    const bucket = this.#buckets.get(name) ?? this.#buckets.get("anonymous");
    if (bucket === undefined) return { admitted: false, limit: 0, retryAfterSeconds: 60 };
    this.#refill(bucket);
    if (bucket.tokens < 1) {
      const wait = bucket.limit === 0 ? 60 : Math.ceil(((1 - bucket.tokens) / bucket.limit) * 60);
      return { admitted: false, limit: bucket.limit, retryAfterSeconds: wait };
    }
    bucket.tokens -= 1;
    return { admitted: true, limit: bucket.limit, remaining: Math.floor(bucket.tokens) };
  }

  /** The limit before, or `undefined` when there is no such caller or the limit is not allowed. */
  change(name: string, limit: number): number | undefined {
    const bucket = this.#buckets.get(name);
    if (bucket === undefined || !Number.isInteger(limit) || limit < 0 || limit > highestLimit)
      return undefined;
    const before = bucket.limit;
    this.#refill(bucket);
    bucket.limit = limit;
    // A higher limit helps at once.
    bucket.tokens = Math.min(bucket.tokens + Math.max(limit - before, 0), limit);
    return before;
  }

  #refill(bucket: Bucket): void {
    const now = this.#now();
    bucket.tokens = Math.min(bucket.tokens + ((now - bucket.at) / minute) * bucket.limit, bucket.limit);
    bucket.at = now;
  }
}

/**
 * One deadline for a whole operation, however many connections, retries and searches it takes.
 * @module
 */
import type { Clock } from "../clock.ts";

export interface Deadline {
  /** Aborted when the time is up or the caller gave up. */
  readonly signal: AbortSignal;
  /** Frees the timer. */
  release(): void;
}

/** `milliseconds` from now, or the outer signal, whichever comes first. */
export function startDeadline(clock: Clock, milliseconds: number, outer?: AbortSignal): Deadline {
  const controller = new AbortController();
  const abort = (): void => controller.abort(new Error("the deadline has passed"));
  const cancel = clock.after(milliseconds, abort);
  if (outer?.aborted === true) abort();
  outer?.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    release() {
      cancel();
      outer?.removeEventListener("abort", abort);
    },
  };
}

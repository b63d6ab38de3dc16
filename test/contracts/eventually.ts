/**
 * Waiting in tests where real sockets or files meet a clock that a test turns.
 * @module
 */
import { AssertionError } from "node:assert";
import type { FakeClock } from "../fakes/fake-clock.ts";

/** Longest real wait, milliseconds: only a failing test gets there. */
const patienceMs = 10_000;

/** Waits in real time, turning `clock` by `stepMs` meanwhile, until the condition holds. */
export async function eventually(
  what: string,
  condition: () => boolean,
  clock?: FakeClock,
  stepMs = 100,
): Promise<void> {
  const end = performance.now() + patienceMs;
  while (!condition()) {
    if (performance.now() > end) throw new AssertionError({ message: `did not come to pass: ${what}` });
    if (clock !== undefined) await clock.advance(stepMs);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/**
 * A clock that stands still until a test turns it.
 * @module
 */
import type { Clock } from "../../src/clock.ts";

interface Alarm {
  at: number;
  readonly callback: () => void;
}

export class FakeClock implements Clock {
  #now: number;
  readonly #alarms = new Set<Alarm>();

  constructor(start: number | string = "2026-01-01T00:00:00Z") {
    this.#now = typeof start === "string" ? Date.parse(start) : start;
  }

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, callback: () => void): () => void {
    const alarm = { at: this.#now + Math.max(milliseconds, 0), callback };
    this.#alarms.add(alarm);
    return () => this.#alarms.delete(alarm);
  }

  /** Number of timers that have not rung. */
  get waiting(): number {
    return this.#alarms.size;
  }

  /** Turns the clock; alarms ring in order, each followed by the promises it settles. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    await settle();
    for (;;) {
      const next = [...this.#alarms].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#alarms.delete(next);
      this.#now = next.at;
      next.callback();
      await settle();
    }
    this.#now = end;
  }

  /** The date changes and no timer has come nearer: the machine was suspended, or its clock was put right. */
  jump(milliseconds: number): void {
    this.#now += milliseconds;
    for (const alarm of this.#alarms) alarm.at += milliseconds;
  }
}

/** Lets every promise that can settle now do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

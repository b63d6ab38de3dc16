/**
 * Tests of delivery that goes on: when it runs, how it waits, what it says.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock, settle } from "../../test/fakes/fake-clock.ts";
import { SallyportError } from "../errors.ts";
import { createLog } from "../observe/log.ts";
import type { DeliveryReport, SwarmReport } from "./deliver.ts";
import type { Remark } from "./delivery-plan.ts";
import { watchDelivery } from "./watch-delivery.ts";

const interval = 30_000;

class Watch {
  readonly clock = new FakeClock();
  /** Seconds of each run, from the start. */
  readonly runs: number[] = [];
  readonly events: string[] = [];
  readonly reports: DeliveryReport[] = [];
  away = false;
  fault: Error | undefined;
  remarks: readonly Remark[] = [];
  /** Called while a run is under way. */
  during: () => void = () => undefined;
  changed: () => void = () => undefined;
  ended: string = "no";
  readonly #stop = new AbortController();

  async start(): Promise<this> {
    const began = this.clock.now();
    const log = createLog({
      sink: {
        write: (line) => {
          const { event, subject } = JSON.parse(line) as { event: string; subject?: string };
          this.events.push(subject === undefined ? event : `${event} ${subject}`);
        },
      },
    });
    const deliver = (): Promise<DeliveryReport> => {
      this.runs.push((this.clock.now() - began) / 1000);
      this.during();
      if (this.fault !== undefined) return Promise.reject(this.fault);
      if (this.away)
        return Promise.reject(new SallyportError("E_ENGINE_UNREACHABLE", { engine: "e", detail: "gone" }));
      return Promise.resolve(report(this.remarks));
    };
    void watchDelivery(
      {
        delivery: { deliver, plan: deliver },
        clock: this.clock,
        log,
        onChange: (callback) => {
          this.changed = callback;
          return () => (this.changed = () => undefined);
        },
        onReport: (one) => void this.reports.push(one),
      },
      { intervalMs: interval },
      this.#stop.signal,
    ).then(
      () => (this.ended = "stopped"),
      (error: unknown) => (this.ended = String(error)),
    );
    await settle();
    return this;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await settle();
  }
}

function report(remarks: readonly Remark[]): SwarmReport {
  const plan = { actions: [], remarks, current: [] };
  return {
    kind: "swarm",
    engine: "e",
    swarm: "s",
    plan,
    done: [],
    failed: [],
    final: plan,
    unsettled: undefined,
  };
}

test("it runs at once, at every interval, and until it is stopped", async () => {
  const watch = await new Watch().start();

  await watch.clock.advance(2 * interval);
  await watch.stop();
  await watch.clock.advance(interval);

  assert.deepEqual([watch.runs, watch.ended, watch.clock.waiting], [[0, 30, 60], "stopped", 0]);
});

test("a change of the folder is delivered at once", async () => {
  const watch = await new Watch().start();
  await watch.clock.advance(5_000);

  watch.changed();
  await settle();
  await watch.clock.advance(interval);
  await watch.stop();

  assert.deepEqual(watch.runs, [0, 5, 35]);
});

test("changes without end lead to a run a second, not to runs without end", async () => {
  const watch = new Watch();
  watch.during = () => watch.changed();
  await watch.start();
  await watch.clock.advance(10_000);
  await watch.stop();

  assert.deepEqual(watch.runs, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

test("a change during a run, or just after it, leads to another one a second later", async () => {
  const watch = new Watch();
  watch.during = () => {
    watch.during = () => undefined;
    watch.changed();
  };
  await watch.start();
  await watch.clock.advance(1_500);
  watch.changed();
  await watch.clock.advance(500);
  await watch.stop();

  assert.deepEqual(watch.runs, [0, 1, 2]);
});

test("an engine that is away is waited for, longer each time up to a minute, and told about once", async () => {
  const watch = new Watch();
  watch.away = true;
  await watch.start();
  await watch.clock.advance(200_000);
  // The folder changes meanwhile: it waits all the same.
  watch.changed();
  await settle();
  watch.away = false;
  await watch.clock.advance(60_000);
  await watch.stop();

  assert.deepEqual(watch.runs, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243]);
  assert.deepEqual(watch.events, ["delivery.engine-away", "delivery.engine-back"]);
});

test("after it came back, the waits begin anew", async () => {
  const watch = new Watch();
  watch.away = true;
  await watch.start();
  await watch.clock.advance(3_000);
  watch.away = false;
  await watch.clock.advance(4_000);
  watch.away = true;
  await watch.clock.advance(interval + 1_000);
  await watch.stop();

  assert.deepEqual(watch.runs, [0, 1, 3, 7, 37, 38]);
});

test("what is wrong is said once, and once more when it is over", async () => {
  const watch = new Watch();
  watch.remarks = [{ kind: "refused", subject: "service evil", reason: "not on the list" }];
  await watch.start();
  await watch.clock.advance(2 * interval);
  watch.remarks = [];
  await watch.clock.advance(2 * interval);
  await watch.stop();

  assert.deepEqual(watch.events, ["delivery.remark service evil", "delivery.remark-cleared service evil"]);
  assert.equal(watch.reports.length, 2, "a report that is like the one before is not repeated");
});

test("a fault of our own ends it", async () => {
  const watch = new Watch();
  watch.fault = new TypeError("a bug");
  await watch.start();

  assert.deepEqual([watch.ended, watch.clock.waiting], ["TypeError: a bug", 0]);
});

test("stopped during a run, it ends without a word", async () => {
  const watch = new Watch();
  watch.during = () => void watch.stop();
  watch.away = true;
  await watch.start();
  await settle();

  assert.deepEqual([watch.ended, watch.events], ["stopped", []]);
});

/**
 * Timers of the system's clock, `delay` on both clocks, and the clock that tests turn.
 * @module
 */
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { FakeClock, settle } from "../test/fakes/fake-clock.ts";
import { delay, systemClock } from "./clock.ts";

const day = 24 * 3_600_000;

/** What a timer of Node can wait at most, in milliseconds. */
const longestTimer = 2 ** 31 - 1;

test("the system's clock tells the time of the system", () => {
  assert.ok(Math.abs(systemClock.now() - Date.now()) < 1_000);
});

test("a timer rings once, also when its time is past", async () => {
  let rang = 0;

  systemClock.after(-5, () => rang++);
  await new Promise((resolve) => setTimeout(resolve, 20));

  assert.equal(rang, 1);
});

test("a cancelled timer does not ring, and cancelling twice is harmless", async () => {
  let rang = 0;

  const cancel = systemClock.after(1, () => rang++);
  cancel();
  cancel();
  await new Promise((resolve) => setTimeout(resolve, 20));

  assert.equal(rang, 0);
});

test("a wait longer than Node's timers know is taken in steps, not at once", (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ["setTimeout"] });
  let rang = 0;

  systemClock.after(30 * day, () => rang++);
  mock.timers.tick(longestTimer);
  assert.equal(rang, 0);
  mock.timers.tick(30 * day - longestTimer - 1);
  assert.equal(rang, 0);
  mock.timers.tick(1);

  assert.equal(rang, 1);
});

test("a long wait can be cancelled in its second step", (t) => {
  t.after(() => mock.timers.reset());
  mock.timers.enable({ apis: ["setTimeout"] });
  let rang = 0;

  const cancel = systemClock.after(30 * day, () => rang++);
  mock.timers.tick(26 * day);
  cancel();
  mock.timers.tick(30 * day);

  assert.equal(rang, 0);
});

test("a delay ends when its time has come, and leaves no listener at the signal", async () => {
  const clock = new FakeClock();
  const controller = new AbortController();
  let over = false;

  void delay(clock, 1_000, controller.signal).then(() => (over = true));
  await clock.advance(999);
  assert.equal(over, false);
  await clock.advance(1);
  assert.equal(over, true);

  controller.abort();
  await settle();
  assert.equal(clock.waiting, 0);
});

test("a delay is ended by its signal with the signal's reason, and its timer is gone", async () => {
  const clock = new FakeClock();
  const controller = new AbortController();

  const waiting = delay(clock, 1_000, controller.signal);
  controller.abort(new Error("stopping"));

  await assert.rejects(waiting, /stopping/);
  assert.equal(clock.waiting, 0);
});

test("a delay under a signal that is already aborted never sets a timer", async () => {
  const clock = new FakeClock();

  await assert.rejects(delay(clock, 1_000, AbortSignal.abort(new Error("too late"))), /too late/);
  assert.equal(clock.waiting, 0);
});

test("a reason that is no error still rejects with one", async () => {
  const clock = new FakeClock();
  const controller = new AbortController();

  const waiting = delay(clock, 1_000, controller.signal);
  controller.abort("because");

  await assert.rejects(waiting, Error);
  await assert.rejects(delay(clock, 1, controller.signal), Error);
});

test("the fake clock rings its timers in the order of their times and shows each its own time", async () => {
  const clock = new FakeClock(0);
  const rang: string[] = [];

  clock.after(20, () => rang.push(`b at ${clock.now()}`));
  clock.after(10, () => {
    rang.push(`a at ${clock.now()}`);
    clock.after(5, () => rang.push(`nested at ${clock.now()}`));
  });
  const cancel = clock.after(12, () => rang.push("cancelled"));
  cancel();
  await clock.advance(30);

  assert.deepEqual(rang, ["a at 10", "nested at 15", "b at 20"]);
  assert.equal(clock.now(), 30);
});

test("the fake clock waits for what a timer sets off before it rings the next", async () => {
  const clock = new FakeClock("2026-01-01T00:00:00Z");
  const seen: number[] = [];
  const loop = async (): Promise<void> => {
    for (let round = 0; round < 3; round++) {
      await delay(clock, 1_000);
      seen.push(clock.now() - Date.parse("2026-01-01T00:00:00Z"));
    }
  };

  const done = loop();
  await clock.advance(3_000);
  await done;

  assert.deepEqual(seen, [1_000, 2_000, 3_000]);
});

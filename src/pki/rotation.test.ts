/** @module */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { createRotation, renewalTime, retryDelay } from "./rotation.ts";
import type { Rotation, Validity } from "./rotation.ts";

const hour = 3_600_000;

interface Bench {
  readonly clock: FakeClock;
  readonly rotation: Rotation<Validity>;
  readonly rotated: number[];
  readonly waits: number[];
  /** Set to make issuing fail. */
  broken: Error | undefined;
  attempts: number;
}

function bench(lifetime = 24 * hour): Bench {
  const clock = new FakeClock();
  const started = clock.now();
  const rotated: number[] = [];
  const waits: number[] = [];
  const made: Bench = {
    clock,
    rotated,
    waits,
    broken: undefined,
    attempts: 0,
    rotation: createRotation<Validity>({
      clock,
      issue() {
        made.attempts++;
        if (made.broken !== undefined) return Promise.reject(made.broken);
        return Promise.resolve({ notBefore: clock.now() - 300_000, notAfter: clock.now() + lifetime });
      },
      onRotated: () => void rotated.push(clock.now() - started),
      onFailure: (_, wait) => void waits.push(wait),
    }),
  };
  return made;
}

test("the first one is put into use at the start, the next ones at two thirds of a life", async () => {
  const { clock, rotation, rotated } = bench();

  await rotation.start();
  await clock.advance(33 * hour);

  assert.deepEqual(rotated, [0, 16 * hour, 32 * hour]);
});

test("while issuing fails the old one stays in use and attempts follow with growing waits", async () => {
  const made = bench();
  const first = await made.rotation.start();
  made.broken = new Error("away");

  await made.clock.advance(16 * hour + 200_000);

  assert.equal(made.rotation.current, first);
  assert.deepEqual(
    made.waits,
    [1, 2, 4, 8, 16, 32, 60, 60, 60].map((seconds) => seconds * 1000).slice(0, made.waits.length),
  );
  assert.ok(made.waits.length >= 8);
});

test("when issuing works again the plan starts afresh", async () => {
  const made = bench();
  await made.rotation.start();
  made.broken = new Error("away");
  await made.clock.advance(16 * hour + 2_000);
  made.broken = undefined;

  await made.clock.advance(20 * hour);

  assert.deepEqual(made.rotated, [0, 16 * hour + 3_000, 32 * hour + 3_000]);
});

test("one that cannot be put into use counts as a failure and is issued again", async () => {
  const clock = new FakeClock();
  let refusals = 1;
  const failures: unknown[] = [];
  const rotation = createRotation<Validity>({
    clock,
    issue: () => Promise.resolve({ notBefore: clock.now(), notAfter: clock.now() + 3 * hour }),
    onRotated(next) {
      if (next.notBefore >= Date.parse("2026-01-01T02:00:00Z") && refusals-- > 0)
        throw new Error("disk full");
    },
    onFailure: (error) => void failures.push(error),
  });
  const first = await rotation.start();

  await clock.advance(2 * hour);
  const during = rotation.current;
  await clock.advance(1_000);

  assert.equal(during, first);
  assert.equal(rotation.current?.notBefore, Date.parse("2026-01-01T02:00:01Z"));
  assert.deepEqual(failures.map(String), ["Error: disk full"]);
});

test("a start that fails says why and plans nothing", async () => {
  const made = bench();
  made.broken = new Error("away");

  await assert.rejects(made.rotation.start(), /away/);

  assert.equal(made.clock.waiting, 0);
  assert.equal(made.rotation.current, undefined);
});

test("after a stop nothing is planned and a renewal under way is not put into use", async () => {
  const made = bench();
  await made.rotation.start();
  const underWay = made.rotation.rotateNow();

  made.rotation.stop();
  await underWay;
  await made.clock.advance(100 * hour);

  assert.deepEqual(made.rotated, [0]);
  assert.equal(made.clock.waiting, 0);
});

test("asking twice at once renews once", async () => {
  const made = bench();
  await made.rotation.start();

  await Promise.all([made.rotation.rotateNow(), made.rotation.rotateNow()]);

  assert.equal(made.attempts, 2);
});

test("after a suspended machine, what is due by the date is renewed within a minute", async () => {
  const made = bench();
  await made.rotation.start();
  await made.clock.advance(hour);

  made.clock.jump(30 * hour);
  await made.clock.advance(60_000);

  assert.deepEqual(made.rotated, [0, 31 * hour + 60_000]);
});

test("one that has expired before it arrives does not become a busy loop", async () => {
  const made = bench(-hour);
  await made.rotation.start();

  await made.clock.advance(10_000);

  assert.equal(made.attempts, 11);
});

test("the renewal lies between receipt and end, two thirds on", () => {
  fc.assert(
    fc.property(
      fc.nat(),
      fc.integer({ min: 1, max: 1e12 }),
      fc.integer({ min: 0, max: 1e9 }),
      (at, life, skew) => {
        const time = renewalTime({ notBefore: at - skew, notAfter: at + life }, at);

        assert.ok(time > at && time < at + life);
        assert.ok(Math.abs(time - at - (life * 2) / 3) < 1e-3);
      },
    ),
  );
});

test("waits grow from a second to a minute and no further", () => {
  assert.deepEqual([1, 2, 6, 7, 1000].map(retryDelay), [1_000, 2_000, 32_000, 60_000, 60_000]);
});

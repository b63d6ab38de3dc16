import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock } from "../../../test/fakes/fake-clock.ts";
import { LoginGuard } from "./login-guard.ts";

const minute = 60_000;
const policy = { threshold: 5, windowMs: 30 * minute };

function guardOf(options: { readonly perAddress?: number; readonly overall?: number } = {}) {
  const clock = new FakeClock();
  return { clock, guard: new LoginGuard({ clock, perAddress: 10, overall: 100, ...options }) };
}

test("one attempt fewer than would lock the account is let through, and a new one after the window", async () => {
  const { clock, guard } = guardOf();

  for (let wrong = 0; wrong < 4; wrong++) {
    const attempt = guard.attempt("alice", policy, undefined);
    assert.ok(attempt !== undefined);
    attempt.failed();
  }
  assert.equal(guard.attempt("alice", policy, undefined), undefined);
  assert.ok(guard.attempt("bob", policy, undefined) !== undefined);
  await clock.advance(30 * minute);
  assert.ok(guard.attempt("alice", policy, undefined) !== undefined);
});

test("attempts under way count, so that many at once lock nobody out", () => {
  const { guard } = guardOf();

  const attempts = Array.from({ length: 20 }, () => guard.attempt("alice", policy, undefined));

  assert.equal(attempts.filter((attempt) => attempt !== undefined).length, 4);
});

test("the right password clears the count", () => {
  const { guard } = guardOf();
  for (let wrong = 0; wrong < 3; wrong++) guard.attempt("alice", policy, undefined)?.failed();

  guard.attempt("alice", policy, undefined)?.cleared();

  for (let wrong = 0; wrong < 4; wrong++) assert.ok(guard.attempt("alice", policy, undefined) !== undefined);
});

test("what other doors and other replicas let through counts while the directory remembers it", async () => {
  const { clock, guard } = guardOf();
  const lastWrongAt = clock.now();

  assert.equal(guard.attempt("alice", policy, { wrongPasswords: 4, lastWrongAt }), undefined);
  assert.ok(guard.attempt("alice", policy, { wrongPasswords: 3, lastWrongAt }) !== undefined);
  await clock.advance(30 * minute);
  assert.ok(guard.attempt("alice", policy, { wrongPasswords: 4, lastWrongAt }) !== undefined);
});

test("a domain that locks nobody out is guarded all the same", () => {
  const { guard } = guardOf();
  const none = { threshold: 0, windowMs: 0 };
  for (let wrong = 0; wrong < 10; wrong++)
    guard.attempt("alice", none, { wrongPasswords: 99, lastWrongAt: 0 })?.failed();

  assert.equal(guard.attempt("alice", none, undefined), undefined);
});

test("a source and everybody together have so many attempts a minute", async () => {
  const { clock, guard } = guardOf({ perAddress: 2, overall: 3 });

  assert.deepEqual(
    ["10.0.0.1", "::ffff:10.0.0.1", "10.0.0.1"].map((address) => guard.admits(address)),
    [true, true, false],
  );
  assert.deepEqual(
    ["10.0.0.2", "10.0.0.3"].map((address) => guard.admits(address)),
    [true, false],
  );
  await clock.advance(minute);
  assert.ok(guard.admits("10.0.0.1"));
});

test("IPv6 sources are counted by their /64", () => {
  const { guard } = guardOf({ perAddress: 1 });

  assert.ok(guard.admits("2001:db8:0:1::1"));
  assert.ok(!guard.admits("2001:db8::1:ffff:0:0:2"));
  assert.ok(!guard.admits("2001:0db8:0000:0001::3"));
  assert.ok(guard.admits("2001:db8:0:2::1"));
});

/**
 * What every `SecretStore` does, wherever it reads from. An adapter's test calls {@link secretStoreContract} with a world
 * that it can change.
 * @module
 */
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import type { AccountOutcome, SecretStore, StoreKind } from "../../src/secret-store/secret-store.ts";
import type { FakeClock } from "../fakes/fake-clock.ts";
import { eventually } from "./eventually.ts";

export interface AccountValues {
  readonly username: string;
  readonly password: string;
  readonly domainName: string;
}

/** What goes wrong with everything that the store asks. */
export type StoreFault = "forbidden" | "throttled" | "down" | "slow";

/** A place where accounts are kept, and the hands to change it. */
export interface StoreWorld {
  readonly kind: StoreKind;
  readonly clock: FakeClock;
  /** A store of these accounts; the contract closes it. */
  open(names: readonly string[]): SecretStore;
  /** Adds the account or replaces it. */
  put(name: string, values: AccountValues): Promise<void>;
  /** Puts something there that is no account, with `values.password` in it. */
  putMalformed(name: string, values: AccountValues): Promise<void>;
  remove(name: string): Promise<void>;
  /** Until {@link StoreWorld.heal}; what is kept can be changed meanwhile. */
  fail(how: StoreFault): Promise<void>;
  heal(): Promise<void>;
  /** Requests so far, where there are any. */
  requests?(): number;
  dispose(): Promise<void>;
}

const values: AccountValues = {
  username: "svc-web",
  password: 'p:ä€🔑\\"<&>\u2028 ',
  domainName: "contoso.example",
};
const other: AccountValues = { ...values, password: "n3w:\\" };

/** The outcome with the password as plain text, to compare it whole. */
function plain(outcome: AccountOutcome): unknown {
  if (outcome.outcome !== "found") return outcome.outcome;
  const { username, password, domainName } = outcome.account;
  return { username, password: password.reveal(), domainName };
}

export function secretStoreContract(name: string, createWorld: () => Promise<StoreWorld>): void {
  const notReadYet = "it was not read yet";

  async function open(
    t: TestContext,
    prepare: (world: StoreWorld) => Promise<unknown> = (world) => world.put("web", values),
  ): Promise<{ readonly world: StoreWorld; readonly store: SecretStore }> {
    const world = await createWorld();
    await prepare(world);
    const store = world.open(["web"]);
    t.after(async () => {
      await store.close();
      await world.dispose();
    });
    return { world, store };
  }

  async function serves(world: StoreWorld, store: SecretStore, expected: unknown): Promise<void> {
    await eventually(
      `it serves ${JSON.stringify(expected)}`,
      () => JSON.stringify(plain(store.find("web"))) === JSON.stringify(expected),
      world.clock,
    );
  }

  async function state(world: StoreWorld, store: SecretStore, expected: string): Promise<void> {
    await eventually(`it is ${expected}`, () => store.status().state === expected, world.clock);
  }

  describe(`secret store contract: ${name}`, () => {
    test("found: every character of an account, and where it came from", async (t) => {
      const { world, store } = await open(t);

      await serves(world, store, values);
      await state(world, store, "synced");

      const origin = store.origin("web");
      assert.equal(origin?.store, world.kind);
      assert.ok((origin?.confirmedAt ?? 0) > 0);
      assert.equal(store.statusOf("web")?.state, "synced");
      assert.doesNotMatch(JSON.stringify([store.find("web"), origin, store.describe()]), /p:ä/);
    });

    test("missing: nothing is there, and nothing is known about a name that was not asked for", async (t) => {
      const { world, store } = await open(t, () => Promise.resolve());

      await serves(world, store, "missing");

      assert.equal(store.find("never-named").outcome, "missing");
      assert.equal(store.origin("never-named"), undefined);
      assert.equal(store.statusOf("never-named"), undefined);
    });

    test("missing: what appears later is found, what is deleted is gone", async (t) => {
      const { world, store } = await open(t, () => Promise.resolve());
      await serves(world, store, "missing");

      await world.put("web", values);
      await serves(world, store, values);
      await world.remove("web");
      await serves(world, store, "missing");
    });

    test("forbidden: an account that may not be read is not served, and the reason is told", async (t) => {
      const { world, store } = await open(t, async (prepared) => {
        await prepared.put("web", values);
        await prepared.fail("forbidden");
      });
      const told = (): boolean => {
        const found = store.find("web");
        return (
          found.outcome === "refused" || (found.outcome === "unavailable" && found.reason !== notReadYet)
        );
      };

      await eventually("it says why", told, world.clock);
      await world.heal();

      await serves(world, store, values);
    });

    test("malformed: what is no account is never served, and the reason holds nothing of it", async (t) => {
      const { world, store } = await open(t);
      await serves(world, store, values);

      await world.putMalformed("web", values);
      await serves(world, store, "invalid");
      assert.doesNotMatch(JSON.stringify(store.find("web")), /p:ä|svc-web/);
      await world.put("web", other);

      await serves(world, store, other);
    });

    test("changed: the new value is served, and whoever listens hears of it once", async (t) => {
      const { world, store } = await open(t);
      await serves(world, store, values);
      await state(world, store, "synced");
      const heard: string[] = [];
      const stop = store.onChange((changed) => heard.push(changed));

      await world.put("web", other);
      await serves(world, store, other);
      await eventually("heard", () => heard.length > 0, world.clock);
      stop();
      await world.put("web", values);
      await serves(world, store, values);

      assert.deepEqual(heard, ["web"]);
    });

    for (const how of ["throttled", "down"] as const) {
      test(`${how}: the last good value is served, its age is told, and what changed meanwhile comes after`, async (t) => {
        const { world, store } = await open(t);
        await serves(world, store, values);
        await state(world, store, "synced");

        await world.fail(how);
        await eventually("it is stale", () => store.status().state === "stale", world.clock, 500);
        const { confirmedAt, reason } = store.status();
        await world.put("web", other);
        await world.clock.advance(10 * 60_000);

        assert.deepEqual(plain(store.find("web")), values);
        assert.equal(store.statusOf("web")?.state, "stale");
        assert.equal(store.origin("web")?.confirmedAt, confirmedAt);
        assert.ok(world.clock.now() - confirmedAt >= 10 * 60_000);
        assert.match(reason ?? "", /^[A-Z].*\S$/);
        await world.heal();
        await serves(world, store, other);
        await state(world, store, "synced");
      });
    }

    test("down: a store that could read nothing since its start says so, and serves later", async (t) => {
      const { world, store } = await open(t, async (prepared) => {
        await prepared.put("web", values);
        await prepared.fail("down");
      });

      await eventually("it says why", () => store.status().reason !== undefined, world.clock);
      assert.equal(store.status().state, "syncing");
      assert.equal(store.find("web").outcome, "unavailable");
      await world.heal();

      await serves(world, store, values);
    });

    test("slow: an answer never waits for the place where it is kept", async (t) => {
      const { world, store } = await open(t);
      await serves(world, store, values);

      await world.fail("slow");
      await world.clock.advance(40_000);
      const began = performance.now();
      for (let count = 0; count < 1_000; count++) assert.equal(store.find("web").outcome, "found");

      assert.ok(performance.now() - began < 1_000);
      await world.heal();
    });

    test("cancelled: waiting ends with the signal's reason, and closing ends what is under way", async (t) => {
      const { store } = await open(t, async (prepared) => {
        await prepared.put("web", values);
        await prepared.fail("slow");
      });
      const ending = new AbortController();
      const waiting = store.ready(ending.signal);

      ending.abort(new Error("no time"));
      await assert.rejects(waiting, /no time/);
      await assert.rejects(store.ready(AbortSignal.abort(new Error("too late"))), /too late/);
      await store.close();
      await store.close();

      assert.notEqual(store.find("web").outcome, "found");
    });

    test("concurrent: many who wait are served by one reading", async (t) => {
      const { world, store } = await open(t);
      const { signal } = new AbortController();

      const waiting = Promise.all(Array.from({ length: 50 }, () => store.ready(signal)));
      let done = false;
      void waiting.then(() => (done = true));
      await eventually("all are served", () => done, world.clock);

      assert.deepEqual(plain(store.find("web")), values);
      assert.ok((world.requests?.() ?? 0) < 6, `${world.requests?.()} requests`);
    });
  });
}

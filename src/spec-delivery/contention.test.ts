/**
 * Tests of two deliveries that want different things of one Swarm, by hand on paper and against a simulated engine.
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { EngineSimulator } from "../../test/fakes/engine-simulator.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { offeredResource } from "../../test/samples/offered-spec.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { createDockerEngine } from "../container-engine/docker-engine.ts";
import { createLog } from "../observe/log.ts";
import { OwnChanges } from "./contention.ts";
import { createSpecDelivery, type SpecDelivery, type SwarmReport } from "./deliver.ts";
import { specLabel, type Remark } from "./delivery-plan.ts";
import { parseOfferedSpec, type OfferedSpec } from "./offered-specs.ts";

const holdMs = 30_000;
const second = 1_000;
const minute = 60 * second;

function offered(revision: number): OfferedSpec {
  const parsed = parseOfferedSpec(offeredResource("app", revision, "web"));
  assert.ok(parsed.ok);
  return parsed.value;
}

const v1 = offered(1);
const v2 = offered(2);

/** One `credspec deliver` as `watchDelivery` runs it: at each interval, and half a second after a change of the engine. */
class Deliverer {
  specs: readonly OfferedSpec[];
  last: SwarmReport | undefined;
  readonly remarks = new Map<string, Remark>();
  readonly #delivery: SpecDelivery;
  readonly #engine: EngineSimulator;
  readonly #clock: FakeClock;
  #seen = -1;
  #nextLook = 0;

  constructor(engine: EngineSimulator, clock: FakeClock, path: string, spec: OfferedSpec) {
    this.#engine = engine;
    this.#clock = clock;
    this.specs = [spec];
    this.#delivery = createSpecDelivery(
      {
        engine: createDockerEngine({ kind: "socket", path, label: "engine" }, { timeoutMs: 60_000 }),
        offer: () => ({ specs: this.specs, gaps: [] }),
        clock,
        log: createLog({ level: "silent" }),
      },
      { owner: "us", holdMs },
    );
  }

  /** Looks if it has a reason to. */
  async turn(): Promise<void> {
    if (this.#engine.changes === this.#seen && this.#clock.now() < this.#nextLook) return;
    const report = await this.#delivery.deliver();
    assert.ok(report.kind === "swarm");
    this.last = report;
    for (const remark of report.final.remarks) this.remarks.set(`${remark.kind} ${remark.subject}`, remark);
    this.#seen = this.#engine.changes;
    this.#nextLook = this.#clock.now() + holdMs;
  }
}

class World {
  readonly engine = new EngineSimulator();
  readonly clock = new FakeClock();
  readonly deliverers: readonly [Deliverer, Deliverer];

  constructor(path: string, ours: OfferedSpec, theirs: OfferedSpec) {
    this.deliverers = [
      new Deliverer(this.engine, this.clock, path, ours),
      new Deliverer(this.engine, this.clock, path, theirs),
    ];
  }

  static async start(t: TestContext, ours: OfferedSpec, theirs: OfferedSpec): Promise<World> {
    const path = join(temporaryFolder(t), "engine.sock");
    const world = new World(path, ours, theirs);
    await world.engine.listen(path);
    t.after(() => world.engine.close());
    world.engine.addService("web", { labels: { [specLabel]: "app" } });
    return world;
  }

  async pass(milliseconds: number): Promise<void> {
    for (const end = this.clock.now() + milliseconds; this.clock.now() < end;) {
      for (const deliverer of this.deliverers) await deliverer.turn();
      await this.clock.advance(second / 2);
    }
  }

  /** How often each was done since the last time it was asked. */
  count(): Readonly<Record<"updated" | "created" | "removed", number>> {
    const count = (method: string, form: RegExp): number =>
      this.engine.requests.filter((one) => one.method === method && form.test(one.path)).length;
    const counted = {
      updated: count("POST", /^\/services\//),
      created: count("POST", /^\/configs\/create$/),
      removed: count("DELETE", /^\/configs\//),
    };
    this.engine.requests.length = 0;
    return counted;
  }
}

test("two deliveries of different states of a folder do not replace a service's tasks without end", async (t) => {
  const world = await World.start(t, v1, v2);

  await world.pass(15 * second);
  const first = world.count();
  await world.pass(5 * minute);
  const soon = world.count();
  await world.pass(10 * minute);
  const later = world.count();

  assert.deepEqual(first, { updated: 2, created: 2, removed: 0 });
  assert.ok(soon.updated <= 8, `${soon.updated} updates in 5 minutes`);
  assert.ok(later.updated <= 4, `${later.updated} updates in the 10 minutes after`);
  assert.deepEqual(
    [soon, later].map(({ created, removed }) => [created, removed]),
    [
      [0, 0],
      [0, 0],
    ],
  );
  assert.deepEqual(world.engine.violations, []);
});

test("both say so, and what to do about it", async (t) => {
  const world = await World.start(t, v1, v2);

  await world.pass(5 * minute);

  const [ours, theirs] = world.deliverers;
  assert.match(
    ours.remarks.get("held service web")?.reason ?? "",
    /^somebody else keeps changing it: run one `deliver` per folder and Swarm, .*; left alone until 2026-01-01T00:\d\d:\d\d\.\d{3}Z$/,
  );
  assert.match(
    theirs.remarks.get("warning service web")?.reason ?? "",
    /^somebody else keeps changing it: run one `deliver` per folder and Swarm, /,
  );
});

test("when the folders are alike again it is over: the service follows at once, and the old config goes", async (t) => {
  const world = await World.start(t, v1, v2);
  await world.pass(5 * minute);
  world.count();

  for (const deliverer of world.deliverers) deliverer.specs = [offered(3)];
  await world.pass(holdMs + second);
  const caughtUp = world.count();
  await world.pass(20 * minute);

  assert.deepEqual([caughtUp.updated, caughtUp.created], [1, 1]);
  assert.equal(world.engine.credentialSpecOf("web"), offered(3).config);
  assert.deepEqual(
    [...world.engine.configs.values()].map(({ Spec }) => Spec.Name),
    [offered(3).config],
  );
  for (const { last } of world.deliverers) assert.deepEqual(last?.final.remarks, []);
  assert.deepEqual(world.engine.violations, []);
});

test("a minute behind: the service is pointed to and fro a few times at most, and ends at the newer state", async (t) => {
  const world = await World.start(t, v1, v1);
  await world.pass(2 * minute);
  world.count();
  const [ours, theirs] = world.deliverers;

  ours.specs = [v2];
  await world.pass(minute);
  theirs.specs = [v2];
  await world.pass(20 * minute);

  const { updated, created } = world.count();
  assert.ok(updated <= 6 && created <= 2, `${updated} updates, ${created} configs made`);
  assert.equal(world.engine.credentialSpecOf("web"), v2.config);
  assert.deepEqual(
    [...world.engine.configs.values()].map(({ Spec }) => Spec.Name),
    [v2.config],
  );
});

test("a config that another delivery just made is not removed from under its hands", async (t) => {
  const world = await World.start(t, v1, v1);
  await world.pass(2 * minute);
  const labels = { [specLabel]: "app", "sallyport.io/delivered-by": "us" };
  world.engine.addConfig(v2.config, v2.contents, labels);
  world.count();

  await world.pass(2 * holdMs - second);
  const early = world.count().removed;
  await world.pass(2 * holdMs);

  assert.deepEqual([early, world.count().removed], [0, 1]);
});

test("a service that was deployed anew long after gets its spec back at once", async (t) => {
  const world = await World.start(t, v1, v1);
  await world.pass(2 * minute);
  const web = world.engine.serviceNamed("web");
  assert.ok(web !== undefined);

  world.engine.edit(web, (spec) => {
    spec.TaskTemplate.ContainerSpec = { Image: "app:2" };
  });
  await world.pass(second);

  assert.equal(world.engine.credentialSpecOf("web"), v1.config);
});

test("the time that a service is left alone grows up to an hour, and is forgotten after rest", async () => {
  const clock = new FakeClock();
  const changes = new OwnChanges(clock, holdMs);
  const holds: number[] = [];
  for (let time = 0; time < 10; time++) {
    changes.pointed("s", "c");
    const { heldUntil = 0 } = changes.standing("s", "c") ?? {};
    holds.push((heldUntil - clock.now()) / second);
    await clock.advance(heldUntil - clock.now());
    assert.deepEqual(changes.standing("s", "c"), { heldUntil: undefined, times: time });
  }

  await clock.advance(60 * minute);
  const rested = changes.standing("s", "c");
  changes.pointed("s", "c");

  assert.deepEqual(holds, [30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]);
  assert.equal(rested, undefined);
  assert.deepEqual(changes.standing("s", "c")?.heldUntil, clock.now() + holdMs);
});

test("another config, another service, and a clock that went back are no contention", async () => {
  const clock = new FakeClock();
  const changes = new OwnChanges(clock, holdMs);
  changes.pointed("s", "c");

  assert.equal(changes.standing("s", "d"), undefined);
  assert.equal(changes.standing("t", "c"), undefined);
  await clock.advance(-minute);
  assert.equal(changes.standing("s", "c"), undefined);
});

test("a delivery that runs once holds nothing", () => {
  const changes = new OwnChanges(new FakeClock(), 0);
  changes.pointed("s", "c");
  changes.saw({ configs: [{ id: "x", name: "c" }], services: [{ id: "s" }] }, new Set());

  assert.equal(changes.standing("s", "c"), undefined);
  assert.equal(changes.isFresh("x"), false);
});

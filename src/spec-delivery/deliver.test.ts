/**
 * Tests of delivery against a simulated engine on a real unix socket: that it converges, whatever interrupts it, and that
 * nothing goes which is needed.
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { EngineSimulator, type EngineFault } from "../../test/fakes/engine-simulator.ts";
import { offeredResource } from "../../test/samples/offered-spec.ts";
import type { Clock } from "../clock.ts";
import { createDockerEngine } from "../container-engine/docker-engine.ts";
import { SallyportError } from "../errors.ts";
import { createLog } from "../observe/log.ts";
import {
  createSpecDelivery,
  isInStep,
  type DeliveryReport,
  type SpecDelivery,
  type SwarmReport,
} from "./deliver.ts";
import { ownerLabel, specLabel } from "./delivery-plan.ts";
import { parseOfferedSpec, type OfferedSpec } from "./offered-specs.ts";

/** Pauses take no time. */
const hurriedClock: Clock = {
  now: () => 0,
  after(_milliseconds, callback) {
    const timer = setImmediate(callback);
    return () => clearImmediate(timer);
  },
};

class World {
  readonly engine = new EngineSimulator();
  readonly delivery: SpecDelivery;
  readonly log: string[] = [];
  specs: readonly OfferedSpec[] = [];
  gaps: readonly string[] = [];
  readonly #folder: string;

  static async start(): Promise<World> {
    const folder = mkdtempSync(join(tmpdir(), "sallyport-test-"));
    const world = new World(folder);
    await world.engine.listen(join(folder, "engine.sock"));
    return world;
  }

  private constructor(folder: string) {
    this.#folder = folder;
    const path = join(folder, "engine.sock");
    this.delivery = createSpecDelivery(
      {
        engine: createDockerEngine({ kind: "socket", path, label: "engine" }, { timeoutMs: 5_000 }),
        offer: () => ({ specs: this.specs, gaps: this.gaps }),
        clock: hurriedClock,
        log: createLog({ sink: { write: (line) => void this.log.push(line) } }),
      },
      { owner: "us", holdMs: 0 },
    );
  }

  offer(...specs: readonly (readonly [name: string, revision: number, use?: string])[]): void {
    this.specs = specs.map(([name, revision, use = "web"]) => {
      const parsed = parseOfferedSpec(offeredResource(name, revision, use));
      assert.ok(parsed.ok);
      return parsed.value;
    });
  }

  async deliver(): Promise<SwarmReport> {
    const report = await this.delivery.deliver();
    assert.equal(report.kind, "swarm");
    return report;
  }

  async end(): Promise<void> {
    await this.engine.close();
    rmSync(this.#folder, { recursive: true });
  }
}

async function startWorld(t: TestContext): Promise<World> {
  const world = await World.start();
  t.after(() => world.end());
  return world;
}

const asks = { labels: { [specLabel]: "app" } };
const changes = (world: World): readonly string[] =>
  world.engine.requests
    .filter(({ method }) => method !== "GET")
    .map(({ method, path }) => `${method} ${path.split("/")[1]}`);

test("a delivery creates, updates and removes in this order, and a second one changes nothing", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1]);
  world.engine.addService("web", asks);
  await world.deliver();
  world.offer(["app", 2]);
  world.engine.requests.length = 0;

  const report = await world.deliver();
  const order = changes(world);
  world.engine.requests.length = 0;
  const again = await world.deliver();

  assert.deepEqual(
    report.done.map(({ kind }) => kind),
    ["create-config", "update-service", "remove-config"],
  );
  assert.deepEqual(order, ["POST configs", "POST services", "DELETE configs"]);
  assert.equal(world.engine.credentialSpecOf("web"), world.specs[0]?.config);
  assert.equal(world.engine.configs.size, 1);
  assert.ok(isInStep(report));
  assert.deepEqual([again.done, changes(world)], [[], []]);
});

test("the config holds the canonical bytes and both labels", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1]);

  await world.deliver();

  const [config] = [...world.engine.configs.values()];
  assert.equal(Buffer.from(config?.Spec.Data ?? "", "base64").toString("utf8"), world.specs[0]?.contents);
  assert.deepEqual(config?.Spec.Labels, {
    "sallyport.io/credential-spec": "app",
    "sallyport.io/delivered-by": "us",
  });
});

test("every change is audited with names and hashes, and nothing of the contents", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1]);
  world.engine.addService("web", asks);

  await world.deliver();
  world.offer(["app", 2]);
  await world.deliver();

  const lines = world.log.map((line) => JSON.parse(line) as Record<string, unknown>);
  const names = ["delivery.config-created", "delivery.service-updated"];
  assert.deepEqual(
    lines.map(({ event }) => event),
    [...names, ...names, "delivery.config-removed"],
  );
  assert.deepEqual(
    Object.keys(lines[3] ?? {})
      .filter((key) => !["level", "time"].includes(key))
      .sort(),
    ["config", "event", "from", "hash", "service", "spec", "swarm"],
  );
  assert.doesNotMatch(world.log.join(), /S-1-5-21|webapp01|contoso/i);
});

test("a dry run looks and changes nothing", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1]);

  const report = await world.delivery.plan();

  assert.ok(report.kind === "swarm" && report.plan.actions.length === 1);
  assert.deepEqual(changes(world), []);
});

test("the plan is told before anything is changed", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1]);

  let before: readonly string[] | undefined;
  await world.delivery.deliver(() => (before = changes(world)));

  assert.deepEqual(before, []);
});

test("somebody else's change in between leads to a new plan, not to a lost change", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1]);
  const service = world.engine.addService("web", asks);
  world.engine.fail({
    on: "POST /services",
    times: 2,
    kind: { interfere: (engine) => engine.edit(service, (spec) => (spec.Labels["other"] = "change")) },
  });

  const report = await world.deliver();

  assert.ok(isInStep(report));
  assert.equal(world.engine.credentialSpecOf("web"), world.specs[0]?.config);
  assert.equal(service.Spec.Labels["other"], "change");
});

test("two deliveries of the same folder at once do not harm each other", async (t) => {
  const world = await startWorld(t);
  for (const revision of [1, 2, 3]) {
    world.offer(["app", revision]);
    if (revision === 1) world.engine.addService("web", asks);

    const reports = await Promise.all([world.deliver(), world.deliver()]);

    assert.deepEqual(reports.map(isInStep), [true, true]);
    assert.equal(world.engine.credentialSpecOf("web"), world.specs[0]?.config);
    assert.equal(world.engine.configs.size, 1);
  }
  assert.deepEqual(world.engine.violations, []);
});

test("a service that is taken off the list in between does not get the spec", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1]);
  const service = world.engine.addService("web", asks);
  world.engine.fail({
    on: "POST /services",
    times: 1,
    kind: {
      interfere: (engine) => {
        world.offer(["app", 1, "other"]);
        engine.edit(service, (spec) => (spec.Labels["other"] = "change"));
      },
    },
  });

  const report = await world.deliver();

  assert.ok(!isInStep(report));
  assert.equal(world.engine.credentialSpecOf("web"), undefined);
});

test("a Swarm that changes without end is given up, and said so", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1]);
  const service = world.engine.addService("web", asks);
  world.engine.fail({
    on: "POST /services",
    kind: { interfere: (engine) => engine.edit(service, () => undefined) },
  });

  const report = await world.deliver();

  assert.match(report.unsettled ?? "", /update out of sequence/);
  assert.ok(!isInStep(report));
});

test("a change that the engine refuses is reported; what does not depend on it is done", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1], ["app2", 1, "web2"]);
  world.engine.addService("web", asks);
  world.engine.addService("web2", { labels: { [specLabel]: "app2" } });
  const body = '{"message":"rpc error: code = ResourceExhausted desc = too many"}';
  world.engine.fail({ on: "POST /configs/create", times: 1, kind: { status: 500, body } });

  const report = await world.deliver();

  assert.deepEqual(
    report.failed.map(({ action, reason }) => [action.kind, action.spec, reason]),
    [["create-config", "app", "too many (status 500)"]],
  );
  assert.equal(world.engine.credentialSpecOf("web2"), world.specs[1]?.config);
  assert.ok(!isInStep(report));
});

for (const [state, manager] of [
  ["active", false],
  ["locked", false],
  ["pending", false],
] as const) {
  test(`a node that cannot manage the Swarm (${state}) is no place to deliver to`, async (t) => {
    const world = await startWorld(t);
    world.engine.swarm = { LocalNodeState: state, ControlAvailable: manager };

    await assert.rejects(
      world.delivery.deliver(),
      (error) => error instanceof SallyportError && error.code === "E_ENGINE_ROLE",
    );
  });
}

test("an engine without Swarm is compared with, and changed in nothing", async (t) => {
  const world = await startWorld(t);
  world.offer(["app", 1], ["broken", 1, "we/b"]);
  world.engine.swarm = { LocalNodeState: "inactive", ControlAvailable: false };
  world.engine.containers.push({ Id: "a", Name: "/web", Config: { Labels: { [specLabel]: "app" } } });

  const report = await world.delivery.deliver();

  assert.ok(report.kind === "containers");
  assert.deepEqual(
    report.containers.map(({ container, state }) => [container, state]),
    [["web", "outdated"]],
  );
  assert.match(report.faults.join(), /^spec broken: the annotation/);
  assert.ok(!isInStep(report));
  assert.deepEqual(changes(world), []);
});

test("while an update goes on Swarm can go back; a delivery that it took back is not forced upon it", async (t) => {
  const world = await startWorld(t);
  world.engine.rolling = true;
  world.offer(["app", 1]);
  const service = world.engine.addService("web", asks);
  await world.deliver();
  world.engine.settle();
  const first = world.specs[0]?.config;
  world.offer(["app", 2]);

  const during = await world.deliver();
  assert.ok(world.engine.rollBack(service));
  const held = await world.deliver();
  const stillFirst = world.engine.credentialSpecOf("web");
  world.engine.edit(service, (spec) => (spec["ForceUpdate"] = 1));
  const forced = await world.deliver();
  world.engine.settle();
  await world.deliver();

  assert.deepEqual(
    during.final.remarks.map(({ kind }) => kind),
    ["kept"],
  );
  assert.deepEqual([held.done, held.final.remarks[0]?.kind, stillFirst], [[], "held", first]);
  assert.ok(isInStep(forced));
  assert.equal(world.engine.credentialSpecOf("web"), world.specs[0]?.config);
  assert.deepEqual(
    [...world.engine.configs.values()].map(({ Spec }) => Spec.Name),
    [world.specs[0]?.config],
  );
  assert.deepEqual(world.engine.violations, []);
});

for (const [name, between] of [
  [
    "tasks that still run when Swarm calls the update complete",
    (engine: EngineSimulator) => engine.completeUpdates(),
  ],
  ["an update that may go back although no task runs", (engine: EngineSimulator) => engine.failTasks()],
] as const) {
  test(`an old config stays for ${name}`, async (t) => {
    const world = await startWorld(t);
    world.offer(["app", 1]);
    world.engine.addService("web", asks);
    await world.deliver();
    world.engine.rolling = true;
    world.offer(["app", 2]);
    await world.deliver();
    between(world.engine);

    await world.deliver();

    assert.equal(world.engine.configs.size, 2);
    assert.deepEqual(world.engine.violations, []);
  });
}

/** What people, Swarm and accidents do between two deliveries. */
type Step =
  | { readonly do: "offer"; readonly spec: string; readonly revision: number; readonly use: string }
  | { readonly do: "withdraw"; readonly spec: string }
  | { readonly do: "add-service"; readonly service: string; readonly spec: string }
  | { readonly do: "remove-service"; readonly service: string }
  | { readonly do: "edit-service"; readonly service: string }
  | { readonly do: "settle" | "fail-tasks" | "complete-updates" }
  | { readonly do: "others-config"; readonly spec: string; readonly owner: string }
  | { readonly do: "roll-back"; readonly service: string }
  | { readonly do: "break-folder"; readonly broken: boolean }
  | { readonly do: "deliver"; readonly after: number; readonly kind: EngineFault["kind"] & string };

const specNames = fc.constantFrom("app", "db");
const serviceNames = fc.constantFrom("web", "api", "evil");
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("offer" as const),
      spec: specNames,
      revision: fc.integer({ min: 1, max: 3 }),
      use: fc.constantFrom("web", "web api", "*l", ""),
    }),
  },
  fc.record({ do: fc.constant("withdraw" as const), spec: specNames }),
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("add-service" as const), service: serviceNames, spec: specNames }),
  },
  fc.record({ do: fc.constant("remove-service" as const), service: serviceNames }),
  fc.record({ do: fc.constant("edit-service" as const), service: serviceNames }),
  { weight: 2, arbitrary: fc.constant({ do: "settle" as const }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom("fail-tasks" as const, "complete-updates" as const) }),
  },
  fc.record({
    do: fc.constant("others-config" as const),
    spec: specNames,
    owner: fc.constantFrom("", "them"),
  }),
  fc.record({ do: fc.constant("roll-back" as const), service: serviceNames }),
  fc.record({ do: fc.constant("break-folder" as const), broken: fc.boolean() }),
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("deliver" as const),
      after: fc.integer({ min: 0, max: 40 }),
      kind: fc.constantFrom("reset" as const, "lost-answer" as const, "cut" as const),
    }),
  },
);

test("any sequence of changes and interruptions ends in step, and what is needed never goes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.array(steps, { minLength: 8, maxLength: 30, size: "max" }),
      async (rolling, sequence) => {
        const world = await World.start();
        try {
          world.engine.rolling = rolling;
          const offered = new Map<string, readonly [string, number, string]>();
          for (const step of sequence) await take(world, offered, step);
          world.engine.heal();
          world.gaps = [];
          // Whatever Swarm took back is pushed by its owner, as the remark advises.
          for (const service of world.engine.services.values()) world.engine.edit(service, () => undefined);
          world.engine.settle();
          await world.deliver();
          world.engine.settle();
          await world.deliver();
          const last = await world.deliver();

          assert.deepEqual(world.engine.violations, []);
          assert.deepEqual([last.done, last.failed, last.unsettled], [[], [], undefined]);
          for (const service of world.engine.services.values()) {
            const asked = offered.get(service.Spec.Labels[specLabel] ?? "");
            const spec = world.specs.find(({ name }) => name === asked?.[0]);
            if (spec === undefined || !spec.use.ok || !spec.use.allows(service.Spec.Name)) continue;
            assert.equal(world.engine.credentialSpecOf(service.Spec.Name), spec.config);
          }
          const wanted = new Set(world.specs.map(({ config }) => config));
          for (const config of world.engine.configs.values()) {
            if (config.Spec.Labels[ownerLabel] !== "us") continue;
            assert.ok(
              wanted.has(config.Spec.Name) || world.engine.needs(config.ID).length > 0,
              "left behind",
            );
          }
        } finally {
          await world.end();
        }
      },
    ),
    { numRuns: 80 },
  );
});

test("nobody outside a spec's list is ever given it, whatever the sequence", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { maxLength: 20, size: "max" }), async (sequence) => {
      const world = await World.start();
      try {
        const offered = new Map<string, readonly [string, number, string]>();
        world.engine.addService("evil", asks);
        for (const step of sequence) {
          const before = new Map(
            [...world.engine.services.values()].map(({ Spec }) => [
              Spec.Name,
              world.engine.credentialSpecOf(Spec.Name),
            ]),
          );
          await take(world, offered, step);
          if (step.do !== "deliver") continue;
          for (const [service, had] of before) {
            const has = world.engine.credentialSpecOf(service);
            if (has === had) continue;
            const spec = world.specs.find(({ config }) => config === has);
            assert.ok(spec?.use.ok === true && spec.use.allows(service), `${service} got ${has}`);
          }
        }
      } finally {
        await world.end();
      }
    }),
    { numRuns: 40 },
  );
});

async function take(
  world: World,
  offered: Map<string, readonly [string, number, string]>,
  step: Step,
): Promise<DeliveryReport | undefined> {
  const { engine } = world;
  const service = "service" in step ? engine.serviceNamed(step.service) : undefined;
  switch (step.do) {
    case "offer":
      offered.set(step.spec, [step.spec, step.revision, step.use]);
      world.offer(...offered.values());
      return undefined;
    case "withdraw":
      offered.delete(step.spec);
      world.offer(...offered.values());
      return undefined;
    case "add-service":
      if (service === undefined) engine.addService(step.service, { labels: { [specLabel]: step.spec } });
      return undefined;
    case "remove-service":
      if (service !== undefined) engine.removeService(service);
      return undefined;
    case "edit-service":
      if (service !== undefined) engine.edit(service, (spec) => (spec["ForceUpdate"] = engine.now));
      return undefined;
    case "settle":
      engine.settle();
      return undefined;
    case "fail-tasks":
      engine.failTasks();
      return undefined;
    case "complete-updates":
      engine.completeUpdates();
      return undefined;
    case "others-config": {
      const labels = { [specLabel]: step.spec, ...(step.owner === "" ? {} : { [ownerLabel]: step.owner }) };
      engine.addConfig(`${step.spec}-others-${engine.now}`, "{}", labels);
      return undefined;
    }
    case "roll-back":
      if (service !== undefined) engine.rollBack(service);
      return undefined;
    case "break-folder":
      world.gaps = step.broken ? ["a.yaml: it is empty"] : [];
      return undefined;
    case "deliver":
      engine.heal();
      engine.fail({ after: step.after, kind: step.kind });
      try {
        return await world.delivery.deliver();
      } catch (error) {
        assert.ok(error instanceof SallyportError && error.code.startsWith("E_ENGINE_"), String(error));
        return undefined;
      }
  }
}

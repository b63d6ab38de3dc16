/**
 * Tests of `sallyport credspec deliver` from flags to output and exit code, against a simulated engine.
 * @module
 */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { eventually } from "../../test/contracts/eventually.ts";
import { EngineSimulator } from "../../test/fakes/engine-simulator.ts";
import { offeredResource } from "../../test/samples/offered-spec.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { SallyportError } from "../errors.ts";
import { runCredspec } from "./credspec.ts";

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

interface Bench {
  readonly simulator: EngineSimulator;
  readonly manifests: string;
  readonly host: string;
  deliver(...words: readonly string[]): Promise<Ran>;
  offer(revision: number, use?: string): void;
}

async function setUp(t: TestContext): Promise<Bench> {
  const folder = temporaryFolder(t);
  const manifests = temporaryFolder(t);
  const simulator = new EngineSimulator();
  const path = join(folder, "engine.sock");
  await simulator.listen(path);
  t.after(() => simulator.close());
  const host = `unix://${path}`;
  return {
    simulator,
    manifests,
    host,
    deliver: (...words) => run("--manifests", manifests, "--host", host, ...words),
    offer: (revision, use) =>
      writeFileSync(join(manifests, "app.json"), JSON.stringify(offeredResource("app", revision, use))),
  };
}

async function run(...words: readonly string[]): Promise<Ran> {
  let out = "";
  let err = "";
  const unused = (): never => {
    throw new Error("not asked for here");
  };
  try {
    const code = await runCredspec(["deliver", ...words], {
      io: { out: (text) => void (out += text), err: (text) => void (err += text), read: unused },
      clusterSpecs: unused,
      openDirectory: unused,
    });
    return { code, out, err };
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    return { code: error.exitCode, out, err: `${err}${error.code} ${error.message}` };
  }
}

const asks = { labels: { "sallyport.io/credential-spec": "app" } };

test("--dry-run prints the plan, exits 0 and changes nothing", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  bench.simulator.addService("web", asks);

  const ran = await bench.deliver("--dry-run");

  assert.equal(ran.code, 0, ran.err);
  assert.match(
    ran.out,
    /^Plan:\n {2}create config app-[0-9a-f]{12} for app\n {2}update service web: no credential spec → app-[0-9a-f]{12} \(its tasks are replaced\)\n$/,
  );
  assert.equal(bench.simulator.configs.size, 0);
});

test("--once prints plan and outcome, audits on standard error, and a second run has nothing to do", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  bench.simulator.addService("web", asks);

  const ran = await bench.deliver("--once");
  const again = await bench.deliver("--once");

  assert.equal(ran.code, 0, ran.err);
  assert.match(
    ran.out,
    /^Plan:\n.*\n.*\ncurrent: service web has app as app-\S+\nDone: 1 config created, 1 service updated, 0 configs removed\.\n$/,
  );
  assert.match(ran.err, /"event":"delivery.service-updated"/);
  assert.match(again.out, /^Nothing to do\.\ncurrent: service web has app as app-\S+\n$/);
  assert.deepEqual([again.code, again.err.includes("delivery.")], [0, false]);
});

test("--output json is one JSON value, whose contents name no contents", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  bench.simulator.addService("evil", asks);

  const ran = await bench.deliver("--once", "--output", "json");

  const report = JSON.parse(ran.out);
  assert.deepEqual(
    [ran.code, report.kind, report.inStep, report.done.length, report.final.remarks[0].kind],
    [1, "swarm", false, 1, "refused"],
  );
  assert.doesNotMatch(ran.out, /S-1-5-21/);
});

test("a file that cannot be read is a fault, and nothing is taken for deleted", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  await bench.deliver("--once");
  writeFileSync(join(bench.manifests, "app.json"), "{");

  const ran = await bench.deliver("--once");

  assert.equal(ran.code, 1);
  assert.match(ran.out, /fault: gap: folder: app\.json: /);
  assert.match(ran.out, /note: kept: config app-\S+: the folder cannot be read completely/);
  assert.equal(bench.simulator.configs.size, 1);
});

test("a spec that left the folder is removed from the Swarm", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  await bench.deliver("--once");
  rmSync(join(bench.manifests, "app.json"));

  const ran = await bench.deliver("--once");

  assert.equal(ran.code, 0);
  assert.match(ran.out, /^Plan:\n {2}remove config app-\S+, which nothing uses\n/);
  assert.equal(bench.simulator.configs.size, 0);
});

test("two owners leave each other's configs alone", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  await bench.deliver("--once");
  rmSync(join(bench.manifests, "app.json"));

  const ran = await bench.deliver("--once", "--owner", "another");

  assert.equal(ran.out, "Nothing to do.\n");
  assert.equal(bench.simulator.configs.size, 1);
});

test("an engine without Swarm gets a sentence and a comparison", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  bench.simulator.swarm = { LocalNodeState: "inactive", ControlAvailable: false };

  const empty = await bench.deliver("--once");
  bench.simulator.containers.push({ Id: "a", Name: "/web", Config: { Labels: asks.labels } });
  const outdated = await bench.deliver("--dry-run");

  assert.equal(empty.code, 0, empty.err);
  assert.match(
    empty.out,
    /^This engine is not in a Swarm: .*\nNo container has or asks for a credential spec\.\n$/,
  );
  assert.equal(outdated.code, 1);
  assert.match(
    outdated.out,
    /^fault: outdated: container web \(app\): has no credential spec; make it anew/m,
  );
});

test("what an engine calls its services does not write on the terminal", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  bench.simulator.addService("\u001b]0;evil\u0007\u009b2J", asks);

  const ran = await bench.deliver("--once");

  assert.match(ran.out, /fault: refused: service \?\]0;evil\?\?2J: asks for/);
});

test("an engine that cannot be reached ends it with 1", async (t) => {
  const bench = await setUp(t);
  await bench.simulator.close();

  const ran = await bench.deliver("--once");

  assert.equal(ran.code, 1);
  assert.match(ran.err, /E_ENGINE_UNREACHABLE/);
});

test("every fault of the flags at once, exit 2", async () => {
  const ran = await run(
    ...["--manifests", "/nowhere", "--host", "tcp://10.0.0.1:2375", "--owner", "a b"],
    ...["--interval", "1ms", "--timeout", "soon"],
  );

  assert.equal(ran.code, 2);
  for (const setting of ["--manifests", "--host", "--owner", "--interval", "--timeout"]) {
    assert.match(ran.err, new RegExp(`\\n  ${setting}: `));
  }
});

test("a --timeout that timers cannot count is a fault of it, told with the others", async () => {
  const ran = await run("--manifests", "/nowhere", "--once", "--timeout", "597h");

  assert.equal(ran.code, 2);
  assert.match(ran.err, /\n {2}--timeout: "597h" is longer than 10m/);
  assert.match(ran.err, /\n {2}--manifests: /);
});

test("without --once it goes on, delivers edits, and ends with 0 on SIGTERM", async (t) => {
  const bench = await setUp(t);
  bench.offer(1, "web");
  bench.simulator.addService("web", asks);
  const running = bench.deliver("--interval", "1h");
  await eventually("the first delivery", () => bench.simulator.credentialSpecOf("web") !== undefined);
  const first = bench.simulator.credentialSpecOf("web");

  bench.offer(2, "web");
  await eventually(
    "the edit",
    () => bench.simulator.credentialSpecOf("web") !== first && bench.simulator.configs.size === 1,
  );
  const late = bench.simulator.addService("web2", asks);
  bench.offer(2, "web*");
  await eventually("the new list", () => bench.simulator.credentialSpecOf("web2") !== undefined);
  bench.simulator.removeService(late);
  bench.simulator.addService("web3", asks);
  bench.simulator.announce();
  await eventually("the new service", () => bench.simulator.credentialSpecOf("web3") !== undefined);
  process.emit("SIGTERM", "SIGTERM");
  const ran = await running;

  assert.equal(ran.code, 0);
  assert.match(ran.out, /Done: 1 config created, 1 service updated, 1 config removed\.\n/);
});

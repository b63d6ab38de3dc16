/**
 * Tests of the Docker engine's client against a simulated engine, on real sockets.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { eventually } from "../../test/contracts/eventually.ts";
import { EngineSimulator, type EngineFault } from "../../test/fakes/engine-simulator.ts";
import { createTestAuthority } from "../../test/fixtures/test-authority.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { SallyportError } from "../errors.ts";
import type { ContainerEngine } from "./container-engine.ts";
import { createDockerEngine, type DockerEngineOptions } from "./docker-engine.ts";
import { parseLossless } from "./lossless-json.ts";

async function start(
  context: TestContext,
  options: DockerEngineOptions = {},
): Promise<{ readonly simulator: EngineSimulator; readonly engine: ContainerEngine }> {
  const path = join(temporaryFolder(context), "engine.sock");
  const simulator = new EngineSimulator();
  await simulator.listen(path);
  context.after(() => simulator.close());
  return {
    simulator,
    engine: createDockerEngine({ kind: "socket", path, label: `unix://${path}` }, options),
  };
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "no error";
  } catch (error) {
    assert.ok(error instanceof SallyportError, String(error));
    return `${error.code}: ${error.message}`;
  }
}

test("it speaks the newest version that the engine knows", async (t) => {
  const { simulator, engine } = await start(t);
  simulator.apiVersion = "1.77";

  await engine.state();
  await engine.services();

  assert.deepEqual(
    simulator.requests.map(({ version, path }) => `${version} ${path}`),
    [" /version", "1.77 /info", "1.77 /services"],
  );
});

test("an engine that was upgraded is spoken to in its new version", async (t) => {
  const { simulator, engine } = await start(t);
  await engine.state();
  simulator.apiVersion = "1.44";

  await engine.state();

  assert.equal(simulator.requests.at(-1)?.version, "1.44");
});

for (const [version, code] of [
  ["1.39", /^E_ENGINE_VERSION/],
  ["0.99", /^E_ENGINE_VERSION/],
  ["1.40", /^no error/],
  ["2.0", /^no error/],
  ["one", /^E_ENGINE_ANSWER: .*unexpected ApiVersion/],
] as const) {
  test(`version ${version} of the API: ${code.source}`, async (t) => {
    const { simulator, engine } = await start(t);
    simulator.apiVersion = version;

    assert.match(await codeOf(engine.state()), code);
  });
}

for (const [LocalNodeState, ControlAvailable, expected] of [
  ["inactive", false, "none"],
  ["active", true, "manager"],
  ["active", false, "worker"],
  ["locked", false, "unusable"],
  ["pending", false, "unusable"],
  ["error", false, "unusable"],
] as const) {
  test(`a node that is ${LocalNodeState}${ControlAvailable ? " and manages" : ""} is ${expected}`, async (t) => {
    const { simulator, engine } = await start(t);
    simulator.swarm = { LocalNodeState, ControlAvailable };

    assert.equal((await engine.state()).swarm, expected);
  });
}

test("configs are those with the label and those of the exact names", async (t) => {
  const { simulator, engine } = await start(t);
  simulator.addConfig("labelled", "1", { l: "x" });
  simulator.addConfig("wanted", "é");
  simulator.addConfig("wanted-not", "3");
  simulator.addConfig("other", "4");

  const configs = await engine.configs("l", ["wanted", "labelled"]);

  assert.deepEqual(
    configs.map(({ name, data }) => [name, Buffer.from(data).toString()]),
    [
      ["labelled", "1"],
      ["wanted", "é"],
    ],
  );
  assert.ok(Math.abs((configs[0]?.createdAt ?? 0) - simulator.now) < 10);
});

test("a service gets another config and keeps everything else, to the last digit", async (t) => {
  const { simulator, engine } = await start(t);
  const [first, second] = [simulator.addConfig("v1", "1"), simulator.addConfig("v2", "2")];
  simulator.addService("web", {
    configId: first,
    more: { Later: { field: null, big: "BIG", list: [1.5, -0] }, __proto__x: 1 },
  });
  const service = simulator.serviceNamed("web");
  assert.ok(service?.Spec.TaskTemplate.ContainerSpec?.Configs);
  const asFile = { ConfigID: first, ConfigName: "v1", File: { Name: "/v1", UID: "0", GID: "0", Mode: 292 } };
  service.Spec.TaskTemplate.ContainerSpec.Configs.push(asFile);
  const text = JSON.stringify([...simulator.services.values()]).replace('"BIG"', "18446744073709551615");
  simulator.fail({ on: "GET /services", kind: { status: 200, body: text }, times: 1 });
  const [found] = await engine.services();
  assert.ok(found);

  const change = await engine.pointService(found, { id: second, name: "v2" });

  assert.deepEqual(change, { done: true, value: undefined });
  const body = simulator.requests.at(-1)?.body ?? "";
  assert.match(body, /"big":18446744073709551615,/);
  const sent = JSON.parse(body);
  assert.deepEqual(sent.TaskTemplate.ContainerSpec.Privileges, { CredentialSpec: { Config: second } });
  assert.deepEqual(sent.TaskTemplate.ContainerSpec.Configs, [
    asFile,
    { ConfigID: second, ConfigName: "v2", Runtime: {} },
  ]);
  assert.deepEqual(sent.Later.list, [1.5, 0]);
  assert.deepEqual(
    [sent.Name, sent.Mode, sent.TaskTemplate.Placement],
    ["web", { Replicated: { Replicas: 1 } }, { Constraints: ["node.platform.os==windows"] }],
  );
});

test("an update of a service that somebody else changed is a conflict, not a failure", async (t) => {
  const { simulator, engine } = await start(t);
  const id = simulator.addConfig("v1", "1");
  const service = simulator.addService("web");
  const [found] = await engine.services();
  simulator.edit(service, (spec) => (spec.Labels = { other: "change" }));
  assert.ok(found);

  const change = await engine.pointService(found, { id, name: "v1" });

  assert.ok(!change.done && change.conflict, JSON.stringify(change));
  assert.match(change.reason, /^update out of sequence \(status 500\)$/);
});

for (const [name, act, expected] of [
  [
    "a config of that name is there",
    (engine: ContainerEngine) => engine.createConfig({ name: "used", labels: {}, data: "x" }),
    { conflict: true },
  ],
  [
    "a config is in use",
    (engine: ContainerEngine, id: string) => engine.removeConfig(id),
    { conflict: true },
  ],
  ["a config is gone", (engine: ContainerEngine) => engine.removeConfig("gone"), { conflict: true }],
  [
    "a name is refused",
    (engine: ContainerEngine) => engine.createConfig({ name: "-", labels: {}, data: "x" }),
    { conflict: false },
  ],
] as const) {
  test(`a change when ${name}: conflict ${expected.conflict}`, async (t) => {
    const { simulator, engine } = await start(t);
    const id = simulator.addConfig("used", "1");
    simulator.addService("web", { configId: id });

    const change = await act(engine, id);

    assert.ok(!change.done);
    assert.equal(change.conflict, expected.conflict, change.reason);
  });
}

test("configs of tasks that are over do not count", async (t) => {
  const { simulator, engine } = await start(t);
  const [first, second] = [simulator.addConfig("v1", "1"), simulator.addConfig("v2", "2")];
  simulator.addService("old", { configId: first });
  simulator.addService("web", { configId: second });
  const [task] = simulator.tasks;
  assert.ok(task);
  task.Status.State = "failed";

  assert.deepEqual(await engine.configsOfTasks(), new Set([second]));
});

test("containers are read with their credential specs; one that goes meanwhile is passed over", async (t) => {
  const { simulator, engine } = await start(t);
  const container = (Id: string, more: object) => ({ Id, Name: `/${Id}`, State: { Running: true }, ...more });
  simulator.containers.push(
    container("a", {
      Config: { Labels: { l: "x" } },
      HostConfig: { SecurityOpt: ["no-new-privileges", "CredentialSpec=raw://{}"] },
    }),
    container("b", { Config: { Labels: null }, HostConfig: { SecurityOpt: null } }),
    container("c", {}),
  );
  simulator.fail({ on: "GET /containers/c/", kind: { status: 404, body: "{}" } });

  assert.deepEqual(
    (await engine.containers()).map(({ name, labels, credentialSpecs }) => ({
      name,
      labels,
      credentialSpecs,
    })),
    [
      { name: "a", labels: { l: "x" }, credentialSpecs: ["raw://{}"] },
      { name: "b", labels: {}, credentialSpecs: [] },
    ],
  );
});

for (const [name, fault, expected] of [
  ["a reset", "reset", /^E_ENGINE_UNREACHABLE/],
  ["silence", "hang", /^E_ENGINE_TIMEOUT: .* within 300 ms/],
  ["half an answer", "cut", /^E_ENGINE_ANSWER: .*GET \/v1.41\/services broke off/],
  ["an answer without end", "endless", /^E_ENGINE_ANSWER: .*more than 100000 bytes/],
  ["a page", { status: 200, body: "<html>" }, /^E_ENGINE_ANSWER: .*\/services is no JSON/],
  [
    "another shape",
    { status: 200, body: '[{"ID":"x","Version":{"Index":-1},"Spec":{}}]' },
    /^E_ENGINE_ANSWER: .*unexpected 0.Version.Index/,
  ],
  [
    "a service without a name",
    { status: 200, body: '[{"ID":"x","Version":{"Index":1},"Spec":{}}]' },
    /^E_ENGINE_ANSWER: .*unexpected Name/,
  ],
  ["an object for a list", { status: 200, body: "{}" }, /^E_ENGINE_ANSWER: .*unexpected form/],
  [
    "an error",
    { status: 503, body: '{"message":"rpc error: code = Unknown desc = The swarm does not have a leader."}' },
    /^E_ENGINE_REFUSED: .*status 503: The swarm does not have a leader\.$/,
  ],
  [
    "an error that writes on terminals",
    { status: 500, body: `{"message":"\\u001b[2Jx\\n${"y".repeat(999)}"}` },
    /^E_ENGINE_REFUSED: .* \[2Jx y{200,300}…$/,
  ],
  ["a redirect", { status: 302, body: "" }, /^E_ENGINE_REFUSED: .*status 302: no reason given/],
] as const satisfies readonly (readonly [string, EngineFault["kind"], RegExp])[]) {
  test(`${name} instead of an answer: ${expected.source.slice(0, 24)}`, async (t) => {
    const { simulator, engine } = await start(t, { timeoutMs: 300, answerBytes: 100_000 });
    simulator.fail({ on: "GET /services", kind: fault });

    assert.match(await codeOf(engine.services()), expected);
  });
}

test("no engine: unreachable, with its address", async () => {
  const engine = createDockerEngine({
    kind: "socket",
    path: "/nowhere/e.sock",
    label: "unix:///nowhere/e.sock",
  });

  assert.match(await codeOf(engine.state()), /^E_ENGINE_UNREACHABLE: .*unix:\/\/\/nowhere\/e.sock.*ENOENT/);
});

test("the caller's signal ends a request", async (t) => {
  const { simulator, engine } = await start(t);
  simulator.fail({ kind: "hang" });
  const stop = new AbortController();
  const reading = engine.state(stop.signal);

  stop.abort(new Error("enough"));

  await assert.rejects(reading, /enough/);
});

test("changes are told while the engine is there, until it goes or the caller does", async (t) => {
  const { simulator, engine } = await start(t);
  const stop = new AbortController();
  let told = 0;
  const first = engine.followChanges(() => void told++, stop.signal);
  await eventually("it listens", () => simulator.listeners === 1);
  simulator.announce();
  await eventually("the first change", () => told > 0);
  stop.abort();
  await first;
  await eventually("it listens no more", () => simulator.listeners === 0);
  simulator.fail({ on: "GET /events", times: 1, kind: "endless" });
  simulator.fail({ on: "GET /events", kind: { status: 503, body: "" } });
  const second = engine.followChanges(() => void told++, new AbortController().signal);
  await eventually("the second change", () => told > 1);
  simulator.drop();

  await second;
  assert.match(
    await codeOf(engine.followChanges(() => undefined, new AbortController().signal)),
    /^E_ENGINE_ANSWER: .*\/events answers with status 503/,
  );
});

test("TLS: both sides are verified, and renewed files are used at once", async (t) => {
  const folder = temporaryFolder(t);
  const authority = await createTestAuthority();
  const stranger = await createTestAuthority("another");
  const server = await authority.server();
  const simulator = new EngineSimulator({
    cert: server.certificatePem,
    key: server.privateKeyPem,
    ca: authority.certificatePem,
  });
  const port = await simulator.listen({ port: 0 });
  t.after(() => simulator.close());
  const tls = {
    authority: join(folder, "ca.pem"),
    certificate: join(folder, "cert.pem"),
    key: join(folder, "key.pem"),
  };
  const engineAt = (host: string): ContainerEngine =>
    createDockerEngine({ kind: "tcp", host, port, tls, label: "engine" }, { timeoutMs: 2_000 });
  const write = async (ca: string, by: typeof authority): Promise<void> => {
    const client = await by.client();
    mkdirSync(folder, { recursive: true });
    writeFileSync(tls.authority, ca);
    writeFileSync(tls.certificate, client.certificatePem);
    writeFileSync(tls.key, client.privateKeyPem, { mode: 0o600 });
  };
  const engine = engineAt("127.0.0.1");

  assert.match(await codeOf(engine.state()), /^E_ENGINE_TLS: .*(?:ca|cert|key)\.pem.*ENOENT/);
  await write(stranger.certificatePem, authority);
  assert.match(await codeOf(engine.state()), /^E_ENGINE_TLS/);
  await write(authority.certificatePem, stranger);
  assert.match(await codeOf(engine.state()), /^E_ENGINE_(TLS|UNREACHABLE)/);
  await write(authority.certificatePem, authority);
  assert.equal((await engine.state()).swarm, "manager");
  assert.equal((await engineAt("localhost").state()).swarm, "manager");
  assert.match(await codeOf(engineAt("127.0.0.2").state()), /^E_ENGINE_(TLS|UNREACHABLE)/);
});

for (const text of [
  "1",
  "1.5",
  "9007199254740993",
  "18446744073709551615",
  "1e400",
  "-0.0",
  '{"a":[1e2,null,"x"]}',
]) {
  test(`${text} survives a round trip`, () => {
    const again = JSON.stringify(parseLossless(text));

    assert.deepEqual([again.length, again], [text.length, text]);
  });
}

/**
 * Waiting for hosts: every state of a pod has one meaning, and nobody is waited for longer than was said.
 * @module
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { configOf, startFakeApiServer, type FakeApiServer } from "../../test/fakes/fake-api-server.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { createClusterClient, type ClusterClient } from "../kubernetes/cluster-client.ts";
import { silentLog } from "../observe/log.ts";
import { awaitHosts, outcomeOf, type AwaitHostsOptions, type HostPod } from "./await-hosts.ts";

type InitStatus = NonNullable<HostPod["status"]["initContainerStatuses"]>[number];

function pod(node: string | undefined, status?: InitStatus, owner = "u-1"): HostPod {
  return {
    metadata: { ownerReferences: [{ uid: owner }] },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchFields: [{ key: "metadata.name", values: ["intended"] }] }],
          },
        },
      },
    },
    status: status === undefined ? {} : { initContainerStatuses: [status] },
  };
}

const failure = { terminated: { exitCode: 1, message: "Not everything could be removed:\n  a.txt\n" } };
const states: readonly (readonly [what: string, pod: HostPod, outcome: ReturnType<typeof outcomeOf>])[] = [
  [
    "ended well",
    pod("a", { restartCount: 0, state: { terminated: { exitCode: 0 } } }),
    { node: "a", outcome: "done", detail: "" },
  ],
  [
    "ended well at the second try",
    pod("a", { restartCount: 1, state: { terminated: { exitCode: 0 } }, lastState: failure }),
    { node: "a", outcome: "done", detail: "" },
  ],
  [
    "failed for the third time",
    pod("a", { restartCount: 2, state: failure }),
    { node: "a", outcome: "failed", detail: "Not everything could be removed: a.txt" },
  ],
  [
    "waits after the third failure",
    pod("a", {
      restartCount: 3,
      state: { waiting: { reason: "CrashLoopBackOff" } },
      lastState: { terminated: { exitCode: 5 } },
    }),
    { node: "a", outcome: "failed", detail: "exit code 5" },
  ],
  [
    "failed for the first time",
    pod("a", { restartCount: 0, state: failure }),
    { node: "a", outcome: "unreached", detail: "no container was started" },
  ],
  [
    "is still running",
    pod("a", { restartCount: 0, state: { running: {} } }),
    { node: "a", outcome: "unreached", detail: "it is still at it" },
  ],
  [
    "has no image",
    pod("a", { restartCount: 0, state: { waiting: { reason: "ErrImagePull", message: "not found" } } }),
    { node: "a", outcome: "unreached", detail: "ErrImagePull: not found" },
  ],
  ["is on a silent node", pod("a"), { node: "a", outcome: "unreached", detail: "no container was started" }],
  [
    "is not bound",
    pod(undefined),
    { node: "intended", outcome: "unreached", detail: "no container was started" },
  ],
];

for (const [what, given, wanted] of states) {
  test(`a pod whose container ${what}`, () => {
    assert.deepEqual(outcomeOf(given, 3), wanted);
  });
}

const options: AwaitHostsOptions = {
  namespace: "ns",
  daemonSet: "cleanup",
  timeoutMs: 60_000,
  intervalMs: 1_000,
  attempts: 3,
};

interface Bed {
  readonly server: FakeApiServer;
  readonly client: ClusterClient;
  readonly clock: FakeClock;
  pods: readonly HostPod[];
  desired: number;
  observed: number;
  status: number;
}

async function bed(t: TestContext): Promise<Bed> {
  const server = await startFakeApiServer();
  const client = createClusterClient(configOf(server), silentLog);
  t.after(async () => {
    client.close();
    await server.stop();
  });
  const made: Bed = {
    server,
    client,
    clock: new FakeClock(),
    pods: [],
    desired: 0,
    observed: 1,
    status: 200,
  };
  server.handle("GET", "/apis/apps/v1/namespaces/ns/daemonsets/cleanup", () => ({
    status: made.status,
    body: {
      metadata: { uid: "u-1", generation: 1 },
      spec: { selector: { matchLabels: { app: "cleanup" } } },
      status: { observedGeneration: made.observed, desiredNumberScheduled: made.desired },
    },
  }));
  server.handle("GET", "/api/v1/namespaces/ns/pods", () => ({
    status: made.status,
    body: { items: made.pods },
  }));
  return made;
}

/** Turns the clock until the promise settles. */
async function settled<T>(clock: FakeClock, promise: Promise<T>): Promise<T> {
  const results: T[] = [];
  void promise.then((value) => results.push(value));
  for (let turn = 0; turn < 1_000 && results.length === 0; turn++) {
    // The answers come over real sockets.
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (clock.waiting > 0) await clock.advance(1_000);
  }
  const [result] = results;
  assert.ok(result !== undefined, "it never ends");
  return result;
}

const done = (node: string): HostPod =>
  pod(node, { restartCount: 0, state: { terminated: { exitCode: 0 } } });

test("it ends when every node is done, in the order of their names", async (t) => {
  const made = await bed(t);
  made.desired = 2;
  made.pods = [done("b"), done("a"), pod("c", undefined, "another's")];

  const awaited = await settled(made.clock, awaitHosts(made, options));

  assert.ok(awaited.ok);
  assert.deepEqual(
    awaited.hosts.map(({ node, outcome }) => [node, outcome]),
    [
      ["a", "done"],
      ["b", "done"],
    ],
  );
});

test("no node at all is an end, once the controller has looked", async (t) => {
  const made = await bed(t);
  made.observed = 0;
  const waiting = awaitHosts(made, options);
  await new Promise((resolve) => setTimeout(resolve, 30));
  made.observed = 1;

  assert.deepEqual(await settled(made.clock, waiting), { ok: true, hosts: [] });
});

test("a silent node is waited for until the time is over, and named", async (t) => {
  const made = await bed(t);
  made.desired = 2;
  made.pods = [done("a"), pod("b")];
  const began = made.clock.now();

  const awaited = await settled(made.clock, awaitHosts(made, options));

  assert.ok(awaited.ok);
  assert.deepEqual(
    awaited.hosts.map(({ node, outcome }) => [node, outcome]),
    [
      ["a", "done"],
      ["b", "unreached"],
    ],
  );
  assert.ok(made.clock.now() - began >= options.timeoutMs);
});

test("an API server that refuses to the end is said to have refused", async (t) => {
  const made = await bed(t);
  made.status = 403;

  const awaited = await settled(made.clock, awaitHosts(made, options));

  assert.ok(!awaited.ok);
  assert.match(awaited.problem, /403/);
});

test("an API server that refuses for a moment is asked again", async (t) => {
  const made = await bed(t);
  made.status = 403;
  const waiting = awaitHosts(made, options);
  await new Promise((resolve) => setTimeout(resolve, 30));
  made.status = 200;

  assert.deepEqual(await settled(made.clock, waiting), { ok: true, hosts: [] });
});

/**
 * The cluster source against an API server's ways of failing: the contract, then every fault, silence, waits and size.
 * @module
 */
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../../test/contracts/eventually.ts";
import {
  configMap,
  configMapKind,
  resourceSourceContract,
} from "../../test/contracts/resource-source-contract.ts";
import {
  configOf,
  startFakeApiServer,
  type FakeApiServer,
  type FakeApiServerOptions,
  type ServerFault,
} from "../../test/fakes/fake-api-server.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../observe/log.ts";
import { Secret } from "../secret.ts";
import { createClusterClient } from "./cluster-client.ts";
import type { ClusterConfig } from "./cluster-config.ts";
import { loadClusterConfig } from "./cluster-config.ts";
import { createClusterSource, type ClusterSourceOptions } from "./cluster-source.ts";
import { gmsaCredentialSpecKind, secretKind, type ResourceKind } from "./kinds.ts";
import type { ResourceCache, ResourceSource } from "./resource-source.ts";

function configFor(server: FakeApiServer): ClusterConfig {
  return configOf(server, { credentials: () => Promise.resolve({ token: new Secret("good") }) });
}

interface World {
  readonly server: FakeApiServer;
  readonly clock: FakeClock;
  readonly source: ResourceSource;
}

async function open(
  t: TestContext,
  options: ClusterSourceOptions = {},
  serverOptions: FakeApiServerOptions = {},
): Promise<World> {
  const server = await startFakeApiServer(serverOptions);
  const clock = new FakeClock();
  const source = createClusterSource(
    createClusterClient(configFor(server), silentLog, clock),
    { clock, log: silentLog },
    { random: () => 0.5, ...options },
  );
  t.after(async () => {
    await source.close();
    await server.stop();
  });
  return { server, clock, source };
}

function follow({ source }: World, kind: ResourceKind = configMapKind): ResourceCache {
  return source.watch({ kind, ...(kind.namespaced ? { namespace: "apps" } : {}) });
}

async function synced({ server, clock }: World, cache: ResourceCache<unknown>): Promise<void> {
  await eventually(
    "in sync and watching",
    () => cache.status().state === "synced" && server.openWatches > 0,
    clock,
    10,
  );
}

resourceSourceContract("cluster", async () => {
  const server = await startFakeApiServer();
  const clock = new FakeClock();
  return {
    clock,
    source: createClusterSource(createClusterClient(configFor(server), silentLog, clock), {
      clock,
      log: silentLog,
    }),
    apply: (kind, object) => Promise.resolve(server.put(kind, object)),
    remove: (kind, name, namespace) => Promise.resolve(server.delete(kind, name, namespace)),
    breakDown: () => {
      server.fail({ fault: { kind: "status", status: 500 } });
      return Promise.resolve(server.endWatches("reset"));
    },
    recover: () => Promise.resolve(server.heal()),
    dispose: () => server.stop(),
  };
});

describe("cluster source: faults of a list", () => {
  const faults: readonly (readonly [string, ServerFault, RegExp])[] = [
    ["401", { kind: "status", status: 401 }, /does not accept our credentials \(401\)\.$/],
    [
      "403",
      { kind: "status", status: 403 },
      /^We may not list configmaps in namespace apps \(403\): give our service account a Role with get, list and watch\.$/,
    ],
    ["404", { kind: "status", status: 404 }, /does not know configmaps .*CustomResourceDefinition/],
    ["500", { kind: "status", status: 500 }, /answered 500 to list configmaps\.$/],
    ["429", { kind: "status", status: 429 }, /answered 429/],
    ["a redirect", { kind: "status", status: 302, headers: { location: "http://127.0.0.1:1/" } }, /302/],
    ["a hang before the head", { kind: "hang" }, /^No answer within 30000 ms\.$/],
    ["a list that stops half way", { kind: "silent" }, /^No whole answer within 30000 ms\.$/],
    ["a reset", { kind: "reset" }, /ECONNRESET|socket hang up/i],
    ["a cut answer", { kind: "cut" }, /aborted|closed/i],
    ["a login page", { kind: "malformed" }, /no JSON\.$/],
    ["an endless answer", { kind: "endless" }, /too long\.$/],
    ["an empty answer", { kind: "text", text: "" }, /no JSON/],
    ["JSON that is no object", { kind: "text", text: "[]" }, /no (object|list)/],
    ["a list without items", { kind: "text", text: '{"metadata":{"resourceVersion":"1"}}' }, /no list/],
    [
      "a list of objects without names",
      { kind: "text", text: '{"metadata":{"resourceVersion":"1"},"items":[{}]}' },
      /no object with a name/,
    ],
  ];
  for (const [name, fault, reason] of faults) {
    test(`${name}: says why, keeps trying, and comes into sync`, async (t) => {
      const world = await open(t);
      world.server.put(configMapKind, configMap("one", "1"));
      world.server.fail({ verb: "list", fault });
      const cache = follow(world);
      await eventually("a reason", () => cache.status().reason !== undefined, world.clock, 1_000);
      assert.match(cache.status().reason ?? "", reason);
      assert.equal(cache.status().state, "syncing");

      world.server.heal();
      await synced(world, cache);

      assert.equal(cache.list().length, 1);
    });
  }

  test("the reason of 403 names the object and the ClusterRole where it takes one", async (t) => {
    const world = await open(t);
    world.server.fail({ fault: { kind: "status", status: 403 } });
    const named = world.source.watch({ kind: secretKind, namespace: "apps", name: "web-creds" });
    const wide = world.source.watch({ kind: gmsaCredentialSpecKind });
    for (const cache of [named, wide])
      await eventually("a reason", () => cache.status().reason !== undefined, world.clock, 10);

    assert.match(
      named.status().reason ?? "",
      /list secrets with the resourceName web-creds in namespace apps/,
    );
    assert.match(
      wide.status().reason ?? "",
      /list gmsacredentialspecs\.windows\.k8s\.io in the whole cluster .* a ClusterRole/,
    );
    const found = await world.source.get({ kind: secretKind, namespace: "apps", name: "web-creds" });
    assert.equal(found.found ? "" : found.reason, "forbidden");
  });

  test("a name is asked for by field selector", async (t) => {
    const world = await open(t);
    world.server.put(configMapKind, configMap("one", "1"));
    world.server.put(configMapKind, configMap("two", "2"));
    const cache = world.source.watch({ kind: configMapKind, namespace: "apps", name: "two" });
    await synced(world, cache);

    assert.deepEqual(
      world.server.requests.map(({ query }) => query["fieldSelector"]),
      ["metadata.name=two", "metadata.name=two"],
    );
    assert.equal(world.server.requests[0]?.path, "/api/v1/namespaces/apps/configmaps");
  });
});

describe("cluster source: faults of a watch", () => {
  const faults: readonly (readonly [string, ServerFault])[] = [
    ["401", { kind: "status", status: 401 }],
    ["403", { kind: "status", status: 403 }],
    ["500", { kind: "status", status: 500 }],
    ["429", { kind: "status", status: 429 }],
    ["410 as a status", { kind: "status", status: 410 }],
    ["410 as an event", { kind: "error-event", code: 410 }],
    ["another error as an event", { kind: "error-event", code: 500 }],
    ["a hang before the head", { kind: "hang" }],
    ["a reset", { kind: "reset" }],
    ["a cut line", { kind: "cut" }],
    ["a login page", { kind: "malformed" }],
    ["an endless line", { kind: "endless" }],
    [
      "an event of an unknown type",
      { kind: "text", text: '{"type":"RENAMED","object":{"metadata":{"name":"a"}}}\n' },
    ],
    ["an event without an object", { kind: "text", text: '{"type":"ADDED"}\n' }],
    ["an object without a name", { kind: "text", text: '{"type":"ADDED","object":{}}\n' }],
    ["a watch that ends at once", { kind: "end" }],
    ["a watch that says nothing", { kind: "silent" }],
  ];
  for (const [name, fault] of faults) {
    test(`${name}: serves what was there, and sees a deletion missed meanwhile`, async (t) => {
      const world = await open(t);
      world.server.put(configMapKind, configMap("gone", "1"));
      world.server.put(configMapKind, configMap("kept", "2"));
      world.server.fail({ verb: "watch", fault });
      const cache = follow(world);
      await eventually("listed", () => cache.list().length === 2, world.clock, 10);
      await eventually("watched", () => world.server.count("watch") > 1, world.clock, 1_000);
      assert.equal(cache.list().length, 2);

      world.server.delete(configMapKind, "gone", "apps");
      world.server.heal();

      await eventually("deleted", () => cache.list().length === 1, world.clock, 1_000);
      await synced(world, cache);
    });

    test(`${name}: is not asked in a circle`, async (t) => {
      const world = await open(t);
      world.server.fail({ verb: "watch", fault });
      const cache = follow(world);
      await eventually("listed", () => world.server.count("watch") > 0, world.clock, 10);

      for (let turn = 0; turn < 30; turn++) {
        await world.clock.advance(2_000);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }

      const asked = world.server.requests.length;
      assert.ok(asked < 30, `${asked} requests in a minute`);
      await cache.close();
    });
  }

  test("an expired version is followed by a list and never shown as stale", async (t) => {
    const world = await open(t);
    const cache = follow(world);
    await synced(world, cache);
    const states = new Set<string>();

    world.server.compact();
    world.server.endWatches();
    await eventually(
      "listed again",
      () => (states.add(cache.status().state), world.server.count("list") === 2),
      world.clock,
      10,
    );

    assert.deepEqual([...states], ["synced"]);
  });

  test("a watch that ended in good order goes on from its last version, without a list", async (t) => {
    const world = await open(t);
    const cache = follow(world);
    await synced(world, cache);
    world.server.put(configMapKind, configMap("one", "1"));
    await eventually("added", () => cache.list().length === 1, world.clock, 1_000);

    world.server.endWatches();
    world.server.put(configMapKind, configMap("two", "2"));
    await eventually("added", () => cache.list().length === 2, world.clock, 10);

    assert.equal(world.server.count("list"), 1);
  });

  test("a bookmark moves the version and confirms the contents", async (t) => {
    const world = await open(t);
    const cache = follow(world);
    await synced(world, cache);
    world.server.put(secretKind, { metadata: { name: "elsewhere", namespace: "apps" } });
    await world.clock.advance(30_000);
    const before = cache.status().since;

    world.server.bookmark();
    await eventually("confirmed", () => cache.status().since > before);
    world.server.endWatches();
    await eventually("watched", () => world.server.count("watch") === 2, world.clock, 10);

    const from = world.server.requests.at(-1)?.query["resourceVersion"];
    assert.ok(Number(from) > Number(world.server.requests[1]?.query["resourceVersion"]));
  });
});

describe("cluster source: silence", () => {
  test("a quiet watch is renewed from where it was when the server answers", async (t) => {
    const world = await open(t, { silenceMs: 75_000 });
    const cache = follow(world);
    await synced(world, cache);

    await world.clock.advance(74_000);
    assert.equal(world.server.count("watch"), 1);
    await eventually("watched again", () => world.server.count("watch") === 2, world.clock, 500);

    // The question whether the server is there is one list of one object.
    assert.deepEqual(
      world.server.requests.filter(({ verb }) => verb === "list").map(({ query }) => query["limit"]),
      ["500", "1"],
    );
    assert.equal(cache.status().state, "synced");
  });

  test("changes that a dead watch did not carry are seen after the silence", async (t) => {
    const world = await open(t, { silenceMs: 75_000 });
    world.server.put(configMapKind, configMap("one", "1"));
    world.server.fail({ verb: "watch", times: 1, fault: { kind: "silent" } });
    const cache = follow(world);
    await synced(world, cache);
    world.server.delete(configMapKind, "one", "apps");
    await world.clock.advance(70_000);
    assert.equal(cache.list().length, 1);

    await eventually("deleted", () => cache.list().length === 0, world.clock, 500);

    assert.equal(cache.status().state, "synced");
  });

  test("when neither the watch nor new connections work, it is stale within silence and ten seconds", async (t) => {
    const world = await open(t, { silenceMs: 75_000 });
    const cache = follow(world);
    await synced(world, cache);
    const began = world.clock.now();
    world.server.fail({ fault: { kind: "hang" } });

    await eventually("stale", () => cache.status().state === "stale", world.clock, 1_000);

    assert.ok(world.clock.now() - began <= 90_000);
    assert.match(cache.status().reason ?? "", /^Nothing was heard from the API server for 75 s\.$/);
    world.server.heal();
    await synced(world, cache);
  });

  test("a server that sends bookmarks is not asked whether it is there", async (t) => {
    const world = await open(t, { silenceMs: 75_000 });
    const cache = follow(world);
    await synced(world, cache);

    for (let minute = 0; minute < 5; minute++) {
      await world.clock.advance(60_000);
      const before = cache.status().since;
      world.server.bookmark();
      await eventually("heard", () => cache.status().since > before);
    }

    assert.equal(world.server.requests.length, 2);
  });
});

describe("cluster source: waiting", () => {
  test("the wait doubles up to its bound, half of it by chance", async (t) => {
    for (const [random, bounds] of [
      [0, [100, 200, 400, 800, 1_000, 1_000]],
      [1, [200, 400, 800, 1_600, 2_000, 2_000]],
    ] as const) {
      const world = await open(t, { random: () => random, firstRetryMs: 200, longestRetryMs: 2_000 });
      world.server.fail({ fault: { kind: "status", status: 503 } });
      follow(world);
      for (const [index, wait] of bounds.entries()) {
        await eventually(
          "asked",
          () => world.clock.waiting === 1 && world.server.count("list") === index + 1,
        );
        await world.clock.advance(wait - 1);
        assert.equal(world.server.count("list"), index + 1);
        await world.clock.advance(1);
      }
    }
  });

  for (const [header, least] of [
    ["7", 7_000],
    ["999999", 60_000],
    ["soon", 100],
  ] as const) {
    test(`Retry-After: ${header} makes it wait ${least} ms`, async (t) => {
      const world = await open(t, { random: () => 0 });
      const headers = { "retry-after": header };
      world.server.fail({ times: 1, fault: { kind: "status", status: 429, headers } });
      const cache = follow(world);
      await eventually("refused", () => cache.status().reason !== undefined && world.clock.waiting === 1);

      await world.clock.advance(least - 1);
      assert.equal(world.server.count("list"), 1);
      await world.clock.advance(1);

      await eventually("asked again", () => world.server.count("list") === 2);
    });
  }
});

describe("cluster source: size", () => {
  test("ten thousand objects come in pages and are followed", async (t) => {
    const world = await open(t);
    for (let index = 0; index < 10_000; index++)
      world.server.put(configMapKind, configMap(`object-${index}`, String(index)));
    const cache = follow(world);
    await synced(world, cache);

    assert.equal(cache.list().length, 10_000);
    assert.equal(world.server.count("list"), 20);
    world.server.delete(configMapKind, "object-9999", "apps");
    await eventually("deleted", () => cache.list().length === 9_999, world.clock, 10);
  });

  test("a list whose pages expire is asked for in one piece", async (t) => {
    const world = await open(t);
    for (let index = 0; index < 1_200; index++)
      world.server.put(configMapKind, configMap(`object-${index}`, String(index)));
    world.server.fail({ verb: "list", continued: true, fault: { kind: "status", status: 410 } });
    const cache = follow(world);
    await synced(world, cache);

    assert.equal(cache.list().length, 1_200);
    assert.deepEqual(
      world.server.requests.filter(({ verb }) => verb === "list").map(({ query }) => query["limit"]),
      ["500", "500", undefined],
    );
  });

  test("pages that are too long are asked for in smaller ones", async (t) => {
    const world = await open(t);
    world.server.fail({ verb: "list", times: 2, fault: { kind: "endless" } });
    const cache = follow(world);
    await synced(world, cache);

    assert.deepEqual(
      world.server.requests.filter(({ verb }) => verb === "list").map(({ query }) => query["limit"]),
      ["500", "62", "7"],
    );
  });
});

describe("cluster source: connections", () => {
  test("closing leaves no connection behind", async (t) => {
    const world = await open(t);
    const caches = [follow(world), follow(world, secretKind)];
    for (const cache of caches) await synced(world, cache);
    await world.source.get({ kind: configMapKind, name: "one", namespace: "apps" });

    await world.source.close();

    await eventually("no connection", () => world.server.openConnections === 0);
    assert.equal(world.clock.waiting, 0);
  });

  test("look-ups share a connection", async (t) => {
    const world = await open(t);
    for (let turn = 0; turn < 5; turn++)
      await world.source.get({ kind: configMapKind, name: "one", namespace: "apps" });

    assert.equal(world.server.connections, 1);
  });

  test("a token file is read again when it rotates", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "sallyport-token-"));
    t.after(() => rm(folder, { recursive: true }));
    const server = await startFakeApiServer({ tokens: ["first"] });
    t.after(() => server.stop());
    await writeFile(join(folder, "token"), "first\n");
    await writeFile(
      join(folder, "config"),
      JSON.stringify({
        "current-context": "c",
        contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
        clusters: [{ name: "c", cluster: { server: server.url } }],
        users: [{ name: "u", user: { tokenFile: "token" } }],
      }),
    );
    const clock = new FakeClock();
    const config = await loadClusterConfig({ kubeconfig: join(folder, "config"), clock });
    const source = createClusterSource(createClusterClient(config, silentLog, clock), {
      clock,
      log: silentLog,
    });
    t.after(() => source.close());
    const cache = source.watch({ kind: configMapKind });
    await eventually("in sync", () => cache.status().state === "synced", clock, 10);

    server.tokens = ["second"];
    server.endWatches("reset");
    await eventually("refused", () => /401/.test(cache.status().reason ?? ""), clock, 10);
    await writeFile(join(folder, "token"), "second\n");
    await eventually("in sync", () => cache.status().state === "synced", clock, 100);

    assert.equal(server.requests.at(-1)?.token, "second");
  });
});

/**
 * What every `ResourceSource` does, whatever it reads from. An adapter's test calls {@link resourceSourceContract} with
 * a world that it can change.
 * @module
 */
import assert from "node:assert/strict";
import { describe, test, type TestContext } from "node:test";
import { gmsaCredentialSpecKind, secretKind, type ResourceKind } from "../../src/kubernetes/kinds.ts";
import type {
  KubernetesObject,
  ParsedResource,
  ResourceCache,
  ResourceChange,
  ResourceSource,
} from "../../src/kubernetes/resource-source.ts";
import type { FakeClock } from "../fakes/fake-clock.ts";
import { eventually } from "./eventually.ts";

/** A source and the hands to change what it reads. */
export interface SourceWorld {
  readonly source: ResourceSource;
  readonly clock: FakeClock;
  /** Adds the object or replaces it. */
  apply(kind: ResourceKind, object: WorldObject): Promise<void>;
  remove(kind: ResourceKind, name: string, namespace?: string): Promise<void>;
  /** The source cannot be read until {@link SourceWorld.recover}; what it holds can be changed meanwhile. */
  breakDown(): Promise<void>;
  recover(): Promise<void>;
  /** Removes the world; the source is closed already. */
  dispose(): Promise<void>;
}

/** A kind with a namespace whose contents mean nothing here. */
export const configMapKind: ResourceKind = {
  group: "",
  version: "v1",
  plural: "configmaps",
  kind: "ConfigMap",
  namespaced: true,
};

export interface WorldObject {
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly [field: string]: unknown;
}

export function configMap(name: string, value: string, namespace = "apps"): WorldObject {
  return { metadata: { name, namespace }, data: { value } };
}

function valueOf(object: KubernetesObject | undefined): string | undefined {
  return (object?.["data"] as { readonly value?: string } | undefined)?.value;
}

/** Takes the value, and refuses "bad". */
function parseValue(object: KubernetesObject): ParsedResource<string> {
  const value = valueOf(object) ?? "";
  return value === "bad" ? { ok: false, problem: "the value is bad" } : { ok: true, value };
}

export function resourceSourceContract(name: string, createWorld: () => Promise<SourceWorld>): void {
  async function open(t: TestContext): Promise<SourceWorld> {
    const world = await createWorld();
    t.after(async () => {
      await world.source.close();
      await world.dispose();
    });
    return world;
  }

  function changesOf<T>(cache: ResourceCache<T>): ResourceChange<T>[] {
    const changes: ResourceChange<T>[] = [];
    cache.onChange((change) => changes.push(change));
    return changes;
  }

  async function inSync(world: SourceWorld, cache: ResourceCache<unknown>): Promise<void> {
    await eventually("the cache is in sync", () => cache.status().state === "synced", world.clock);
  }

  describe(`resource source contract: ${name}`, () => {
    test("is syncing at first and synced after the first read, also when there is nothing", async (t) => {
      const world = await open(t);
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      assert.equal(cache.status().state, "syncing");

      await inSync(world, cache);

      await cache.synced();
      assert.equal(cache.status().reason, undefined);
      assert.deepEqual(cache.list(), []);
      assert.deepEqual(cache.faults(), []);
    });

    test("shows what is there, then what is added, changed and deleted, in order", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("first", "1"));
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      const changes = changesOf(cache);
      await inSync(world, cache);

      await world.apply(configMapKind, configMap("second", "2"));
      await eventually("added", () => cache.get("second") !== undefined, world.clock);
      await world.apply(configMapKind, configMap("second", "3"));
      await eventually("modified", () => valueOf(cache.get("second")) === "3", world.clock);
      await world.remove(configMapKind, "second", "apps");
      await eventually("deleted", () => cache.get("second") === undefined, world.clock);

      assert.deepEqual(
        changes.map(({ type, object, previous }) => [type, valueOf(object), valueOf(previous)]),
        [
          ["added", "1", undefined],
          ["added", "2", undefined],
          ["modified", "3", "2"],
          ["deleted", "3", "3"],
        ],
      );
      assert.deepEqual(cache.list().map(valueOf), ["1"]);
    });

    test("calls back only for what is different", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("one", "1"));
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      await inSync(world, cache);
      const changes = changesOf(cache);

      await world.breakDown();
      await eventually("stale", () => cache.status().state === "stale", world.clock);
      await world.recover();
      await inSync(world, cache);

      assert.deepEqual(changes, []);
    });

    test("serves one name, one namespace, or all namespaces in order", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("b", "apps-b"));
      await world.apply(configMapKind, configMap("a", "apps-a"));
      await world.apply(configMapKind, configMap("a", "web-a", "web"));
      const all = world.source.watch({ kind: configMapKind });
      const apps = world.source.watch({ kind: configMapKind, namespace: "apps" });
      const one = world.source.watch({ kind: configMapKind, namespace: "apps", name: "b" });
      for (const cache of [all, apps, one]) await inSync(world, cache);
      // The first reading may have begun before all of them were there.
      await eventually("all three", () => all.list().length === 3, world.clock);

      assert.deepEqual(all.list().map(valueOf), ["apps-a", "apps-b", "web-a"]);
      assert.deepEqual(apps.list().map(valueOf), ["apps-a", "apps-b"]);
      assert.deepEqual(one.list().map(valueOf), ["apps-b"]);
      assert.equal(valueOf(all.get("a", "web")), "web-a");
      assert.equal(all.get("a"), undefined);
      assert.equal(valueOf(apps.get("a")), "apps-a");
      assert.equal(apps.get("a", "web"), undefined);
      await world.apply(configMapKind, configMap("c", "other"));
      await eventually("added", () => apps.list().length === 3, world.clock);
      assert.deepEqual(one.list().map(valueOf), ["apps-b"]);
    });

    test("serves kinds of the whole cluster, whatever namespace is asked for", async (t) => {
      const world = await open(t);
      await world.apply(gmsaCredentialSpecKind, { metadata: { name: "web" }, credspec: { CmsPlugins: [] } });
      const cache = world.source.watch({ kind: gmsaCredentialSpecKind });
      await inSync(world, cache);

      assert.equal(cache.get("web")?.kind, "GMSACredentialSpec");
      assert.equal(cache.get("web", "apps")?.metadata.name, "web");
      assert.equal(cache.get("web")?.metadata.namespace, undefined);
      const found = await world.source.get({ kind: gmsaCredentialSpecKind, name: "web" });
      assert.equal(found.found, true);
    });

    test("gives apiVersion and kind, and nothing that can be changed", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("one", "1"));
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      await inSync(world, cache);

      const object = cache.get("one");
      assert.equal(object?.apiVersion, "v1");
      assert.equal(object?.kind, "ConfigMap");
      assert.equal(Object.isFrozen(object), true);
      assert.equal(Object.isFrozen(object?.metadata), true);
      assert.equal(Object.isFrozen(object?.["data"]), true);
      assert.equal(Object.isFrozen(cache.list()), true);
    });

    test("keeps the last good version of an object that parse refuses, and names it", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("one", "good"));
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps", parse: parseValue });
      await inSync(world, cache);
      const changes = changesOf(cache);

      await world.apply(configMapKind, configMap("one", "bad"));
      await eventually("refused", () => cache.faults().length === 1, world.clock);
      assert.equal(cache.get("one"), "good");
      assert.deepEqual(cache.faults(), [{ subject: "ConfigMap apps/one", problem: "the value is bad" }]);
      await world.apply(configMapKind, configMap("one", "better"));
      await eventually("accepted", () => cache.get("one") === "better", world.clock);

      assert.deepEqual(cache.faults(), []);
      assert.deepEqual(changes, [{ type: "modified", object: "better", previous: "good" }]);
    });

    test("does not serve an object that never parsed, and survives a parse that throws", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("one", "hunter2"));
      const cache = world.source.watch({
        kind: configMapKind,
        namespace: "apps",
        parse: (): ParsedResource<string> => {
          throw new TypeError("hunter2 is no number");
        },
      });
      await inSync(world, cache);

      assert.equal(cache.get("one"), undefined);
      assert.deepEqual(cache.list(), []);
      assert.deepEqual(cache.faults(), [
        { subject: "ConfigMap apps/one", problem: "it could not be read (TypeError)" },
      ]);
    });

    test("serves the last good objects while the source is away, says since when and why", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("one", "1"));
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      await inSync(world, cache);
      const changes = changesOf(cache);

      await world.breakDown();
      await eventually("stale", () => cache.status().state === "stale", world.clock);

      const { since, reason } = cache.status();
      assert.match(reason ?? "", /^[A-Z].*\.?$/);
      assert.equal(valueOf(cache.get("one")), "1");
      assert.deepEqual(changes, []);
      await world.clock.advance(60_000);
      assert.equal(cache.status().since, since);
    });

    test("tells what was added, changed and deleted while the source was away", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("gone", "1"));
      await world.apply(configMapKind, configMap("kept", "2"));
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      await inSync(world, cache);
      const changes = changesOf(cache);
      await world.breakDown();
      await eventually("stale", () => cache.status().state === "stale", world.clock);

      await world.remove(configMapKind, "gone", "apps");
      await world.apply(configMapKind, configMap("kept", "3"));
      await world.apply(configMapKind, configMap("new", "4"));
      await world.recover();
      await inSync(world, cache);

      assert.deepEqual(changes.map(({ type, object }) => `${type} ${valueOf(object)}`).sort(), [
        "added 4",
        "deleted 1",
        "modified 3",
      ]);
      assert.equal(cache.status().reason, undefined);
    });

    test("comes into sync when the source was away from the start", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("one", "1"));
      await world.breakDown();
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      await eventually("it says why", () => cache.status().reason !== undefined, world.clock);
      assert.equal(cache.status().state, "syncing");

      await world.recover();
      await inSync(world, cache);

      assert.equal(valueOf(cache.get("one")), "1");
    });

    test("one listener that throws does not disturb the others, and a stopped one is silent", async (t) => {
      const world = await open(t);
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      await inSync(world, cache);
      const heard: string[] = [];
      cache.onChange(() => {
        throw new Error("a reader's fault");
      });
      const stop = cache.onChange(() => heard.push("stopped"));
      cache.onChange(({ object }) => heard.push(valueOf(cache.get("one")) ?? "", valueOf(object) ?? ""));
      stop();

      await world.apply(configMapKind, configMap("one", "1"));
      await eventually("heard", () => heard.length > 0, world.clock);

      assert.deepEqual(heard, ["1", "1"]);
    });

    test("looks one object up past the cache", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("one", "1"));
      await world.apply(configMapKind, configMap("two", "bad"));
      const look = (object: string) =>
        world.source.get({ kind: configMapKind, namespace: "apps", name: object, parse: parseValue });

      assert.deepEqual(await look("one"), { found: true, object: "1" });
      const refused = await look("two");
      assert.equal(refused.found ? "" : refused.reason, "invalid");
      const absent = await look("three");
      assert.equal(absent.found ? "" : absent.reason, "absent");
      const elsewhere = await world.source.get({ kind: configMapKind, namespace: "web", name: "one" });
      assert.equal(elsewhere.found ? "" : elsewhere.reason, "absent");
      await world.breakDown();
      const away = await look("one");
      assert.equal(away.found ? "" : away.reason, "unavailable");
    });

    test("a look-up ends with the signal's reason", async (t) => {
      const world = await open(t);
      const reason = new Error("too late");

      await assert.rejects(
        world.source.get({ kind: configMapKind, name: "one" }, AbortSignal.abort(reason)),
        reason,
      );
    });

    test("Secrets come with base64 data", async (t) => {
      const world = await open(t);
      const data = { password: Buffer.from("p").toString("base64") };
      await world.apply(secretKind, { metadata: { name: "s", namespace: "apps" }, data });
      const cache = world.source.watch({ kind: secretKind, namespace: "apps", name: "s" });
      await inSync(world, cache);

      assert.deepEqual(cache.get("s")?.["data"], data);
    });

    test("waiting for the first read ends with the signal or with closing", async (t) => {
      const world = await open(t);
      await world.breakDown();
      const cache = world.source.watch({ kind: configMapKind });
      const ending = new AbortController();
      const aborted = cache.synced(ending.signal);
      const closed = cache.synced();
      ending.abort(new Error("no time"));

      await assert.rejects(aborted, /no time/);
      await Promise.all([cache.close(), assert.rejects(closed, /closed/)]);
    });

    test("a closed cache keeps its answers and follows no more; closing twice is harmless", async (t) => {
      const world = await open(t);
      await world.apply(configMapKind, configMap("one", "1"));
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      const other = world.source.watch({ kind: configMapKind, namespace: "apps" });
      await inSync(world, cache);
      await inSync(world, other);
      const changes = changesOf(cache);

      await cache.close();
      await cache.close();
      await world.apply(configMapKind, configMap("one", "2"));
      await eventually("the other sees it", () => valueOf(other.get("one")) === "2", world.clock);

      assert.equal(valueOf(cache.get("one")), "1");
      assert.deepEqual(changes, []);
      assert.notEqual(cache.status().state, "synced");
    });

    test("closing the source leaves no timer behind", async (t) => {
      const world = await open(t);
      const cache = world.source.watch({ kind: configMapKind, namespace: "apps" });
      await inSync(world, cache);

      await world.source.close();
      await world.source.close();

      await eventually("no timer waits", () => world.clock.waiting === 0);
    });

    test("says where objects come from", async (t) => {
      const world = await open(t);

      assert.match(world.source.describe(), /\S/);
    });
  });
}

import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { account, testMetrics } from "../../../test/fakes/ram.ts";
import { temporaryFolder } from "../../../test/temporary-folder.ts";
import { systemClock } from "../../clock.ts";
import { createManifestFolderSource } from "../../kubernetes/manifest-folder-source.ts";
import { silentLog } from "../../observe/log.ts";
import type { MappingBackend } from "./backend.ts";
import { createConfigMapBackend } from "./config-map-backend.ts";
import { createCrdBackend, type Understood } from "./crd-backend.ts";
import { createDynamicFileBackend } from "./file-backends.ts";

const names = { reservedPrefixes: ["system:"], allowed: [] };
const deps = { clock: systemClock, log: silentLog, metrics: testMetrics() };

async function until(what: () => unknown, wanted: unknown): Promise<void> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    try {
      assert.deepEqual(what(), wanted);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

const user = (name: string): string => `acs:ram::${account}:user/${name}`;
const role = (name: string): string => `acs:ram::${account}:role/${name}`;

/** The username template that a backend has for an ARN. */
function mapped(backend: MappingBackend, arn: string, id = "1"): string | undefined {
  const found = backend.index.find(arn, id);
  return found?.outcome === "found" ? found.mapping.username : found?.outcome;
}

interface Folder {
  readonly path: string;
  put(name: string, ...documents: readonly object[]): Promise<void>;
}

function folderOf(t: TestContext): Folder {
  const path = temporaryFolder(t);
  return {
    path,
    put: (name, ...documents) =>
      writeFile(join(path, name), documents.map((each) => JSON.stringify(each)).join("\n---\n")),
  };
}

function sourceOf(t: TestContext, folder: Folder): ReturnType<typeof createManifestFolderSource> {
  const source = createManifestFolderSource(
    folder.path,
    { clock: systemClock, log: silentLog },
    { settleMs: 10, rescanMs: 200 },
  );
  t.after(() => source.close());
  return source;
}

describe("RAMIdentityMappings", () => {
  const object = (name: string, spec: unknown, metadata: object = {}): object => ({
    apiVersion: "ramauthenticator.k8s.alibabacloud/v1alpha1",
    kind: "RAMIdentityMapping",
    metadata: { name, ...metadata },
    spec,
    status: { canonicalARN: user("from-status") },
  });

  function crd(
    t: TestContext,
    folder: Folder,
    wildcards = true,
  ): { backend: MappingBackend; told: Map<string, Understood> } {
    const told = new Map<string, Understood>();
    const reporter = {
      report: (each: { metadata: { name: string } }, understood: Understood) =>
        void told.set(each.metadata.name, understood),
    };
    const backend = createCrdBackend(sourceOf(t, folder), { ...deps, reporter }, { wildcards, names });
    return { backend, told };
  }

  test("count, change and go with their objects, computed from spec and never from status", async (t) => {
    const folder = folderOf(t);
    await folder.put("m.yaml", object("one", { arn: user("Alice"), username: "alice" }));
    const { backend, told } = crd(t, folder);

    await until(() => mapped(backend, user("alice")), "alice");
    assert.equal(mapped(backend, user("from-status")), undefined);
    assert.deepEqual(backend.readiness(), { ready: true });
    assert.deepEqual(told.get("one"), { outcome: "synced", canonicalArn: user("Alice"), pinnedId: "" });

    await folder.put("m.yaml", object("one", { arn: user("Bob"), username: "bob" }));
    await until(() => mapped(backend, user("bob")), "bob");
    assert.equal(mapped(backend, user("alice")), undefined);

    await rm(join(folder.path, "m.yaml"));
    await until(() => mapped(backend, user("bob")), undefined);
    assert.equal(backend.index.size, 0);
  });

  test("are not ready before they were read", async (t) => {
    const folder = folderOf(t);
    const { backend } = crd(t, folder);
    assert.equal(backend.readiness().ready, false);
    await until(() => backend.readiness().ready, true);
  });

  test("that a wildcard was narrowed in leave nothing behind", async (t) => {
    const folder = folderOf(t);
    await folder.put("m.yaml", object("wide", { arn: role("dev-*"), username: "dev" }));
    const { backend } = crd(t, folder);
    await until(() => mapped(backend, role("Dev-Team")), "dev");

    await folder.put("m.yaml", object("wide", { arn: role("dev-one"), username: "dev" }));
    await until(() => mapped(backend, role("dev-team")), undefined);
    assert.equal(mapped(backend, role("dev-one")), "dev");
  });

  const broken: readonly [name: string, spec: unknown, problem: RegExp][] = [
    ["no spec", undefined, /no spec/],
    ["a spec that is a text", "x", /no spec/],
    ["no ARN", { username: "x" }, /no ARN/],
    ["a malformed ARN", { arn: "x", username: "x" }, /five parts/],
    ["a wildcard account", { arn: "acs:ram::*:role/x", username: "x" }, /written out/],
    ["groups that are a text", { arn: user("Alice"), username: "x", groups: "g" }, /groups/],
    ["a reserved group", { arn: user("Alice"), username: "x", groups: ["system:masters"] }, /reserved/],
    ["a reserved user", { arn: user("Alice"), username: "system:admin" }, /reserved/],
    ["an unknown template", { arn: user("Alice"), username: "{{Name}}" }, /not known/],
  ];
  for (const [name, spec, problem] of broken) {
    test(`with ${name} map nobody, not even as they did before, and their author is told`, async (t) => {
      const folder = folderOf(t);
      await folder.put("m.yaml", object("one", { arn: user("Alice"), username: "alice" }));
      const { backend, told } = crd(t, folder);
      await until(() => mapped(backend, user("Alice")), "alice");

      await folder.put("m.yaml", object("one", spec));

      await until(() => mapped(backend, user("Alice")), undefined);
      const understood = told.get("one");
      assert.ok(understood?.outcome === "refused");
      assert.match(understood.problem, problem);
      const readiness = backend.readiness();
      assert.ok(readiness.ready && readiness.note?.includes("1 refused"));
    });
  }

  test("with wildcards need them to be enabled", async (t) => {
    const folder = folderOf(t);
    await folder.put("m.yaml", object("wide", { arn: role("dev-*"), username: "dev" }));
    const { backend, told } = crd(t, folder, false);

    await until(() => told.get("wide")?.outcome, "refused");
    assert.equal(mapped(backend, role("dev-x")), undefined);
  });

  test("of one ARN: the older counts, both are told, and the younger takes over when the older goes", async (t) => {
    const folder = folderOf(t);
    const old = object(
      "zz",
      { arn: user("Alice"), username: "old" },
      { creationTimestamp: "2026-01-01T00:00:00Z" },
    );
    const young = object(
      "aa",
      { arn: user("ALICE"), username: "young" },
      { creationTimestamp: "2026-02-01T00:00:00Z" },
    );
    await folder.put("young.yaml", young);
    await folder.put("old.yaml", old);
    const { backend, told } = crd(t, folder);

    await until(() => mapped(backend, user("alice")), "old");
    await until(() => told.get("aa")?.outcome, "conflict");
    await rm(join(folder.path, "old.yaml"));
    await until(() => mapped(backend, user("alice")), "young");
    await until(() => told.get("aa")?.outcome, "synced");
  });

  test("with a pin are for one id only", async (t) => {
    const folder = folderOf(t);
    await folder.put("m.yaml", object("one", { arn: user("Alice"), username: "alice", userID: "77" }));
    const { backend, told } = crd(t, folder);

    await until(() => mapped(backend, user("Alice"), "77"), "alice");
    assert.equal(mapped(backend, user("Alice"), "78"), "pinned");
    assert.deepEqual(told.get("one"), { outcome: "synced", canonicalArn: user("Alice"), pinnedId: "77" });
  });
});

describe("the ConfigMap", () => {
  const configMap = (data: Readonly<Record<string, unknown>>): object => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "alibabacloud-auth", namespace: "kube-system" },
    data,
  });
  const users = `- UserArn: ${user("Alice")}\n  userName: alice\n  groups: [dev]\n`;
  const roles = `- rolearn: ${role("dev")}\n  username: dev\n`;

  function configMapBackend(t: TestContext, folder: Folder): MappingBackend {
    return createConfigMapBackend(sourceOf(t, folder), deps, { wildcards: false, names });
  }

  test("maps roles, users and accounts, with keys in any case", async (t) => {
    const folder = folderOf(t);
    await folder.put(
      "c.yaml",
      configMap({ mapUsers: users, mapRoles: roles, mapAccounts: '- "2222222222222222"\n' }),
    );
    const backend = configMapBackend(t, folder);

    await until(() => mapped(backend, user("alice")), "alice");
    assert.equal(mapped(backend, role("dev")), "dev");
    assert.equal(backend.index.hasAccount("2222222222222222"), true);
  });

  for (const text of ["a: [", "just a text", "a: b"]) {
    test(`with the broken section ${JSON.stringify(text)} keeps that section's last good version, and takes the others`, async (t) => {
      const folder = folderOf(t);
      await folder.put("c.yaml", configMap({ mapUsers: users, mapRoles: roles }));
      const backend = configMapBackend(t, folder);
      await until(() => mapped(backend, role("dev")), "dev");

      await folder.put("c.yaml", configMap({ mapUsers: users.replace("Alice", "Bob"), mapRoles: text }));

      await until(() => mapped(backend, user("Bob")), "alice");
      assert.equal(mapped(backend, user("Alice")), undefined);
      assert.equal(mapped(backend, role("dev")), "dev");
      const readiness = backend.readiness();
      assert.ok(readiness.ready && readiness.note?.includes("mapRoles"));
    });
  }

  test("with one entry that cannot be used leaves only that one out", async (t) => {
    const folder = folderOf(t);
    await folder.put("c.yaml", configMap({ mapUsers: `- userarn: nonsense\n  username: x\n${users}` }));
    const backend = configMapBackend(t, folder);

    await until(() => mapped(backend, user("Alice")), "alice");
    assert.ok(backend.readiness().ready);
  });

  test("that is deleted maps nobody", async (t) => {
    const folder = folderOf(t);
    await folder.put("c.yaml", configMap({ mapUsers: users }));
    const backend = configMapBackend(t, folder);
    await until(() => mapped(backend, user("Alice")), "alice");

    await rm(join(folder.path, "c.yaml"));
    await until(() => mapped(backend, user("Alice")), undefined);
  });
});

describe("the dynamic file", () => {
  const content = (name: string): string =>
    JSON.stringify({ mapUsers: [{ userARN: user(name), username: name.toLowerCase() }] });

  test("is followed: it may come, change and go, and a broken version leaves the last good one", async (t) => {
    const path = join(temporaryFolder(t), "dynamic.json");
    const backend = await createDynamicFileBackend(deps, { path, intervalMs: 10, wildcards: false, names });
    t.after(() => backend.close());
    assert.deepEqual([backend.index.size, backend.readiness()], [0, { ready: true }]);

    await writeFile(path, content("Alice"));
    await until(() => mapped(backend, user("Alice")), "alice");

    for (const text of ["{", "[]", '{"mapUsers": 1}', ""]) {
      await writeFile(path, text);
      await until(() => JSON.stringify(backend.readiness()).includes("last good"), true);
      assert.equal(mapped(backend, user("Alice")), "alice");
      await writeFile(path, content("Alice"));
      await until(() => backend.readiness(), { ready: true });
    }

    await writeFile(path, content("Bob"));
    await until(() => mapped(backend, user("Bob")), "bob");
    assert.equal(mapped(backend, user("Alice")), undefined);
    await rm(path);
    await until(() => backend.index.size, 0);
  });
});

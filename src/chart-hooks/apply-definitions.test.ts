/**
 * CustomResourceDefinitions: read strictly, applied once, never taken back a version.
 * @module
 */
import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { stringify } from "yaml";
import { configOf, startFakeApiServer, type FakeApiServer } from "../../test/fakes/fake-api-server.ts";
import { createClusterClient, type ClusterClient } from "../kubernetes/cluster-client.ts";
import { silentLog } from "../observe/log.ts";
import { applyDefinition, readDefinitions, type Definition } from "./apply-definitions.ts";

const name = "gadgets.example.com";
const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${name}`;

function manifest(versions: readonly string[], generation?: number): Record<string, unknown> {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name, ...(generation === undefined ? {} : { generation }) },
    spec: { group: "example.com", versions: versions.map((version) => ({ name: version })) },
  };
}

function definition(...versions: readonly string[]): Definition {
  const read = readDefinitions(stringify(manifest(versions)));
  assert.ok(read.ok);
  const [only] = read.definitions;
  assert.ok(only !== undefined);
  return only;
}

async function cluster(t: TestContext): Promise<{ server: FakeApiServer; client: ClusterClient }> {
  const server = await startFakeApiServer();
  const client = createClusterClient(configOf(server), silentLog);
  t.after(async () => {
    client.close();
    await server.stop();
  });
  return { server, client };
}

test("a file of definitions is read with names and versions, aliases resolved", () => {
  const text = `${stringify(manifest(["v1"]))}---\n---\nkind: CustomResourceDefinition\napiVersion: apiextensions.k8s.io/v1\nmetadata: {name: &n other.example.com}\nspec: {versions: [{name: v1alpha1, schema: &s {a: 1}}, {name: v2, schema: *s}]}\n`;

  const read = readDefinitions(text);

  assert.ok(read.ok);
  assert.deepEqual(
    read.definitions.map((each) => [each.name, each.versions]),
    [
      [name, ["v1"]],
      ["other.example.com", ["v1alpha1", "v2"]],
    ],
  );
});

const unusable: readonly (readonly [what: string, text: string, problem: RegExp])[] = [
  ["nothing", "", /empty/],
  ["only comments", "# nothing\n", /empty/],
  ["another kind", "kind: Secret\napiVersion: v1\nmetadata: {name: a}\n", /something else/],
  ["a list", "- 1\n", /something else/],
  [
    "an old version",
    stringify({ ...manifest(["v1"]), apiVersion: "apiextensions.k8s.io/v1beta1" }),
    /not of/,
  ],
  ["no name", stringify({ ...manifest(["v1"]), metadata: {} }), /no name/],
  ["no YAML", "a: [", /./],
];

for (const [what, text, problem] of unusable) {
  test(`a file with ${what} is refused`, () => {
    const read = readDefinitions(text);

    assert.ok(!read.ok);
    assert.match(read.problem, problem);
  });
}

test("whatever text it is given, reading never throws", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.json().map((text) => `${text}\n`),
      ),
      (text) => {
        const read = readDefinitions(text);
        return read.ok ? read.definitions.length > 0 : read.problem !== "";
      },
    ),
  );
});

test("a definition that is there is brought up to date under Helm's name", async (t) => {
  const { client, server } = await cluster(t);
  const queries: unknown[] = [];
  server.handle("GET", path, () => ({ status: 200, body: manifest(["v1"], 1) }));
  server.handle("PATCH", path, ({ query, body }) => {
    queries.push(query, (JSON.parse(body) as { kind: string }).kind);
    return { status: 200, body: manifest(["v1", "v2"], 2) };
  });

  const applied = await applyDefinition(client, definition("v1", "v2"));

  assert.deepEqual(applied, { outcome: "updated" });
  assert.deepEqual(queries, [{ fieldManager: "helm", force: "true" }, "CustomResourceDefinition"]);
});

test("a definition that says the same already is unchanged", async (t) => {
  const { client, server } = await cluster(t);
  server.handle("GET", path, () => ({ status: 200, body: manifest(["v1"], 3) }));
  server.handle("PATCH", path, () => ({ status: 200, body: manifest(["v1"], 3) }));

  assert.deepEqual(await applyDefinition(client, definition("v1")), { outcome: "unchanged" });
});

test("a definition that is newer in the cluster is left alone", async (t) => {
  const { client, server } = await cluster(t);
  let patched = false;
  server.handle("GET", path, () => ({ status: 200, body: manifest(["v1", "v2"], 3) }));
  server.handle("PATCH", path, () => {
    patched = true;
    return { status: 200, body: {} };
  });

  assert.deepEqual(await applyDefinition(client, definition("v1")), { outcome: "newer", versions: ["v2"] });
  assert.equal(patched, false);
});

for (const [what, asked, patched, problem] of [
  ["the question is refused", 403, 200, /403 to the question/],
  ["the change is refused", 200, 403, /answered 403$/],
  ["there is none and none may be made", 404, 403, /answered 403$/],
] as const) {
  test(`when ${what}, that is the outcome`, async (t) => {
    const { client, server } = await cluster(t);
    server.handle("GET", path, () => ({ status: asked, body: manifest(["v1"], 1) }));
    server.handle("PATCH", path, () => ({ status: patched, body: {} }));

    const applied = await applyDefinition(client, definition("v1"));

    assert.ok(applied.outcome === "failed");
    assert.match(applied.problem, problem);
  });
}

test("an API server that is away is an outcome, too", async (t) => {
  const { client, server } = await cluster(t);
  await server.stop();

  assert.equal((await applyDefinition(client, definition("v1"))).outcome, "failed");
});

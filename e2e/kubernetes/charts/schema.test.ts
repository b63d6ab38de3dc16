/**
 * Every chart with its defaults and with every documented value set to something else: Helm has nothing to remark, and the
 * API server nothing against a single object, down to fields that it does not know.
 * @module
 */
import assert from "node:assert/strict";
import { basename } from "node:path";
import { after, before, test } from "node:test";

import type { KubernetesObject } from "../api-client.ts";
import type { ControlPlane } from "../control-plane.ts";
import { certManagerDefinitions } from "./cert-manager.ts";
import {
  ApiPaths,
  chartNames,
  chartPath,
  definitionsOf,
  objectsIn,
  requiredValues,
  valuesFiles,
} from "./chart.ts";
import { suiteCluster } from "./suite-cluster.ts";

let cluster: ControlPlane;
let paths: ApiPaths;
const namespace = "charts-schema";

before(async () => {
  cluster = await suiteCluster();
  paths = new ApiPaths(cluster);
});
after(() => cluster?.stop());

test("the definitions of the charts and of cert-manager are taken by the API server", async () => {
  const definitions = [...chartNames.flatMap(definitionsOf), ...(await certManagerDefinitions())];
  await cluster.apply(definitions);
  for (const { metadata } of definitions) {
    await cluster.waitFor(
      `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${String(metadata.name)}`,
      (crd) =>
        crd?.status?.conditions?.some(
          (condition: KubernetesObject) => condition.type === "Established" && condition.status === "True",
        ),
    );
  }
  await cluster.admin.request("POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: namespace },
  });
});

/** What the API server says against each object, if anything. */
async function objections(objects: readonly KubernetesObject[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const object of objects) {
    const path = await paths.of(object, namespace);
    const answer = await cluster.admin.request(
      "PATCH",
      `${path}?dryRun=All&fieldValidation=Strict&fieldManager=charts&force=true`,
      object,
      "application/apply-patch+yaml",
    );
    if (answer.status >= 300) {
      found.push(`${String(object.kind)} ${String(object.metadata.name)}: ${String(answer.body.message)}`);
    }
  }
  return found;
}

for (const name of chartNames) {
  const files = valuesFiles(name);

  test(`${name}: a values file for every value, and the defaults`, () => {
    assert.ok(files.length > 20, String(files.length));
    assert.ok(files.some((file) => basename(file) === "default-values.yaml"));
  });

  test(`${name}: helm lint --strict has nothing to remark on any of ${String(files.length)} values files`, async () => {
    await cluster.helm3(["lint", "--strict", chartPath(name)]);
    await cluster.helm4(["lint", "--strict", chartPath(name)]);
    await eachOf(files, async (file, at) => {
      // Turn by turn: the two are of one mind, and each start costs.
      const helm = at % 2 === 0 ? cluster.helm3.bind(cluster) : cluster.helm4.bind(cluster);
      await helm(["lint", "--strict", "--namespace", namespace, "--values", file, chartPath(name)]);
    });
  });

  test(`${name}: the API server has nothing against any object of any values file`, async () => {
    const faults: string[] = [];
    const rendered = new Map<string, string>();
    let checked = 0;
    await eachOf(files, async (file) => {
      const result = await cluster.helm4(
        ["template", "rel", chartPath(name), "--namespace", namespace, "--values", file],
        { allowFailure: true },
      );
      if (result.code !== 0) {
        faults.push(`${basename(file)}: ${result.stderr}`);
        return;
      }
      rendered.set(basename(file), result.stdout);
      const objects = objectsIn(result.stdout);
      checked += objects.length;
      for (const fault of await objections(objects)) faults.push(`${basename(file)}: ${fault}`);
    });
    assert.deepEqual(faults, []);
    assert.ok(checked > files.length);
    // A file that changes nothing shows nothing.
    const standard = rendered.get("default-values.yaml");
    const idle = [...rendered].filter(
      ([file, text]) =>
        file !== "default-values.yaml" &&
        text === standard &&
        // It decides whether a cluster is asked, and here there is none.
        file !== "refuseSharedHostDirectory-values.yaml",
    );
    assert.deepEqual(
      idle.map(([file]) => file),
      [],
    );
  });

  test(`${name}: helm install --dry-run=server is content with the defaults`, async () => {
    for (const helm of [cluster.helm3.bind(cluster), cluster.helm4.bind(cluster)]) {
      await helm([
        "install",
        "rel",
        chartPath(name),
        "--dry-run=server",
        "--namespace",
        namespace,
        ...requiredValues[name],
      ]);
    }
  });

  test(`${name}: both Helms render the same, with and without a cluster`, async () => {
    const values = ["--namespace", namespace, ...requiredValues[name]];
    const [three, four] = [
      await cluster.helm3(["template", "rel", chartPath(name), ...values]),
      await cluster.helm4(["template", "rel", chartPath(name), ...values]),
    ];
    const online = await cluster.helm4(["template", "rel", chartPath(name), "--dry-run=server", ...values]);

    assert.deepEqual(sorted(three.stdout), sorted(four.stdout));
    assert.deepEqual(sorted(online.stdout), sorted(four.stdout));
  });

  test(`${name}: an unknown value is refused by name`, async () => {
    const refused = await cluster.helm4(
      ["template", "rel", chartPath(name), ...requiredValues[name], "--set=imag.repository=x"],
      { allowFailure: true },
    );

    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /imag\b/u);
  });
}

test("authenticator: without a cluster id it says which value is needed", async () => {
  const refused = await cluster.helm4(["template", "rel", chartPath("authenticator")], {
    allowFailure: true,
  });

  assert.match(refused.stderr, /clusterId is needed: the id that tokens are signed for/u);
});

test("gmsa-webhook: the authority of a Secret of one's own is read in a cluster, and asked for outside of one", async () => {
  const chart = chartPath("gmsa-webhook");
  const mode = ["--namespace", namespace, "--set=certificates.mode=secret"];
  const offline = await cluster.helm4(["template", "rel", chart, ...mode], { allowFailure: true });
  await cluster.apply([
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "gmsa-server-cert", namespace },
      stringData: { "ca.crt": cluster.authority },
    },
  ]);
  const online = await cluster.helm4(["install", "rel", chart, "--dry-run=server", ...mode]);

  assert.match(offline.stderr, /certificates\.caBundle is needed/u);
  assert.ok(online.stdout.includes(Buffer.from(cluster.authority).toString("base64")));
});

/** Three at a time: starting a program is most of the work. */
async function eachOf<T>(all: readonly T[], work: (one: T, at: number) => Promise<void>): Promise<void> {
  const entries = all.entries();
  const lane = async (): Promise<void> => {
    for (const [at, one] of entries) await work(one, at);
  };
  await Promise.all([lane(), lane(), lane()]);
}

function sorted(manifest: string): readonly string[] {
  return objectsIn(manifest)
    .map((object) => JSON.stringify(object))
    .toSorted();
}

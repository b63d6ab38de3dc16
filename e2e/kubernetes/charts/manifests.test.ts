/**
 * The manifests in `deploy/` and the charts are two ways to the same objects: what stands in a manifest stands in the
 * rendered chart, field by field.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import type { KubernetesObject } from "../api-client.ts";
import type { ControlPlane } from "../control-plane.ts";
import { chartPath, objectsIn } from "./chart.ts";
import { suiteCluster } from "./suite-cluster.ts";

const deploy = join(import.meta.dirname, "../../../deploy");

interface Rule {
  readonly verbs: readonly string[];
}

let cluster: ControlPlane;
before(async () => {
  cluster = await suiteCluster();
});
after(() => cluster?.stop());

function manifests(...files: readonly string[]): readonly KubernetesObject[] {
  return files.flatMap((file) => objectsIn(readFileSync(join(deploy, file), "utf8")));
}

/** Paths at which the rendered object says something else than the manifest, or nothing. */
function differences(manifest: unknown, rendered: unknown, path = ""): readonly string[] {
  if (typeof manifest !== "object" || manifest === null) {
    return manifest === rendered
      ? []
      : [`${path}: ${JSON.stringify(manifest)} is ${JSON.stringify(rendered)}`];
  }
  if (typeof rendered !== "object" || rendered === null) return [`${path} is missing`];
  if (Array.isArray(manifest) && manifest.length !== (rendered as readonly unknown[]).length)
    return [
      `${path}: ${String(manifest.length)} entries are ${String((rendered as readonly unknown[]).length)}`,
    ];
  return Object.entries(manifest).flatMap(([name, value]) =>
    differences(value, (rendered as Readonly<Record<string, unknown>>)[name], `${path}.${name}`),
  );
}

async function renderedObjects(
  chart: "gmsa-webhook" | "authenticator",
  release: string,
  namespace: string,
  values: readonly string[],
): Promise<ReadonlyMap<string, KubernetesObject>> {
  const result = await cluster.helm4([
    "template",
    release,
    chartPath(chart),
    "--namespace",
    namespace,
    ...values,
  ]);
  return new Map(
    objectsIn(result.stdout).map((object) => [
      `${String(object.kind)} ${String(object.metadata.name)}`,
      object,
    ]),
  );
}

test("deploy/gmsa-webhook and the chart say the same", async () => {
  const chart = await renderedObjects("gmsa-webhook", "gmsa-webhook", "gmsa-webhook", [
    "--set=validatingAdmissionPolicy.enabled=true,networkPolicy.callers={192.0.2.0/24}",
  ]);
  const objects = manifests(
    "gmsa-webhook/rbac.yaml",
    "gmsa-webhook/self-managed-certificates.yaml",
    "gmsa-webhook/deployment.yaml",
    "gmsa-webhook/webhooks.yaml",
    "gmsa-webhook/validating-admission-policy.yaml",
    "gmsa-webhook/network-policy.yaml",
  );
  assert.ok(objects.length >= 15);
  for (const object of objects) {
    // Helm makes it, if at all.
    if (object.kind === "Namespace") continue;
    // The chart brings an empty Secret instead of the right to create one.
    if (object.kind === "Role")
      object.rules = object.rules.filter(({ verbs }: Rule) => verbs[0] !== "create");
    // The chart says defaults aloud.
    if (object.kind === "Deployment") delete object.spec.template.spec.containers[0].args;
    const id = `${String(object.kind)} ${String(object.metadata.name)}`;
    assert.deepEqual(differences(object, chart.get(id), id), []);
  }
});

test("deploy/authenticator and the chart say the same", async () => {
  const chart = await renderedObjects("authenticator", "ack-ram-authenticator", "kube-system", [
    "--set=clusterId=c-example",
  ]);
  for (const object of manifests("authenticator/authenticator.yaml")) {
    const id = `${String(object.kind)} ${String(object.metadata.name)}`;
    // The text of the configuration file holds comments there, and ports here.
    if (object.kind === "ConfigMap") continue;
    // The image's own entry point is `sallyport`.
    for (const container of [
      ...((object.spec?.template?.spec?.initContainers ?? []) as KubernetesObject[]),
      ...((object.spec?.template?.spec?.containers ?? []) as KubernetesObject[]),
    ]) {
      delete container.command;
    }
    assert.deepEqual(differences(object, chart.get(id), id), []);
  }
});

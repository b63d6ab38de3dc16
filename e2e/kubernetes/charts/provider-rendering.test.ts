/**
 * What single values do to the rendered objects, where the API server takes either form and so has nothing to remark. No
 * cluster is asked.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { KubernetesObject } from "../api-client.ts";
import type { ControlPlane } from "../control-plane.ts";
import { chartNames, chartPath, objectsIn, requiredValues, type ChartName } from "./chart.ts";
import { suiteCluster } from "./suite-cluster.ts";

let cluster: ControlPlane;
before(async () => {
  cluster = await suiteCluster();
});
after(() => cluster?.stop());

interface Rendering {
  readonly release?: string;
  readonly namespace?: string;
  /** For `--set-json`. */
  readonly values?: Readonly<Record<string, unknown>>;
}

async function render(chart: ChartName, rendering: Rendering = {}): Promise<readonly KubernetesObject[]> {
  const { release = "web", namespace = "contoso", values = {} } = rendering;
  const { stdout } = await cluster.helm4([
    "template",
    release,
    chartPath(chart),
    "--namespace",
    namespace,
    ...requiredValues[chart],
    ...Object.entries(values).map(([name, value]) => `--set-json=${name}=${JSON.stringify(value)}`),
  ]);
  return objectsIn(stdout);
}

function only(objects: readonly KubernetesObject[], kind: string, name?: string): KubernetesObject {
  const found = objects.filter(
    (object) => object.kind === kind && (name === undefined || object.metadata.name === name),
  );
  assert.equal(found.length, 1, `${kind} ${name ?? ""}: ${String(found.length)}`);
  return found[0] as KubernetesObject;
}

/** Secret, key and path of everything in the provider's folder of certificates. */
async function mountedFiles(mode: string): Promise<readonly string[]> {
  const daemonSet = only(
    await render("gmsa-account-provider", { values: { "certificates.mode": mode } }),
    "DaemonSet",
    "web",
  );
  const volumes = daemonSet.spec.template.spec.volumes as readonly KubernetesObject[];
  const sources = volumes.find((volume: KubernetesObject) => volume.name === "tls")?.projected
    .sources as readonly KubernetesObject[];
  return sources.flatMap(({ secret }) =>
    (secret.items as readonly KubernetesObject[]).map(
      (item: KubernetesObject) => `${String(secret.name)} ${String(item.key)} ${String(item.path)}`,
    ),
  );
}

test("gmsa-account-provider: with cert-manager each leaf comes with the authority that signed it", async () => {
  assert.deepEqual(await mountedFiles("certManager"), [
    "web-server tls.crt server/tls.crt",
    "web-server tls.key server/tls.key",
    "web-server ca.crt server/ca.crt",
    "web-client tls.crt client/tls.crt",
    "web-client tls.key client/tls.key",
    "web-client ca.crt client/ca.crt",
  ]);
});

test("gmsa-account-provider: with Secrets of one's own the authority is the one that is named", async () => {
  assert.deepEqual(await mountedFiles("secret"), [
    "ca-cert ca.crt ca/ca.crt",
    "account-provider-cert tls.crt server/tls.crt",
    "account-provider-cert tls.key server/tls.key",
    "ccg-dll-cert tls.crt client/tls.crt",
    "ccg-dll-cert tls.key client/tls.key",
  ]);
});

test("gmsa-account-provider: cert-manager's authority outlives every leaf that it signed", async () => {
  const objects = await render("gmsa-account-provider", { values: { "certificates.mode": "certManager" } });
  const hours = (text: string): number => Number(text.replace(/h$/u, ""));
  const authority = only(objects, "Certificate", "web-ca").spec;
  for (const side of ["server", "client"]) {
    const leaf = only(objects, "Certificate", `web-${side}`).spec;
    assert.ok(hours(authority.renewBefore as string) >= hours(leaf.duration as string));
  }
});

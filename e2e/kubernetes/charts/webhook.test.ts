/**
 * The webhook's chart with self-managed certificates: what the webhook writes into its Secret and its registration, with
 * the chart's own permissions, outlives upgrades with either Helm, and nothing of it outlives an uninstallation.
 * @module
 */
import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { GuardedProcess } from "../../guarded-process.ts";
import type { KubernetesObject } from "../api-client.ts";
import type { ControlPlane } from "../control-plane.ts";
import { chartPath } from "./chart.ts";
import { suiteCluster } from "./suite-cluster.ts";

const program = join(import.meta.dirname, "../../../src/main.ts");

let cluster: ControlPlane;
before(async () => {
  cluster = await suiteCluster();
});
after(() => cluster?.stop());

for (const helm of ["helm3", "helm4"] as const) {
  test(`what the webhook wrote with the chart's service account outlives an upgrade with ${helm}`, async (t) => {
    const namespace = await cluster.namespace(t);
    const run = (verb: string, ...args: readonly string[]): Promise<unknown> =>
      cluster[helm]([verb, "gmsa", ...args, "--no-hooks", "--namespace", namespace]);
    await run("install", chartPath("gmsa-webhook"));
    let installed = true;
    t.after(() => installed && run("uninstall"));
    const mount = await cluster.mountServiceAccount(namespace, "gmsa");
    const deployment = await cluster.admin.expect(
      "GET",
      `/apis/apps/v1/namespaces/${namespace}/deployments/gmsa`,
    );
    const args = (deployment.spec.template.spec.containers[0].args as readonly string[]).map((argument) =>
      // This machine is shared: any port will do, nobody calls here.
      argument.replace(/^--port=.*/u, "--port=0").replace(/^(--operations-address)=.*/u, "$1=127.0.0.1:0"),
    );
    const webhook = new GuardedProcess(
      process.execPath,
      [program, ...args, `--kubeconfig=${mount.kubeconfig}`],
      { logFile: join(cluster.directory, "logs", `webhook-${helm}.log`) },
    );
    t.after(async () => {
      if (!t.passed) t.diagnostic(webhook.tail(40));
      await webhook.stop();
    });
    const registrations = ["mutating", "validating"].map(
      (kind) => `/apis/admissionregistration.k8s.io/v1/${kind}webhookconfigurations/gmsa`,
    );
    const secretPath = `/api/v1/namespaces/${namespace}/secrets/gmsa-ca`;
    const bundles = async (): Promise<readonly string[]> =>
      (await Promise.all(registrations.map((path) => cluster.waitFor(path, everyWebhookHasABundle)))).flatMap(
        bundlesOf,
      );

    const written = await bundles();
    const secret = await cluster.waitFor(secretPath, (object) => object?.data !== undefined);
    await run("upgrade", chartPath("gmsa-webhook"), "--set=validating.timeoutSeconds=7");
    const validating = await cluster.admin.expect("GET", registrations[1] ?? "");

    assert.equal(written.length, 3);
    assert.equal(validating.webhooks[0].timeoutSeconds, 7, "the upgrade was one");
    assert.deepEqual(await bundles(), written);
    assert.deepEqual((await cluster.admin.expect("GET", secretPath)).data, secret.data);
    await webhook.stop();
    await run("uninstall");
    installed = false;
    for (const path of [secretPath, ...registrations])
      assert.equal((await cluster.admin.request("GET", path)).status, 404, path);
  });
}

function bundlesOf(registration: KubernetesObject): readonly string[] {
  return (registration.webhooks as readonly KubernetesObject[]).map(
    ({ clientConfig }) => (clientConfig.caBundle as string | undefined) ?? "",
  );
}

function everyWebhookHasABundle(registration: KubernetesObject): boolean {
  return registration !== undefined && bundlesOf(registration).every((bundle) => bundle.length > 100);
}

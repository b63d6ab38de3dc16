/**
 * The bed itself: a control plane that behaves like one.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:https";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { ConditionNotMet } from "../cluster.ts";
import type { Cluster } from "../cluster.ts";
import { sharedCluster } from "../shared-cluster.ts";

let cluster: Cluster;
before(async () => {
  cluster = await sharedCluster();
});
after(() => {
  cluster.close();
});

test("kubectl, the server and the pinned release agree on the version", async () => {
  const { stdout } = await cluster.kubectl(["version", "-o", "json"]);

  const { clientVersion, serverVersion } = JSON.parse(stdout) as Record<
    string,
    { minor: string; gitVersion: string }
  >;
  assert.match(serverVersion?.gitVersion ?? "", /^v1\.\d+\.\d+$/u);
  assert.ok(Math.abs(Number(clientVersion?.minor) - Number(serverVersion?.minor)) <= 1);
});

test("waiting sees a change as it happens, and a deletion", async (t) => {
  const namespace = await cluster.namespace(t);
  const path = `/api/v1/namespaces/${namespace}/configmaps/watched`;
  const created = cluster.waitFor(path, (map) => map?.data?.colour === "green");
  const configMap = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "watched" } };

  await cluster.apply([{ ...configMap, data: { colour: "red" } }], { namespace });
  await cluster.apply([{ ...configMap, data: { colour: "green" } }], { namespace });
  assert.equal((await created).data.colour, "green");

  const gone = cluster.waitFor(path, (map) => map === undefined);
  await cluster.kubectl(["delete", "configmap", "watched", "-n", namespace]);
  await gone;
});

test("a condition that is never met fails with what was last seen and the logs", async (t) => {
  const namespace = await cluster.namespace(t);
  await cluster.apply(
    [{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "idle" }, data: { colour: "red" } }],
    {
      namespace,
    },
  );

  const waiting = cluster.waitFor(`/api/v1/namespaces/${namespace}/configmaps/idle`, () => false, {
    timeoutMs: 500,
  });

  await assert.rejects(waiting, (error) => {
    assert.ok(error instanceof ConditionNotMet);
    assert.match(error.message, /"colour": "red"/u);
    assert.match(error.message, /--- .*kube-apiserver\.log/u);
    return true;
  });
});

test("a Deployment makes pods, which stay Pending, and a namespace really goes away", async (t) => {
  const namespace = await cluster.namespace(t);
  await cluster.waitFor(
    `/api/v1/namespaces/${namespace}/serviceaccounts/default`,
    (account) => account !== undefined,
  );
  await cluster.kubectl(["create", "deployment", "web", "--image=example.invalid/web:1", "-n", namespace]);
  await cluster.waitFor(
    `/apis/apps/v1/namespaces/${namespace}/deployments/web`,
    (deployment) => deployment?.status?.replicas === 1,
  );
  const pods = await cluster.admin.expect("GET", `/api/v1/namespaces/${namespace}/pods`);
  assert.equal(pods.items[0].status.phase, "Pending");

  await cluster.kubectl(["delete", "namespace", namespace, "--wait=false"]);
  await cluster.waitFor(`/api/v1/namespaces/${namespace}`, (object) => object === undefined);
});

/** What charts use; ports below 1024 are root's. */
const webhookPort = process.getuid?.() === 0 ? 443 : 8443;

test("a webhook that listens on the cluster IP of its Service is called there", async (t) => {
  const namespace = await cluster.namespace(t);
  await cluster.apply(
    [
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "gate" },
        spec: { ports: [{ port: webhookPort }] },
      },
    ],
    {
      namespace,
    },
  );
  const service = await cluster.admin.expect("GET", `/api/v1/namespaces/${namespace}/services/gate`);
  const address = service.spec.clusterIP as string;
  assert.match(address, /^127\.96\./u);
  const { certificate, key } = await cluster.serviceCertificate(namespace, "gate");
  const webhook = createServer({ cert: certificate, key }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const review = JSON.parse(Buffer.concat(chunks).toString("utf8")) as { request: { uid: string } };
      response.setHeader("content-type", "application/json").end(
        JSON.stringify({
          apiVersion: "admission.k8s.io/v1",
          kind: "AdmissionReview",
          response: { uid: review.request.uid, allowed: false, status: { message: "the gate is shut" } },
        }),
      );
    });
  });
  await new Promise<void>((resolve, reject) => {
    webhook.once("error", reject);
    webhook.listen(webhookPort, address, resolve);
  });
  t.after(() => {
    webhook.closeAllConnections();
    webhook.close();
  });
  const name = `gate-${namespace}`;
  await cluster.apply([
    {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: "ValidatingWebhookConfiguration",
      metadata: { name },
      webhooks: [
        {
          name: "gate.example.com",
          admissionReviewVersions: ["v1"],
          sideEffects: "None",
          clientConfig: {
            service: { namespace, name: "gate", port: webhookPort, path: "/validate" },
            caBundle: Buffer.from(cluster.authority).toString("base64"),
          },
          namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } },
          rules: [
            { apiGroups: [""], apiVersions: ["v1"], operations: ["CREATE"], resources: ["configmaps"] },
          ],
        },
      ],
    },
  ]);
  t.after(() => cluster.kubectl(["delete", "validatingwebhookconfiguration", name]));

  // A new configuration acts after a moment.
  let refused = { status: 0, body: { message: "" } };
  for (let attempt = 0; refused.status !== 403 && attempt < 100; attempt += 1) {
    refused = await cluster.admin.request("POST", `/api/v1/namespaces/${namespace}/configmaps`, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { generateName: "try-" },
    });
  }

  assert.match(refused.body.message, /the gate is shut/u);
});

for (const helm of ["helm3", "helm4"] as const) {
  test(`${helm} renders and installs a chart, and sees the server's version`, async (t) => {
    const namespace = await cluster.namespace(t);
    const chart = join(cluster.directory, `chart-${helm}`);
    mkdirSync(join(chart, "templates"), { recursive: true });
    writeFileSync(
      join(chart, "Chart.yaml"),
      'apiVersion: v2\nname: small\nversion: 0.1.0\nkubeVersion: ">=1.34.0"\n',
    );
    writeFileSync(
      join(chart, "templates/map.yaml"),
      "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\ndata:\n  version: {{ .Capabilities.KubeVersion.Version | quote }}\n",
    );

    const rendered = await cluster[helm](["template", "rendered", chart, "--kube-version", "v1.36.0"]);
    await cluster[helm](["install", "small", chart, "--namespace", namespace, "--wait"]);

    assert.match(rendered.stdout, /name: rendered/u);
    const map = await cluster.admin.expect("GET", `/api/v1/namespaces/${namespace}/configmaps/small`);
    const version = await cluster.admin.expect("GET", "/version");
    assert.equal(map.data.version, version.gitVersion);
    await cluster[helm](["uninstall", "small", "--namespace", namespace]);
  });
}

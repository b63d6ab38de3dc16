/**
 * Certificates that two replicas of the webhook make for themselves, against a real kube-apiserver that reaches them by
 * the shipped registration and RBAC: rotations, a Secret that is deleted and a caBundle that is spoilt, under load.
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { nodeOf } from "../../../src/credential-spec/json.ts";
import { renderUseGrant } from "../../../src/credential-spec/render/kubernetes.ts";
import { sampleSpec } from "../../../test/samples/credential-spec.ts";
import type { ApiResponse } from "../api-client.ts";
import { startCluster, type ControlPlane } from "../control-plane.ts";
import { AdmissionProcess } from "./admission-process.ts";
import { ServiceAddress } from "./service-address.ts";

const deploy = join(import.meta.dirname, "../../../deploy/gmsa-webhook");
const configurations = "/apis/admissionregistration.k8s.io/v1";
const secretPath = "/api/v1/namespaces/gmsa-webhook/secrets/gmsa-webhook-ca";
/** A port that needs no root; the shipped files say 443. */
const port = 8443;
const leafSeconds = 8;
const authoritySeconds = 24;

let cluster: ControlPlane;
let service: ServiceAddress;
let replicas: readonly AdmissionProcess[] = [];
/** Authorities that were made by the time that both replicas were ready. */
let firstAuthorities = 0;

function manifest(name: string): string {
  return readFileSync(join(deploy, name), "utf8");
}

before(async () => {
  const directory = mkdtempSync(
    join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "self-managed-"),
  );
  cluster = await startCluster();
  await cluster.apply(manifest("crd.yaml"));
  await cluster.waitFor(
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gmsacredentialspecs.windows.k8s.io",
    (crd) =>
      crd?.status?.conditions?.some(
        (c: { type: string; status: string }) => c.type === "Established" && c.status === "True",
      ),
  );
  await cluster.apply(manifest("deployment.yaml").replaceAll("port: 443", `port: ${port}`));
  await cluster.apply(manifest("rbac.yaml"));
  await cluster.apply(manifest("self-managed-certificates.yaml"));
  const path = "/api/v1/namespaces/gmsa-webhook/services/gmsa-webhook";
  service = await ServiceAddress.listen((await cluster.admin.expect("GET", path)).spec.clusterIP, port);
  await cluster.admin.expect("POST", "/apis/windows.k8s.io/v1/gmsacredentialspecs", {
    apiVersion: "windows.k8s.io/v1",
    kind: "GMSACredentialSpec",
    metadata: { name: "webapp01" },
    credspec: sampleSpec(),
  });
  await cluster.apply(manifest("webhooks.yaml").replaceAll("port: 443", `port: ${port}`));
  const kubeconfig = await cluster.kubeconfig({ serviceAccount: "gmsa-webhook", namespace: "gmsa-webhook" });
  const flags = [
    "--any-caller",
    "--ca-secret=gmsa-webhook-ca",
    `--ca-lifetime=${authoritySeconds}s`,
    `--certificate-lifetime=${leafSeconds}s`,
    "--linger=1s",
  ];
  // At once, so that both find no Secret.
  replicas = await Promise.all([1, 2].map(() => AdmissionProcess.launch({ kubeconfig, directory, flags })));
  await Promise.all(replicas.map((replica) => replica.untilReady()));
  service.endpoints = replicas.map((replica) => replica.port);
  firstAuthorities = count("admission.authority-created");
});

after(async () => {
  await cluster?.stop();
  await Promise.all(replicas.map((replica) => replica.stop()));
  await service?.close();
});

function createPod(name: string): Promise<ApiResponse> {
  return cluster.admin.request("POST", "/api/v1/namespaces/default/pods?dryRun=All", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: {
      containers: [{ name: "app", image: "example.invalid/app:1" }],
      securityContext: { windowsOptions: { gmsaCredentialSpecName: "webapp01" } },
    },
  });
}

/** Events of both replicas' logs. */
function count(event: string): number {
  return replicas
    .map((replica) => replica.log(20_000).split(`"${event}"`).length - 1)
    .reduce((sum, each) => sum + each, 0);
}

/** Creates 20 pods a second while something happens; hands back every answer that was not 201. */
async function whileCreating(something: () => Promise<void>): Promise<{
  readonly created: number;
  readonly refused: readonly string[];
}> {
  const refused: string[] = [];
  const pending: Promise<void>[] = [];
  const load = { on: true };
  const creating = (async () => {
    for (let number = 0; load.on; number++) {
      pending.push(
        createPod(`load-${number}`).then(
          ({ body, status }) => void (status === 201 || refused.push(`${status} ${String(body.message)}`)),
          (error: unknown) => void refused.push(String(error)),
        ),
      );
      await sleep(50);
    }
  })();
  try {
    await something();
  } finally {
    load.on = false;
    await creating;
    await Promise.all(pending);
  }
  return { created: pending.length, refused };
}

async function until(
  what: string,
  seconds: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + seconds * 1_000;
  while (!(await condition())) {
    assert.ok(performance.now() < deadline, `did not come to pass: ${what}`);
    await sleep(100);
  }
}

async function bundleOf(kind: string, webhook = 0): Promise<string> {
  const { body } = await cluster.admin.request("GET", `${configurations}/${kind}/gmsa-webhook`);
  return Buffer.from(body.webhooks[webhook].clientConfig.caBundle ?? "", "base64").toString();
}

test("two replicas that start together share one authority, and API servers believe both", async () => {
  await cluster.waitFor("/api/v1/namespaces/default/serviceaccounts/default", (found) => found !== undefined);
  await until("the webhook asked", 10, async () => (await createPod("probe")).status === 403);
  await cluster.apply(
    renderUseGrant(
      { name: "webapp01", spec: nodeOf(sampleSpec()) },
      { namespace: "default", serviceAccount: "default" },
    ).text,
  );
  await until("the grant", 10, async () => (await createPod("probe")).status === 201);

  assert.equal(firstAuthorities, 1);
  const mutating = await bundleOf("mutatingwebhookconfigurations");
  assert.equal(await bundleOf("validatingwebhookconfigurations", 0), mutating);
  assert.equal(await bundleOf("validatingwebhookconfigurations", 1), mutating);
});

test("three rotations of the authority and many of the certificates refuse none of 20 pods a second", async () => {
  const first = await bundleOf("mutatingwebhookconfigurations");
  const connections = service.connections;
  const [made, ended] = [count("admission.authority-created"), count("admission.authority-ended")];

  const { created, refused } = await whileCreating(async () => {
    await until("three made", 5 * authoritySeconds, () => count("admission.authority-created") >= made + 3);
    await until("three ended", 3 * authoritySeconds, () => count("admission.authority-ended") >= ended + 3);
  });

  assert.deepEqual(refused, []);
  assert.ok(created > 500, `${created} pods`);
  assert.ok(count("admission.certificate-rotated") >= 10);
  assert.ok(service.connections - connections >= 6, "the API server kept its old connections");
  assert.notEqual(await bundleOf("mutatingwebhookconfigurations"), first);
  assert.equal(count("admission.ca-bundle-repaired"), 0);
  for (const replica of replicas) assert.ok(await replica.isReady());
});

test("a Secret that is deleted is made again, and none of 20 pods a second is refused", async () => {
  const { refused } = await whileCreating(async () => {
    await sleep(1_000);
    const { body } = await cluster.admin.request("GET", secretPath);
    await cluster.admin.expect("DELETE", secretPath);
    await until("another Secret", 10, async () => {
      const answer = await cluster.admin.request("GET", secretPath);
      return answer.status === 200 && answer.body.metadata.uid !== body.metadata.uid;
    });
    await sleep(leafSeconds * 1_500);
  });

  assert.deepEqual(refused, []);
  assert.equal(count("admission.authority-regenerated"), 1);
});

test("a spoilt caBundle is repaired within moments", async () => {
  const path = `${configurations}/validatingwebhookconfigurations/gmsa-webhook`;
  await cluster.admin.request(
    "PATCH",
    path,
    [{ op: "replace", path: "/webhooks/0/clientConfig/caBundle", value: "" }],
    "application/json-patch+json",
  );

  await until("the repair", 10, async () => (await createPod("probe")).status === 201);
  await until("its event", 10, () => count("admission.ca-bundle-repaired") >= 1);
});

test("the service account may touch its own Secret and its own configurations only", async () => {
  await cluster.admin.expect("POST", "/api/v1/namespaces/gmsa-webhook/secrets", {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "somebody-elses" },
  });
  const own = await cluster.client({ serviceAccount: "gmsa-webhook", namespace: "gmsa-webhook" });
  const patch = [{ op: "add", path: "/metadata/labels", value: {} }];
  const other = `${configurations}/validatingwebhookconfigurations/another`;

  const answers = [
    await own.request("GET", secretPath),
    await own.request("GET", "/api/v1/namespaces/gmsa-webhook/secrets/somebody-elses"),
    await own.request("GET", "/api/v1/namespaces/gmsa-webhook/secrets"),
    await own.request("DELETE", secretPath),
    await own.request("PATCH", other, patch, "application/json-patch+json"),
    await own.request("DELETE", `${configurations}/validatingwebhookconfigurations/gmsa-webhook`),
  ];

  assert.deepEqual(
    answers.map(({ status }) => status),
    [200, 403, 403, 403, 403, 403],
  );
});

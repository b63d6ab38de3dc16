/**
 * gMSA pods against a real kube-apiserver: what people see when they may not use a spec, what a pod holds when they may,
 * and that neither rotations nor restarts of the webhook refuse anybody.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { systemClock } from "../../../src/clock.ts";
import { canonicalJson } from "../../../src/credential-spec/canonical-json.ts";
import { nodeOf } from "../../../src/credential-spec/json.ts";
import { renderUseGrant } from "../../../src/credential-spec/render/kubernetes.ts";
import { createAuthority, type CertificateAuthority } from "../../../src/pki/authority.ts";
import { sampleSpec } from "../../../test/samples/credential-spec.ts";
import type { ApiResponse } from "../api-client.ts";
import { startCluster, type ControlPlane } from "../control-plane.ts";
import { AdmissionProcess, SecretVolume } from "./admission-process.ts";
import { ServiceAddress } from "./service-address.ts";
import { installWebhookRights, issueApiServerIdentity, registrationFor } from "./webhook-registration.ts";

const deploy = join(import.meta.dirname, "../../../deploy/gmsa-webhook");
const contents = canonicalJson(nodeOf(sampleSpec()));
const named = { securityContext: { windowsOptions: { gmsaCredentialSpecName: "webapp01" } } };
const refusalPrefix = 'admission webhook "admission-webhook.windows-gmsa.sigs.k8s.io" denied the request: ';
const noAccess = 'service account "default" is not authorized to `use` GMSA cred spec "webapp01"';

let authority: CertificateAuthority;
let cluster: ControlPlane;
let directory: string;
let service: ServiceAddress;
let webhook: AdmissionProcess;
let volume: SecretVolume;
let startWebhook: () => Promise<AdmissionProcess>;

before(async () => {
  directory = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "admission-"));
  authority = await createAuthority({
    commonName: "gmsa-webhook e2e",
    keyType: "ec-p256",
    lifetimeMs: 24 * 3_600_000,
    clock: systemClock,
  });
  service = await ServiceAddress.listen();
  const identity = await issueApiServerIdentity(authority, directory);
  cluster = await startCluster({ apiServerFlags: identity.apiServerFlags });
  const kubeconfig = await installWebhookRights(cluster);
  volume = new SecretVolume(join(directory, "tls"), authority);
  await volume.rotate();
  mkdirSync(join(directory, "logs"));
  startWebhook = () =>
    AdmissionProcess.start({
      kubeconfig,
      volume,
      directory: join(directory, "logs"),
      flags: [...identity.webhookFlags, "--linger=3s"],
    });
  webhook = await startWebhook();
  service.endpoints = [webhook.port];
  await cluster.apply(registrationFor(service.port, authority));
  await untilEnforced();
});

after(async () => {
  await cluster?.stop();
  await webhook?.stop();
  await service?.close();
});

/** API servers read new webhook configurations a moment after they were written. */
async function untilEnforced(): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const answer = await createPod("default", podNamed("probe", named), "?dryRun=All");
    if (answer.status === 403) return;
    await sleep(100);
  }
  assert.fail("the webhook is never asked");
}

function podNamed(name: string, spec: object): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { containers: [{ name: "app", image: "example.invalid/app:1" }], ...spec },
  };
}

function createPod(namespace: string, pod: object, query = ""): Promise<ApiResponse> {
  return cluster.admin.request("POST", `/api/v1/namespaces/${namespace}/pods${query}`, pod);
}

/** A namespace whose default service account may use the spec. RBAC acts a moment after it was written. */
async function permitted(t: TestContext): Promise<string> {
  const namespace = await cluster.namespace(t);
  await cluster.waitFor(
    `/api/v1/namespaces/${namespace}/serviceaccounts/default`,
    (account) => account !== undefined,
  );
  await cluster.apply(
    renderUseGrant({ name: "webapp01", spec: nodeOf(sampleSpec()) }, { namespace, serviceAccount: "default" })
      .text,
  );
  for (let attempt = 0; attempt < 100; attempt++) {
    if ((await createPod(namespace, podNamed("probe", named), "?dryRun=All")).status === 201)
      return namespace;
    await sleep(50);
  }
  assert.fail("the grant never acts");
}

const image = "example.invalid/app:1";
const levels: readonly (readonly [name: string, spec: object, read: (pod: never) => unknown])[] = [
  ["pod", named, (pod: { spec: typeof named }) => pod.spec.securityContext],
  [
    "container",
    { containers: [{ name: "app", image, ...named }] },
    (pod: { spec: { containers: (typeof named)[] } }) => pod.spec.containers[0]?.securityContext,
  ],
  [
    "init container",
    { initContainers: [{ name: "prepare", image, ...named }] },
    (pod: { spec: { initContainers: (typeof named)[] } }) => pod.spec.initContainers[0]?.securityContext,
  ],
];

for (const [level, spec, read] of levels) {
  test(`a pod that names a spec at ${level} level is refused without RBAC, in the exact words`, async (t) => {
    const namespace = await cluster.namespace(t);
    await cluster.waitFor(
      `/api/v1/namespaces/${namespace}/serviceaccounts/default`,
      (account) => account !== undefined,
    );

    const answer = await createPod(namespace, podNamed("web", spec));

    assert.deepEqual([answer.status, answer.body.message], [403, `${refusalPrefix}${noAccess}`]);
  });

  test(`a pod that names a spec at ${level} level is admitted with RBAC, the contents inlined`, async (t) => {
    const namespace = await permitted(t);

    const answer = await createPod(namespace, podNamed("web", spec));

    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    assert.deepEqual(read(answer.body as never), {
      windowsOptions: { gmsaCredentialSpecName: "webapp01", gmsaCredentialSpec: contents },
    });
  });
}

test("an ephemeral container is refused without RBAC and expanded with it", async (t) => {
  const add = (namespace: string): Promise<ApiResponse> =>
    cluster.admin.request(
      "PATCH",
      `/api/v1/namespaces/${namespace}/pods/web/ephemeralcontainers`,
      { spec: { ephemeralContainers: [{ name: "debug", image, ...named }] } },
      "application/strategic-merge-patch+json",
    );
  const bare = await cluster.namespace(t);
  await cluster.waitFor(
    `/api/v1/namespaces/${bare}/serviceaccounts/default`,
    (account) => account !== undefined,
  );
  const granted = await permitted(t);
  for (const namespace of [bare, granted])
    assert.equal((await createPod(namespace, podNamed("web", {}))).status, 201);

  const [refused, admitted] = [await add(bare), await add(granted)];

  assert.deepEqual([refused.status, refused.body.message], [403, `${refusalPrefix}${noAccess}`]);
  assert.equal(admitted.status, 200, JSON.stringify(admitted.body));
  assert.equal(
    admitted.body.spec.ephemeralContainers[0].securityContext.windowsOptions.gmsaCredentialSpec,
    contents,
  );
});

test("contents that are not the named spec's, or have no name, are refused", async (t) => {
  const namespace = await permitted(t);
  const options = (windowsOptions: object): object => ({ securityContext: { windowsOptions } });

  const other = await createPod(
    namespace,
    podNamed("web", options({ gmsaCredentialSpecName: "webapp01", gmsaCredentialSpec: "{}" })),
  );
  const nameless = await createPod(namespace, podNamed("web", options({ gmsaCredentialSpec: contents })));

  assert.deepEqual(
    [other.status, other.body.message],
    [
      422,
      `${refusalPrefix}the GMSA cred spec contents for pod "web" does not match the contents of GMSA resource "webapp01"`,
    ],
  );
  assert.deepEqual(
    [nameless.status, nameless.body.message],
    [
      422,
      `${refusalPrefix}pod "web" has a GMSA cred spec set, but does not define the name of the corresponding resource`,
    ],
  );
});

test("a spec that does not exist is told, and one created a moment ago works", async (t) => {
  const namespace = await cluster.namespace(t);
  await cluster.waitFor(
    `/api/v1/namespaces/${namespace}/serviceaccounts/default`,
    (account) => account !== undefined,
  );
  const role = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata: { name: "use-any", namespace },
    rules: [{ apiGroups: ["windows.k8s.io"], resources: ["gmsacredentialspecs"], verbs: ["use"] }],
  };
  const binding = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: "use-any", namespace },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "use-any" },
    subjects: [{ kind: "ServiceAccount", name: "default", namespace }],
  };
  await cluster.apply([role, binding]);
  const fresh = { securityContext: { windowsOptions: { gmsaCredentialSpecName: "fresh" } } };
  let missing = await createPod(namespace, podNamed("web", fresh));
  for (let attempt = 0; attempt < 50 && missing.status === 403; attempt++) {
    await sleep(50);
    missing = await createPod(namespace, podNamed("web", fresh));
  }
  assert.deepEqual(
    [missing.status, missing.body.message],
    [404, `${refusalPrefix}cred spec fresh does not exist`],
  );

  await cluster.admin.expect("POST", "/apis/windows.k8s.io/v1/gmsacredentialspecs", {
    apiVersion: "windows.k8s.io/v1",
    kind: "GMSACredentialSpec",
    metadata: { name: "fresh" },
    credspec: sampleSpec(),
  });
  const admitted = await createPod(namespace, podNamed("web", fresh));

  assert.equal(admitted.status, 201, JSON.stringify(admitted.body));
});

test("a pod without gMSA settings is never sent to the webhook", async (t) => {
  const namespace = await permitted(t);
  const count = async (): Promise<number> =>
    [
      ...(await webhook.metrics()).matchAll(/^sallyport_admission_review_seconds_count\{.*\} (\d+)$/gm),
    ].reduce((sum, [, n]) => sum + Number(n), 0);
  const before_ = await count();

  assert.equal((await createPod(namespace, podNamed("plain", {}))).status, 201);

  assert.equal(await count(), before_);
});

test("whoever is not the API server is refused", async () => {
  const previous = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
  assert.equal(previous, undefined);
  const { request } = await import("node:https");
  const status = await new Promise<number>((resolve, reject) => {
    const sent = request(
      {
        host: "127.0.0.1",
        port: webhook.port,
        path: "/mutate",
        method: "POST",
        ca: authority.certificatePem,
        headers: { "content-type": "application/json" },
      },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      },
    );
    sent.on("error", reject);
    sent.end("{}");
  });

  assert.equal(status, 403);
});

test("a credential spec that will not work is created with a warning", async () => {
  const spec = { ...sampleSpec(), CmsPlugins: [] };
  const created = await cluster.kubectl(["create", "--filename", "-"], {
    stdin: JSON.stringify({
      apiVersion: "windows.k8s.io/v1",
      kind: "GMSACredentialSpec",
      metadata: { name: "faulty" },
      credspec: spec,
    }),
  });

  assert.match(created.stderr, /Warning: \/credspec\/CmsPlugins does not contain "ActiveDirectory"/);
});

/** Creates 20 pods a second while something happens; hands back every answer that was not 201. */
async function whileCreating(
  namespace: string,
  something: () => Promise<void>,
): Promise<{ readonly created: number; readonly refused: readonly string[] }> {
  const refused: string[] = [];
  const pending: Promise<void>[] = [];
  const load = { on: true };
  const creating = (async () => {
    for (let number = 0; load.on; number++) {
      pending.push(
        createPod(namespace, podNamed(`load-${number}`, named), "?dryRun=All").then(
          (answer) =>
            void (answer.status === 201 || refused.push(`${answer.status} ${String(answer.body.message)}`)),
          (error: unknown) => void refused.push(String(error)),
        ),
      );
      await sleep(50);
    }
  })();
  await something();
  load.on = false;
  await creating;
  await Promise.all(pending);
  return { created: pending.length, refused };
}

test("three rotations of the mounted certificate refuse none of 20 pods a second", async (t) => {
  const namespace = await permitted(t);

  const { created, refused } = await whileCreating(namespace, async () => {
    for (let rotation = 0; rotation < 3; rotation++) {
      await sleep(1_500);
      await volume.rotate();
    }
    await sleep(2_500);
  });

  assert.deepEqual(refused, []);
  assert.ok(created > 100);
  assert.equal(webhook.log(5_000).split("admission.certificate-rotated").length - 1, 3);
});

test("a webhook that is told to stop loses none of 20 pods a second", async (t) => {
  const namespace = await permitted(t);
  const successor = await startWebhook();
  service.endpoints = [webhook.port, successor.port];
  const leaving = webhook;
  webhook = successor;

  const { refused } = await whileCreating(namespace, async () => {
    await sleep(1_000);
    // Kubernetes takes a pod's endpoint away and sends the signal at the same time, in either order.
    leaving.terminate();
    await sleep(300);
    service.endpoints = [successor.port];
    await sleep(5_000);
    await leaving.stop();
  });

  assert.deepEqual(refused, []);
});

test("the policy in the API server refuses what the webhook would, with the webhook away", async (t) => {
  await cluster.apply(readFileSync(join(deploy, "validating-admission-policy.yaml"), "utf8"));
  for (const kind of ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"]) {
    await cluster.admin.expect("DELETE", `/apis/admissionregistration.k8s.io/v1/${kind}/gmsa-webhook`);
  }
  const namespace = await cluster.namespace(t);
  await cluster.waitFor(
    `/api/v1/namespaces/${namespace}/serviceaccounts/default`,
    (account) => account !== undefined,
  );
  const both = {
    securityContext: { windowsOptions: { gmsaCredentialSpecName: "webapp01", gmsaCredentialSpec: contents } },
  };
  let refused = await createPod(namespace, podNamed("web", both), "?dryRun=All");
  for (let attempt = 0; attempt < 100 && refused.status === 201; attempt++) {
    await sleep(100);
    refused = await createPod(namespace, podNamed("web", both), "?dryRun=All");
  }
  assert.equal(refused.status, 403);
  assert.match(
    String(refused.body.message),
    /is not authorized to `use` one of the GMSA cred specs webapp01/,
  );

  await cluster.apply(
    renderUseGrant({ name: "webapp01", spec: nodeOf(sampleSpec()) }, { namespace, serviceAccount: "default" })
      .text,
  );
  let admitted = await createPod(namespace, podNamed("web", both), "?dryRun=All");
  for (let attempt = 0; attempt < 100 && admitted.status !== 201; attempt++) {
    await sleep(100);
    admitted = await createPod(namespace, podNamed("web", both), "?dryRun=All");
  }
  const bare = await createPod(namespace, podNamed("web", named), "?dryRun=All");
  const init = await createPod(
    namespace,
    podNamed("web", { initContainers: [{ name: "i", image, ...named }] }),
    "?dryRun=All",
  );
  const plain = await createPod(namespace, podNamed("web", {}), "?dryRun=All");

  assert.deepEqual([admitted.status, bare.status, init.status, plain.status], [201, 422, 422, 201]);
  assert.match(String(bare.body.message), /needs its contents/);

  const dryRun = (specNames: readonly string[]): Promise<ApiResponse> =>
    createPod(
      namespace,
      podNamed("web", {
        containers: specNames.map((name, at) => ({
          name: `c${at}`,
          image,
          securityContext: {
            windowsOptions: { gmsaCredentialSpecName: name, gmsaCredentialSpec: contents },
          },
        })),
      }),
      "?dryRun=All",
    );
  const granted = ["webapp01", ...Array.from({ length: 8 }, (_, at) => `spec-${at}`)];
  for (const name of granted.slice(1)) {
    await cluster.apply(
      renderUseGrant({ name, spec: nodeOf(sampleSpec()) }, { namespace, serviceAccount: "default" }).text,
    );
  }
  let eight = await dryRun(granted.slice(1));
  for (let attempt = 0; attempt < 100 && eight.status !== 201; attempt++) {
    await sleep(100);
    eight = await dryRun(granted.slice(1));
  }
  const sameThrice = await dryRun(["webapp01", "webapp01", "webapp01"]);
  const nine = await dryRun(granted);
  const oneOfFive = await dryRun([...granted.slice(0, 3), "forbidden", "spec-2", "webapp01"]);

  assert.deepEqual(
    [eight, sameThrice, nine, oneOfFive].map(({ status }) => status),
    [201, 201, 422, 403],
    JSON.stringify([eight.body.message, sameThrice.body.message]),
  );
  assert.match(String(nine.body.message), /at most 8 different GMSA cred specs/);
  assert.match(
    String(oneOfFive.body.message),
    /"default" is not authorized to `use` one of the GMSA cred specs forbidden/,
  );
});

/**
 * What the templates make of values that work together, or against each other. Helm alone does it: no API server is asked.
 * @module
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";

import { runCommand, type CommandResult } from "../../guarded-process.ts";
import type { KubernetesObject } from "../api-client.ts";
import { chartNames, chartPath, objectsIn, requiredValues, type ChartName } from "./chart.ts";

const assets = process.env["SALLYPORT_E2E_KUBERNETES_ASSETS"] ?? "";
const runDirectory = process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? "";

interface Rendering {
  readonly release?: string;
  readonly namespace?: string;
  readonly values?: object;
  readonly flags?: readonly string[];
}

function helm(...args: readonly string[]): Promise<CommandResult> {
  return runCommand(join(assets, "helm4"), args, {
    environment: { HOME: runDirectory, KUBECONFIG: join(runDirectory, "no-kubeconfig") },
  });
}

let written = 0;
function template(name: ChartName, rendering: Rendering): Promise<CommandResult> {
  const { release = "rel", namespace = "ns", values = {}, flags = [] } = rendering;
  const file = join(runDirectory, `rendering-${String(written++)}.json`);
  writeFileSync(file, JSON.stringify(values));
  const common = ["--namespace", namespace, "--values", file, ...requiredValues[name]];
  return helm("template", release, chartPath(name), ...common, ...flags);
}

async function objects(name: ChartName, rendering: Rendering = {}): Promise<readonly KubernetesObject[]> {
  const { code, stdout, stderr } = await template(name, rendering);
  assert.equal(code, 0, stderr);
  return objectsIn(stdout);
}

/** The one object of a kind; of hooks, the Job. */
function ofKind(all: readonly KubernetesObject[], kind: string): KubernetesObject {
  const found = all.find((object) => object.kind === kind);
  assert.ok(found, kind);
  return found;
}

async function refusal(name: ChartName, values: object, flags: readonly string[] = []): Promise<string> {
  const { code, stderr } = await template(name, { values, flags });
  assert.notEqual(code, 0);
  return stderr;
}

/** Every text and number of an object, by its path. */
function leaves(value: unknown, path = ""): readonly (readonly [string, unknown])[] {
  if (typeof value !== "object" || value === null) return [[path, value]];
  return Object.entries(value).flatMap(([name, each]) => leaves(each, `${path}.${name}`));
}

for (const name of ["authenticator", "gmsa-webhook"] as const) {
  test(`${name}: the hook takes the chart's image, unless it has one of its own`, async () => {
    const image = { repository: "mirror.example/sallyport", tag: "7", imagePullPolicy: "Always" };
    const container = async (values: object): Promise<KubernetesObject> =>
      ofKind(await objects(name, { values }), "Job").spec.template.spec.containers[0];

    const same = await container({ image });
    assert.deepEqual([same.image, same.imagePullPolicy], ["mirror.example/sallyport:7", "Always"]);
    const other = await container({ image, crds: { image: { tag: "8", imagePullPolicy: "Never" } } });
    assert.deepEqual([other.image, other.imagePullPolicy], ["mirror.example/sallyport:8", "Never"]);
  });
}

for (const name of chartNames) {
  test(`${name}: the registry may stand in either place of \`global\`, and \`enabled\` is for charts above`, async () => {
    for (const global of [
      { systemDefaultRegistry: "registry.example/" },
      { cattle: { systemDefaultRegistry: "registry.example" }, systemDefaultRegistry: "other.example" },
    ]) {
      const images = (await objects(name, { values: { global, enabled: true } }))
        .flatMap((object) => leaves(object))
        .filter(([path]) => path.endsWith(".image"));

      assert.ok(images.length > 0);
      for (const [, image] of images) assert.match(String(image), /^registry\.example\/sallyport\//u);
    }
  });

  test(`${name}: long release names stay different, and short`, async () => {
    const names = await Promise.all(
      ["one", "two"].map(async (end) =>
        (await objects(name, { release: `a-release-with-a-name-longer-than-forty-${end}` })).map((object) =>
          String(object.metadata.name),
        ),
      ),
    );

    assert.deepEqual(
      names[0]?.filter((one) => names[1]?.includes(one)),
      [],
    );
    for (const one of names.flat()) assert.ok(one.length <= 63, one);
  });

  test(`${name}: labels that are no texts are refused by name`, async () => {
    assert.match(await refusal(name, { podLabels: { pool: 5 } }), /podLabels/u);
    assert.match(await refusal(name, { nodeSelector: { gpu: true } }), /nodeSelector/u);
  });
}

for (const [name, values] of [
  ["authenticator", {}],
  ["gmsa-webhook", { validatingAdmissionPolicy: { enabled: true } }],
  ["gmsa-webhook", { certificates: { mode: "certManager" } }],
  ["gmsa-account-provider", { certificates: { mode: "certManager" } }],
  [
    "gmsa-account-provider",
    {
      accounts: [{ name: "123", source: "kubernetes", secret: "123" }],
      credentialSpecs: [
        {
          name: "123",
          credspec: { CmsPlugins: ["ActiveDirectory"] },
          serviceAccounts: [{ namespace: "2024", name: "123" }],
        },
      ],
    },
  ],
  ["gmsa-plugin-installer", {}],
] as const) {
  test(`${name}: a release and a namespace that look like numbers are texts everywhere (${JSON.stringify(values)})`, async () => {
    const all = await objects(name, { release: "123", namespace: "2024", values });
    // Where a port or an id belongs, a number is one.
    const numbers = all
      .flatMap((object) => leaves(object, String(object.kind)))
      .filter(([, value]) => value === 123 || value === 2024);

    assert.deepEqual(numbers, []);
    assert.ok(all.some((object) => object.metadata.name === "123" && object.metadata.namespace === "2024"));
  });
}

test("authenticator: ports and folder of the configuration file hold for the pods", async () => {
  const server = { port: 21_370, operationsAddress: "[::]:21371", stateDir: "/var/lib/authenticator" };
  const all = await objects("authenticator", { values: { config: { server } } });
  const { spec } = ofKind(all, "DaemonSet").spec.template;
  const [container] = spec.containers;
  const config = parse(ofKind(all, "ConfigMap").data["config.yaml"] as string) as Record<string, object>;

  assert.deepEqual(config["server"], { backendMode: ["MountedFile", "CRD"], ...server });
  assert.deepEqual(
    container.ports.map((each: KubernetesObject) => [each.containerPort, each.hostPort]),
    [
      [21_370, 21_370],
      [21_371, 21_371],
    ],
  );
  assert.deepEqual(container.livenessProbe.httpGet, { host: "127.0.0.1", port: 21_371, path: "/livez" });
  assert.ok(container.args.includes("--state-dir=/var/lib/authenticator"));
  assert.ok(spec.initContainers[0].args.includes("--directory=/var/lib/authenticator"));
  assert.equal(
    spec.volumes.find((volume: KubernetesObject) => volume.name === "state").hostPath.path,
    "/var/lib/authenticator",
  );
});

test("authenticator: what contradicts its configuration file is refused", async () => {
  const server = { port: 21_370, operationsAddress: "127.0.0.1:21371", stateDir: "/var/lib/authenticator" };
  for (const values of [{ port: 21_362 }, { operationsPort: 21_363 }, { stateDirectory: "/var/other" }]) {
    const [name = ""] = Object.keys(values);
    assert.match(
      await refusal("authenticator", { config: { server }, ...values }),
      new RegExp(`${name} is \\S+ and .*config\\.server\\.\\w+ is \\S+: set one`, "u"),
    );
  }
  assert.match(
    await refusal("authenticator", { config: { clusterID: "c-other" } }),
    /clusterId is c-e2e and config\.clusterID is c-other/u,
  );
});

test("authenticator: NOTES say where the API server's kubeconfig is, if not where it is looked for", async () => {
  const notes = async (...flags: readonly string[]): Promise<string> =>
    (
      await helm(
        "install",
        "rel",
        chartPath("authenticator"),
        "--dry-run=client",
        "--set=clusterId=c",
        ...flags,
      )
    ).stdout.replace(/.*^NOTES:$/msu, "");

  assert.doesNotMatch(await notes(), /--kubeconfig/u);
  const elsewhere = await notes("--set=kubeconfigDirectory=/etc/kubernetes/authenticator");
  for (const undo of ["", " --undo"]) {
    const command = `configure-api-server.sh --kubeconfig /etc/kubernetes/authenticator/kubeconfig.yaml${undo}`;
    assert.ok(elsewhere.includes(command), elsewhere);
  }
});

test("authenticator: a long user id stays a whole number", async () => {
  const { spec } = ofKind(await objects("authenticator", { values: { user: 1_000_650_000 } }), "DaemonSet")
    .spec.template;

  assert.equal(spec.containers[0].securityContext.runAsUser, 1_000_650_000);
  assert.ok(spec.initContainers[0].args.includes("--owner=1000650000:1000650000"));
});

test("authenticator: the control plane's nodes can be known by another label alone", async () => {
  const selector = async (values: object): Promise<object> =>
    ofKind(await objects("authenticator", { values }), "DaemonSet").spec.template.spec.nodeSelector;

  assert.deepEqual(await selector({}), { "node-role.kubernetes.io/control-plane": "" });
  assert.deepEqual(await selector({ controlPlaneNodes: { role: "master" }, nodeSelector: { zone: "a" } }), {
    role: "master",
    zone: "a",
  });
});

async function webhookPod(values: object): Promise<KubernetesObject> {
  return ofKind(await objects("gmsa-webhook", { values }), "Deployment").spec.template.spec;
}

test("gmsa-webhook: a port below 1024 may be listened on", async () => {
  const own = { name: "net.ipv4.ip_unprivileged_port_start", value: "0" };
  const more = { name: "net.ipv4.tcp_keepalive_time", value: "60" };

  assert.deepEqual((await webhookPod({})).securityContext.sysctls, undefined);
  assert.deepEqual((await webhookPod({ containerPort: "443" })).securityContext.sysctls, [own]);
  assert.deepEqual(
    (await webhookPod({ containerPort: 443, podSecurityContext: { sysctls: [more] } })).securityContext
      .sysctls,
    [more, own],
  );
  assert.match(
    await refusal("gmsa-webhook", { containerPort: "443", hostNetwork: true }),
    /have to be 1024 or more with hostNetwork/u,
  );
});

test("gmsa-webhook: the image of the chart that came before is refused", async () => {
  const repository = "registry.example/gmsa-webhook/k8s-gmsa-webhook";
  assert.match(await refusal("gmsa-webhook", { image: { repository } }), /Leave image out of the values/u);
});

test("gmsa-webhook: the authority is taken as PEM and as its base64, and nothing else is", async () => {
  const pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  const base64 = Buffer.from(pem).toString("base64");
  const bundle = async (caBundle: string): Promise<string> =>
    ofKind(
      await objects("gmsa-webhook", { values: { certificates: { mode: "secret", caBundle } } }),
      "ValidatingWebhookConfiguration",
    ).webhooks[0].clientConfig.caBundle;

  assert.equal(await bundle(pem), base64);
  assert.equal(await bundle(base64), base64);
  assert.equal(await bundle(`${base64.slice(0, 64)}\n${base64.slice(64)}\n`), base64);
  assert.match(
    await refusal("gmsa-webhook", { certificates: { mode: "secret", caBundle: "authority" } }),
    /certificates\.caBundle is neither certificates in PEM nor the base64 of such/u,
  );
});

test("gmsa-webhook: names of callers are texts, whatever they hold", async () => {
  const names = ["true", "CN: api", "#1"];
  const pod = await webhookPod({ apiServerClient: { caConfigMapName: "ca", names } });

  for (const name of names) assert.ok(pod.containers[0].args.includes(`--client-name=${name}`), name);
});

test("gmsa-webhook: a pod is given the time that its stop takes", async () => {
  for (const [values, seconds] of [
    [{}, 30],
    [{ drain: "2m" }, 135],
    [{ drain: "1h", linger: "1500ms" }, 3612],
  ] as const) {
    assert.equal((await webhookPod(values)).terminationGracePeriodSeconds, seconds);
  }
});

test("gmsa-webhook: on the host's network an old pod makes room for the new one", async () => {
  const strategy = async (values: object): Promise<object> =>
    ofKind(await objects("gmsa-webhook", { values }), "Deployment").spec.strategy;

  assert.deepEqual(await strategy({}), {
    type: "RollingUpdate",
    rollingUpdate: { maxUnavailable: 0, maxSurge: 1 },
  });
  assert.deepEqual(await strategy({ hostNetwork: true }), {
    type: "RollingUpdate",
    rollingUpdate: { maxUnavailable: 1, maxSurge: 0 },
  });
  assert.deepEqual(
    await strategy({ hostNetwork: true, updateStrategy: { rollingUpdate: { maxUnavailable: "50%" } } }),
    { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "50%", maxSurge: 0 } },
  );
});

test("gmsa-webhook: a budget says one of two things", async () => {
  assert.match(
    await refusal("gmsa-webhook", { podDisruptionBudget: { minAvailable: 1, maxUnavailable: 1 } }),
    /minAvailable and podDisruptionBudget\.maxUnavailable exclude each other/u,
  );
});

test("gmsa-webhook: what an older Kubernetes does not know is asked to be turned off", async () => {
  const old = ["--kube-version=1.24"];
  const without = {
    matchConditions: { enabled: false },
    podDisruptionBudget: { unhealthyPodEvictionPolicy: "" },
  };

  assert.match(await refusal("gmsa-webhook", {}, old), /matchConditions\.enabled \(set it to false/u);
  assert.match(
    await refusal("gmsa-webhook", { matchConditions: { enabled: false } }, old),
    /unhealthyPodEvictionPolicy \(set it to the empty text\) needs Kubernetes 1\.27/u,
  );
  assert.match(
    await refusal("gmsa-webhook", { ...without, validatingAdmissionPolicy: { enabled: true } }, old),
    /validatingAdmissionPolicy\.enabled needs Kubernetes 1\.30/u,
  );
  await objects("gmsa-webhook", { values: without, flags: old });
});

/** An object among several of its kind: the one with that name which is no hook. */
function named(all: readonly KubernetesObject[], kind: string, name: string): KubernetesObject {
  const found = all.filter(
    (object) =>
      object.kind === kind &&
      object.metadata.name === name &&
      object.metadata.annotations?.["helm.sh/hook"] === undefined,
  );
  assert.equal(found.length, 1, `${kind} ${name}`);
  return found[0];
}

/** Secret, key and path of everything in the provider's folder of certificates. */
async function mountedFiles(mode: string): Promise<readonly string[]> {
  const all = await objects("gmsa-account-provider", { values: { certificates: { mode } } });
  const volumes = named(all, "DaemonSet", "rel").spec.template.spec.volumes as readonly KubernetesObject[];
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
    "rel-server tls.crt server/tls.crt",
    "rel-server tls.key server/tls.key",
    "rel-server ca.crt server/ca.crt",
    "rel-client tls.crt client/tls.crt",
    "rel-client tls.key client/tls.key",
    "rel-client ca.crt client/ca.crt",
  ]);
  assert.deepEqual(await mountedFiles("secret"), [
    "ca-cert ca.crt ca/ca.crt",
    "account-provider-cert tls.crt server/tls.crt",
    "account-provider-cert tls.key server/tls.key",
    "ccg-dll-cert tls.crt client/tls.crt",
    "ccg-dll-cert tls.key client/tls.key",
  ]);
});

test("gmsa-account-provider: cert-manager's authority outlives every leaf that it signed", async () => {
  const all = await objects("gmsa-account-provider", { values: { certificates: { mode: "certManager" } } });
  const hours = (text: unknown): number => Number(String(text).replace(/h$/u, ""));
  const authority = named(all, "Certificate", "rel-ca").spec;

  for (const side of ["server", "client"]) {
    const leaf = named(all, "Certificate", `rel-${side}`).spec;
    assert.ok(hours(authority.renewBefore) >= hours(leaf.duration), side);
  }
  // A life alone, as it may stand in an older file.
  for (const [duration, renewBefore] of [
    ["720h", "360h"],
    ["87600h0m0s", "2880h"],
    ["90m", undefined],
  ] as const) {
    const certificates = { mode: "certManager", certManager: { caCert: { duration } } };
    const { spec } = named(
      await objects("gmsa-account-provider", { values: { certificates } }),
      "Certificate",
      "rel-ca",
    );
    assert.equal(spec.renewBefore, renewBefore, duration);
  }
});

test("gmsa-account-provider: it listens where it is told, and is asked there", async () => {
  for (const [address, argument, host] of [
    ["127.0.0.1", "127.0.0.1:9402", "127.0.0.1"],
    ["0.0.0.0", "0.0.0.0:9402", "127.0.0.1"],
    ["::1", "[::1]:9402", "::1"],
    ["[::1]", "[::1]:9402", "::1"],
    ["::", "[::]:9402", "127.0.0.1"],
  ] as const) {
    const all = await objects("gmsa-account-provider", { values: { operations: { address, port: 9402 } } });
    const [container] = named(all, "DaemonSet", "rel").spec.template.spec.containers;

    assert.ok(container.args.includes(`--operations-address=${argument}`), address);
    for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"])
      assert.equal(container[probe].httpGet.host, host, address);
  }
});

test("gmsa-account-provider: a pod is given the time that its stop takes", async () => {
  for (const [values, seconds] of [
    [{}, 30],
    [{ drain: "2m" }, 140],
    [{ drain: "1500ms" }, 22],
  ] as const) {
    const all = await objects("gmsa-account-provider", { values });
    assert.equal(named(all, "DaemonSet", "rel").spec.template.spec.terminationGracePeriodSeconds, seconds);
  }
});

test("gmsa-account-provider: no two pairs of spec and service account have one RoleBinding", async () => {
  const spec = (name: string, account: string): object => ({
    name,
    credspec: { CmsPlugins: ["ActiveDirectory"] },
    serviceAccounts: [{ namespace: "apps", name: account }],
  });
  const all = await objects("gmsa-account-provider", {
    values: { credentialSpecs: [spec("web", "a-b"), spec("web-a", "b")] },
  });
  const bindings = all.filter(
    (object) => object.kind === "RoleBinding" && object.metadata.namespace === "apps",
  );

  assert.deepEqual(
    bindings.map((object) => String(object.metadata.name)),
    ["use-gmsa:web:a-b", "use-gmsa:web-a:b"],
  );
  for (const binding of bindings) named(all, "ClusterRole", String(binding.roleRef.name));
});

test("gmsa-plugin-installer: both class ids can be answered to, and taken", async () => {
  const args = async (values: object): Promise<readonly string[]> =>
    named(await objects("gmsa-plugin-installer", { values }), "DaemonSet", "rel").spec.template.spec
      .containers[0].args as readonly string[];

  assert.ok(!(await args({})).includes("--answer-key-vault-plugin"));
  const both = await args({ answerKeyVaultPlugin: true, takeOver: true });
  assert.ok(both.includes("--answer-key-vault-plugin") && both.includes("--take-over"));
});

for (const name of ["gmsa-account-provider", "gmsa-plugin-installer"] as const) {
  test(`${name}: the cleanup ends, and says what it left, before Helm gives up`, async () => {
    const helmGivesUpAfter = 300;
    const job = ofKind(await objects(name), "Job");
    assert.ok(job.spec.template.spec.containers[0].args.includes("--timeout=3m"));
    assert.ok(job.spec.activeDeadlineSeconds > 180 && job.spec.activeDeadlineSeconds < helmGivesUpAfter);

    const longer = ofKind(await objects(name, { values: { cleanup: { timeout: "10m" } } }), "Job");
    assert.ok(longer.spec.activeDeadlineSeconds > 600);
  });

  test(`${name}: the Job that waits is of the version of the chart's image, from its own repository`, async () => {
    const container = async (values: object): Promise<KubernetesObject> =>
      ofKind(await objects(name, { values }), "Job").spec.template.spec.containers[0];
    const image = { repository: "mirror.example/windows", tag: "7", imagePullPolicy: "Always" };

    const same = await container({ image });
    assert.deepEqual([same.image, same.imagePullPolicy], ["sallyport/sallyport:7", "Always"]);
    const own = { repository: "mirror.example/linux", tag: "8", imagePullPolicy: "Never" };
    const other = await container({ image, cleanup: { image: own } });
    assert.deepEqual([other.image, other.imagePullPolicy], ["mirror.example/linux:8", "Never"]);
  });

  test(`${name}: a cleanup that was left over ends before anything is installed`, async () => {
    for (const enabled of [true, false]) {
      const all = await objects(name, { values: { cleanup: { enabled } } });
      const end = all.filter(
        (object) =>
          object.kind === "DaemonSet" &&
          object.metadata.name === "rel-cleanup" &&
          String(object.metadata.annotations["helm.sh/hook"]) === "pre-install,pre-upgrade",
      );

      assert.equal(end.length, 1);
      assert.match(
        String(end[0]?.metadata.annotations["helm.sh/hook-delete-policy"]),
        /before-hook-creation/u,
      );
      // No node has that label.
      assert.deepEqual(end[0]?.spec.template.spec.nodeSelector, { "sallyport.io/no-node": "true" });
    }
  });
}

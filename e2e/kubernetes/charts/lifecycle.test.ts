/**
 * Each chart installed twice in one namespace, upgraded from the version before, and uninstalled; its hooks run on nodes of
 * the bed. What is left is what Helm's documentation says: CustomResourceDefinitions.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import type { CommandResult } from "../../guarded-process.ts";
import type { KubernetesObject } from "../api-client.ts";
import type { ControlPlane } from "../control-plane.ts";
import { certManagerDefinitions } from "./cert-manager.ts";
import {
  chartNames,
  chartPath,
  definitionsOf,
  everything,
  previousVersion,
  requiredValues,
  type ChartName,
} from "./chart.ts";
import { NodeAgent } from "./node-agent.ts";
import { suiteCluster } from "./suite-cluster.ts";

let cluster: ControlPlane;
let agent: NodeAgent;

before(async () => {
  cluster = await suiteCluster();
  agent = await NodeAgent.start(cluster);
  await cluster.apply(await certManagerDefinitions());
});
after(async () => {
  await agent?.stop();
  await cluster?.stop();
});

/** What the second release of a namespace needs besides another name. */
const second: Readonly<Record<ChartName, readonly string[]>> = {
  "gmsa-account-provider": ["--set=pluginNamespace=second"],
  "gmsa-plugin-installer": [],
  "gmsa-webhook": [],
  authenticator: [
    "--set=port=21364,operationsPort=21365",
    "--set=stateDirectory=/var/second,kubeconfigDirectory=/etc/kubernetes/second",
  ],
};

/** So that the chart has to bring them. */
async function removeDefinitions(name: ChartName): Promise<void> {
  for (const { metadata } of definitionsOf(name)) {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${String(metadata.name)}`;
    await cluster.admin.request("DELETE", path);
    await cluster.waitFor(path, (crd) => crd === undefined);
  }
}

type Helm = (args: readonly string[]) => Promise<{ readonly stdout: string; readonly stderr: string }>;
const helms: Readonly<Record<"Helm 3" | "Helm 4", Helm>> = {
  "Helm 3": (args) => cluster.helm3(args, { timeoutMs: 120_000 }),
  "Helm 4": (args) => cluster.helm4(args, { timeoutMs: 120_000 }),
};

/** Waits for the garbage collector. */
async function leftBehind(before_: ReadonlySet<string>): Promise<readonly string[]> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const left = [...(await everything(cluster))].filter((path) => !before_.has(path));
    const notDefinitions = left.filter((path) => !path.includes("/customresourcedefinitions/"));
    if (notDefinitions.length === 0 || Date.now() > deadline) return left;
    await sleep(250);
  }
}

async function definitionUids(name: ChartName): Promise<readonly string[]> {
  const uids: string[] = [];
  for (const { metadata } of definitionsOf(name)) {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${String(metadata.name)}`;
    uids.push((await cluster.admin.expect("GET", path)).metadata.uid as string);
  }
  return uids;
}

for (const name of chartNames) {
  for (const [helmName, helm] of Object.entries(helms)) {
    test(`${name} with ${helmName}: installed twice, upgraded and uninstalled, it leaves only CRDs behind`, async (t) => {
      if (name === "gmsa-account-provider") {
        await agent.addNode("windows-1", "windows");
        t.after(() => agent.removeNode("windows-1"));
      }
      const namespace = await cluster.namespace(t);
      await cluster.waitFor(
        `/api/v1/namespaces/${namespace}/configmaps/kube-root-ca.crt`,
        (map) => map !== undefined,
      );
      await cluster.waitFor(
        `/api/v1/namespaces/${namespace}/serviceaccounts/default`,
        (account) => account !== undefined,
      );
      await removeDefinitions(name);
      const before_ = await everything(cluster);
      const previous = previousVersion(name);
      const values = {
        first: ["--namespace", namespace, ...requiredValues[name]],
        second: ["--namespace", namespace, ...requiredValues[name], ...second[name]],
      };

      await helm(["install", "first", previous, ...values.first]);
      await helm(["install", "second", previous, ...values.second]);
      const uids = await definitionUids(name);
      const own = [...(await everything(cluster))].filter((path) => !before_.has(path));
      for (const release of ["first", "second"]) assert.ok(own.some((path) => path.endsWith(`/${release}`)));
      // Only hooks of an uninstallation stay unseen here; all other hooks are gone.
      assert.deepEqual(
        own.filter((path) => path.endsWith("-crds") || path.endsWith("-cleanup")),
        [],
      );

      await helm(["upgrade", "first", chartPath(name), ...values.first]);
      await helm(["upgrade", "second", chartPath(name), ...values.second]);
      const history = JSON.parse(
        (await helm(["list", "--namespace", namespace, "--output", "json"])).stdout,
      ) as readonly { readonly chart: string; readonly status: string; readonly revision: string }[];
      assert.deepEqual(
        history.map(({ chart, status, revision }) => [chart, status, revision]),
        [
          [`${name}-0.1.0`, "deployed", "2"],
          [`${name}-0.1.0`, "deployed", "2"],
        ],
      );

      await helm(["uninstall", "first", "--namespace", namespace]);
      // The other one is whole.
      const rest = [...(await everything(cluster))].filter((path) => !before_.has(path));
      assert.ok(rest.some((path) => path.endsWith("/second")));
      await helm(["uninstall", "second", "--namespace", namespace]);

      const left = await leftBehind(before_);
      const definitions = definitionsOf(name).map(({ metadata }) => String(metadata.name));
      assert.deepEqual(
        left.filter((path) => !definitions.some((definition) => path.endsWith(`/${definition}`))),
        [],
      );
      assert.deepEqual(await definitionUids(name), uids, "the definitions are the same ones");
    });
  }
}

for (const [helmName, helm, flags] of [
  ["Helm 3", "helm3", []],
  // It disputes a definition that somebody else made, unless told to leave that to the hook.
  ["Helm 4", "helm4", ["--skip-crds"]],
] as const) {
  test(`with ${helmName} specs outlive an upgrade and an uninstallation of the webhook's chart, and an outdated definition is renewed`, async (t) => {
    const namespace = await cluster.namespace(t);
    const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gmsacredentialspecs.windows.k8s.io";
    // As the chart of windows-gmsa once installed it: without Helm's labels, and one version poorer.
    await cluster.admin.request("DELETE", path);
    await cluster.waitFor(path, (crd) => crd === undefined);
    const [definition] = definitionsOf("gmsa-webhook");
    await cluster.admin.expect("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {
      ...definition,
      spec: {
        ...definition.spec,
        versions: definition.spec.versions.filter((version: KubernetesObject) => version.name === "v1"),
      },
    });
    await cluster.waitFor(path, (crd) =>
      crd?.status?.conditions?.some(
        (condition: KubernetesObject) => condition.type === "Established" && condition.status === "True",
      ),
    );
    await cluster.admin.expect("POST", "/apis/windows.k8s.io/v1/gmsacredentialspecs", {
      apiVersion: "windows.k8s.io/v1",
      kind: "GMSACredentialSpec",
      metadata: { name: "survivor" },
      credspec: { CmsPlugins: ["ActiveDirectory"] },
    });
    const chart = chartPath("gmsa-webhook");
    const run = (args: readonly string[]): Promise<unknown> =>
      cluster[helm]([...args, "--namespace", namespace], { timeoutMs: 120_000 });

    await run(["install", "hook", chart, ...flags]);
    const versions = (await cluster.admin.expect("GET", path)).spec.versions as readonly KubernetesObject[];
    await run(["upgrade", "hook", chart]);
    await run(["uninstall", "hook"]);

    assert.deepEqual(
      versions.map((version: KubernetesObject) => String(version.name)),
      ["v1", "v1alpha1"],
    );
    const survivor = await cluster.admin.request(
      "GET",
      "/apis/windows.k8s.io/v1/gmsacredentialspecs/survivor",
    );
    assert.equal(survivor.status, 200);
  });
}

test("with Helm 4 the authenticator's chart follows ack-ram-authenticator's manifests, as the guide says", async (t) => {
  const namespace = await cluster.namespace(t);
  await removeDefinitions("authenticator");
  const [definition] = definitionsOf("authenticator");
  const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${String(definition?.metadata.name)}`;
  const older = structuredClone(definition);
  for (const version of older.spec.versions) {
    delete version.additionalPrinterColumns;
    delete version.schema.openAPIV3Schema.properties.spec.properties.userID;
  }
  await cluster.kubectl(["create", "--filename", "-"], { stdin: JSON.stringify(older) });
  t.after(() => removeDefinitions("authenticator"));
  const install = ["install", "ack", chartPath("authenticator"), ...requiredValues.authenticator];
  const run = (args: readonly string[], allowFailure = false): Promise<{ readonly stderr: string }> =>
    cluster.helm4([...args, "--namespace", namespace], { timeoutMs: 120_000, allowFailure });

  const disputed = await run(install, true);
  await run([...install, "--skip-crds"]);
  const renewed = await cluster.admin.expect("GET", path);
  await run(["uninstall", "ack"]);

  assert.match(disputed.stderr, /Apply failed with \d+ conflicts?/u);
  assert.deepEqual(
    renewed.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.userID,
    definition?.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.userID,
  );
});

test("the cleanup removes what a killed provider left, on nodes that are there, and names the others", async (t) => {
  const namespace = await installProvider(t, ["--set=cleanup.timeout=8s"]);
  const up = await agent.addNode("windows-up", "windows");
  const down = await agent.addNode("windows-down", "windows", { down: true });
  t.after(async () => {
    await agent.removeNode("windows-up");
    await agent.removeNode("windows-down");
  });
  const files = [up, down].map((root) => leaveFiles(root, namespace));

  await cluster.helm4(["uninstall", "web", "--namespace", namespace], { timeoutMs: 120_000 });

  assert.deepEqual(files.map(existsSync), [false, true], agent.log);
  assert.match(agent.log, /wait: windows-up: done$/mu);
  assert.match(agent.log, /wait: windows-down: not reached \(no container was started\)$/mu);
  assert.match(agent.log, /2 nodes: 1 done, 0 failed, 1 not reached\.$/mu);
});

for (const [helm, daemonSetAfterwards] of [
  ["helm3", 200],
  ["helm4", 404],
] as const) {
  test(`a node that cannot be cleaned fails the hook, which says what is left there (${helm})`, async (t) => {
    // The plugin lives on Windows alone, and the nodes of the bed say so.
    const node = `windows-${helm}`;
    await agent.addNode(node, "windows");
    t.after(() => agent.removeNode(node));
    const namespace = await cluster.namespace(t);
    await cluster[helm](["install", "plugin", chartPath("gmsa-plugin-installer"), "--namespace", namespace]);

    const result = await cluster[helm](["uninstall", "plugin", "--namespace", namespace, "--timeout=25s"], {
      allowFailure: true,
      timeoutMs: 120_000,
    });

    assert.notEqual(result.code, 0, agent.log);
    assert.match(agent.log, new RegExp(`wait: ${node}: failed \\(.*this host runs linux`, "u"));
    const { stdout: releases } = await cluster.helm3(["list", "--all", "--short", "--namespace", namespace]);
    assert.equal(releases, "", "the release is gone all the same");
    // And what failed stays to be looked at.
    const status = async (path: string): Promise<number> =>
      (await cluster.admin.request("GET", `/apis/${path}/plugin-cleanup`)).status;
    assert.equal(await status(`batch/v1/namespaces/${namespace}/jobs`), 200);
    assert.equal(await status(`apps/v1/namespaces/${namespace}/daemonsets`), daemonSetAfterwards);
  });
}

test("a second provider for the same host directory is refused with a sentence, unless its nodes are others", async (t) => {
  const namespace = await installProvider(t, ["--set=nodeSelector.pool=a"]);
  const elsewhere = await cluster.namespace(t);
  const dryRun = (release: string, where: string, ...values: readonly string[]): Promise<CommandResult> =>
    cluster.helm4(
      [
        "install",
        release,
        chartPath("gmsa-account-provider"),
        "--dry-run=server",
        "--namespace",
        where,
      ].concat(values),
      { allowFailure: true },
    );

  for (const [where, ...values] of [
    [namespace],
    [namespace, "--set=nodeSelector.pool=a"],
    [namespace, "--set=nodeSelector.zone=z"],
    [elsewhere, `--set=pluginNamespace=${namespace}`],
  ] as const) {
    const refused = await dryRun("other", where, ...values);
    assert.notEqual(refused.code, 0, String(values));
    assert.match(
      refused.stderr,
      /The release "web" of the namespace "test-[^"]+" serves the host directory "test-[^"]+" on the same nodes/u,
    );
  }
  for (const [release, where, ...values] of [
    ["other", namespace, "--set=nodeSelector.pool=b"],
    ["other", namespace, "--set=pluginNamespace=second"],
    ["web", elsewhere],
    ["other", namespace, "--set=refuseSharedHostDirectory=false"],
  ] as const) {
    const taken = await dryRun(release, where, ...values);
    assert.equal(taken.code, 0, taken.stderr);
  }
  await cluster.helm4(["uninstall", "web", "--namespace", namespace, "--no-hooks"]);
});

for (const helm of ["helm3", "helm4"] as const) {
  test(`a cleanup that stayed after a failure does not undo the next installation (${helm})`, async (t) => {
    const namespace = await cluster.namespace(t);
    const path = `/apis/apps/v1/namespaces/${namespace}/daemonsets/plugin-cleanup`;
    await cluster.admin.expect("POST", `/apis/apps/v1/namespaces/${namespace}/daemonsets`, {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: "plugin-cleanup" },
      spec: {
        selector: { matchLabels: { app: "plugin-cleanup" } },
        template: {
          metadata: { labels: { app: "plugin-cleanup" } },
          spec: { containers: [{ name: "stay", image: "sallyport" }] },
        },
      },
    });

    await cluster[helm](["install", "plugin", chartPath("gmsa-plugin-installer"), "--namespace", namespace], {
      timeoutMs: 120_000,
    });

    await cluster.waitFor(path, (daemonSet) => daemonSet === undefined);
    await cluster[helm](["uninstall", "plugin", "--namespace", namespace, "--no-hooks"]);
  });
}

async function installProvider(t: TestContext, values: readonly string[] = []): Promise<string> {
  const namespace = await cluster.namespace(t);
  await cluster.helm4([
    "install",
    "web",
    chartPath("gmsa-account-provider"),
    "--namespace",
    namespace,
    ...values,
  ]);
  return namespace;
}

/** A port file as a provider that was killed leaves it. */
function leaveFiles(root: string, namespace: string): string {
  const folder = join(root, "var/lib/rancher/gmsa", namespace);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "port.txt"), "12345");
  return folder;
}

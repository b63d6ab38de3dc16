/**
 * Tests of checking manifests, with specs and RBAC from a folder.
 * @module
 */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { stringify } from "yaml";
import { sampleSpec } from "../../test/samples/credential-spec.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { systemClock } from "../clock.ts";
import { nodeOf } from "../credential-spec/json.ts";
import { renderResource, renderUseGrant } from "../credential-spec/render/kubernetes.ts";
import { createRegistry } from "../observe/metrics.ts";
import { silentLog } from "../observe/log.ts";
import { createAdmitter } from "./admitter.ts";
import { createCachedSpecs } from "./cached-specs.ts";
import { checkManifest, type CheckOptions, type CheckResult } from "./check.ts";
import { openWorld } from "./run.ts";

const spec = { name: "webapp01", spec: nodeOf(sampleSpec()) };
const resource = renderResource(spec).text;
const grant = renderUseGrant(spec, { namespace: "shop", serviceAccount: "app" }).text;
const rule = { apiGroups: ["windows.k8s.io"], resources: ["gmsacredentialspecs"], verbs: ["use"] };
const podSpec = {
  serviceAccountName: "app",
  securityContext: { windowsOptions: { gmsaCredentialSpecName: "webapp01" } },
  containers: [{ name: "c" }],
};
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace: "shop" },
  spec: { template: { spec: podSpec } },
};

async function check(
  t: TestContext,
  manifests: readonly string[],
  checked: unknown,
  options: Partial<CheckOptions> = {},
): Promise<CheckResult> {
  const folder = temporaryFolder(t);
  await Promise.all(manifests.map((text, index) => writeFile(join(folder, `${index}.yaml`), text)));
  const { source, access } = await openWorld(
    { source: { kind: "manifests", folder }, accessCacheMs: 0 },
    createRegistry("test"),
    silentLog,
  );
  t.after(() => source.close());
  const admitter = createAdmitter(
    { specs: createCachedSpecs(source, systemClock, false), access, randomUuid: () => "" },
    { randomHostname: false, authoriseExpansion: true, missingContents: "deny" },
  );
  const text = typeof checked === "string" ? checked : stringify(checked);
  return await checkManifest(
    text,
    admitter,
    { namespace: "default", as: undefined, ...options },
    AbortSignal.timeout(5_000),
  );
}

function only(result: CheckResult) {
  assert.ok(result.ok);
  const [pod] = result.pods;
  assert.ok(pod !== undefined);
  return pod;
}

test("a workload whose service account may use the spec is allowed", async (t) => {
  const pod = only(await check(t, [resource, grant], deployment));

  assert.deepEqual([pod.label, pod.allowed, pod.specs], ["Deployment shop/web", true, ["webapp01"]]);
});

test("the same one without RBAC is refused with the webhook's words", async (t) => {
  const pod = only(await check(t, [resource], deployment));

  assert.deepEqual(
    [pod.allowed, pod.reason],
    [false, 'service account "app" is not authorized to `use` GMSA cred spec "webapp01"'],
  );
});

test("another service account can be asked about", async (t) => {
  const pod = only(
    await check(t, [resource, grant], deployment, { as: { namespace: "shop", serviceAccount: "other" } }),
  );

  assert.equal(pod.allowed, false);
});

test("a spec that does not exist is told", async (t) => {
  const pod = only(await check(t, [grant], deployment));

  assert.equal(pod.reason, "cred spec webapp01 does not exist");
});

test("warnings about replicas are given for a workload", async (t) => {
  const checked = { ...deployment, spec: { template: { spec: { ...podSpec, hostname: "mine" } } } };

  assert.match(
    only(await check(t, [resource, grant], checked)).warnings.join(),
    /all replicas get the host name/,
  );
});

test("a manifest without pods is a problem, and so is a broken one", async (t) => {
  assert.ok(!(await check(t, [], { kind: "Service" })).ok);
  assert.ok(!(await check(t, [], "a: [")).ok);
});

const clusterRole = stringify({
  apiVersion: "rbac.authorization.k8s.io/v1",
  kind: "ClusterRole",
  metadata: { name: "use-all" },
  rules: [rule],
});
const bind = (kind: string, subject: object, namespace?: string): string =>
  stringify({
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind,
    metadata: { name: "b", ...(namespace === undefined ? {} : { namespace }) },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "use-all" },
    subjects: [subject],
  });

const bindings: readonly (readonly [name: string, binding: string, allowed: boolean])[] = [
  [
    "a RoleBinding to a ClusterRole",
    bind("RoleBinding", { kind: "ServiceAccount", name: "app" }, "shop"),
    true,
  ],
  [
    "a RoleBinding of another namespace",
    bind("RoleBinding", { kind: "ServiceAccount", name: "app", namespace: "shop" }, "other"),
    false,
  ],
  [
    "a ClusterRoleBinding",
    bind("ClusterRoleBinding", { kind: "ServiceAccount", name: "app", namespace: "shop" }),
    true,
  ],
  [
    "the group of the namespace's service accounts",
    bind("ClusterRoleBinding", { kind: "Group", name: "system:serviceaccounts:shop" }),
    true,
  ],
  [
    "the group of all authenticated users",
    bind("ClusterRoleBinding", { kind: "Group", name: "system:authenticated" }),
    false,
  ],
  [
    "the user of the service account",
    bind("ClusterRoleBinding", { kind: "User", name: "system:serviceaccount:shop:app" }),
    true,
  ],
];

for (const [name, binding, allowed] of bindings) {
  test(`${name} ${allowed ? "gives" : "does not give"} the right to use`, async (t) => {
    assert.equal(only(await check(t, [resource, clusterRole, binding], deployment)).allowed, allowed);
  });
}

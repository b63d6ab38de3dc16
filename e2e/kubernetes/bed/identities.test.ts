/**
 * The bed itself: users and service accounts that RBAC can tell apart.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { Cluster } from "../cluster.ts";
import { sharedCluster } from "../shared-cluster.ts";

let cluster: Cluster;
before(async () => {
  cluster = await sharedCluster();
});
after(() => {
  cluster.close();
});

/** Two secrets, and a Role that names the first, bound to whoever is asked for. */
function oneSecretRole(subject: Readonly<Record<string, string>>): readonly object[] {
  return [
    ...["mine", "theirs"].map((name) => ({ apiVersion: "v1", kind: "Secret", metadata: { name } })),
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "Role",
      metadata: { name: "one-secret" },
      rules: [
        { apiGroups: [""], resources: ["secrets"], resourceNames: ["mine"], verbs: ["get", "list", "watch"] },
      ],
    },
    {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "RoleBinding",
      metadata: { name: "one-secret" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "one-secret" },
      subjects: [subject],
    },
  ];
}

test("a service account reads the one secret its Role names, and is refused the others", async (t) => {
  const namespace = await cluster.namespace(t);
  const reader = { serviceAccount: "reader", namespace };
  await cluster.apply(
    [
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "reader" } },
      ...oneSecretRole({ kind: "ServiceAccount", name: "reader", namespace }),
    ],
    { namespace },
  );

  const mine = await cluster.kubectl(["get", "secret", "mine", "-o", "name"], { as: reader });
  const theirs = await cluster.kubectl(["get", "secret", "theirs"], { as: reader, allowFailure: true });
  const all = await (await cluster.client(reader)).request("GET", `/api/v1/namespaces/${namespace}/secrets`);

  assert.equal(mine.stdout.trim(), "secret/mine");
  assert.match(theirs.stderr, /Forbidden.*system:serviceaccount:.*:reader.*cannot get resource "secrets"/u);
  assert.equal(all.status, 403);
});

test("a made-up user is known by the name and groups of its certificate", async (t) => {
  const namespace = await cluster.namespace(t);
  await cluster.apply(
    oneSecretRole({ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: "readers" }),
    { namespace },
  );
  const path = `/api/v1/namespaces/${namespace}/secrets/mine`;

  const member = await cluster.client({ user: "alice", groups: ["staff", "readers"] });
  const stranger = await cluster.client({ user: "bob", groups: ["staff"] });
  const whoami = await cluster.kubectl(["auth", "whoami", "-o", "jsonpath={.status.userInfo}"], {
    as: { user: "alice", groups: ["staff", "readers"] },
  });

  assert.equal((await member.request("GET", path)).status, 200);
  assert.equal((await stranger.request("GET", path)).status, 403);
  const { username, groups } = JSON.parse(whoami.stdout) as { username: string; groups: string[] };
  assert.equal(username, "alice");
  assert.deepEqual(groups, ["staff", "readers", "system:authenticated"]);
});

test("a rotated service-account token replaces the old one, which is refused from then on", async (t) => {
  const namespace = await cluster.namespace(t);
  await cluster.apply([{ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "rotated" } }], {
    namespace,
  });
  const mount = await cluster.mountServiceAccount(namespace, "rotated");
  const old = cluster.clientWithToken(mount.token());
  assert.equal((await old.request("GET", "/api")).status, 200);

  await mount.rotate();

  assert.equal((await old.request("GET", "/api")).status, 401);
  const whoami = await cluster.kubectl(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"], {
    kubeconfig: mount.kubeconfig,
  });
  assert.equal(whoami.stdout, `system:serviceaccount:${namespace}:rotated`);
});

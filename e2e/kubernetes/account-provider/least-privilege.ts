/**
 * What the chart of the account provider creates for one impersonation account:
 * a service account whose Role names one secret, next to a secret it may not read.
 * @module
 */
import type { TestContext } from "node:test";

import type { Cluster } from "../cluster.ts";
import type { KubernetesObject } from "../api-client.ts";

export const served = "web-creds";
export const foreign = "payroll-creds";
export const serviceAccount = "web-account-provider";

/** An impersonation account as the operator writes it. */
export function accountSecret(name: string, password: string): KubernetesObject {
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name },
    stringData: { username: "ccg-impersonator", password, domainName: "contoso.example" },
  };
}

/** Makes both secrets and the service account in a namespace of the test's own. */
export async function installAccount(t: TestContext, cluster: Cluster, password: string): Promise<string> {
  const namespace = await cluster.namespace(t);
  await cluster.apply(
    [
      accountSecret(served, password),
      accountSecret(foreign, "none-of-your-business"),
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: serviceAccount } },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "Role",
        metadata: { name: serviceAccount },
        rules: [
          {
            apiGroups: [""],
            resources: ["secrets"],
            resourceNames: [served],
            verbs: ["get", "list", "watch"],
          },
        ],
      },
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name: serviceAccount },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: serviceAccount },
        subjects: [{ kind: "ServiceAccount", name: serviceAccount, namespace }],
      },
    ],
    { namespace },
  );
  return namespace;
}

/** The operator changes the password. */
export async function changePassword(cluster: Cluster, namespace: string, password: string): Promise<void> {
  await cluster.admin.expect(
    "PATCH",
    `/api/v1/namespaces/${namespace}/secrets/${served}`,
    { stringData: { password } },
    "application/merge-patch+json",
  );
}

/**
 * Access decided from RBAC manifests, for a folder without an API server: the same question as a
 * LocalSubjectAccessReview, answered by the Kubernetes RBAC rules (rbac.authorization.k8s.io/v1).
 * @module
 */
import type { ResourceKind } from "../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceCache, ResourceSource } from "../kubernetes/resource-source.ts";
import type { AccessQuestion, AccessReviewer } from "./ports.ts";
import { isObject } from "./review.ts";

const rbac = (kind: string, plural: string, namespaced: boolean): ResourceKind => ({
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural,
  kind,
  namespaced,
});

export interface ManifestAccess extends AccessReviewer {
  synced(signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export function createManifestAccess(source: ResourceSource): ManifestAccess {
  const roles = source.watch({ kind: rbac("Role", "roles", true) });
  const clusterRoles = source.watch({ kind: rbac("ClusterRole", "clusterroles", false) });
  const bindings = source.watch({ kind: rbac("RoleBinding", "rolebindings", true) });
  const clusterBindings = source.watch({ kind: rbac("ClusterRoleBinding", "clusterrolebindings", false) });
  const all: readonly ResourceCache[] = [roles, clusterRoles, bindings, clusterBindings];

  function grants(binding: KubernetesObject, question: AccessQuestion): boolean {
    if (!listOf(binding["subjects"]).some((subject) => covers(subject, question, binding.metadata.namespace)))
      return false;
    const reference = binding["roleRef"];
    if (!isObject(reference) || typeof reference["name"] !== "string") return false;
    const role =
      reference["kind"] === "Role"
        ? roles.get(reference["name"], binding.metadata.namespace ?? "default")
        : clusterRoles.get(reference["name"]);
    return listOf(role?.["rules"]).some((rule) => permits(rule, question.specName));
  }

  return {
    review(question) {
      const own = bindings.list().filter((binding) => binding.metadata.namespace === question.namespace);
      const allowed = [...clusterBindings.list(), ...own].some((binding) => grants(binding, question));
      return Promise.resolve(allowed ? { allowed } : { allowed, reason: "" });
    },
    async synced(signal) {
      await Promise.all(all.map((cache) => cache.synced(signal)));
    },
    async close() {
      await Promise.all(all.map((cache) => cache.close()));
    },
  };
}

function covers(subject: unknown, question: AccessQuestion, bindingNamespace: string | undefined): boolean {
  if (!isObject(subject)) return false;
  const { namespace, serviceAccount } = question;
  switch (subject["kind"]) {
    case "ServiceAccount":
      return subject["name"] === serviceAccount && (subject["namespace"] ?? bindingNamespace) === namespace;
    case "User":
      return subject["name"] === `system:serviceaccount:${namespace}:${serviceAccount}`;
    case "Group":
      return ["system:serviceaccounts", `system:serviceaccounts:${namespace}`].includes(
        String(subject["name"]),
      );
    default:
      return false;
  }
}

function permits(rule: unknown, specName: string): boolean {
  if (!isObject(rule)) return false;
  const has = (field: string, value: string): boolean => {
    const values = listOf(rule[field]);
    return values.includes(value) || values.includes("*");
  };
  const names = listOf(rule["resourceNames"]);
  return (
    has("verbs", "use") &&
    has("apiGroups", "windows.k8s.io") &&
    has("resources", "gmsacredentialspecs") &&
    (names.length === 0 || names.includes(specName))
  );
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

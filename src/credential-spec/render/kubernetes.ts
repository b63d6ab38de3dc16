/**
 * A spec for Kubernetes: the GMSACredentialSpec, the part of a pod that names it, and the right to use it.
 * @module
 */
import { stringify } from "yaml";
import { hostNameWarning, plainValue, type NamedSpec, type Rendering } from "./rendering.ts";

/** Long strings stay on one line: a folded plugin input is hard to read back. */
const yamlOptions = { lineWidth: 0 } as const;

/** The resource itself; cluster-scoped, `credspec` at its top level. */
export function renderResource({ name, spec }: NamedSpec): Rendering {
  return {
    text: stringify(
      {
        apiVersion: "windows.k8s.io/v1",
        kind: "GMSACredentialSpec",
        metadata: { name },
        credspec: plainValue(spec),
      },
      yamlOptions,
    ),
    warnings: [],
  };
}

/** The fragment of a pod (or pod template) that asks for the identity, for all its containers. */
export function renderPodFragment({ name }: NamedSpec, serviceAccount: string): Rendering {
  return {
    text: stringify(
      {
        spec: {
          serviceAccountName: serviceAccount,
          nodeSelector: { "kubernetes.io/os": "windows" },
          securityContext: { windowsOptions: { gmsaCredentialSpecName: name } },
        },
      },
      yamlOptions,
    ),
    warnings: [hostNameWarning],
  };
}

export interface UseGrant {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/**
 * The right of one service account to use one spec: a Role in the pod's namespace, since the webhook asks there
 * although the spec belongs to the whole cluster.
 */
export function renderUseGrant({ name }: NamedSpec, grant: UseGrant): Rendering {
  const { namespace, serviceAccount } = grant;
  const metadata = { name: `use-gmsa-${name}`, namespace };
  const role = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "Role",
    metadata,
    rules: [
      {
        apiGroups: ["windows.k8s.io"],
        resources: ["gmsacredentialspecs"],
        resourceNames: [name],
        verbs: ["use"],
      },
    ],
  };
  const binding = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "RoleBinding",
    metadata: { name: `use-gmsa-${name}-${serviceAccount}`, namespace },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: metadata.name },
    subjects: [{ kind: "ServiceAccount", name: serviceAccount, namespace }],
  };
  return { text: `${stringify(role, yamlOptions)}---\n${stringify(binding, yamlOptions)}`, warnings: [] };
}

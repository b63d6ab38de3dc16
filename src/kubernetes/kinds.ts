/**
 * The kinds of Kubernetes objects that Sallyport reads: where the API server serves them and how a manifest names them.
 * @module
 */

export interface ResourceKind {
  /** API group; the empty string is the core group. */
  readonly group: string;
  readonly version: string;
  /** The name in the API server's paths, lower case. */
  readonly plural: string;
  /** The name in a manifest. */
  readonly kind: string;
  /** Whether objects of this kind live in a namespace or belong to the whole cluster. */
  readonly namespaced: boolean;
}

export const secretKind: ResourceKind = {
  group: "",
  version: "v1",
  plural: "secrets",
  kind: "Secret",
  namespaced: true,
};

/** The credential spec of windows-gmsa: cluster-scoped, its body stands in `credspec`. */
export const gmsaCredentialSpecKind: ResourceKind = {
  group: "windows.k8s.io",
  version: "v1",
  plural: "gmsacredentialspecs",
  kind: "GMSACredentialSpec",
  namespaced: false,
};

/** `v1` or `group/version`, as a manifest's `apiVersion` says it. */
export function apiVersionOf(kind: ResourceKind): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

/** The kind as an operator's Role names it: `secrets` or `gmsacredentialspecs.windows.k8s.io`. */
export function resourceNameOf(kind: ResourceKind): string {
  return kind.group === "" ? kind.plural : `${kind.plural}.${kind.group}`;
}

export const configMapKind: ResourceKind = {
  group: "",
  version: "v1",
  plural: "configmaps",
  kind: "ConfigMap",
  namespaced: true,
};

/** Mappings of RAM identities to cluster users. */
export const ramIdentityMappingKind: ResourceKind = {
  group: "ramauthenticator.k8s.alibabacloud",
  version: "v1alpha1",
  plural: "ramidentitymappings",
  kind: "RAMIdentityMapping",
  namespaced: false,
};

export const mutatingWebhookConfigurationKind: ResourceKind = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "mutatingwebhookconfigurations",
  kind: "MutatingWebhookConfiguration",
  namespaced: false,
};

export const validatingWebhookConfigurationKind: ResourceKind = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingwebhookconfigurations",
  kind: "ValidatingWebhookConfiguration",
  namespaced: false,
};

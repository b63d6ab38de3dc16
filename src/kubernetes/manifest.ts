/**
 * The text of a manifest file read as Kubernetes objects: YAML or JSON, several documents, lists, Secrets as the API
 * server would store them. A pure function; a file is taken whole or not at all.
 * @module
 */
import { LineCounter, parseAllDocuments } from "yaml";
import { reasonOf } from "../errors.ts";
import { deepFreeze } from "./deep-freeze.ts";
import type { KubernetesObject, ObjectMetadata } from "./resource-source.ts";

export type ReadManifest =
  | { readonly ok: true; readonly objects: readonly KubernetesObject[] }
  /** What is wrong, as a sentence that holds nothing of the values. */
  | { readonly ok: false; readonly problem: string };

/** How often aliases may repeat what they stand for: a few kilobytes must not become gigabytes. */
const maxAliasCount = 100;

/** Nesting that no Kubernetes object has; deeper input is hostile. */
const maxDepth = 64;

/** RFC 1123 subdomain, what most kinds take as a name (Kubernetes docs, "Object Names and IDs"). */
const nameForm = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9:]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9:]*[a-z0-9])?)*$/;
const namespaceForm = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Kinds without a namespace among those that the project reads; all others get `default` where none is given. */
const clusterScoped: ReadonlySet<string> = new Set([
  "ClusterRole",
  "ClusterRoleBinding",
  "CustomResourceDefinition",
  "GMSACredentialSpec",
  "MutatingWebhookConfiguration",
  "Namespace",
  "RAMIdentityMapping",
  "ValidatingAdmissionPolicy",
  "ValidatingAdmissionPolicyBinding",
  "ValidatingWebhookConfiguration",
]);

/** Thrown inside this module with the sentence that becomes `problem`. */
class Unreadable extends Error {}

export function readManifest(text: string): ReadManifest {
  try {
    const objects = documentsOf(text).flatMap(objectsOf);
    return { ok: true, objects: deepFreeze(objects) };
  } catch (error) {
    if (error instanceof Unreadable) return { ok: false, problem: error.message };
    // The YAML library's own faults (such as too many aliases) quote no values.
    return { ok: false, problem: `it is no YAML that can be read (${reasonOf(error).split("\n")[0]})` };
  }
}

function documentsOf(text: string): readonly unknown[] {
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text.replace(/^\uFEFF/, ""), {
    lineCounter,
    uniqueKeys: true,
    strict: true,
    merge: false,
    prettyErrors: false,
    logLevel: "silent",
    version: "1.2",
    schema: "core",
  });
  if (!Array.isArray(documents)) return [];
  return documents.map((document) => {
    const [error] = document.errors;
    if (error !== undefined) {
      const line = lineCounter.linePos(error.pos[0]).line;
      const what = error.code === "DUPLICATE_KEY" ? "a key occurs twice" : `it is no YAML (${error.code})`;
      throw new Unreadable(`line ${line}: ${what}`);
    }
    return document.toJS({ maxAliasCount }) as unknown;
  });
}

function objectsOf(value: unknown): readonly KubernetesObject[] {
  // An empty document, or one of comments alone.
  if (value === null || value === undefined) return [];
  if (!isRecord(value)) throw new Unreadable("a document is no Kubernetes object (it has no fields)");
  const { kind, items } = value;
  if (typeof kind === "string" && kind.endsWith("List") && Array.isArray(items))
    return items.flatMap(objectsOf);
  return [objectOf(value)];
}

function objectOf(value: Readonly<Record<string, unknown>>): KubernetesObject {
  const { apiVersion, kind, metadata } = value;
  if (typeof apiVersion !== "string" || apiVersion === "")
    throw new Unreadable("an object has no apiVersion");
  if (typeof kind !== "string" || kind === "") throw new Unreadable("an object has no kind");
  if (!isRecord(metadata) || typeof metadata["name"] !== "string") {
    throw new Unreadable(`a ${kind} has no metadata.name`);
  }
  if (!nameForm.test(metadata["name"]))
    throw new Unreadable(`a ${kind} has a metadata.name that Kubernetes would refuse`);
  if (depthExceeds(value, maxDepth)) throw new Unreadable(`${kind} ${metadata["name"]} is nested too deeply`);
  const { namespace, ...others } = metadata;
  if (namespace !== undefined && (typeof namespace !== "string" || !namespaceForm.test(namespace))) {
    throw new Unreadable(`${kind} ${metadata["name"]} has a metadata.namespace that Kubernetes would refuse`);
  }
  const placed = {
    ...others,
    ...(clusterScoped.has(kind) ? {} : { namespace: namespace ?? "default" }),
  } as ObjectMetadata;
  const object: KubernetesObject = { ...value, apiVersion, kind, metadata: placed };
  return apiVersion === "v1" && kind === "Secret" ? secretAsStored(object) : object;
}

/**
 * `stringData` written over `data`, in base64, and gone (Kubernetes API reference, Secret v1). Every value must be
 * text: YAML makes a number of an unquoted 0123, and the API server refuses that, too.
 */
function secretAsStored(secret: KubernetesObject): KubernetesObject {
  const { data, stringData, ...rest } = secret;
  const where = `Secret ${secret.metadata.namespace ?? ""}/${secret.metadata.name}`;
  const encoded: Record<string, string> = {};
  for (const [key, value] of textsOf(data, `${where}: data`)) {
    if (!isBase64(value)) throw new Unreadable(`${where}: data.${key} is not base64`);
    encoded[key] = value;
  }
  for (const [key, value] of textsOf(stringData, `${where}: stringData`)) {
    encoded[key] = Buffer.from(value, "utf8").toString("base64");
  }
  return {
    ...rest,
    apiVersion: secret.apiVersion,
    kind: secret.kind,
    metadata: secret.metadata,
    data: encoded,
  };
}

function textsOf(field: unknown, where: string): readonly (readonly [string, string])[] {
  if (field === undefined || field === null) return [];
  if (!isRecord(field)) throw new Unreadable(`${where} is no mapping`);
  return Object.entries(field).map(([key, value]) => {
    if (!/^[-._a-zA-Z0-9]{1,253}$/.test(key))
      throw new Unreadable(`${where} has a key that Kubernetes would refuse`);
    if (value === null) return [key, ""] as const;
    if (typeof value !== "string") throw new Unreadable(`${where}.${key} is no text: put it in quotes`);
    return [key, value] as const;
  });
}

function isBase64(text: string): boolean {
  const compact = text.replace(/[\r\n]/g, "");
  return compact.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(compact);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function depthExceeds(value: unknown, limit: number): boolean {
  let level: readonly unknown[] = [value];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > limit) return true;
    level = level.flatMap((entry) =>
      typeof entry === "object" && entry !== null ? Object.values(entry) : [],
    );
  }
  return false;
}

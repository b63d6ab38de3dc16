/**
 * The text of a manifest file read as Kubernetes objects: YAML or JSON, several documents, lists, Secrets as the API
 * server would store them. A pure function; a file is taken whole or not at all.
 * @module
 */
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseAllDocuments, type ParsedNode } from "yaml";
import { deepFreeze } from "./deep-freeze.ts";
import { gmsaCredentialSpecKind, ramIdentityMappingKind } from "./kinds.ts";
import type { KubernetesObject, ObjectMetadata } from "./resource-source.ts";

export type ReadManifest =
  | { readonly ok: true; readonly objects: readonly KubernetesObject[] }
  /** What is wrong, as a sentence that holds nothing of the values. */
  | { readonly ok: false; readonly problem: string };

/** How often aliases may repeat what they stand for: a few kilobytes must not become gigabytes. */
const maxAliasCount = 100;

/** Documents of one file; each costs the YAML library some memory. */
const maxDocuments = 1_000;

/** Nesting that no Kubernetes object has; deeper input is hostile. */
const maxDepth = 64;

/** RFC 1123 subdomain, what most kinds take as a name (Kubernetes docs, "Object Names and IDs"). */
const nameForm = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9:]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9:]*[a-z0-9])?)*$/;
const namespaceForm = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Kinds without a namespace among those that a manifest folder may hold, by API group; all others live in one. */
const clusterScoped: Readonly<Record<string, readonly string[]>> = {
  "": ["Namespace"],
  "admissionregistration.k8s.io": [
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
  ],
  "apiextensions.k8s.io": ["CustomResourceDefinition"],
  "rbac.authorization.k8s.io": ["ClusterRole", "ClusterRoleBinding"],
  ...Object.fromEntries(
    [gmsaCredentialSpecKind, ramIdentityMappingKind].map(({ group, kind }) => [group, [kind]]),
  ),
};

/** Thrown inside this module with the sentence that becomes `problem`. */
class Unreadable extends Error {}

export function readManifest(text: string): ReadManifest {
  try {
    const objects = documentsOf(text).flatMap(objectsOf);
    return { ok: true, objects: deepFreeze(objects) };
  } catch (error) {
    if (error instanceof Unreadable) return { ok: false, problem: error.message };
    // The YAML library's sentences may quote the text, an unquoted password that begins with `*` among it.
    return { ok: false, problem: "it is no YAML that can be read" };
  }
}

function documentsOf(text: string): readonly unknown[] {
  refuseHostileText(text);
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text.replace(/^\uFEFF/, ""), {
    lineCounter,
    // Looked for below: the library compares every key with every other, which blocks for minutes on a hostile file.
    uniqueKeys: false,
    strict: true,
    // kubectl knows the merge key.
    merge: true,
    prettyErrors: false,
    logLevel: "silent",
    version: "1.2",
    schema: "core",
  });
  if (!Array.isArray(documents)) return [];
  return documents.map((document) => {
    // A warning is a tag that the library does not know and reads as something else: an empty password, for instance.
    const error = document.errors[0] ?? document.warnings[0];
    const lineOf = (offset: number): string => `line ${lineCounter.linePos(offset).line}`;
    if (error !== undefined) throw new Unreadable(`${lineOf(error.pos[0])}: it is no YAML (${error.code})`);
    if (document.contents !== null) checkTree(document.contents, lineOf);
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount });
    } catch (thrown) {
      if (!(thrown instanceof ReferenceError)) throw thrown;
      throw new Unreadable("an alias leads nowhere, or aliases multiply too much");
    }
    refuseCircles(value, new Set(), new Set());
    return value;
  });
}

/** What the YAML library would take seconds to find out, a look at the text sees at once. */
function refuseHostileText(text: string): void {
  let open = 0;
  for (const [bracket] of text.matchAll(/[[{\]}]/g)) {
    open = bracket === "[" || bracket === "{" ? open + 1 : 0;
    if (open > maxDepth) throw new Unreadable("it is nested too deeply");
  }
  if (/(?:[-?:][ \t]+){65}/.test(text)) throw new Unreadable("it is nested too deeply");
  if ((text.match(/^---/gm)?.length ?? 0) > maxDocuments) {
    throw new Unreadable(`it has more than ${maxDocuments} documents`);
  }
}

interface PlacedNode {
  readonly node: ParsedNode;
  readonly depth: number;
}

/** Refuses keys that occur twice or are no plain text, and deep nesting; in linear time and without recursion. */
function checkTree(root: ParsedNode, lineOf: (offset: number) => string): void {
  const pending: PlacedNode[] = [{ node: root, depth: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node, depth } = next;
    if (depth > maxDepth) throw new Unreadable("it is nested too deeply");
    if (isSeq(node)) {
      for (const item of node.items) pending.push({ node: item, depth: depth + 1 });
    } else if (isMap(node)) {
      const keys = new Set<string>();
      for (const pair of node.items) {
        const key = pair.key;
        if (!isScalar(key) || isAlias(key)) {
          throw new Unreadable(`${lineOf(node.range[0])}: a key is no plain text`);
        }
        // The merge key, which the library reads as a symbol, may occur more than once.
        const name = typeof key.value === "symbol" ? undefined : String(key.value);
        if (name !== undefined) {
          if (keys.has(name)) throw new Unreadable(`${lineOf(key.range[0])}: a key occurs twice`);
          keys.add(name);
        }
        if (pair.value !== null) pending.push({ node: pair.value, depth: depth + 1 });
      }
    }
  }
}

/** An alias may stand inside what it refers to: a walk over that never ends. Nor has JSON sets and dates. */
function refuseCircles(value: unknown, open: Set<object>, done: Set<object>): void {
  if (typeof value !== "object" || value === null || done.has(value)) return;
  if (open.has(value)) throw new Unreadable("an alias stands inside what it refers to");
  if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) {
    throw new Unreadable("it uses a YAML type that JSON does not have");
  }
  open.add(value);
  for (const child of Object.values(value)) refuseCircles(child, open, done);
  open.delete(value);
  done.add(value);
}

function objectsOf(value: unknown): readonly KubernetesObject[] {
  // An empty document, or one of comments alone.
  if (value === null || value === undefined) return [];
  if (!isRecord(value)) throw new Unreadable("a document is no Kubernetes object (it has no fields)");
  const { kind, items } = value;
  if (typeof kind === "string" && kind.endsWith("List") && Array.isArray(items)) {
    // `kubectl` writes List and repeats the type in every item; an API server's SecretList leaves it out.
    const type =
      kind === "List" ? {} : { apiVersion: value["apiVersion"], kind: kind.slice(0, -"List".length) };
    return items.flatMap((item: unknown) => objectsOf(isRecord(item) ? { ...type, ...item } : item));
  }
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
    ...(isClusterScoped(apiVersion, kind) ? {} : { namespace: namespace ?? "default" }),
  } as ObjectMetadata;
  const object: KubernetesObject = { ...value, apiVersion, kind, metadata: placed };
  return apiVersion === "v1" && kind === "Secret" ? secretAsStored(object) : object;
}

function isClusterScoped(apiVersion: string, kind: string): boolean {
  const group = apiVersion.includes("/") ? apiVersion.slice(0, apiVersion.indexOf("/")) : "";
  return Object.hasOwn(clusterScoped, group) && (clusterScoped[group]?.includes(kind) ?? false);
}

/**
 * `stringData` written over `data`, in base64, and gone (Kubernetes API reference, Secret v1). Every value must be
 * text: YAML makes a number of an unquoted 0123, and the API server refuses that, too.
 */
function secretAsStored(secret: KubernetesObject): KubernetesObject {
  const { data, stringData, ...rest } = secret;
  const where = `Secret ${secret.metadata.namespace ?? ""}/${secret.metadata.name}`;
  // A key may be called `__proto__`, which a plain assignment would lose.
  const encoded = new Map<string, string>();
  for (const [key, value] of textsOf(data, `${where}: data`)) {
    if (!isBase64(value)) throw new Unreadable(`${where}: data.${key} is not base64`);
    encoded.set(key, value);
  }
  for (const [key, value] of textsOf(stringData, `${where}: stringData`)) {
    encoded.set(key, Buffer.from(value, "utf8").toString("base64"));
  }
  return {
    ...rest,
    apiVersion: secret.apiVersion,
    kind: secret.kind,
    metadata: secret.metadata,
    data: Object.fromEntries(encoded),
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

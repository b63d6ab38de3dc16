/**
 * The text of a Kubernetes manifest, as objects: several YAML documents or JSON values a file, `List` objects taken
 * apart, a Secret's `stringData` merged into `data` as the API server does. Pure; what is wrong is a value.
 *
 * It refuses what would be read differently here and there: duplicate keys, tags, numbers where Kubernetes wants a
 * string. No problem text quotes a value, because a manifest holds secrets.
 * @module
 */
import { isAlias, isMap, isScalar, isSeq, parseAllDocuments } from "yaml";
import type { Document, ParsedNode } from "yaml";
import { deepFreeze } from "./deep-freeze.ts";
import type { KubernetesObject } from "./resource-source.ts";

export type ParsedManifest =
  | { readonly ok: true; readonly objects: readonly KubernetesObject[] }
  /** `problem` is a sentence without a full stop; it names the place, never a value. */
  | { readonly ok: false; readonly problem: string };

/** Bounds that a person's manifest never meets and a hostile one soon does. */
const limits = {
  /** Objects of one file, lists taken apart. */
  objects: 5_000,
  /** Documents of one file. */
  documents: 1_000,
  /** Nesting of maps and sequences. */
  depth: 100,
  /** References to anchors, counted as the YAML library does: with what they multiply. */
  aliases: 100,
} as const;

/** RFC 1123 subdomain, what Kubernetes asks of most objects' names. */
const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
/** RFC 1123 label, what Kubernetes asks of a namespace. */
const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** A key of a Secret's or ConfigMap's data. */
const dataKey = /^[-._a-zA-Z0-9]+$/;
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

class ManifestProblem extends Error {}

type Plain = Readonly<Record<string, unknown>>;

/**
 * Reads a manifest file's bytes: UTF-8, with or without a byte order mark.
 *
 * Numbers, `true` and `null` follow YAML 1.2 (core schema); `yes` and `on` are strings, where Kubernetes' own YAML 1.1
 * reader sees a boolean and then refuses it.
 */
export function parseManifest(bytes: Uint8Array): ParsedManifest {
  try {
    return { ok: true, objects: objectsOf(decode(bytes)) };
  } catch (thrown) {
    if (thrown instanceof ManifestProblem) return { ok: false, problem: thrown.message };
    // The library recurses: brackets by the ten thousand end the stack before our own depth check sees a tree.
    if (thrown instanceof RangeError) return { ok: false, problem: "it is nested too deeply" };
    const name = thrown instanceof Error ? thrown.name : typeof thrown;
    return { ok: false, problem: `it cannot be parsed (${name})` };
  }
}

function decode(bytes: Uint8Array): string {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new ManifestProblem("it is not UTF-8 text");
  }
  // A file is empty for a moment while an editor or a script rewrites it in place; that must not look like a deletion.
  if (text.trim() === "") throw new ManifestProblem("it is empty; delete the file to take its objects away");
  // What the library takes seconds to find out, a look at the text sees at once.
  if (unclosedRun(text) > limits.depth || /(?:[-?:][ \t]+){101}/.test(text)) {
    throw new ManifestProblem("it is nested too deeply");
  }
  if ((text.match(/^---/gm)?.length ?? 0) > limits.documents) {
    throw new ManifestProblem(`it has more than ${limits.documents} documents`);
  }
  return text;
}

/** The most opening brackets that follow each other with no closing one between them. */
function unclosedRun(text: string): number {
  let [longest, run] = [0, 0];
  for (const [bracket] of text.matchAll(/[[{\]}]/g)) {
    run = bracket === "[" || bracket === "{" ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}

function objectsOf(text: string): readonly KubernetesObject[] {
  // Duplicate keys are looked for below, in linear time; the library compares each key with every other.
  const documents = parseAllDocuments(text, {
    uniqueKeys: false,
    merge: true,
    prettyErrors: false,
    logLevel: "silent",
  });
  if (!Array.isArray(documents)) return [];
  const objects: KubernetesObject[] = [];
  const seen = new Set<string>();
  for (const [index, document] of documents.entries()) {
    const where = documents.length === 1 ? "" : `document ${index + 1}: `;
    const value = plainOf(document, text, where);
    if (value === null) continue;
    for (const object of flatten(value, where)) {
      const identity = identityOf(object);
      if (seen.has(identity)) {
        throw new ManifestProblem(`${where}${object.kind} ${object.metadata.name} is already in this file`);
      }
      seen.add(identity);
      objects.push(deepFreeze(object));
      if (objects.length > limits.objects)
        throw new ManifestProblem(`it has more than ${limits.objects} objects`);
    }
  }
  return objects;
}

/** One document as plain data, or null when nothing stands between two `---`. */
function plainOf(document: Document.Parsed, text: string, where: string): unknown {
  const error = document.errors[0] ?? document.warnings[0];
  if (error !== undefined) {
    // The library's own message may quote the text, which may be a password: only its code and place are repeated.
    const line = lineAt(text, error.pos[0]);
    throw new ManifestProblem(
      `it is not valid YAML at line ${line} (${error.code.toLowerCase().replaceAll("_", " ")})`,
    );
  }
  if (document.contents !== null) checkTree(document.contents, text, where);
  try {
    const value = document.toJS({ maxAliasCount: limits.aliases }) as unknown;
    refuseCircles(value, where);
    return value;
  } catch (thrown) {
    if (thrown instanceof ManifestProblem) throw thrown;
    if (thrown instanceof ReferenceError) {
      throw new ManifestProblem(`${where}it refers to anchors that are missing or multiply too much`);
    }
    if (thrown instanceof RangeError) throw thrown;
    throw new ManifestProblem(`${where}it cannot be turned into an object`);
  }
}

interface Pending {
  readonly node: ParsedNode;
  readonly depth: number;
}

/** Refuses duplicate keys, keys that are no plain scalars, tags and too deep nesting. Iterative and linear. */
function checkTree(root: ParsedNode, text: string, where: string): void {
  const pending: Pending[] = [{ node: root, depth: 1 }];
  const refuse = (node: ParsedNode, what: string): never => {
    throw new ManifestProblem(`${where}line ${lineAt(text, node.range[0])}: ${what}`);
  };
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node, depth } = next;
    if (depth > limits.depth) throw new ManifestProblem("it is nested too deeply");
    if (node.tag !== undefined && !node.tag.startsWith("tag:yaml.org,2002:"))
      refuse(node, "it uses a YAML tag");
    if (isSeq(node)) {
      for (const item of node.items) pending.push({ node: item as ParsedNode, depth: depth + 1 });
    } else if (isMap(node)) {
      const keys = new Set<string>();
      for (const pair of node.items) {
        const key = pair.key as ParsedNode;
        if (!isScalar(key)) refuse(isAlias(key) ? key : node, "a key is not plain text");
        else {
          const name = String(key.value);
          if (name === "__proto__") refuse(key, "`__proto__` is no name for a key");
          // The merge key is the one that YAML allows more than once.
          const merges = key.value !== name && typeof key.value === "symbol";
          if (keys.has(name) && !merges) refuse(key, "this key is there twice");
          keys.add(name);
        }
        if (pair.value !== null) pending.push({ node: pair.value as ParsedNode, depth: depth + 1 });
      }
    }
  }
}

/** An alias may stand inside what it refers to; JSON knows no such thing, and a walk over it never ends. */
function refuseCircles(root: unknown, where: string): void {
  const [open, done] = [new Set<object>(), new Set<object>()];
  const walk = (value: unknown): void => {
    if (typeof value !== "object" || value === null || done.has(value)) return;
    if (open.has(value)) throw new ManifestProblem(`${where}it refers to itself`);
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && !Array.isArray(value)) {
      throw new ManifestProblem(`${where}it uses a YAML type that JSON does not have`);
    }
    open.add(value);
    for (const child of Object.values(value)) walk(child);
    open.delete(value);
    done.add(value);
  };
  walk(root);
}

function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

/** The objects of one document: itself, or what its list holds. */
function flatten(value: unknown, where: string): readonly KubernetesObject[] {
  const root = mapOf(value, `${where}it is not an object with apiVersion and kind`);
  const { apiVersion, kind } = typeOf(root, where);
  if (!kind.endsWith("List") || root["items"] === undefined) return [objectOf(root, apiVersion, kind, where)];
  if (!Array.isArray(root["items"])) throw new ManifestProblem(`${where}items is not a list`);
  return (root["items"] as readonly unknown[]).map((item, index) => {
    const place = `${where}items[${index}]: `;
    const entry = mapOf(item, `${place}it is not an object`);
    // `kubectl get -o yaml` says List and repeats the type in each item; an API server's SecretList leaves it out.
    const typed =
      kind === "List" || entry["kind"] !== undefined
        ? typeOf(entry, place)
        : { apiVersion, kind: kind.slice(0, -"List".length) };
    return objectOf(entry, typed.apiVersion, typed.kind, place);
  });
}

function typeOf(root: Plain, where: string): { readonly apiVersion: string; readonly kind: string } {
  const { apiVersion, kind } = root;
  if (typeof apiVersion !== "string" || !/^([a-z0-9.-]+\/)?[a-z0-9]+$/.test(apiVersion)) {
    throw new ManifestProblem(`${where}apiVersion is missing or not like v1 or group/v1`);
  }
  if (typeof kind !== "string" || !/^[A-Za-z][A-Za-z0-9]{0,62}$/.test(kind)) {
    throw new ManifestProblem(`${where}kind is missing or not a name`);
  }
  return { apiVersion, kind };
}

function objectOf(root: Plain, apiVersion: string, kind: string, where: string): KubernetesObject {
  const metadata = mapOf(root["metadata"], `${where}metadata is missing`);
  const { name, namespace } = metadata;
  if (typeof name !== "string" || name.length > 253 || !subdomain.test(name)) {
    throw new ManifestProblem(
      `${where}metadata.name is missing or not a DNS subdomain of at most 253 characters`,
    );
  }
  if (
    namespace !== undefined &&
    namespace !== null &&
    (typeof namespace !== "string" || namespace.length > 63 || !label.test(namespace))
  ) {
    throw new ManifestProblem(`${where}metadata.namespace is not a DNS label of at most 63 characters`);
  }
  const object = {
    ...root,
    apiVersion,
    kind,
    metadata: metadataOf(metadata, `${where}${kind} ${name}: `),
  };
  if (apiVersion !== "v1") return object;
  const place = `${where}${kind} ${name}: `;
  if (kind === "Secret") return secretOf(object, place);
  if (kind === "ConfigMap") return configMapOf(object, place);
  return object;
}

function metadataOf(metadata: Plain, where: string): KubernetesObject["metadata"] {
  const { name, namespace, labels, annotations, ...rest } = metadata;
  return {
    ...rest,
    name: name as string,
    ...(typeof namespace === "string" ? { namespace } : {}),
    ...(labels === undefined || labels === null
      ? {}
      : { labels: textMap(labels, `${where}metadata.labels`) }),
    ...(annotations === undefined || annotations === null
      ? {}
      : { annotations: textMap(annotations, `${where}metadata.annotations`) }),
  };
}

/** https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1/ */
function secretOf(object: KubernetesObject, where: string): KubernetesObject {
  const { data, stringData, ...rest } = object;
  const merged: Record<string, string> = {};
  for (const [key, value] of Object.entries(dataMap(data, `${where}data`))) {
    // As Go's decoder does: line breaks inside are nothing, everything else must be exact.
    const compact = value.replace(/[\r\n]/g, "");
    if (!base64.test(compact)) throw new ManifestProblem(`${where}data.${key} is not base64`);
    merged[key] = compact;
  }
  for (const [key, value] of Object.entries(dataMap(stringData, `${where}stringData`))) {
    merged[key] = Buffer.from(value, "utf8").toString("base64");
  }
  return { type: "Opaque", ...rest, data: merged };
}

function configMapOf(object: KubernetesObject, where: string): KubernetesObject {
  const { data, binaryData, ...rest } = object;
  const texts = dataMap(data, `${where}data`);
  const binaries = dataMap(binaryData, `${where}binaryData`);
  for (const [key, value] of Object.entries(binaries)) {
    if (key in texts) throw new ManifestProblem(`${where}${key} is in data and in binaryData`);
    if (!base64.test(value.replace(/[\r\n]/g, "")))
      throw new ManifestProblem(`${where}binaryData.${key} is not base64`);
  }
  return { ...rest, data: texts, ...(binaryData === undefined ? {} : { binaryData: binaries }) };
}

function dataMap(value: unknown, where: string): Readonly<Record<string, string>> {
  const map = value === undefined || value === null ? {} : textMap(value, where);
  for (const key of Object.keys(map)) {
    if (key.length > 253 || !dataKey.test(key) || key === "." || key.startsWith("..")) {
      throw new ManifestProblem(`${where} has a key that is not of letters, digits, '-', '_' and '.'`);
    }
  }
  return map;
}

function textMap(value: unknown, where: string): Readonly<Record<string, string>> {
  const result: Record<string, string> = {};
  for (const [key, text] of Object.entries(mapOf(value, `${where} is not a map`))) {
    // `key:` with nothing behind it: an empty value, as for the API server.
    if (text === null) result[key] = "";
    else if (typeof text === "string") result[key] = text;
    else throw new ManifestProblem(`${where}.${key.slice(0, 64)} is not a string; put it in quotes`);
  }
  return result;
}

function mapOf(value: unknown, problem: string): Plain {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ManifestProblem(problem);
  return value as Plain;
}

/** What makes two objects the same one, whatever version they are written in. */
export function identityOf(object: KubernetesObject): string {
  const group = object.apiVersion.includes("/") ? object.apiVersion.split("/")[0] : "";
  return `${group}/${object.kind}/${object.metadata.namespace ?? "default"}/${object.metadata.name}`;
}

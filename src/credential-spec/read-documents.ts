/**
 * Finds the credential specs in whatever holds them: a file of `New-CredentialSpec` (any of the encodings that PowerShell
 * writes), GMSACredentialSpec manifests in YAML or JSON, the output of `docker config inspect`.
 * @module
 */
import { isAlias, isMap, isScalar, isSeq, parseAllDocuments, type Document, type Node } from "yaml";
import { finding, type Finding } from "./lint.ts";
import {
  memberOf,
  nodeOf,
  pointerOf,
  readJson,
  type DuplicateKey,
  type JsonMember,
  type JsonNode,
} from "./json.ts";

/** A spec found in a document. */
export interface FoundSpec {
  /** The resource's or config's name, where it has one. */
  readonly name: string | undefined;
  readonly form: "spec" | "resource" | "docker-config";
  readonly spec: JsonNode;
  /** Where it stands in the document. */
  readonly pointer: string;
  readonly duplicates: readonly DuplicateKey[];
  /** Labels of the resource or config, where it has any. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface DocumentReading {
  /** The text after decoding, for line numbers. */
  readonly text: string;
  readonly specs: readonly FoundSpec[];
  /** Faults of the file rather than of a spec in it. */
  readonly findings: readonly Finding[];
}

/** Reads one file. Resources of other kinds are passed over; a file without any spec yields `not-a-spec`. Never throws. */
export function readDocuments(bytes: Uint8Array): DocumentReading {
  const { text, findings } = decode(bytes);
  const reading = /^\s*[{[]/.test(text) ? readJsonRoots(text) : readYamlRoots(text);
  if (!reading.ok) {
    return { text, specs: [], findings: [...findings, finding("not-json", "", reading.problem, reading.at)] };
  }
  const finder = new Finder();
  for (const root of reading.roots) finder.find(root.value, [], root.duplicates);
  const all = [...findings, ...finder.findings];
  if (finder.specs.length === 0 && finder.findings.length === 0) {
    all.push(finding("not-a-spec", "", "holds no credential spec", undefined));
  }
  return { text, specs: finder.specs, findings: all };
}

interface Root {
  readonly value: JsonNode;
  readonly duplicates: readonly DuplicateKey[];
}

type RootsReading =
  | { readonly ok: true; readonly roots: readonly Root[] }
  | { readonly ok: false; readonly problem: string; readonly at: number };

function decode(bytes: Uint8Array): { readonly text: string; readonly findings: readonly Finding[] } {
  const [first, second, third] = bytes;
  if (first === 0xef && second === 0xbb && third === 0xbf) {
    const decoded = decode(bytes.subarray(3));
    return {
      ...decoded,
      findings: [finding("byte-order-mark", "", "starts with a byte order mark", 0), ...decoded.findings],
    };
  }
  // Windows PowerShell's `>` and `Out-File` write UTF-16; without a mark, every second byte of ASCII text is zero.
  const utf16 =
    (first === 0xff && second === 0xfe) || (first !== 0 && second === 0 && bytes.length > 2)
      ? "utf-16le"
      : (first === 0xfe && second === 0xff) || (first === 0 && second !== 0 && bytes.length > 2)
        ? "utf-16be"
        : undefined;
  if (utf16 !== undefined) {
    const text = new TextDecoder(utf16).decode(bytes);
    return { text, findings: [finding("not-utf-8", "", `is encoded as ${utf16.toUpperCase()}`, 0)] };
  }
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), findings: [] };
  } catch {
    const text = new TextDecoder("windows-1252").decode(bytes);
    return { text, findings: [finding("not-utf-8", "", "holds bytes that are not UTF-8", 0)] };
  }
}

function readJsonRoots(text: string): RootsReading {
  const reading = readJson(text);
  if (!reading.ok) return reading;
  return { ok: true, roots: [{ value: reading.value, duplicates: reading.duplicates }] };
}

function readYamlRoots(text: string): RootsReading {
  const documents = parseAllDocuments(text, { uniqueKeys: false, intAsBigInt: true });
  if (!Array.isArray(documents)) return { ok: true, roots: [] };
  const roots: Root[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined)
      return { ok: false, problem: error.message.split("\n")[0] ?? "", at: error.pos[0] };
    if (document.contents === null) continue;
    const conversion = new YamlConversion(document);
    const value = conversion.convert(document.contents, []);
    if (value === undefined) return { ok: false, problem: "its aliases expand without end", at: 0 };
    roots.push({ value, duplicates: conversion.duplicates });
  }
  return { ok: true, roots };
}

/** Nodes that one YAML document may expand to: aliases can otherwise blow a small file up without bound. */
const mostYamlNodes = 200_000;

class YamlConversion {
  readonly duplicates: DuplicateKey[] = [];
  readonly #document: Document;
  #nodes = 0;

  constructor(document: Document) {
    this.#document = document;
  }

  convert(node: Node | null | undefined, path: readonly (string | number)[]): JsonNode | undefined {
    if (++this.#nodes > mostYamlNodes || path.length > 128) return undefined;
    if (isAlias(node)) return this.convert(node.resolve(this.#document), path);
    const at = node?.range?.[0] ?? 0;
    if (isSeq(node)) {
      const items: JsonNode[] = [];
      for (const item of node.items) {
        const value = this.convert(item as Node, [...path, items.length]);
        if (value === undefined) return undefined;
        items.push(value);
      }
      return { type: "array", items, at };
    }
    if (isMap(node)) {
      const members: JsonMember[] = [];
      const seen = new Set<string>();
      for (const pair of node.items) {
        const key = isScalar(pair.key) ? String(pair.key.value) : "";
        const keyAt = (pair.key as Node | null)?.range?.[0] ?? at;
        if (seen.has(key)) this.duplicates.push({ pointer: pointerOf([...path, key]), at: keyAt });
        seen.add(key);
        const value = this.convert(pair.value as Node | null, [...path, key]);
        if (value === undefined) return undefined;
        members.push({ key, value, at: keyAt });
      }
      return { type: "object", members, at };
    }
    return { ...nodeOf(isScalar(node) ? node.value : null), at };
  }
}

const specFields = ["CmsPlugins", "DomainJoinConfig", "ActiveDirectoryConfig"];
const resourceName = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

class Finder {
  readonly specs: FoundSpec[] = [];
  readonly findings: Finding[] = [];

  find(node: JsonNode, path: readonly (string | number)[], duplicates: readonly DuplicateKey[]): void {
    if (node.type === "array") {
      node.items.forEach((item, index) => this.find(item, [...path, index], duplicates));
      return;
    }
    const kind = textAt(node, "kind");
    const items = memberOf(node, "items");
    if (kind?.endsWith("List") === true && items !== undefined) {
      this.find(items, [...path, "items"], duplicates);
      return;
    }
    if (kind === "GMSACredentialSpec") {
      this.#resource(node, path, duplicates);
      return;
    }
    const data = textAt(memberOf(node, "Spec"), "Data");
    if (data !== undefined) {
      this.#dockerConfig(node, data, path);
      return;
    }
    const looksLikeSpec = node.type === "object" && node.members.some(({ key }) => specFields.includes(key));
    if (!looksLikeSpec && (kind !== undefined || node.type === "null")) return;
    this.#add({ name: undefined, form: "spec", spec: node, labels: {} }, path, duplicates);
  }

  #resource(node: JsonNode, path: readonly (string | number)[], duplicates: readonly DuplicateKey[]): void {
    const shape = (problem: string, ...steps: readonly string[]): void => {
      this.findings.push(finding("resource-shape", pointerOf([...path, ...steps]), problem, node.at));
    };
    const apiVersion = textAt(node, "apiVersion");
    if (apiVersion !== "windows.k8s.io/v1" && apiVersion !== "windows.k8s.io/v1alpha1") {
      shape(`apiVersion is ${JSON.stringify(apiVersion ?? null)}`, "apiVersion");
    }
    const metadata = memberOf(node, "metadata");
    const name = textAt(metadata, "name");
    if (name === undefined || !resourceName.test(name)) {
      shape(
        name === undefined ? "the resource has no name" : `${JSON.stringify(name)} cannot name a resource`,
        "metadata",
        "name",
      );
    }
    const spec = memberOf(node, "credspec");
    if (spec === undefined) {
      const misplaced = memberOf(node, "spec") !== undefined ? ", only `spec`" : "";
      shape(`the resource has no \`credspec\`${misplaced}`, "credspec");
      return;
    }
    this.#add(
      { name, form: "resource", spec, labels: stringsOf(memberOf(metadata, "labels")) },
      [...path, "credspec"],
      duplicates,
    );
  }

  #dockerConfig(node: JsonNode, data: string, path: readonly (string | number)[]): void {
    const pointer = [...path, "Spec", "Data"];
    const { text } = decode(Buffer.from(data, "base64"));
    const reading = readJson(text);
    const specNode = memberOf(node, "Spec");
    if (!reading.ok) {
      this.findings.push(
        finding("not-json", pointerOf(pointer), reading.problem, memberOf(specNode, "Data")?.at),
      );
      return;
    }
    // Offsets inside the encoded data mean nothing to the reader of the outer document.
    const duplicates = reading.duplicates.map((duplicate) => ({
      ...duplicate,
      pointer: pointerOf(pointer) + duplicate.pointer,
    }));
    const spec = withoutOffsets(reading.value);
    const labels = stringsOf(memberOf(specNode, "Labels"));
    this.specs.push({
      name: textAt(specNode, "Name"),
      form: "docker-config",
      spec,
      pointer: pointerOf(pointer),
      duplicates,
      labels,
    });
  }

  #add(
    found: Omit<FoundSpec, "pointer" | "duplicates">,
    path: readonly (string | number)[],
    duplicates: readonly DuplicateKey[],
  ): void {
    const pointer = pointerOf(path);
    const own = duplicates.filter((duplicate) => duplicate.pointer.startsWith(`${pointer}/`));
    this.specs.push({ ...found, pointer, duplicates: own });
  }
}

function textAt(node: JsonNode | undefined, key: string): string | undefined {
  const member = memberOf(node, key);
  return member?.type === "string" ? member.value : undefined;
}

function stringsOf(node: JsonNode | undefined): Readonly<Record<string, string>> {
  if (node?.type !== "object") return {};
  return Object.fromEntries(
    node.members.flatMap(({ key, value }) => (value.type === "string" ? [[key, value.value] as const] : [])),
  );
}

function withoutOffsets(node: JsonNode): JsonNode {
  switch (node.type) {
    case "array":
      return { type: "array", items: node.items.map(withoutOffsets) };
    case "object":
      return {
        type: "object",
        members: node.members.map(({ key, value }) => ({ key, value: withoutOffsets(value) })),
      };
    case "string":
      return { type: "string", value: node.value };
    case "number":
      return { type: "number", text: node.text };
    case "boolean":
      return { type: "boolean", value: node.value };
    case "null":
      return { type: "null" };
  }
}

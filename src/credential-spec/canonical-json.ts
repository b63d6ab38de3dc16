/**
 * The one form in which a credential spec is put into a pod, compared and hashed: the bytes that Go's `encoding/json`
 * writes, because that is what windows-gmsa puts into pods that are already running.
 * @module
 */
import type { JsonNode } from "./json.ts";

const smallestInt64 = -(2n ** 63n);
const largestInt64 = 2n ** 63n - 1n;

/** What Go escapes with HTML escaping on: quotes, backslash, controls, `<`, `>`, `&` and the two line separators. */
// eslint-disable-next-line no-control-regex -- exactly these are escaped
const escaped = /["\\\u0000-\u001f<>&\u2028\u2029]/g;
const shortEscapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  "\\": "\\\\",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/**
 * Compact, keys in the order of their UTF-8 bytes at every level, the last one of duplicate keys. Numbers as Go prints them
 * after Kubernetes decoded them: integers of 64 bits exactly, others as the nearest double.
 */
export function canonicalJson(node: JsonNode): string {
  switch (node.type) {
    case "null":
      return "null";
    case "boolean":
      return String(node.value);
    case "number":
      return canonicalNumber(node.text);
    case "string":
      return quote(node.value);
    case "array":
      return `[${node.items.map(canonicalJson).join(",")}]`;
    case "object": {
      const members = new Map(node.members.map((member) => [member.key, member.value]));
      const sorted = [...members].sort(([a], [b]) => compareUtf8(a, b));
      return `{${sorted.map(([key, value]) => `${quote(key)}:${canonicalJson(value)}`).join(",")}}`;
    }
  }
}

/** Whether two documents say the same, whatever their order of keys, spacing and escapes. */
export function sameDocument(a: JsonNode, b: JsonNode): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

function canonicalNumber(text: string): string {
  if (/^-?\d+$/.test(text) && text !== "-0") {
    const integer = BigInt(text);
    if (integer >= smallestInt64 && integer <= largestInt64) return String(integer);
  }
  const double = Number(text);
  return Object.is(double, -0) ? "-0" : String(double);
}

function quote(text: string): string {
  const body = text
    .toWellFormed()
    .replace(
      escaped,
      (character) => shortEscapes[character] ?? `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  return `"${body}"`;
}

/** UTF-8 byte order is code point order; UTF-16 order, JavaScript's own, differs beyond U+FFFF. */
function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, "utf8"), Buffer.from(b, "utf8"));
}

/**
 * The body of a watch: one JSON event a line (https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes).
 * @module
 */
import { StringDecoder } from "node:string_decoder";
import { deepFreeze } from "./deep-freeze.ts";
import type { ResourceKind } from "./kinds.ts";
import { apiVersionOf } from "./kinds.ts";
import type { KubernetesObject } from "./resource-source.ts";

export type WatchEvent =
  | { readonly type: "put" | "remove"; readonly object: KubernetesObject; readonly resourceVersion: string }
  | { readonly type: "bookmark"; readonly resourceVersion: string }
  /** The version to watch from is gone: read everything again. */
  | { readonly type: "expired" }
  | { readonly type: "failed"; readonly detail: string };

/** The server broke the protocol; what it says cannot be relied on any more. */
export class ProtocolError extends Error {}

/** A line above this is no event: an API server's store takes 1.5 MiB an object, and JSON may triple that. */
const maxLine = 8 * 1024 * 1024;

/** Cuts a stream's chunks into lines. */
export class LineReader {
  readonly #decoder = new StringDecoder("utf8");
  #rest: string[] = [];
  #length = 0;

  /** @throws ProtocolError when a line is longer than 8 MiB. */
  push(chunk: Uint8Array): readonly string[] {
    const pieces = this.#decoder.write(Buffer.from(chunk)).split("\n");
    const lines: string[] = [];
    for (const [index, piece] of pieces.entries()) {
      this.#rest.push(piece);
      this.#length += piece.length;
      if (this.#length > maxLine) throw new ProtocolError(`an event has more than ${maxLine} characters`);
      if (index === pieces.length - 1) break;
      const line = this.#rest.join("");
      this.#rest = [];
      this.#length = 0;
      if (line.trim() !== "") lines.push(line);
    }
    return lines;
  }

  /** Whether the stream stopped in the middle of a line. */
  get unfinished(): boolean {
    return this.#rest.join("").trim() !== "";
  }
}

/** @throws ProtocolError when the line is no event of that kind. */
export function parseWatchEvent(line: string, kind: ResourceKind): WatchEvent {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    throw new ProtocolError("an event is no JSON");
  }
  const { type, object } = fieldsOf(event);
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED": {
      const checked = checkObject(object, kind);
      return {
        type: type === "DELETED" ? "remove" : "put",
        object: checked,
        resourceVersion: checked.metadata.resourceVersion ?? "",
      };
    }
    case "BOOKMARK": {
      const { resourceVersion } = fieldsOf(fieldsOf(object)["metadata"]);
      if (typeof resourceVersion !== "string" || resourceVersion === "") {
        throw new ProtocolError("a bookmark has no resourceVersion");
      }
      return { type: "bookmark", resourceVersion };
    }
    case "ERROR": {
      const { code, reason, message } = fieldsOf(object);
      if (code === 410 || reason === "Expired" || reason === "Gone") return { type: "expired" };
      return { type: "failed", detail: statusDetail({ code, reason, message }) };
    }
    default:
      throw new ProtocolError("an event has an unknown type");
  }
}

/**
 * An object as the API server sent it, checked as far as everything relies on it, without `managedFields` (nobody here
 * reads them and they are often the larger part), frozen. Items of a list don't repeat their type: it is filled in.
 * @throws ProtocolError when it is none of that kind.
 */
export function checkObject(value: unknown, kind: ResourceKind): KubernetesObject {
  const fields = fieldsOf(value);
  const metadata = fieldsOf(fields["metadata"]);
  const { name, namespace, resourceVersion } = metadata;
  if (typeof name !== "string" || name === "") throw new ProtocolError("an object has no name");
  if (kind.namespaced && (typeof namespace !== "string" || namespace === "")) {
    throw new ProtocolError("an object has no namespace");
  }
  if (typeof resourceVersion !== "string" || resourceVersion === "") {
    throw new ProtocolError("an object has no resourceVersion");
  }
  if (fields["kind"] !== undefined && fields["kind"] !== kind.kind) {
    throw new ProtocolError(`an object is no ${kind.kind}`);
  }
  const { managedFields: _, ...kept } = metadata;
  return deepFreeze({
    ...fields,
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
    metadata: { ...kept, name },
  }) as KubernetesObject;
}

/** The fields of a JSON object; none when it isn't one. */
export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

/** What a Status object says, in short. */
export function statusDetail(status: Readonly<Record<string, unknown>>): string {
  const { code, reason, message } = status;
  const parts = [code, reason].filter((part) => typeof part === "string" || typeof part === "number");
  return `${parts.join(" ")}${typeof message === "string" ? `: ${message.slice(0, 300)}` : ""}`;
}

/**
 * What the renderers take and give.
 * @module
 */
import { createHash } from "node:crypto";
import { canonicalJson } from "../canonical-json.ts";
import { memberOf, type JsonNode } from "../json.ts";

/** A spec with the name that it shall have where it is delivered. */
export interface NamedSpec {
  readonly name: string;
  readonly spec: JsonNode;
}

export interface Rendering {
  /** The text, ending in a line break. */
  readonly text: string;
  /** What the reader should know before using it. */
  readonly warnings: readonly string[];
}

/** Windows nodes only: a Linux engine rejects the task for its `credentialspec` option. */
export const windowsConstraint = "node.platform.os==windows";

export const rawIsVisible =
  "The whole credential spec stands in the command line: it shows in the process list, in the shell's history and in `docker inspect`.";

export const hostNameWarning =
  "Do not name the container's host after the gMSA, and give no two replicas the same host name: that breaks the trust to the domain.";

/** SHA-256 of the canonical form, hexadecimal. */
export function hashOf(spec: JsonNode): string {
  return createHash("sha256").update(canonicalJson(spec), "utf8").digest("hex");
}

/** The security option that carries a spec by value. */
export function rawSecurityOption(spec: JsonNode): string {
  return `credentialspec=raw://${canonicalJson(spec)}`;
}

/** The resource's name that the installer of windows-gmsa would give: the account in lower case, `_` as `-`. */
export function nameFor(spec: JsonNode): string | undefined {
  const account = memberOf(memberOf(spec, "DomainJoinConfig"), "MachineAccountName");
  if (account?.type !== "string") return undefined;
  const name = account.value
    .toLowerCase()
    .replace(/[^a-z0-9.-]/g, "-")
    .replace(/^[^a-z0-9]+|[^a-z0-9]+$/g, "");
  return name === "" ? undefined : name;
}

/** The spec as plain JavaScript values, for serialisers. */
export function plainValue(node: JsonNode): unknown {
  switch (node.type) {
    case "null":
      return null;
    case "number":
      return Number(node.text);
    case "string":
    case "boolean":
      return node.value;
    case "array":
      return node.items.map(plainValue);
    case "object":
      return Object.fromEntries(node.members.map(({ key, value }) => [key, plainValue(value)]));
  }
}

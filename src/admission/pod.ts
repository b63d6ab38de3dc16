/**
 * The part of a pod that concerns its Windows identity: every place that can name a credential spec, in the order in which
 * windows-gmsa visits them, and what decides whether the identity will work.
 * @module
 */
import { isObject } from "./review.ts";

export type EntryKind = "pod" | "container" | "initContainer" | "ephemeralContainer";

/** One `windowsOptions` block. */
export interface GmsaEntry {
  readonly kind: EntryKind;
  /** The pod's or the container's name; empty for a pod that is still to be named by its generator. */
  readonly resource: string;
  /** JSON pointer of the block that holds `securityContext`. */
  readonly pointer: string;
  /** `gmsaCredentialSpecName`; the empty string counts as set. */
  readonly specName: string | undefined;
  /** `gmsaCredentialSpec`. */
  readonly contents: string | undefined;
  readonly runAsUserName: string | undefined;
  readonly hostProcess: boolean | undefined;
}

export interface GmsaPod {
  readonly name: string;
  readonly serviceAccount: string;
  readonly hostname: string;
  /** Whether something makes pods like this one in numbers (a ReplicaSet, say). */
  readonly replicated: boolean;
  /** Only places with `windowsOptions`. */
  readonly entries: readonly GmsaEntry[];
  /** Containers of all kinds without `windowsOptions` of their own: they have what the pod says. */
  readonly inheriting: readonly string[];
}

export type PodReading =
  | { readonly ok: true; readonly pod: GmsaPod }
  | { readonly ok: false; readonly problem: string };

class Misshapen extends Error {}

const containerLists: readonly (readonly [field: string, kind: EntryKind])[] = [
  ["containers", "container"],
  ["initContainers", "initContainer"],
  ["ephemeralContainers", "ephemeralContainer"],
];

/** Reads a pod as an API server sends it. Fields that do not concern identities are not looked at. Never throws. */
export function readPod(value: unknown): PodReading {
  if (value === undefined || value === null) return { ok: false, problem: "unexpected end of JSON input" };
  try {
    return { ok: true, pod: podOf(value) };
  } catch (error) {
    if (error instanceof Misshapen) return { ok: false, problem: error.message };
    throw error;
  }
}

function podOf(value: unknown): GmsaPod {
  const root = objectAt(value, "the pod") ?? {};
  const metadata = objectAt(root["metadata"], "metadata") ?? {};
  const spec = objectAt(root["spec"], "spec") ?? {};
  const name = stringAt(metadata["name"], "metadata.name") ?? "";
  const entries: GmsaEntry[] = [];
  const inheriting: string[] = [];
  const own = entryOf(spec["securityContext"], { kind: "pod", resource: name, pointer: "/spec" });
  if (own !== undefined) entries.push(own);
  for (const [field, kind] of containerLists) {
    listAt(spec[field], `spec.${field}`).forEach((item, index) => {
      const where = `spec.${field}[${index}]`;
      const container = objectAt(item, where) ?? {};
      const resource = stringAt(container["name"], `${where}.name`) ?? "";
      const place = { kind, resource, pointer: `/spec/${field}/${index}` };
      const entry = entryOf(container["securityContext"], place);
      if (entry === undefined) inheriting.push(resource);
      else entries.push(entry);
    });
  }
  return {
    name,
    serviceAccount: stringAt(spec["serviceAccountName"], "spec.serviceAccountName") ?? "",
    hostname: stringAt(spec["hostname"], "spec.hostname") ?? "",
    replicated: Array.isArray(metadata["ownerReferences"]) && metadata["ownerReferences"].some(isReplicator),
    entries,
    inheriting,
  };
}

/** StatefulSets, DaemonSets and ReplicaSets give all their pods one template, host name included. */
function isReplicator(owner: unknown): boolean {
  return (
    isObject(owner) &&
    ["ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController"].includes(String(owner["kind"]))
  );
}

function entryOf(
  securityContext: unknown,
  place: Pick<GmsaEntry, "kind" | "resource" | "pointer">,
): GmsaEntry | undefined {
  const where = `${place.pointer.slice(1).replaceAll("/", ".")}.securityContext`;
  const options = objectAt(objectAt(securityContext, where)?.["windowsOptions"], `${where}.windowsOptions`);
  if (options === undefined) return undefined;
  const read = (field: string): string | undefined =>
    stringAt(options[field], `${where}.windowsOptions.${field}`);
  return {
    ...place,
    specName: read("gmsaCredentialSpecName"),
    contents: read("gmsaCredentialSpec"),
    runAsUserName: read("runAsUserName"),
    hostProcess: typeof options["hostProcess"] === "boolean" ? options["hostProcess"] : undefined,
  };
}

function objectAt(value: unknown, where: string): Readonly<Record<string, unknown>> | undefined {
  if (value === undefined || value === null) return undefined;
  if (!isObject(value)) throw new Misshapen(`${where} is not an object`);
  return value;
}

function listAt(value: unknown, where: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new Misshapen(`${where} is not a list`);
  return value;
}

function stringAt(value: unknown, where: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") throw new Misshapen(`${where} is not a string`);
  return value;
}

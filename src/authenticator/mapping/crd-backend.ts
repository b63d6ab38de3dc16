/**
 * Mappings as RAMIdentityMapping objects. Each is computed from its `spec` at every event, and an object whose new spec
 * cannot be used maps nobody: what an administrator took away is gone at once. `status` is only ever written, to tell the
 * author what was understood.
 * @module
 */
import { ramIdentityMappingKind } from "../../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceSource } from "../../kubernetes/resource-source.ts";
import { isObject } from "../ram/strict-json.ts";
import type { MappingBackend } from "./backend.ts";
import type { BackendDeps, BackendOptions } from "./file-backends.ts";
import { readMapping, type Mapping } from "./mapping.ts";
import { MappingIndex } from "./mapping-index.ts";
import { faultOfNames } from "./reserved-names.ts";

/** What was understood of one object, for its status and an event. */
export type Understood =
  | { readonly outcome: "synced"; readonly canonicalArn: string; readonly pinnedId: string }
  /** It counts, and others of the same ARN do not; or the other way round. */
  | {
      readonly outcome: "conflict";
      readonly canonicalArn: string;
      readonly pinnedId: string;
      readonly problem: string;
    }
  | { readonly outcome: "refused"; readonly problem: string };

/** Tells the author of a mapping what became of it. Must not throw and must not be waited for. */
export interface MappingReporter {
  report(object: KubernetesObject, understood: Understood): void;
}

const mode = "CRD";

export function createCrdBackend(
  source: ResourceSource,
  deps: BackendDeps & { readonly reporter?: MappingReporter },
  options: BackendOptions,
): MappingBackend {
  const index = new MappingIndex();
  const refused = new Map<string, string>();

  function put(object: KubernetesObject): void {
    const { name } = object.metadata;
    const read = readObject(object, options);
    if (typeof read === "string") {
      index.delete(name);
      refused.set(name, read);
      deps.log.warn("authenticator.mapping-refused", { backend: mode, entry: entryOf(name), problem: read });
      deps.reporter?.report(object, { outcome: "refused", problem: read });
    } else {
      refused.delete(name);
      const conflicts = index.put(name, read);
      const understood = { canonicalArn: read.arn.text, pinnedId: read.pinnedId ?? "" };
      if (conflicts.length === 0) deps.reporter?.report(object, { outcome: "synced", ...understood });
      for (const { winner, loser } of conflicts) {
        deps.log.warn("authenticator.mapping-conflict", {
          backend: mode,
          arn: winner.arn.text,
          counts: winner.entry,
          ignored: loser.entry,
        });
        const problem =
          winner === read
            ? `${loser.entry} maps the same ARN and is ignored`
            : `${winner.entry} maps the same ARN and is older: this one is ignored`;
        deps.reporter?.report(object, { outcome: "conflict", ...understood, problem });
      }
    }
    deps.metrics.mappingsLoaded(mode, index.size);
  }

  const cache = source.watch({ kind: ramIdentityMappingKind });
  cache.onChange((change) => {
    if (change.type === "deleted") {
      index.delete(change.object.metadata.name);
      refused.delete(change.object.metadata.name);
      deps.metrics.mappingsLoaded(mode, index.size);
    } else {
      put(change.object);
    }
    // What the old version was in the way of counts now, and its author shall hear of it.
    const before = change.previous === undefined ? "" : arnOf(change.previous);
    if (before === "") return;
    for (const other of cache.list()) {
      if (other.metadata.name !== change.object.metadata.name && arnOf(other) === before) put(other);
    }
  });
  for (const object of cache.list()) put(object);

  return {
    mode,
    index,
    names: options.names,
    readiness() {
      const status = cache.status();
      if (status.state === "syncing") return { ready: false, reason: status.reason ?? "not read yet" };
      const [first] = refused;
      const note =
        status.reason ??
        (first === undefined ? undefined : `${refused.size} refused, first ${first.join(": ")}`);
      return note === undefined ? { ready: true } : { ready: true, note };
    },
    close: () => cache.close(),
  };
}

function readObject(object: KubernetesObject, options: BackendOptions): Mapping | string {
  const { spec, metadata } = object;
  if (!isObject(spec)) return "it has no spec";
  const created = typeof metadata["creationTimestamp"] === "string" ? metadata["creationTimestamp"] : "";
  const read = readMapping(
    { arn: spec["arn"], username: spec["username"], groups: spec["groups"], pinnedId: spec["userID"] },
    {
      entry: entryOf(metadata.name),
      // The older one counts; what comes from a folder has no age and is ordered by name.
      rank: `${created} ${metadata.name}`,
      wildcards: options.wildcards,
    },
  );
  if (!read.ok) return read.problem;
  const { username, groups } = read.mapping;
  // What no caller could ever get is said now; what depends on the caller is checked again then.
  return faultOfNames({ username, groups }, options.names) ?? read.mapping;
}

function arnOf(object: KubernetesObject): string {
  const arn = isObject(object["spec"]) ? object["spec"]["arn"] : undefined;
  return typeof arn === "string" ? arn.toLowerCase() : "";
}

function entryOf(name: string): string {
  return `RAMIdentityMapping ${name}`;
}

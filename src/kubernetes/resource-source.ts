/**
 * The port through which everything above reads Kubernetes objects, wherever they come from: a cluster
 * (`cluster-source.ts`) or a folder of manifests (`manifest-folder-source.ts`). Readers ask a {@link ResourceCache},
 * which answers from memory; the source keeps it current and says how current it is.
 *
 * Every adapter passes `test/contracts/resource-source-contract.ts`.
 * @module
 */
import type { ResourceKind } from "./kinds.ts";

/** What every Kubernetes object has. Objects that a source hands out are frozen all the way down. */
export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMetadata;
  readonly [field: string]: unknown;
}

export interface ObjectMetadata {
  readonly name: string;
  /** Absent for kinds that belong to the whole cluster; `default` where a manifest leaves it out. */
  readonly namespace?: string;
  /** Only an API server gives one. */
  readonly uid?: string;
  /** Only an API server gives one. */
  readonly resourceVersion?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** What a selector's `parse` makes of one object: its typed value, or a sentence about what is wrong with it. */
export type ParsedResource<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: string };

export interface ResourceSelector<T = KubernetesObject> {
  readonly kind: ResourceKind;
  /** Only objects of this namespace; without it, of all namespaces. */
  readonly namespace?: string;
  /**
   * Only this one object. A cluster is asked with the field selector `metadata.name`, so that a Role with
   * `resourceNames` suffices for get, list and watch.
   */
  readonly name?: string;
  /**
   * Turns a checked Kubernetes object into the reader's own type. An object that it refuses does not replace its last
   * good version; the refusal is listed by {@link ResourceCache.faults}. A reader that wants a broken object to count
   * as gone must not refuse it here. It must not throw, and `problem` must hold no secret.
   */
  readonly parse?: (object: KubernetesObject) => ParsedResource<T>;
}

/** How far a cache can be trusted. */
export interface SyncStatus {
  /**
   * `syncing`: nothing was read yet. `synced`: what the source holds is in the cache. `stale`: it was, but the source
   * is away or some of it cannot be read, and the last good objects are served.
   */
  readonly state: "syncing" | "synced" | "stale";
  /** When the source last confirmed the contents, in milliseconds since the epoch; while `syncing`, when reading began. */
  readonly since: number;
  /** Why it is not synced, as a sentence for the operator; never there when `synced`. */
  readonly reason?: string;
}

export type ResourceChange<T> =
  | { readonly type: "added"; readonly object: T; readonly previous: undefined }
  | { readonly type: "modified"; readonly object: T; readonly previous: T }
  /** `object` is the last version that was served. */
  | { readonly type: "deleted"; readonly object: T; readonly previous: T };

/** Something in the source that is not served, or only in its last good version. */
export interface ResourceFault {
  /** The object (`Secret apps/web-creds`) or the file (`creds.yaml`). */
  readonly subject: string;
  /** What is wrong with it, as a sentence; no secret in it. */
  readonly problem: string;
}

export interface ResourceCache<T = KubernetesObject> {
  /**
   * The object of that name. The namespace defaults to the selector's; a cache of all namespaces needs it, and kinds
   * without namespaces ignore it.
   */
  get(name: string, namespace?: string): T | undefined;
  /** All objects, ordered by namespace and name. */
  list(): readonly T[];
  status(): SyncStatus;
  /** What is wrong right now with objects or files that concern this cache. */
  faults(): readonly ResourceFault[];
  /** Resolves after the first complete read. Rejects with the signal's reason, or when the cache is closed before. */
  synced(signal?: AbortSignal): Promise<void>;
  /**
   * Calls back for each change from now on, after `get` and `list` show it, in order. One that throws is logged and does
   * not disturb the others. Returns the way to stop it.
   */
  onChange(listener: (change: ResourceChange<T>) => void): () => void;
  /** Stops following; `get` and `list` keep answering with what was there. */
  close(): Promise<void>;
}

/** The answer to one look-up. Only `absent` says that the object does not exist. */
export type ResourceLookup<T> =
  | { readonly found: true; readonly object: T }
  | {
      readonly found: false;
      /** `absent`: it is not there. `invalid`: it is there and `parse` refused it. Otherwise it is not known. */
      readonly reason: "absent" | "invalid" | "forbidden" | "unavailable";
      /** A sentence for the operator's log. */
      readonly detail: string;
    };

/** A selector that names one object. */
export type NamedSelector<T> = ResourceSelector<T> & { readonly name: string };

export interface ResourceSource {
  /** Begins to follow the selected objects. Never throws because the source is away: `status()` says so. */
  watch<T = KubernetesObject>(selector: ResourceSelector<T>): ResourceCache<T>;
  /** Asks the source now, past any cache. Never rejects but with the signal's reason. */
  get<T = KubernetesObject>(selector: NamedSelector<T>, signal?: AbortSignal): Promise<ResourceLookup<T>>;
  /** Where the objects come from, for logs and `--help`-like output: no credentials in it. */
  describe(): string;
  /** Closes every cache and connection. */
  close(): Promise<void>;
}

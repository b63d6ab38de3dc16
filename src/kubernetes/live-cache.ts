/**
 * The memory behind every {@link ResourceCache}: one source writes into it, any number of readers look. It decides what
 * counts as a change, keeps the last good version of an object that its reader refuses, and never forgets because a
 * source is away.
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import type { Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import type { KubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import type { Log } from "../observe/log.ts";
import { resourceNameOf } from "./kinds.ts";
import type {
  KubernetesObject,
  ParsedResource,
  ResourceCache,
  ResourceChange,
  ResourceFault,
  ResourceSelector,
  SyncStatus,
} from "./resource-source.ts";

export interface SourceDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics?: KubernetesMetrics;
}

interface Entry<T> {
  /** Tells the object as the source has it now from another version of it. */
  readonly version: ObjectVersion;
  readonly subject: string;
  /** What readers get: parsed from the current version, or from the last version that parsed. */
  readonly served: { readonly value: T } | undefined;
  /** Why the current version is not what is served. */
  readonly problem: string | undefined;
}

/**
 * An API server's uid and resourceVersion, only to be compared for equality
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions): of a Secret that was parsed nothing
 * else need stay in memory. A manifest has none and is compared as a whole; its source keeps it anyway.
 */
type ObjectVersion = string | KubernetesObject;

interface Waiter {
  resolve(): void;
  reject(reason: Error): void;
}

export class LiveCache<T> implements ResourceCache<T> {
  readonly #selector: ResourceSelector<T>;
  readonly #deps: SourceDeps;
  readonly #log: Log;
  readonly #release: () => Promise<void>;
  readonly #unobserve: () => void;
  readonly #entries = new Map<string, Entry<T>>();
  readonly #listeners = new Set<(change: ResourceChange<T>) => void>();
  readonly #waiters = new Set<Waiter>();
  #sorted: readonly T[] | undefined;
  #state: SyncStatus["state"] = "syncing";
  #since: number;
  #reason: string | undefined;
  #sourceFaults: readonly ResourceFault[] = [];
  #closed: Promise<void> | undefined;

  /** @param release stops the source's work for this cache; called once. */
  constructor(selector: ResourceSelector<T>, deps: SourceDeps, release: () => Promise<void>) {
    this.#selector = selector;
    this.#deps = deps;
    this.#release = release;
    this.#since = deps.clock.now();
    this.#log = deps.log.with({
      resource: resourceNameOf(selector.kind),
      ...(selector.namespace === undefined ? {} : { namespace: selector.namespace }),
      ...(selector.name === undefined ? {} : { name: selector.name }),
    });
    this.#unobserve =
      deps.metrics?.observe(resourceNameOf(selector.kind), {
        staleMilliseconds: () => (this.#state === "synced" ? 0 : deps.clock.now() - this.#since),
        lastSync: () => (this.#state === "syncing" ? undefined : this.#since),
        faults: () => this.faults().length,
      }) ?? (() => undefined);
  }

  get(name: string, namespace: string | undefined = this.#selector.namespace): T | undefined {
    return this.#entries.get(this.#key(name, namespace))?.served?.value;
  }

  list(): readonly T[] {
    this.#sorted ??= Object.freeze(
      [...this.#entries.entries()]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .flatMap(([, entry]) => (entry.served === undefined ? [] : [entry.served.value])),
    );
    return this.#sorted;
  }

  status(): SyncStatus {
    return {
      state: this.#state,
      since: this.#since,
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
    };
  }

  faults(): readonly ResourceFault[] {
    const refused = [...this.#entries.values()].flatMap(({ subject, problem }) =>
      problem === undefined ? [] : [{ subject, problem }],
    );
    return [...this.#sourceFaults, ...refused];
  }

  synced(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(abortReason(signal));
      if (this.#state !== "syncing") return resolve();
      if (this.#closed !== undefined) return reject(new Error("The cache was closed before its first read."));
      const settle = (): void => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        resolve: () => (settle(), resolve()),
        reject: (reason) => (settle(), reject(reason)),
      };
      const onAbort = (): void => waiter.reject(abortReason(signal));
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  onChange(listener: (change: ResourceChange<T>) => void): () => void {
    // A function of its own, so that one listener registered twice is stopped one registration at a time.
    const registered = (change: ResourceChange<T>): void => listener(change);
    this.#listeners.add(registered);
    return () => this.#listeners.delete(registered);
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    this.#unobserve();
    this.#listeners.clear();
    for (const waiter of [...this.#waiters]) {
      waiter.reject(new Error("The cache was closed before its first read."));
    }
    if (this.#state === "synced") this.#state = "stale";
    this.#reason = "The cache is closed.";
    await this.#release();
  }

  // The source's side.

  /** Whether an object, already of the selector's kind, is one that this cache holds. */
  selects(object: KubernetesObject): boolean {
    const { name, namespace } = this.#selector;
    return (
      (name === undefined || object.metadata.name === name) &&
      (namespace === undefined || !this.#selector.kind.namespaced || object.metadata.namespace === namespace)
    );
  }

  /** The source's whole contents: what is not in it was deleted. */
  replace(objects: readonly KubernetesObject[]): void {
    if (this.#closed !== undefined) return;
    const kept = new Set<string>();
    for (const object of objects) {
      if (!this.selects(object)) continue;
      kept.add(this.#keyOf(object));
    }
    for (const key of [...this.#entries.keys()]) if (!kept.has(key)) this.#delete(key);
    for (const object of objects) this.put(object);
  }

  /** An object that was added or changed. */
  put(object: KubernetesObject): void {
    if (this.#closed !== undefined || !this.selects(object)) return;
    const key = this.#keyOf(object);
    const before = this.#entries.get(key);
    const version = versionOf(object);
    if (before !== undefined && isSame(before.version, version)) return;
    const subject = subjectOf(object);
    const parsed = parseWith(this.#selector, object);
    const after: Entry<T> = parsed.ok
      ? { version, subject, served: { value: parsed.value }, problem: undefined }
      : { version, subject, served: before?.served, problem: parsed.problem };
    this.#entries.set(key, after);
    if (!parsed.ok) {
      this.#log.warn("kubernetes.object-refused", {
        object: subject,
        problem: parsed.problem,
        lastGoodServed: before?.served !== undefined,
      });
      return;
    }
    if (before?.problem !== undefined) {
      this.#log.info("kubernetes.object-accepted", { object: subject });
    }
    this.#sorted = undefined;
    const previous = before?.served?.value;
    this.#emit(
      before?.served === undefined || previous === undefined
        ? { type: "added", object: parsed.value, previous: undefined }
        : { type: "modified", object: parsed.value, previous },
    );
  }

  /** An object that was deleted. */
  remove(object: KubernetesObject): void {
    if (this.#closed === undefined) this.#delete(this.#keyOf(object));
  }

  /** The source holds what the cache holds, as of now; `faults` are what it could not read, and make it stale. */
  confirm(faults: readonly ResourceFault[] = []): void {
    if (this.#closed !== undefined) return;
    this.#sourceFaults = faults;
    const first = faults[0];
    if (first === undefined) {
      const was = this.#state;
      const away = this.#deps.clock.now() - this.#since;
      this.#state = "synced";
      this.#since = this.#deps.clock.now();
      this.#reason = undefined;
      if (was !== "synced") this.#log.info("kubernetes.synced", { objects: this.#entries.size, after: away });
    } else {
      const more = faults.length === 1 ? "" : ` (and ${faults.length - 1} more)`;
      if (this.#state === "syncing") this.#since = this.#deps.clock.now();
      this.#state = "stale";
      this.#becomeStale(`${first.subject}: ${first.problem}${more}`);
    }
    for (const waiter of [...this.#waiters]) waiter.resolve();
  }

  /** The source cannot be read; what is there stays served. */
  lose(reason: string): void {
    if (this.#closed !== undefined) return;
    if (this.#state === "synced") this.#state = "stale";
    this.#becomeStale(reason);
  }

  #becomeStale(reason: string): void {
    if (this.#reason === reason) return;
    this.#reason = reason;
    this.#log.warn("kubernetes.stale", {
      state: this.#state,
      since: new Date(this.#since).toISOString(),
      reason,
    });
  }

  #delete(key: string): void {
    const before = this.#entries.get(key);
    if (before === undefined) return;
    this.#entries.delete(key);
    this.#sorted = undefined;
    if (before.served === undefined) return;
    this.#emit({ type: "deleted", object: before.served.value, previous: before.served.value });
  }

  #emit(change: ResourceChange<T>): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(change);
      } catch (thrown) {
        this.#log.error("kubernetes.listener-failed", { change: change.type, detail: reasonOf(thrown) });
      }
    }
  }

  #keyOf(object: KubernetesObject): string {
    return this.#key(object.metadata.name, object.metadata.namespace);
  }

  #key(name: string, namespace: string | undefined): string {
    // Neither part can hold a slash, and a space sorts before every character of a namespace.
    return this.#selector.kind.namespaced ? `${namespace ?? ""} ${name}` : name;
  }
}

/** Applies a selector's `parse`; without one the object itself is the value. */
export function parseWith<T>(selector: ResourceSelector<T>, object: KubernetesObject): ParsedResource<T> {
  if (selector.parse === undefined) return { ok: true, value: object as T };
  try {
    return selector.parse(object);
  } catch (thrown) {
    // Its contract forbids throwing; a fault there must not end a watch. The message may quote the object: not repeated.
    const name = thrown instanceof Error ? thrown.name : typeof thrown;
    return { ok: false, problem: `it could not be read (${name})` };
  }
}

/** `Kind namespace/name`, for people. */
export function subjectOf(object: KubernetesObject): string {
  const { name, namespace } = object.metadata;
  return `${object.kind} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}

function versionOf(object: KubernetesObject): ObjectVersion {
  const { uid, resourceVersion } = object.metadata;
  return resourceVersion === undefined ? object : `${uid ?? ""} ${resourceVersion}`;
}

function isSame(before: ObjectVersion, after: ObjectVersion): boolean {
  return before === after || isDeepStrictEqual(before, after);
}

function abortReason(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : new Error("aborted");
}

/**
 * A {@link ResourceSource} over a folder of Kubernetes manifests: the same YAML that `kubectl apply` takes, followed as
 * it changes. It serves hosts without Kubernetes, the local run and tests.
 *
 * Each file stands for itself: one that cannot be read keeps its last good objects and makes the source stale with the
 * reason, the others go on. Sub-folders and names that begin with a dot are not looked at.
 * @module
 */
import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { CancelTimer } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import type { ResourceKind } from "./kinds.ts";
import { apiVersionOf } from "./kinds.ts";
import { LiveCache, parseWith, subjectOf } from "./live-cache.ts";
import type { SourceDeps } from "./live-cache.ts";
import { identityOf, parseManifest } from "./manifest.ts";
import { readManifestFile } from "./manifest-file.ts";
import type {
  KubernetesObject,
  NamedSelector,
  ResourceCache,
  ResourceFault,
  ResourceLookup,
  ResourceSelector,
  ResourceSource,
} from "./resource-source.ts";

export interface ManifestFolderOptions {
  readonly folder: string;
  /** Bytes of one file above which it is refused; 1 MiB, the size that an API server's store takes. */
  readonly maxFileBytes?: number;
  /** Files above which the folder is refused; 1,000. */
  readonly maxFiles?: number;
  /** Milliseconds without a further notification before the folder is read; 40. */
  readonly debounceMilliseconds?: number;
  /** Milliseconds between reads when the system notifies of nothing (network and bind mounts); 2,000. */
  readonly rescanMilliseconds?: number;
}

interface KnownFile {
  readonly signature: string | undefined;
  /** The last good objects. */
  readonly objects: readonly KubernetesObject[];
  readonly problem: string | undefined;
}

interface Follower {
  readonly cache: LiveCache<never>;
  readonly kind: ResourceKind;
}

/** Begins to read the folder at once; it need not exist yet. */
export function createManifestFolderSource(deps: SourceDeps, options: ManifestFolderOptions): ResourceSource {
  return new ManifestFolderSource(deps, options);
}

class ManifestFolderSource implements ResourceSource {
  readonly #deps: SourceDeps;
  readonly #folder: string;
  readonly #limits: Required<Omit<ManifestFolderOptions, "folder">>;
  readonly #followers = new Set<Follower>();
  #files = new Map<string, KnownFile>();
  #objects: readonly KubernetesObject[] = [];
  #faults: readonly ResourceFault[] = [];
  /** Why the folder as a whole cannot be read. */
  #away: string | undefined;
  #watcher: FSWatcher | undefined;
  #watchedInode: string | undefined;
  #notificationsMissing = false;
  #scanning: Promise<void> | undefined;
  #again = false;
  #read = false;
  #cancelDebounce: CancelTimer = () => undefined;
  #firstNotification: number | undefined;
  #cancelRescan: CancelTimer = () => undefined;
  #closed = false;

  constructor(deps: SourceDeps, options: ManifestFolderOptions) {
    const { folder, ...limits } = options;
    this.#deps = deps;
    this.#folder = folder;
    this.#limits = {
      maxFileBytes: 1024 * 1024,
      maxFiles: 1_000,
      debounceMilliseconds: 40,
      rescanMilliseconds: 2_000,
      ...limits,
    };
    void this.#scan();
  }

  watch<T = KubernetesObject>(selector: ResourceSelector<T>): ResourceCache<T> {
    const cache = new LiveCache<T>(selector, this.#deps, () => {
      this.#followers.delete(follower);
      return Promise.resolve();
    });
    const follower: Follower = { cache: cache as unknown as LiveCache<never>, kind: selector.kind };
    this.#followers.add(follower);
    this.#feed(follower);
    return cache;
  }

  async get<T = KubernetesObject>(
    selector: NamedSelector<T>,
    signal?: AbortSignal,
  ): Promise<ResourceLookup<T>> {
    signal?.throwIfAborted();
    if (this.#closed) return { found: false, reason: "unavailable", detail: "The source is closed." };
    await Promise.race([this.#scan(), aborted(signal)]);
    const { objects } = select(this.#objects, selector.kind);
    const object = objects.find(
      ({ metadata }) =>
        metadata.name === selector.name &&
        (!selector.kind.namespaced || metadata.namespace === (selector.namespace ?? "default")),
    );
    if (object !== undefined) {
      const parsed = parseWith(selector, object);
      if (parsed.ok) return { found: true, object: parsed.value };
      return { found: false, reason: "invalid", detail: `${subjectOf(object)}: ${parsed.problem}.` };
    }
    const fault = this.#faults[0];
    if (this.#away !== undefined) return { found: false, reason: "unavailable", detail: this.#away };
    // It may stand in the file that cannot be read.
    if (fault !== undefined)
      return { found: false, reason: "unavailable", detail: `${fault.subject}: ${fault.problem}.` };
    return {
      found: false,
      reason: "absent",
      detail: `No file in ${this.#folder} holds ${selector.kind.kind} ${selector.name}.`,
    };
  }

  describe(): string {
    return `manifest folder ${this.#folder}`;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelDebounce();
    this.#cancelRescan();
    this.#watcher?.close();
    await Promise.all([...this.#followers].map(({ cache }) => cache.close()));
    await this.#scanning;
  }

  /** Reads what changed; a call during a read makes it read once more, and resolves after that. */
  #scan(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    if (this.#scanning !== undefined) {
      this.#again = true;
      return this.#scanning;
    }
    this.#cancelRescan();
    this.#cancelDebounce();
    this.#firstNotification = undefined;
    this.#scanning = (async () => {
      do {
        this.#again = false;
        await this.#scanOnce();
      } while (this.#again && !this.#closed);
      this.#scanning = undefined;
      if (!this.#closed)
        this.#cancelRescan = this.#deps.clock.after(this.#limits.rescanMilliseconds, () => void this.#scan());
    })();
    return this.#scanning;
  }

  async #scanOnce(): Promise<void> {
    let names: readonly string[];
    try {
      await this.#follow();
      const entries = await readdir(this.#folder);
      // By code unit, not by locale: which of two files wins must not depend on the machine.
      names = entries.filter((name) => /^[^.].*\.(ya?ml|json)$/i.test(name)).sort();
      if (names.length > this.#limits.maxFiles)
        throw new Error(`it holds more than ${this.#limits.maxFiles} manifests`);
    } catch (thrown) {
      const code = (thrown as NodeJS.ErrnoException).code;
      this.#away = `The folder ${this.#folder} cannot be read: ${
        code === "ENOENT" ? "it does not exist" : code === "ENOTDIR" ? "it is not a folder" : reasonOf(thrown)
      }.`;
      if (!this.#closed) for (const { cache } of this.#followers) cache.lose(this.#away);
      return;
    }
    this.#away = undefined;
    const next = new Map<string, KnownFile>();
    for (const name of names) {
      const known = this.#files.get(name);
      const file = await this.#readFile(name, known);
      if (file === undefined) continue;
      next.set(name, file);
      this.#report(name, known?.problem, file.problem);
    }
    if (this.#closed) return;
    const changed =
      !this.#read ||
      next.size !== this.#files.size ||
      [...next].some(([name, file]) => this.#files.get(name) !== file);
    this.#files = next;
    this.#read = true;
    if (changed) this.#merge();
    for (const follower of this.#followers) this.#feed(follower);
  }

  /** The same record when nothing changed, `undefined` when the file is gone. */
  async #readFile(name: string, known: KnownFile | undefined): Promise<KnownFile | undefined> {
    const file = await readManifestFile(
      join(this.#folder, name),
      known?.signature,
      this.#limits.maxFileBytes,
    );
    const refused = (problem: string, signature: string | undefined): KnownFile =>
      known?.problem === problem && known.signature === signature
        ? known
        : { signature, objects: known?.objects ?? [], problem };
    switch (file.outcome) {
      case "unchanged":
        return known;
      case "gone":
        return undefined;
      case "refused":
        return refused(file.problem, undefined);
      case "read": {
        const parsed = parseManifest(file.bytes);
        if (!parsed.ok) return refused(parsed.problem, file.signature);
        return { signature: file.signature, objects: parsed.objects, problem: undefined };
      }
    }
  }

  #report(name: string, before: string | undefined, now: string | undefined): void {
    if (before === now) return;
    if (now === undefined) this.#deps.log.info("manifests.fault-cleared", { file: name });
    else this.#deps.log.warn("manifests.fault", { file: name, problem: now });
  }

  /** All files as one set of objects: of two with the same identity, the one in the file that sorts first. */
  #merge(): void {
    const owners = new Map<string, string>();
    const objects: KubernetesObject[] = [];
    const faults: ResourceFault[] = [];
    for (const [name, file] of this.#files) {
      if (file.problem !== undefined) faults.push({ subject: name, problem: file.problem });
      for (const object of file.objects) {
        const identity = identityOf(object);
        const owner = owners.get(identity);
        if (owner === undefined) {
          owners.set(identity, name);
          objects.push(object);
        } else {
          faults.push({
            subject: name,
            problem: `${subjectOf(object)} is also in ${owner}, which is the one that counts`,
          });
        }
      }
    }
    this.#objects = objects;
    this.#faults = faults;
  }

  #feed({ cache, kind }: Follower): void {
    if (this.#closed) return;
    if (this.#away !== undefined) return cache.lose(this.#away);
    if (!this.#read) return;
    const { objects, faults } = select(this.#objects, kind);
    cache.replace(objects);
    cache.confirm([...this.#faults, ...faults]);
  }

  /** Asks the system to be told of changes; without that, the periodic read is what remains. */
  async #follow(): Promise<void> {
    const { dev, ino } = await stat(this.#folder, { bigint: true });
    const inode = `${dev}:${ino}`;
    if (this.#closed || (this.#watcher !== undefined && this.#watchedInode === inode)) return;
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#watchedInode = inode;
    try {
      const watcher = watch(this.#folder, { persistent: false }, () => this.#notified());
      watcher.on("error", () => {
        watcher.close();
        if (this.#watcher === watcher) this.#watcher = undefined;
      });
      this.#watcher = watcher;
      this.#notificationsMissing = false;
    } catch (thrown) {
      if (!this.#notificationsMissing) {
        this.#deps.log.warn("manifests.notifications-unavailable", {
          folder: this.#folder,
          detail: reasonOf(thrown),
        });
      }
      this.#notificationsMissing = true;
    }
  }

  /** Waits until an editor is done, but not longer than five times that. */
  #notified(): void {
    if (this.#closed) return;
    const now = this.#deps.clock.now();
    this.#firstNotification ??= now;
    const quiet = this.#limits.debounceMilliseconds;
    const latest = this.#firstNotification + 5 * quiet - now;
    this.#cancelDebounce();
    this.#cancelDebounce = this.#deps.clock.after(Math.max(0, Math.min(quiet, latest)), () => {
      this.#firstNotification = undefined;
      void this.#scan();
    });
  }
}

/** The objects of one kind, with the namespace that a reader may rely on. */
function select(
  all: readonly KubernetesObject[],
  kind: ResourceKind,
): { readonly objects: readonly KubernetesObject[]; readonly faults: readonly ResourceFault[] } {
  const objects: KubernetesObject[] = [];
  const faults: ResourceFault[] = [];
  const wanted = apiVersionOf(kind);
  for (const object of all) {
    const [version = "", group = ""] = object.apiVersion.split("/").reverse();
    if (object.kind !== kind.kind || group !== kind.group) continue;
    if (version === kind.version) objects.push(inNamespace(object, kind));
    else
      faults.push({
        subject: subjectOf(object),
        problem: `its apiVersion is ${object.apiVersion}, and only ${wanted} is read`,
      });
  }
  return { objects, faults };
}

/** As the API server stores it: `default` where a manifest names none, none for a kind of the whole cluster. */
function inNamespace(object: KubernetesObject, kind: ResourceKind): KubernetesObject {
  const { namespace, ...metadata } = object.metadata;
  if (kind.namespaced ? namespace !== undefined : namespace === undefined) return object;
  const placed = kind.namespaced ? { ...metadata, namespace: "default" } : metadata;
  return Object.freeze({ ...object, metadata: Object.freeze(placed) });
}

function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    signal?.addEventListener(
      "abort",
      () => reject(signal.reason instanceof Error ? signal.reason : new Error("aborted")),
      { once: true },
    );
  });
}

/**
 * Kubernetes objects from a folder of manifests, for hosts without Kubernetes, for a laptop and for tests. The folder is
 * watched; what cannot be read is named, and its last good contents stay served.
 *
 * Every regular file in the folder itself whose name ends in `.yaml`, `.yml` or `.json` and does not begin with a dot
 * counts, through symbolic links as well (a mounted Kubernetes volume consists of them).
 * @module
 */
import { createHash } from "node:crypto";
import { constants, watch, type FSWatcher } from "node:fs";
import { lstat, open, readdir, realpath, stat, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CancelTimer } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import { apiVersionOf, type ResourceKind } from "./kinds.ts";
import { LiveCache, parseWith, subjectOf, type SourceDeps } from "./live-cache.ts";
import { readManifest } from "./manifest.ts";
import type {
  KubernetesObject,
  NamedSelector,
  ResourceFault,
  ResourceLookup,
  ResourceSelector,
  ResourceSource,
} from "./resource-source.ts";

export interface ManifestFolderOptions {
  /** Largest file that is read, in bytes. */
  readonly maxFileBytes?: number;
  /**
   * Quiet time after a change before the folder is read, milliseconds: an editor writes in several steps. A folder that
   * never rests is read after ten times as long.
   */
  readonly settleMs?: number;
  /** How often the folder is read whether or not a change was noticed, milliseconds. */
  readonly rescanMs?: number;
}

const defaults = { maxFileBytes: 1024 * 1024, settleMs: 40, rescanMs: 5_000 } as const;

const manifestName = /^[^.].*\.(?:ya?ml|json)$/i;

/** What is known of one file: what it holds, or last held when it is broken now. */
interface KnownFile {
  /** Of the text it was read from, so that an untouched file is not parsed again. */
  readonly digest: string;
  readonly objects: readonly KubernetesObject[];
  readonly problem: string | undefined;
}

/** Begins to read at once; never throws because the folder is not there: the caches' `status()` says so. */
export function createManifestFolderSource(
  folder: string,
  deps: SourceDeps,
  options: ManifestFolderOptions = {},
): ResourceSource {
  return new ManifestFolderSource(folder, deps, { ...defaults, ...options });
}

class ManifestFolderSource implements ResourceSource {
  readonly #folder: string;
  readonly #deps: SourceDeps;
  readonly #options: Required<ManifestFolderOptions>;
  readonly #caches = new Map<LiveCache<unknown>, ResourceKind>();
  #files: ReadonlyMap<string, KnownFile> = new Map();
  #objects: readonly KubernetesObject[] = [];
  #faults: readonly ResourceFault[] = [];
  /** Why the folder itself cannot be read; "" before the first attempt. */
  #folderProblem: string | undefined = "";
  #watchers: readonly FSWatcher[] = [];
  #watched = "";
  #cancelSettle: CancelTimer | undefined;
  /** When the first change was noticed that is not read yet. */
  #noticedAt: number | undefined;
  #cancelRescan: CancelTimer = () => undefined;
  #scanning: Promise<void> | undefined;
  #scanAgain = false;
  #closed = false;
  #notificationsFailed = false;

  constructor(folder: string, deps: SourceDeps, options: Required<ManifestFolderOptions>) {
    this.#folder = folder;
    this.#deps = deps;
    this.#options = options;
    void this.#scan();
  }

  watch<T>(selector: ResourceSelector<T>): LiveCache<T> {
    const cache: LiveCache<T> = new LiveCache(selector, this.#deps, () => {
      this.#caches.delete(cache as LiveCache<unknown>);
      return Promise.resolve();
    });
    this.#caches.set(cache as LiveCache<unknown>, selector.kind);
    if (this.#folderProblem === undefined) this.#fill(cache as LiveCache<unknown>, selector.kind);
    else if (this.#folderProblem !== "") cache.lose(this.#folderProblem);
    return cache;
  }

  async get<T>(selector: NamedSelector<T>, signal?: AbortSignal): Promise<ResourceLookup<T>> {
    signal?.throwIfAborted();
    await this.#scan();
    signal?.throwIfAborted();
    if (this.#folderProblem !== undefined)
      return { found: false, reason: "unavailable", detail: this.#folderProblem };
    const object = this.#of(selector.kind).find(
      ({ metadata }) =>
        metadata.name === selector.name &&
        (!selector.kind.namespaced ||
          selector.namespace === undefined ||
          metadata.namespace === selector.namespace),
    );
    if (object === undefined) {
      // It may stand in a file that cannot be read: then nobody knows.
      for (const [file, { problem }] of this.#files) {
        if (problem !== undefined) {
          return { found: false, reason: "unavailable", detail: `${file}: ${problem}` };
        }
      }
      const detail = `${this.#folder} holds no ${selector.kind.kind} ${selector.name}.`;
      return { found: false, reason: "absent", detail };
    }
    const parsed = parseWith(selector, object);
    if (parsed.ok) return { found: true, object: parsed.value };
    return { found: false, reason: "invalid", detail: `${subjectOf(object)}: ${parsed.problem}` };
  }

  describe(): string {
    return `manifest folder ${this.#folder}`;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#cancelSettle?.();
    this.#cancelRescan();
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
    await Promise.all([...this.#caches.keys()].map((cache) => cache.close()));
    await this.#scanning;
  }

  /** Reads the folder now; a call while one is under way makes it run once more. */
  async #scan(): Promise<void> {
    if (this.#scanning !== undefined) {
      this.#scanAgain = true;
      await this.#scanning;
      return;
    }
    this.#scanning = this.#scanUntilQuiet().finally(() => {
      this.#scanning = undefined;
    });
    await this.#scanning;
  }

  async #scanUntilQuiet(): Promise<void> {
    do {
      this.#scanAgain = false;
      if (this.#closed) return;
      // Watched before it is read: a change in between is noticed.
      await this.#watchFolder();
      await this.#read();
    } while (this.#scanAgain);
    this.#cancelRescan();
    if (!this.#closed) {
      this.#cancelRescan = this.#deps.clock.after(this.#options.rescanMs, () => void this.#scan());
    }
  }

  async #read(): Promise<void> {
    let names: readonly string[];
    try {
      names = (await readdir(this.#folder)).filter((name) => manifestName.test(name)).sort();
    } catch (error) {
      this.#folderProblem = `The manifest folder ${this.#folder} cannot be read: ${reasonOf(error)}`;
      for (const cache of this.#caches.keys()) cache.lose(this.#folderProblem);
      return;
    }
    const files = new Map<string, KnownFile>();
    for (const name of names) {
      const known = await this.#readFile(name, this.#files.get(name));
      if (known !== undefined) files.set(name, known);
    }
    if (this.#closed) return;
    this.#noteFaults(files);
    this.#files = files;
    this.#combine();
    this.#folderProblem = undefined;
    for (const [cache, kind] of this.#caches) this.#fill(cache, kind);
  }

  /** `undefined`: the file is not there any more. */
  async #readFile(name: string, before: KnownFile | undefined): Promise<KnownFile | undefined> {
    const path = join(this.#folder, name);
    const broken = (problem: string): KnownFile => ({ digest: "", objects: before?.objects ?? [], problem });
    let text: string;
    try {
      // Without O_NONBLOCK, opening a FIFO would wait for somebody to write into it.
      const file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
      try {
        const found = await file.stat();
        if (!found.isFile()) return broken("it is not a regular file");
        if (found.size > this.#options.maxFileBytes) {
          return broken(
            `it has ${found.size} bytes, more than the ${this.#options.maxFileBytes} that are read`,
          );
        }
        // The size may be a lie (a file that grows, /proc): never more is read than is allowed.
        text = await readAtMost(file, this.#options.maxFileBytes);
      } finally {
        await file.close();
      }
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      if (code !== "ENOENT") return broken(`it cannot be read: ${reasonOf(error)}`);
      const dangling = await lstat(path).then(
        () => true,
        () => false,
      );
      return dangling ? broken("it is a link that leads nowhere") : undefined;
    }
    // What a file looks like between an editor's truncating it and writing it: a deletion deletes the file.
    if (text.trim() === "" && before !== undefined && before.objects.length > 0) return broken("it is empty");
    const digest = createHash("sha256").update(text).digest("base64");
    if (before?.digest === digest) return before;
    const manifest = readManifest(text);
    return manifest.ok
      ? { digest, objects: manifest.objects, problem: undefined }
      : { digest, objects: before?.objects ?? [], problem: manifest.problem };
  }

  #noteFaults(files: ReadonlyMap<string, KnownFile>): void {
    for (const [name, { problem }] of files) {
      const before = this.#files.get(name)?.problem;
      if (problem === before) continue;
      if (problem !== undefined) this.#deps.log.warn("manifests.fault", { file: name, problem });
      else this.#deps.log.info("manifests.fault-cleared", { file: name });
    }
  }

  /** All objects, each once: of two files with the same object the first in alphabetical order counts. */
  #combine(): void {
    const faults: ResourceFault[] = [];
    const owners = new Map<string, string>();
    const objects: KubernetesObject[] = [];
    for (const [name, { objects: held, problem }] of this.#files) {
      if (problem !== undefined) faults.push({ subject: name, problem });
      for (const object of held) {
        const key = `${object.apiVersion} ${subjectOf(object)}`;
        const owner = owners.get(key);
        if (owner === undefined) {
          owners.set(key, name);
          objects.push(object);
        } else {
          faults.push({
            subject: name,
            problem: `${subjectOf(object)} stands in ${owner} already, which counts`,
          });
        }
      }
    }
    this.#objects = objects;
    this.#faults = faults;
  }

  #of(kind: ResourceKind): readonly KubernetesObject[] {
    const apiVersion = apiVersionOf(kind);
    return this.#objects.filter((object) => object.kind === kind.kind && object.apiVersion === apiVersion);
  }

  #fill(cache: LiveCache<unknown>, kind: ResourceKind): void {
    cache.replace(this.#of(kind));
    cache.confirm(this.#faults);
  }

  /** Watches the folder, and the folders that its links lead to: the swap of a mounted volume happens there. */
  async #watchFolder(): Promise<void> {
    const folders = await this.#foldersToWatch();
    if (this.#closed) return;
    const wanted = [...folders].flat().join("\n");
    if (wanted === this.#watched && this.#watchers.length > 0) return;
    for (const watcher of this.#watchers) watcher.close();
    this.#watched = wanted;
    this.#watchers = [...folders.keys()].flatMap((folder) => {
      try {
        const watcher = watch(folder, { persistent: false }, () => this.#noticed());
        watcher.on("error", () => {
          this.#watched = "";
          watcher.close();
        });
        return [watcher];
      } catch (error) {
        if (!this.#notificationsFailed) {
          this.#notificationsFailed = true;
          this.#deps.log.warn("manifests.notifications-unavailable", {
            folder,
            reason: reasonOf(error),
            readEveryMs: this.#options.rescanMs,
          });
        }
        return [];
      }
    });
  }

  async #foldersToWatch(): Promise<ReadonlyMap<string, string>> {
    // With inode and birth: a folder that was removed and made again is another one.
    const folders = new Map<string, string>();
    const add = async (path: string): Promise<void> => {
      try {
        const real = await realpath(path);
        const { dev, ino, birthtimeMs } = await stat(real);
        folders.set(real, `${dev}:${ino}:${birthtimeMs}`);
      } catch {
        // Gone meanwhile: the next reading sees it.
      }
    };
    await add(this.#folder);
    // The folder may itself be a link that is swapped.
    const isLink = await lstat(this.#folder).then(
      (found) => found.isSymbolicLink(),
      () => false,
    );
    if (isLink) await add(dirname(this.#folder));
    for (const name of await readdir(this.#folder).catch(() => [])) {
      if (!manifestName.test(name)) continue;
      const real = await realpath(join(this.#folder, name)).catch(() => undefined);
      if (real !== undefined && !folders.has(dirname(real))) await add(dirname(real));
    }
    return folders;
  }

  #noticed(): void {
    if (this.#closed) return;
    const { settleMs } = this.#options;
    const now = this.#deps.clock.now();
    this.#noticedAt ??= now;
    this.#cancelSettle?.();
    const wait = Math.min(settleMs, Math.max(this.#noticedAt + 10 * settleMs - now, 0));
    this.#cancelSettle = this.#deps.clock.after(wait, () => {
      this.#cancelSettle = undefined;
      this.#noticedAt = undefined;
      void this.#scan();
    });
  }
}

async function readAtMost(file: FileHandle, limit: number): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > limit) throw new Error(`it has more than the ${limit} bytes that are read`);
    chunks.push(chunk);
  }
  try {
    // A byte that is no UTF-8 would otherwise become another character, and a password another password.
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new Error("it is no UTF-8 text");
  }
}

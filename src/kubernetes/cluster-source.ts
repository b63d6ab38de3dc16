/**
 * Kubernetes objects from an API server, by our own list-then-watch loop (Kubernetes docs, "Efficient detection of
 * changes"). Whatever goes wrong ends in another list, after a growing wait; a watch that has gone silent is noticed by
 * the bookmarks that do not come.
 * @module
 */
import type { IncomingMessage } from "node:http";
import { delay, type Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import type { RelistReason } from "../observe/kubernetes-metrics.ts";
import type { ClusterClient, ClusterAnswer } from "./cluster-client.ts";
import { deepFreeze } from "./deep-freeze.ts";
import { apiVersionOf, resourceNameOf, type ResourceKind } from "./kinds.ts";
import { LiveCache, parseWith, subjectOf, type SourceDeps } from "./live-cache.ts";
import type {
  KubernetesObject,
  NamedSelector,
  ResourceLookup,
  ResourceSelector,
  ResourceSource,
} from "./resource-source.ts";

export interface ClusterSourceOptions {
  /** How long the API server is asked to keep one watch open, seconds. */
  readonly watchSeconds?: number;
  /**
   * How long a watch may say nothing before it is taken for dead, milliseconds. API servers send a bookmark about once
   * a minute; every bookmark says that the watch lives.
   */
  readonly silenceMs?: number;
  /** First and longest wait between attempts, milliseconds. */
  readonly firstRetryMs?: number;
  readonly longestRetryMs?: number;
  /** Between 0 and 1; spreads the attempts of many clients. */
  readonly random?: () => number;
}

const defaults = {
  watchSeconds: 290,
  silenceMs: 75_000,
  firstRetryMs: 200,
  longestRetryMs: 20_000,
  random: Math.random,
} as const;

const pageSize = 500;
/** A watch that ends sooner than this is followed by a wait, milliseconds. */
const shortestWatchMs = 1_000;
const longestLine = 4 * 1024 * 1024;

export function createClusterSource(
  client: ClusterClient,
  deps: SourceDeps,
  options: ClusterSourceOptions = {},
): ResourceSource {
  const settings = { ...defaults, ...options };
  const follows = new Set<LiveCache<unknown>>();
  return {
    watch<T>(selector: ResourceSelector<T>): LiveCache<T> {
      const ending = new AbortController();
      let done: Promise<void> = Promise.resolve();
      const cache: LiveCache<T> = new LiveCache(selector, deps, async () => {
        follows.delete(cache as LiveCache<unknown>);
        ending.abort(new Error("closed"));
        await done;
      });
      follows.add(cache as LiveCache<unknown>);
      done = new Follower(client, cache as LiveCache<unknown>, selector, deps, settings, ending.signal).run();
      return cache;
    },
    async get<T>(selector: NamedSelector<T>, signal?: AbortSignal): Promise<ResourceLookup<T>> {
      return await lookUp(client, selector, signal);
    },
    describe: () => `the cluster at ${client.config.describe()}`,
    async close() {
      await Promise.all([...follows].map((cache) => cache.close()));
      client.close();
    },
  };
}

/** Path of a kind's collection, or of one namespace's part of it. */
export function collectionPath(kind: ResourceKind, namespace: string | undefined): string {
  const root = kind.group === "" ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const place =
    kind.namespaced && namespace !== undefined ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${place}/${kind.plural}`;
}

/** Something to be told to the operator and answered by another list. */
class Interrupted extends Error {
  readonly relist: RelistReason;

  constructor(relist: RelistReason, message: string) {
    super(message);
    this.relist = relist;
  }
}

type Settings = Required<ClusterSourceOptions>;

class Follower {
  readonly #client: ClusterClient;
  readonly #cache: LiveCache<unknown>;
  readonly #selector: ResourceSelector<unknown>;
  readonly #deps: SourceDeps;
  readonly #settings: Settings;
  readonly #signal: AbortSignal;
  readonly #path: string;
  readonly #resource: string;

  constructor(
    client: ClusterClient,
    cache: LiveCache<unknown>,
    selector: ResourceSelector<unknown>,
    deps: SourceDeps,
    settings: Settings,
    signal: AbortSignal,
  ) {
    this.#client = client;
    this.#cache = cache;
    this.#selector = selector;
    this.#deps = deps;
    this.#settings = settings;
    this.#signal = signal;
    this.#path = collectionPath(selector.kind, selector.namespace);
    this.#resource = resourceNameOf(selector.kind);
  }

  async run(): Promise<void> {
    let reason: RelistReason = "first";
    let failures = 0;
    while (!this.#signal.aborted) {
      try {
        this.#deps.metrics?.relisted(this.#resource, reason);
        let version = await this.#list();
        failures = 0;
        for (;;) {
          const began = this.#deps.clock.now();
          version = await this.#watch(version);
          // A server that ends every watch at once must not be asked in a circle.
          const short = this.#deps.clock.now() - began < shortestWatchMs;
          failures = short ? failures + 1 : 0;
          if (short) await delay(this.#deps.clock, this.#backoff(failures), this.#signal);
        }
      } catch (error) {
        if (this.#signal.aborted) return;
        reason = error instanceof Interrupted ? error.relist : "failed";
        // An expired version is the API server's ordinary way to ask for a list: nothing is lost.
        if (reason === "expired") continue;
        this.#cache.lose(reasonOf(error));
        const wait = this.#backoff(failures++);
        this.#deps.log.debug("kubernetes.relist", {
          resource: this.#resource,
          reason: reasonOf(error),
          waitMs: wait,
        });
        await delay(this.#deps.clock, wait, this.#signal).catch(() => undefined);
      }
    }
  }

  /** Doubles with each failure; half of it is left to chance. */
  #backoff(failures: number): number {
    const { firstRetryMs, longestRetryMs, random } = this.#settings;
    const full = Math.min(firstRetryMs * 2 ** Math.min(failures, 20), longestRetryMs);
    return Math.round(full / 2 + (full / 2) * random());
  }

  #query(more: Readonly<Record<string, string>>): Record<string, string> {
    const { name } = this.#selector;
    return { ...(name === undefined ? {} : { fieldSelector: `metadata.name=${name}` }), ...more };
  }

  /** Reads the whole collection, page by page. @returns its resourceVersion, where a watch begins. */
  async #list(): Promise<string> {
    const objects: KubernetesObject[] = [];
    let version = "";
    let next: string | undefined;
    do {
      const answer = await this.#client.request({
        path: this.#path,
        query: this.#query({ limit: String(pageSize), ...(next === undefined ? {} : { continue: next }) }),
        signal: this.#signal,
      });
      if (answer.status === 410) throw new Interrupted("expired", "the list expired while it was read");
      if (answer.status !== 200) throw refusal("list", this.#selector, answer);
      const list = parseList(answer, this.#selector.kind);
      objects.push(...list.items);
      version = list.resourceVersion;
      next = list.next;
    } while (next !== undefined);
    this.#cache.replace(objects);
    this.#cache.confirm();
    return version;
  }

  /** Follows changes until the API server ends the watch in good order. @returns where the next one begins. */
  async #watch(from: string): Promise<string> {
    const { watchSeconds, silenceMs } = this.#settings;
    // Spread, so that the watches of many clients do not end together.
    const seconds = Math.round(watchSeconds * (0.8 + 0.2 * this.#settings.random()));
    const { status, body } = await this.#client.stream({
      path: this.#path,
      query: this.#query({
        watch: "true",
        allowWatchBookmarks: "true",
        resourceVersion: from,
        timeoutSeconds: String(seconds),
      }),
      signal: this.#signal,
      timeoutMs: Math.max(silenceMs, 1_000),
    });
    if (status === 410) {
      body.destroy();
      throw new Interrupted("expired", "the version to watch from has expired");
    }
    if (status !== 200) throw refusal("watch", this.#selector, await collect(status, body));
    const silence = new Silence(this.#deps.clock, silenceMs, body, () => this.#isAlive());
    let version = from;
    try {
      for await (const line of linesOf(body, () => silence.heard())) {
        version = this.#take(line) ?? version;
      }
    } catch (error) {
      const silent = silence.broken;
      this.#deps.metrics?.watchRestarted(this.#resource, silent === undefined ? "failed" : "silent");
      this.#deps.log.debug("kubernetes.watch-restarted", {
        resource: this.#resource,
        reason: silent ?? reasonOf(error),
      });
      if (silent !== undefined) throw new Interrupted("failed", silent);
      throw error;
    } finally {
      silence.end();
      body.destroy();
    }
    this.#deps.metrics?.watchRestarted(this.#resource, "ended");
    return version;
  }

  /**
   * Is the API server there? Asked on a connection of its own when a watch has been silent: a small question, one object
   * at the most.
   */
  async #isAlive(): Promise<boolean> {
    try {
      const answer = await this.#client.request({
        path: this.#path,
        query: this.#query({ limit: "1" }),
        signal: this.#signal,
        timeoutMs: Math.max(this.#settings.silenceMs, 1_000),
      });
      return answer.status === 200;
    } catch {
      return false;
    }
  }

  /** @returns the version after this event. */
  #take(line: string): string | undefined {
    const event = parseEvent(line);
    const { object, type } = event;
    if (type === "ERROR") {
      const { code, message } = object as { readonly code?: unknown; readonly message?: unknown };
      if (code === 410) throw new Interrupted("expired", "the watch's version has expired");
      throw new Interrupted("failed", `the API server ended the watch: ${String(message)}`);
    }
    const metadata = (object as { readonly metadata?: { readonly resourceVersion?: unknown } }).metadata;
    const version = typeof metadata?.resourceVersion === "string" ? metadata.resourceVersion : undefined;
    if (type !== "BOOKMARK") {
      const resource = asObject(object, this.#selector.kind);
      if (type === "DELETED") this.#cache.remove(resource);
      else if (type === "ADDED" || type === "MODIFIED") this.#cache.put(resource);
      else throw new Interrupted("protocol", `the API server sent an event of an unknown type`);
    }
    this.#cache.confirm();
    return version;
  }
}

/**
 * Notices a watch that has died without a word (a proxy that stopped forwarding, a cable pulled). Silence alone proves
 * nothing on a quiet collection, and a fresh answer on another connection proves nothing about this one: so after a
 * silence the watch is renewed, from where it was, whenever the server answers, and given up when it does not.
 */
class Silence {
  readonly #clock: Clock;
  readonly #limitMs: number;
  readonly #body: IncomingMessage;
  readonly #isAlive: () => Promise<boolean>;
  #cancel: () => void = () => undefined;
  #ended = false;
  broken: string | undefined;

  constructor(clock: Clock, limitMs: number, body: IncomingMessage, isAlive: () => Promise<boolean>) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#body = body;
    this.#isAlive = isAlive;
    this.heard();
  }

  heard(): void {
    this.#cancel();
    if (!this.#ended) this.#cancel = this.#clock.after(this.#limitMs, () => void this.#check());
  }

  end(): void {
    this.#ended = true;
    this.#cancel();
  }

  async #check(): Promise<void> {
    const alive = await this.#isAlive();
    if (this.#ended) return;
    if (!alive)
      this.broken = `nothing was heard from the API server for ${Math.round(this.#limitMs / 1000)} s`;
    // Ended in good order when the server lives: the next watch begins where this one was.
    this.#body.destroy(alive ? undefined : new Error("silent"));
  }
}

async function lookUp<T>(
  client: ClusterClient,
  selector: NamedSelector<T>,
  signal: AbortSignal | undefined,
): Promise<ResourceLookup<T>> {
  const path = `${collectionPath(selector.kind, selector.namespace)}/${encodeURIComponent(selector.name)}`;
  let answer: ClusterAnswer;
  try {
    answer = await client.request({ path, ...(signal === undefined ? {} : { signal }) });
  } catch (error) {
    signal?.throwIfAborted();
    return {
      found: false,
      reason: "unavailable",
      detail: `The API server could not be asked: ${reasonOf(error)}`,
    };
  }
  const detail = (): string => refusal("get", selector, answer).message;
  if (answer.status === 404) return { found: false, reason: "absent", detail: detail() };
  if (answer.status === 401 || answer.status === 403)
    return { found: false, reason: "forbidden", detail: detail() };
  if (answer.status !== 200) return { found: false, reason: "unavailable", detail: detail() };
  let object: KubernetesObject;
  try {
    object = asObject(JSON.parse(answer.body.toString("utf8")), selector.kind);
  } catch (error) {
    return {
      found: false,
      reason: "unavailable",
      detail: `The API server's answer cannot be read: ${reasonOf(error)}`,
    };
  }
  const parsed = parseWith(selector, object);
  if (parsed.ok) return { found: true, object: parsed.value };
  return { found: false, reason: "invalid", detail: `${subjectOf(object)}: ${parsed.problem}` };
}

/** A status other than 200, as a sentence that says what the operator can do. */
function refusal(verb: string, selector: ResourceSelector<unknown>, answer: ClusterAnswer): Interrupted {
  const what = `${verb} ${resourceNameOf(selector.kind)}`;
  const which = selector.name === undefined ? "" : ` with the resourceName ${selector.name}`;
  const where = selector.namespace === undefined ? "in all namespaces" : `in namespace ${selector.namespace}`;
  if (answer.status === 401)
    return new Interrupted("failed", `the API server does not accept our credentials (401)`);
  if (answer.status === 403) {
    return new Interrupted(
      "failed",
      `we may not ${what}${which} ${where} (403): give our service account a Role with get, list and watch`,
    );
  }
  if (answer.status === 404) {
    return new Interrupted(
      "failed",
      `the API server does not know ${resourceNameOf(selector.kind)} (404): is its CustomResourceDefinition installed?`,
    );
  }
  return new Interrupted("failed", `the API server answered ${answer.status} to ${what}`);
}

interface ObjectList {
  readonly items: readonly KubernetesObject[];
  readonly resourceVersion: string;
  readonly next: string | undefined;
}

function parseList(answer: ClusterAnswer, kind: ResourceKind): ObjectList {
  const list = parseJson(answer.body.toString("utf8"));
  const metadata = list["metadata"] as
    | { readonly resourceVersion?: unknown; readonly continue?: unknown }
    | undefined;
  const items = list["items"];
  if (typeof metadata?.resourceVersion !== "string" || !(Array.isArray(items) || items === null)) {
    throw new Interrupted("protocol", "what the API server sent is no list");
  }
  const next =
    typeof metadata.continue === "string" && metadata.continue !== "" ? metadata.continue : undefined;
  return {
    items: (items ?? []).map((item: unknown) => asObject(item, kind)),
    resourceVersion: metadata.resourceVersion,
    next,
  };
}

function parseEvent(line: string): { readonly type: string; readonly object: object } {
  const event = parseJson(line);
  const { object, type } = event;
  if (typeof type !== "string" || typeof object !== "object" || object === null) {
    throw new Interrupted("protocol", "what the API server sent is no watch event");
  }
  return { type, object };
}

function parseJson(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Interrupted("protocol", "what the API server sent is no JSON");
  }
  if (typeof value !== "object" || value === null)
    throw new Interrupted("protocol", "what the API server sent is no object");
  return value as Readonly<Record<string, unknown>>;
}

/** Items of a list come without apiVersion and kind; both are known. */
function asObject(value: unknown, kind: ResourceKind): KubernetesObject {
  const object = value as { readonly metadata?: { readonly name?: unknown } } | null;
  if (typeof object !== "object" || typeof object?.metadata?.name !== "string") {
    throw new Interrupted("protocol", "what the API server sent is no object with a name");
  }
  return deepFreeze({
    ...object,
    apiVersion: apiVersionOf(kind),
    kind: kind.kind,
  }) as unknown as KubernetesObject;
}

async function collect(status: number, body: IncomingMessage): Promise<ClusterAnswer> {
  body.resume();
  body.destroy();
  await Promise.resolve();
  return { status, headers: {}, body: Buffer.alloc(0) };
}

/** The lines of a watch's body. A line that never ends is a fault, not a reason to fill the memory. */
async function* linesOf(body: IncomingMessage, heard: () => void): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8");
  let rest = "";
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      heard();
      rest += decoder.decode(chunk, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > longestLine) throw new Interrupted("protocol", "the API server sent an endless line");
      for (const line of lines) if (line.trim() !== "") yield line;
    }
  } catch (error) {
    // Destroyed by us, without an error: the watch is to be renewed.
    if (error instanceof Error && "code" in error && error.code === "ERR_STREAM_PREMATURE_CLOSE") return;
    throw error;
  }
}

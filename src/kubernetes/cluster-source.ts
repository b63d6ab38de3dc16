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
import { AnswerTooLong, type ClusterAnswer, type ClusterClient } from "./cluster-client.ts";
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

/** Objects asked for at once; fewer when they turn out to be large. */
const largestPage = 500;
/** The longest wait that a server may ask for with Retry-After, milliseconds. */
const longestRetryAfterMs = 60_000;
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
  /** The wait that the server asked for, milliseconds. */
  readonly retryAfterMs: number;

  constructor(relist: RelistReason, message: string, retryAfterMs = 0) {
    super(message);
    this.relist = relist;
    this.retryAfterMs = retryAfterMs;
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
  /** Failures since a watch last did its work: what the wait before the next attempt grows with. */
  #failures = 0;
  /** Objects asked for at once; `undefined`: all, after the pages of a list expired under way. */
  #page: number | undefined = largestPage;

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
    while (!this.#signal.aborted) {
      try {
        this.#deps.metrics?.relisted(this.#resource, reason);
        let version = await this.#list();
        reason = "first";
        while (!this.#signal.aborted) version = await this.#watchForAWhile(version);
      } catch (error) {
        if (this.#signal.aborted) return;
        const before = reason;
        reason = error instanceof Interrupted ? error.relist : "failed";
        const asked = error instanceof Interrupted ? error.retryAfterMs : 0;
        const wait = Math.max(this.#backoff(this.#failures++), asked);
        this.#deps.log.debug("kubernetes.relist", {
          resource: this.#resource,
          reason: reasonOf(error),
          waitMs: wait,
        });
        // A version that expired is the API server's ordinary way to ask for a list: nothing is lost,
        // unless that list expires as well.
        if (reason !== "expired" || before === "expired") this.#cache.lose(sentence(reasonOf(error)));
        await this.#pause(wait);
      }
    }
  }

  /** One watch. A server that ends every watch at once is not asked in a circle. */
  async #watchForAWhile(from: string): Promise<string> {
    const began = this.#deps.clock.now();
    const version = await this.#watch(from, began);
    if (this.#deps.clock.now() - began < shortestWatchMs && version === from) {
      await this.#pause(this.#backoff(this.#failures++));
    }
    return version;
  }

  async #pause(milliseconds: number): Promise<void> {
    await delay(this.#deps.clock, milliseconds, this.#signal).catch(() => undefined);
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
      const answer = await this.#listPage(next);
      if (answer.status === 410) {
        // Slower than the server forgets: the next list is one piece.
        if (next !== undefined) this.#page = undefined;
        throw new Interrupted("expired", "the list expired while it was read");
      }
      if (answer.status !== 200) throw refusal("list", this.#selector, answer);
      const list = parseList(answer, this.#selector.kind);
      for (const item of list.items) objects.push(item);
      version = list.resourceVersion;
      next = list.next;
    } while (next !== undefined);
    this.#page = largestPage;
    this.#cache.replace(objects);
    this.#cache.confirm();
    return version;
  }

  async #listPage(next: string | undefined): Promise<ClusterAnswer> {
    const page = this.#page;
    try {
      return await this.#client.request({
        path: this.#path,
        query: this.#query({
          ...(page === undefined ? {} : { limit: String(page) }),
          ...(next === undefined ? {} : { continue: next }),
        }),
        signal: this.#signal,
        ownConnection: true,
      });
    } catch (error) {
      if (error instanceof AnswerTooLong) this.#page = Math.max(1, Math.floor((page ?? largestPage) / 8));
      throw error;
    }
  }

  /** Follows changes until the API server ends the watch in good order. @returns where the next one begins. */
  async #watch(from: string, began: number): Promise<string> {
    const { watchSeconds, silenceMs } = this.#settings;
    // Spread, so that the watches of many clients do not end together.
    const seconds = Math.round(watchSeconds * (0.8 + 0.2 * this.#settings.random()));
    const { status, headers, body } = await this.#client.stream({
      path: this.#path,
      query: this.#query({
        watch: "true",
        allowWatchBookmarks: "true",
        resourceVersion: from,
        timeoutSeconds: String(seconds),
      }),
      signal: this.#signal,
      timeoutMs: silenceMs,
      ownConnection: true,
    });
    if (status !== 200) {
      body.destroy();
      if (status === 410) throw new Interrupted("expired", "the version to watch from has expired");
      throw refusal("watch", this.#selector, { status, headers });
    }
    const silence = new Silence(this.#deps.clock, silenceMs, body, () => this.#isAlive());
    let version = from;
    try {
      for await (const line of linesOf(body, () => silence.heard())) {
        version = this.#take(line) ?? version;
        this.#failures = 0;
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
      if (this.#deps.clock.now() - began > this.#settings.longestRetryMs) this.#failures = 0;
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
        timeoutMs: Math.min(this.#settings.silenceMs, 10_000),
        ownConnection: true,
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
  /** Counts what was heard and asked, so that an answer that comes too late is known. */
  #turn = 0;
  broken: string | undefined;

  constructor(clock: Clock, limitMs: number, body: IncomingMessage, isAlive: () => Promise<boolean>) {
    this.#clock = clock;
    this.#limitMs = limitMs;
    this.#body = body;
    this.#isAlive = isAlive;
    this.heard();
  }

  heard(): void {
    this.#turn++;
    this.#cancel();
    if (!this.#ended) this.#cancel = this.#clock.after(this.#limitMs, () => void this.#check());
  }

  end(): void {
    this.#ended = true;
    this.#cancel();
  }

  async #check(): Promise<void> {
    const asked = ++this.#turn;
    const alive = await this.#isAlive();
    // The watch ended or said something meanwhile.
    if (this.#ended || asked !== this.#turn) return;
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
  const detail = (): string => sentence(refusal("get", selector, answer).message);
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
function refusal(
  verb: string,
  selector: ResourceSelector<unknown>,
  answer: Pick<ClusterAnswer, "status" | "headers">,
): Interrupted {
  const resource = resourceNameOf(selector.kind);
  const which = selector.name === undefined ? "" : ` with the resourceName ${selector.name}`;
  const where =
    selector.namespace === undefined || !selector.kind.namespaced
      ? "in the whole cluster"
      : `in namespace ${selector.namespace}`;
  const role = selector.namespace === undefined || !selector.kind.namespaced ? "ClusterRole" : "Role";
  const { status } = answer;
  switch (status) {
    case 401:
      return new Interrupted("failed", "the API server does not accept our credentials (401)");
    case 403:
      return new Interrupted(
        "failed",
        `we may not ${verb} ${resource}${which} ${where} (403): give our service account a ${role} with get, list and watch`,
      );
    case 404:
      return new Interrupted(
        "failed",
        verb === "get"
          ? `there is no ${selector.kind.kind} ${selector.name ?? ""} ${where} (404)`
          : `the API server does not know ${resource} (404): is its CustomResourceDefinition installed?`,
      );
    default:
      return new Interrupted(
        "failed",
        `the API server answered ${status} to ${verb} ${resource}`,
        retryAfterOf(answer.headers["retry-after"]),
      );
  }
}

/** Retry-After in seconds, RFC 9110 section 10.2.3; API servers send no dates. */
function retryAfterOf(header: string | string[] | undefined): number {
  return typeof header === "string" && /^\d{1,6}$/.test(header)
    ? Math.min(Number(header) * 1000, longestRetryAfterMs)
    : 0;
}

/** A reason as status and log show it. */
function sentence(reason: string): string {
  const text = `${reason.charAt(0).toUpperCase()}${reason.slice(1)}`;
  return text.endsWith(".") ? text : `${text}.`;
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

/** The lines of a watch's body. A line that never ends is a fault, not a reason to fill the memory. */
async function* linesOf(body: IncomingMessage, heard: () => void): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8");
  let begun: string[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      heard();
      const [first = "", ...others] = decoder.decode(chunk, { stream: true }).split("\n");
      begun.push(first);
      length += first.length;
      for (const next of others) {
        const line = begun.join("");
        begun = [next];
        length = next.length;
        if (line.trim() !== "") yield line;
      }
      if (length > longestLine) throw new Interrupted("protocol", "the API server sent an endless line");
    }
  } catch (error) {
    // Destroyed by us, without an error: the watch is to be renewed.
    if (error instanceof Error && "code" in error && error.code === "ERR_STREAM_PREMATURE_CLOSE") return;
    throw error;
  }
}

/**
 * A {@link ResourceSource} over a cluster: one list-then-watch loop per cache.
 *
 * The loop has one rule: whatever goes wrong, read everything again, after a wait that grows. Nothing ends it but
 * `close`. A watch that a proxy no longer forwards looks like a quiet one, so no watch is trusted for long: the server
 * is asked to end each after `watchSeconds`, and one that is still open a little later is cut and opened again from
 * where it was.
 * @module
 */
import { setMaxListeners } from "node:events";
import { delay } from "../clock.ts";
import { reasonOf, SallyportError } from "../errors.ts";
import type { RelistReason, WatchRestartReason } from "../observe/kubernetes-metrics.ts";
import type { ClusterClient, ClusterRequest, ClusterResponse } from "./client.ts";
import type { ResourceKind } from "./kinds.ts";
import { resourceNameOf } from "./kinds.ts";
import { LiveCache, parseWith, subjectOf } from "./live-cache.ts";
import type { SourceDeps } from "./live-cache.ts";
import type {
  KubernetesObject,
  NamedSelector,
  ResourceCache,
  ResourceLookup,
  ResourceSelector,
  ResourceSource,
} from "./resource-source.ts";
import {
  checkObject,
  fieldsOf,
  LineReader,
  parseWatchEvent,
  ProtocolError,
  statusDetail,
} from "./watch-stream.ts";

export interface ClusterSourceOptions {
  /** Seconds after which the API server is asked to end a watch; 45. It sends a bookmark before it does. */
  readonly watchSeconds?: number;
  /** Seconds that a watch may be silent or late in ending before it is cut; 10 beyond `watchSeconds`. */
  readonly graceSeconds?: number;
  /** Objects a page of a list; 100. */
  readonly pageSize?: number;
  /** Objects above which a list is refused, so that a wrong selector cannot fill the memory; 50,000. */
  readonly maxObjects?: number;
  /** First and longest wait after a failure, milliseconds; 500 and 30,000. */
  readonly backoff?: { readonly first: number; readonly longest: number };
}

interface ClusterSourceDeps extends SourceDeps {
  readonly client: ClusterClient;
  /** In [0, 1): spreads the retries of many processes; `Math.random`. */
  readonly random?: () => number;
}

/** The source closes its client when it is closed. */
export function createClusterSource(
  deps: ClusterSourceDeps,
  options: ClusterSourceOptions = {},
): ResourceSource {
  return new ClusterSource(deps, {
    watchSeconds: 45,
    graceSeconds: 10,
    pageSize: 100,
    maxObjects: 50_000,
    backoff: { first: 500, longest: 30_000 },
    ...options,
  });
}

class ClusterSource implements ResourceSource {
  readonly #deps: ClusterSourceDeps;
  readonly #options: Required<ClusterSourceOptions>;
  readonly #caches = new Set<LiveCache<never>>();
  #closed = false;

  constructor(deps: ClusterSourceDeps, options: Required<ClusterSourceOptions>) {
    this.#deps = deps;
    this.#options = options;
  }

  watch<T = KubernetesObject>(selector: ResourceSelector<T>): ResourceCache<T> {
    const ending = new AbortController();
    setMaxListeners(0, ending.signal);
    const cache: LiveCache<T> = new LiveCache<T>(selector, this.#deps, async () => {
      this.#caches.delete(cache as unknown as LiveCache<never>);
      ending.abort(new Error("closed"));
      await running;
    });
    this.#caches.add(cache as unknown as LiveCache<never>);
    const running = this.#closed
      ? Promise.resolve()
      : new WatchLoop(this.#deps, this.#options, selector, cache, ending.signal).run();
    return cache;
  }

  async get<T = KubernetesObject>(
    selector: NamedSelector<T>,
    signal?: AbortSignal,
  ): Promise<ResourceLookup<T>> {
    signal?.throwIfAborted();
    const namespace = selector.kind.namespaced ? (selector.namespace ?? "default") : undefined;
    try {
      const response = await this.#deps.client.request({
        method: "GET",
        path: `${pathOf(selector.kind, namespace)}/${encodeURIComponent(selector.name)}`,
        ...(signal === undefined ? {} : { signal }),
      });
      if (response.status !== 200) return await refusedLookup(response, selector, namespace);
      const object = checkObject(await response.json(), selector.kind);
      if (object.metadata.name !== selector.name || object.metadata.namespace !== namespace) {
        return { found: false, reason: "unavailable", detail: "The API server answered another object." };
      }
      const parsed = parseWith(selector, object);
      if (parsed.ok) return { found: true, object: parsed.value };
      return { found: false, reason: "invalid", detail: `${subjectOf(object)}: ${parsed.problem}.` };
    } catch (thrown) {
      signal?.throwIfAborted();
      return { found: false, reason: "unavailable", detail: sentence(reasonOf(thrown)) };
    }
  }

  describe(): string {
    return this.#deps.client.describe();
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#caches].map((cache) => cache.close()));
    this.#deps.client.close();
  }
}

/** Why the loop has to read everything again. */
type WatchEnd =
  | { readonly type: "relist"; readonly reason: Exclude<RelistReason, "first">; readonly detail: string }
  | { readonly type: "resume"; readonly reason: WatchRestartReason };

const versionGone: WatchEnd = { type: "relist", reason: "expired", detail: "the watched version is gone" };

class Refused extends Error {
  readonly retryAfter: number | undefined;

  constructor(message: string, retryAfter: number | undefined) {
    super(message);
    this.retryAfter = retryAfter;
  }
}

class WatchLoop<T> {
  readonly #deps: ClusterSourceDeps;
  readonly #options: Required<ClusterSourceOptions>;
  readonly #selector: ResourceSelector<T>;
  readonly #cache: LiveCache<T>;
  readonly #signal: AbortSignal;
  readonly #resource: string;
  /** Failures in a row, what the wait grows with. */
  #failures = 0;
  /** Where the watch is: opaque, only ever sent back. */
  #resourceVersion = "";

  constructor(
    deps: ClusterSourceDeps,
    options: Required<ClusterSourceOptions>,
    selector: ResourceSelector<T>,
    cache: LiveCache<T>,
    signal: AbortSignal,
  ) {
    this.#deps = deps;
    this.#options = options;
    this.#selector = selector;
    this.#cache = cache;
    this.#signal = signal;
    this.#resource = resourceNameOf(selector.kind);
  }

  /** Resolves when the cache is closed, and not before. */
  async run(): Promise<void> {
    // In a later turn, so that `watch` has returned before anything happens to its cache.
    await Promise.resolve();
    let reason: RelistReason = "first";
    while (!this.#signal.aborted) {
      try {
        this.#deps.metrics?.relisted(this.#resource, reason);
        await this.#list();
        const end = await this.#watchUntilLost();
        reason = end.reason;
        this.#deps.log.info("kubernetes.relist", { resource: this.#resource, reason, detail: end.detail });
        // Expired versions are ordinary once; again and again they must not become a storm of lists.
        if (reason !== "expired" || this.#failures > 0) await this.#wait(undefined);
        else this.#failures++;
      } catch (thrown) {
        if (this.#signal.aborted) return;
        reason = thrown instanceof ProtocolError ? "protocol" : "failed";
        this.#cache.lose(sentence(reasonOf(thrown)));
        await this.#wait(thrown instanceof Refused ? thrown.retryAfter : undefined);
      }
    }
  }

  /**
   * Reads everything, page by page. Without a resourceVersion: the answer is then as new as the store, never older than
   * what was seen before from another API server. A page that expires on the way starts over through the same path as
   * any failure.
   */
  async #list(): Promise<void> {
    const objects: KubernetesObject[] = [];
    let next: string | undefined;
    let resourceVersion: unknown;
    do {
      const response = await this.#request({
        ...this.#fieldSelector(),
        limit: this.#options.pageSize,
        continue: next,
      });
      const page = fieldsOf(await response.json());
      const metadata = fieldsOf(page["metadata"]);
      const items = page["items"] ?? [];
      if (!Array.isArray(items)) throw new ProtocolError("The API server's list holds no items.");
      for (const item of items as readonly unknown[]) objects.push(checkObject(item, this.#selector.kind));
      if (objects.length > this.#options.maxObjects) {
        throw new ProtocolError(`There are more than ${this.#options.maxObjects} ${this.#resource}.`);
      }
      resourceVersion = metadata["resourceVersion"];
      const token = metadata["continue"];
      next = typeof token === "string" && token !== "" ? token : undefined;
    } while (next !== undefined);
    if (typeof resourceVersion !== "string" || resourceVersion === "") {
      throw new ProtocolError("The API server's list has no resourceVersion.");
    }
    this.#resourceVersion = resourceVersion;
    this.#cache.replace(objects);
    this.#cache.confirm();
  }

  /** Watches again and again from where the last watch ended, until only reading everything helps. */
  async #watchUntilLost(): Promise<Extract<WatchEnd, { readonly type: "relist" }>> {
    for (;;) {
      const began = this.#deps.clock.now();
      const end = await this.#watchOnce();
      if (end.type === "relist") return end;
      this.#deps.metrics?.watchRestarted(this.#resource, end.reason);
      this.#deps.log.debug("kubernetes.watch-restarted", { resource: this.#resource, reason: end.reason });
      // A server, or something before it, that ends watches at once would otherwise be asked without a pause.
      if (this.#deps.clock.now() - began < 1_000) await this.#wait(undefined);
      else this.#failures = 0;
    }
  }

  async #watchOnce(): Promise<WatchEnd> {
    const { watchSeconds, graceSeconds } = this.#options;
    const response = await this.#request<"expired">(
      {
        ...this.#fieldSelector(),
        watch: true,
        allowWatchBookmarks: true,
        resourceVersion: this.#resourceVersion,
        timeoutSeconds: watchSeconds,
      },
      "expired",
    );
    if (response === "expired") return versionGone;
    this.#cache.confirm();
    let silent = false;
    const cancel = this.#deps.clock.after((watchSeconds + graceSeconds) * 1_000, () => {
      silent = true;
      response.body.destroy();
    });
    const lines = new LineReader();
    try {
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        for (const line of lines.push(chunk)) {
          const event = parseWatchEvent(line, this.#selector.kind);
          switch (event.type) {
            case "expired":
              return versionGone;
            case "failed":
              throw new Error(`The API server ended the watch: ${event.detail}`);
            case "put":
              this.#cache.put(event.object);
              break;
            case "remove":
              this.#cache.remove(event.object);
              break;
            case "bookmark":
              break;
          }
          this.#resourceVersion = event.resourceVersion;
        }
        this.#cache.confirm();
      }
    } catch (thrown) {
      if (this.#signal.aborted) throw thrown;
      // Cut by us: nothing was lost, the next watch goes on from the last version that arrived.
      if (silent) return { type: "resume", reason: "silent" };
      throw thrown;
    } finally {
      cancel();
      response.discard();
    }
    if (silent) return { type: "resume", reason: "silent" };
    if (lines.unfinished) throw new ProtocolError("The watch ended in the middle of an event.");
    return { type: "resume", reason: "ended" };
  }

  /** @param onGone what status 410 means to the caller; without it 410 is a refusal as any other. */
  async #request<G = never>(
    query: NonNullable<ClusterRequest["query"]>,
    onGone?: G,
  ): Promise<ClusterResponse | G> {
    const { kind, namespace } = this.#selector;
    const response = await this.#deps.client.request({
      method: "GET",
      path: pathOf(kind, kind.namespaced ? namespace : undefined),
      query,
      signal: this.#signal,
    });
    if (response.status === 200) return response;
    if (response.status === 410 && onGone !== undefined) {
      response.discard();
      return onGone;
    }
    const verb = query["watch"] === true ? "watch" : "list";
    throw new Refused(
      await refusalOf(response, this.#selector, namespace, verb),
      retryAfterOf(response.headers["retry-after"]),
    );
  }

  #fieldSelector(): { readonly fieldSelector: string | undefined } {
    const { name } = this.#selector;
    return { fieldSelector: name === undefined ? undefined : `metadata.name=${name}` };
  }

  /** Waits half to the whole of a time that doubles with each failure, and never less than the server asks for. */
  async #wait(atLeast: number | undefined): Promise<void> {
    const { first, longest } = this.#options.backoff;
    const full = Math.min(longest, first * 2 ** Math.min(this.#failures, 20));
    this.#failures++;
    const random = this.#deps.random ?? Math.random;
    const wait = Math.max(full / 2 + (full / 2) * random(), Math.min(atLeast ?? 0, longest));
    try {
      await delay(this.#deps.clock, wait, this.#signal);
    } catch {
      // Closed while waiting: the loop sees it.
    }
  }
}

/** `/api/v1/namespaces/NAMESPACE/secrets`, and the like. */
function pathOf(kind: ResourceKind, namespace: string | undefined): string {
  const root = kind.group === "" ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  return `${root}${scope}/${kind.plural}`;
}

async function refusedLookup<T>(
  response: ClusterResponse,
  selector: NamedSelector<T>,
  namespace: string | undefined,
): Promise<ResourceLookup<T>> {
  const { status } = response;
  const body = status === 404 ? await statusOf(response) : undefined;
  if (body !== undefined) {
    // The API server's own 404 about this object names it; one about an unknown path does not.
    const details = fieldsOf(body["details"]);
    if (body["reason"] === "NotFound" && details["name"] === selector.name) {
      const where = namespace === undefined ? "" : ` in namespace ${namespace}`;
      return {
        found: false,
        reason: "absent",
        detail: `There is no ${selector.kind.kind} ${selector.name}${where}.`,
      };
    }
    return { found: false, reason: "unavailable", detail: unknownKind(selector.kind) };
  }
  return {
    found: false,
    reason: status === 403 ? "forbidden" : "unavailable",
    detail: await refusalOf(response, selector, namespace, "get"),
  };
}

/** What a status other than 200 means, as the sentence that its operator needs. */
async function refusalOf<T>(
  response: ClusterResponse,
  selector: ResourceSelector<T>,
  namespace: string | undefined,
  verb: string,
): Promise<string> {
  const { kind, name } = selector;
  const status = await statusOf(response);
  const said =
    status === undefined ? String(response.status) : statusDetail({ code: response.status, ...status });
  switch (response.status) {
    case 401:
      return `The API server does not accept our credentials (${said}).`;
    case 403: {
      const scoped = kind.namespaced && namespace !== undefined;
      const role = scoped ? `A Role in namespace ${namespace}` : "A ClusterRole";
      const group = kind.group === "" ? '""' : kind.group;
      const names = name === undefined ? "" : ` with resourceNames [${name}]`;
      return `The API server forbids to ${verb} ${resourceNameOf(kind)}. ${role} must allow get, list and watch on resource ${kind.plural} of apiGroup ${group}${names}, bound to this identity (${said}).`;
    }
    case 404:
      return unknownKind(kind);
    default:
      return `The API server answered ${said}.`;
  }
}

function unknownKind(kind: ResourceKind): string {
  return `The API server does not know ${resourceNameOf(kind)} in version ${kind.version}; is its CustomResourceDefinition installed?`;
}

/** The Status object of a refusal; `undefined` when the answer holds none, as a proxy's. */
async function statusOf(response: ClusterResponse): Promise<Readonly<Record<string, unknown>> | undefined> {
  try {
    const body = fieldsOf(await response.json(64 * 1024));
    return body["kind"] === "Status" ? body : undefined;
  } catch (thrown) {
    if (thrown instanceof SallyportError) return undefined;
    throw thrown;
  }
}

/** Milliseconds; only the form in seconds, which is what an API server sends. */
function retryAfterOf(header: string | undefined): number | undefined {
  return header !== undefined && /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;
}

function sentence(text: string): string {
  return /[.!?)]$/.test(text) ? text : `${text}.`;
}

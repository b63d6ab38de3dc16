/**
 * A small Kubernetes API server on loopback: get, list in pages, watch with bookmarks, resource versions that expire,
 * and every way of failing that a client has to survive, on demand. Other verbs and paths can be registered.
 *
 * Real sockets, so that a client's timeouts, resets and half answers are the real ones.
 * @module
 */
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import type { ClusterConfig } from "../../src/kubernetes/cluster-config.ts";
import { apiVersionOf, type ResourceKind } from "../../src/kubernetes/kinds.ts";

export interface FakeApiServerOptions {
  /** Tokens that are accepted; without them, anybody. */
  readonly tokens?: readonly string[];
  /** Serves TLS. With `clientCa`, a client certificate of that authority is as good as a token. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
  /** Milliseconds between bookmarks on a watch that asks for them; 0: none. */
  readonly bookmarkMs?: number;
}

export type FakeVerb = "get" | "list" | "watch" | "other";

export interface SeenRequest {
  readonly verb: FakeVerb;
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly token: string | undefined;
  readonly body: string;
}

/** What goes wrong with a request. */
export type ServerFault =
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
    }
  /** Takes the request and never answers. */
  | { readonly kind: "hang" }
  /** A watch that begins well and never says anything again; a list that stops half way. */
  | { readonly kind: "silent" }
  /** Ends the connection without an answer. */
  | { readonly kind: "reset" }
  /** A watch that is cut off in the middle of a line; a list that is. */
  | { readonly kind: "cut" }
  /** 200, and not JSON. */
  | { readonly kind: "malformed" }
  /** 200, and a line that does not end. */
  | { readonly kind: "endless" }
  /** A watch that ends in good order before anything was said. */
  | { readonly kind: "end" }
  /** 200, and then an `ERROR` event with this code. */
  | { readonly kind: "error-event"; readonly code: number }
  /** 200, and this text. */
  | { readonly kind: "text"; readonly text: string };

export interface FaultPlan {
  readonly verb?: FakeVerb;
  /** Only requests with a `continue` token, or only those without. */
  readonly continued?: boolean;
  /** How often; without it, until {@link FakeApiServer.heal}. */
  readonly times?: number;
  readonly fault: ServerFault;
}

export interface StoredObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

interface Stored {
  readonly kind: ResourceKind;
  readonly object: Readonly<Record<string, unknown>>;
  readonly name: string;
  readonly namespace: string | undefined;
}

interface WatchEvent {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly stored: Stored;
}

interface Collection {
  readonly root: string;
  readonly namespace: string | undefined;
  readonly plural: string;
  readonly name: string | undefined;
}

interface OpenWatch {
  readonly response: ServerResponse;
  readonly collection: Collection;
  readonly field: string | undefined;
  /** A fault: connected, and nothing comes. */
  readonly mute: boolean;
  readonly timers: readonly NodeJS.Timeout[];
}

/** Answers a registered request; the body is text (JSON as a rule). */
export type FakeHandler = (request: SeenRequest) => {
  readonly status: number;
  readonly body: unknown;
};

export class FakeApiServer {
  /** Tokens that are accepted now; `undefined`: anybody. Change it to rotate. */
  tokens: readonly string[] | undefined;
  readonly requests: SeenRequest[] = [];
  /** Connections that were made so far. */
  connections = 0;
  readonly #server: Server;
  readonly #secure: boolean;
  readonly #bookmarkMs: number;
  readonly #sockets = new Set<Socket>();
  readonly #objects = new Map<string, Stored>();
  readonly #watches = new Set<OpenWatch>();
  readonly #handlers = new Map<string, FakeHandler>();
  #events: WatchEvent[] = [];
  #plans: { plan: FaultPlan; left: number }[] = [];
  #version = 100;
  /** Versions up to this one cannot be watched from. */
  #expiredUpTo = 0;

  constructor(options: FakeApiServerOptions) {
    this.tokens = options.tokens;
    this.#bookmarkMs = options.bookmarkMs ?? 0;
    this.#secure = options.tls !== undefined;
    const answer = (request: IncomingMessage, response: ServerResponse): void => {
      void this.#answer(request, response);
    };
    this.#server =
      options.tls === undefined
        ? createHttpServer(answer)
        : createHttpsServer(
            {
              cert: options.tls.cert,
              key: options.tls.key,
              ...(options.tls.clientCa === undefined
                ? {}
                : { ca: options.tls.clientCa, requestCert: true, rejectUnauthorized: false }),
            },
            answer,
          );
    this.#server.on("connection", (socket: Socket) => {
      this.connections++;
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `${this.#secure ? "https" : "http"}://127.0.0.1:${port}`;
  }

  get openConnections(): number {
    return this.#sockets.size;
  }

  get openWatches(): number {
    return this.#watches.size;
  }

  /** Requests of one verb so far. */
  count(verb: FakeVerb): number {
    return this.requests.filter((request) => request.verb === verb).length;
  }

  async listen(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return this;
  }

  async stop(): Promise<void> {
    for (const watch of this.#watches) this.#forget(watch);
    for (const socket of this.#sockets) socket.destroy();
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** Makes requests fail; of several plans the oldest that fits counts. */
  fail(plan: FaultPlan): void {
    this.#plans.push({ plan, left: plan.times ?? Number.POSITIVE_INFINITY });
  }

  heal(): void {
    this.#plans = [];
  }

  /** Answers `METHOD /path`. */
  handle(method: string, path: string, handler: FakeHandler): void {
    this.#handlers.set(`${method} ${path}`, handler);
  }

  /** Adds an object or replaces it. */
  put(kind: ResourceKind, object: StoredObject): void {
    const { name, namespace } = object.metadata;
    const key = keyOf(kind, name, namespace);
    const before = this.#objects.get(key);
    const version = ++this.#version;
    const stored: Stored = {
      kind,
      name,
      namespace,
      object: {
        ...object,
        metadata: {
          uid: before === undefined ? `uid-${version}` : uidOf(before),
          ...object.metadata,
          resourceVersion: String(version),
        },
      },
    };
    this.#objects.set(key, stored);
    this.#publish({ version, type: before === undefined ? "ADDED" : "MODIFIED", stored });
  }

  /** An object as it is stored, with its version. */
  stored(kind: ResourceKind, name: string, namespace?: string): StoredObject | undefined {
    return this.#objects.get(keyOf(kind, name, namespace))?.object as StoredObject | undefined;
  }

  delete(kind: ResourceKind, name: string, namespace?: string): void {
    const key = keyOf(kind, name, namespace);
    const before = this.#objects.get(key);
    if (before === undefined) throw new Error(`there is no ${key}`);
    this.#objects.delete(key);
    const version = ++this.#version;
    const object = {
      ...before.object,
      metadata: { ...(before.object["metadata"] as object), resourceVersion: String(version) },
    };
    this.#publish({ version, type: "DELETED", stored: { ...before, object } });
  }

  /** Forgets the history (etcd compaction): a watch from an earlier version gets 410. */
  compact(): void {
    this.#expiredUpTo = this.#version++;
    this.#events = [];
  }

  /** Ends all watches, in good order or by a reset. */
  endWatches(how: "end" | "reset" = "end"): void {
    for (const watch of this.#watches) {
      this.#forget(watch);
      if (how === "end") watch.response.end();
      else watch.response.socket?.resetAndDestroy();
    }
  }

  /** Sends a bookmark on all watches now. */
  bookmark(): void {
    for (const watch of this.#watches) this.#bookmark(watch);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://fake");
    const query = Object.fromEntries(url.searchParams);
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const method = request.method ?? "GET";
    const handler = this.#handlers.get(`${method} ${url.pathname}`);
    const collection = method === "GET" && handler === undefined ? collectionOf(url.pathname) : undefined;
    const seen: SeenRequest = {
      verb: verbOf(collection, query),
      method,
      path: url.pathname,
      query,
      token: /^Bearer (.*)$/.exec(request.headers.authorization ?? "")?.[1],
      body: Buffer.concat(chunks).toString("utf8"),
    };
    this.requests.push(seen);
    const byCertificate = this.#secure && (request.socket as TLSSocket).authorized;
    if (this.tokens !== undefined && !byCertificate && !this.tokens.includes(seen.token ?? ""))
      return sendStatus(response, 401);
    const fault = this.#faultFor(seen);
    if (fault !== undefined && this.#failed(fault, seen, collection, response)) return;
    if (handler !== undefined) {
      const { status, body } = handler(seen);
      return sendJson(response, status, body);
    }
    if (collection === undefined) return sendStatus(response, 404);
    if (seen.verb === "get") return this.#get(collection, response);
    if (seen.verb === "list") return this.#list(collection, query, response);
    this.#watch(collection, query, response, false);
  }

  #faultFor(seen: SeenRequest): ServerFault | undefined {
    const found = this.#plans.find(
      ({ plan, left }) =>
        left > 0 &&
        (plan.verb === undefined || plan.verb === seen.verb) &&
        (plan.continued === undefined || plan.continued === (seen.query["continue"] !== undefined)),
    );
    if (found === undefined) return undefined;
    found.left--;
    return found.plan.fault;
  }

  /** @returns whether the request is dealt with. */
  #failed(
    fault: ServerFault,
    seen: SeenRequest,
    collection: Collection | undefined,
    response: ServerResponse,
  ): boolean {
    switch (fault.kind) {
      case "status":
        sendStatus(response, fault.status, fault.headers);
        return true;
      case "hang":
        return true;
      case "reset":
        response.socket?.resetAndDestroy();
        return true;
      case "cut":
        response.writeHead(200, { "content-type": "application/json" });
        response.write('{"type":"ADDED","object":{"metadata":{"name":"half');
        setImmediate(() => response.socket?.destroy());
        return true;
      case "malformed":
        response.writeHead(200, { "content-type": "application/json" });
        response.end("<html>a proxy's login page</html>\n");
        return true;
      case "text":
        response.writeHead(200, { "content-type": "application/json" });
        response.end(fault.text);
        return true;
      case "endless":
        response.writeHead(200, { "content-type": "application/json" });
        pour(response);
        return true;
      case "end":
        response.writeHead(200, { "content-type": "application/json" });
        response.end();
        return true;
      case "error-event":
        response.writeHead(200, { "content-type": "application/json" });
        response.end(`${JSON.stringify({ type: "ERROR", object: statusOf(fault.code) })}\n`);
        return true;
      case "silent":
        if (seen.verb === "watch" && collection !== undefined) {
          this.#watch(collection, seen.query, response, true);
          return true;
        }
        response.writeHead(200, { "content-type": "application/json" });
        response.write("{");
        return true;
    }
  }

  #get(collection: Collection, response: ServerResponse): void {
    const found = this.#in(collection)[0];
    if (found === undefined) return sendStatus(response, 404);
    const { kind } = found;
    sendJson(response, 200, { ...found.object, apiVersion: apiVersionOf(kind), kind: kind.kind });
  }

  #list(collection: Collection, query: Readonly<Record<string, string>>, response: ServerResponse): void {
    const all = this.#in(collection, fieldOf(query));
    const limit = Number(query["limit"] ?? all.length);
    const start = Number(query["continue"] ?? 0);
    const items = all.slice(start, start + limit).map(({ object }) => object);
    const more = start + limit < all.length;
    sendJson(response, 200, {
      kind: "List",
      apiVersion: "v1",
      metadata: {
        resourceVersion: String(this.#version),
        ...(more ? { continue: String(start + limit) } : {}),
      },
      items,
    });
  }

  #watch(
    collection: Collection,
    query: Readonly<Record<string, string>>,
    response: ServerResponse,
    mute: boolean,
  ): void {
    const from = Number(query["resourceVersion"] ?? 0);
    if (!mute && from <= this.#expiredUpTo) return sendStatus(response, 410);
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const seconds = Number(query["timeoutSeconds"] ?? 300);
    const watch: OpenWatch = {
      response,
      collection,
      field: fieldOf(query),
      mute,
      timers: [
        setTimeout(() => (this.#forget(watch), response.end()), seconds * 1000),
        ...(this.#bookmarkMs > 0 && query["allowWatchBookmarks"] === "true"
          ? [setInterval(() => this.#bookmark(watch), this.#bookmarkMs)]
          : []),
      ],
    };
    this.#watches.add(watch);
    response.on("close", () => this.#forget(watch));
    for (const event of this.#events) if (event.version > from) send(watch, event);
  }

  #forget(watch: OpenWatch): void {
    for (const timer of watch.timers) clearTimeout(timer);
    this.#watches.delete(watch);
  }

  #bookmark(watch: OpenWatch): void {
    if (watch.mute) return;
    const object = { metadata: { resourceVersion: String(this.#version) } };
    watch.response.write(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
  }

  #publish(event: WatchEvent): void {
    this.#events.push(event);
    for (const watch of this.#watches) send(watch, event);
  }

  #in(collection: Collection, field?: string): readonly Stored[] {
    return [...this.#objects.values()]
      .filter((stored) => fits(collection, stored, field))
      .sort((a, b) => (`${a.namespace ?? ""}/${a.name}` < `${b.namespace ?? ""}/${b.name}` ? -1 : 1));
  }
}

/** Starts one; stop it after the test. */
export async function startFakeApiServer(options: FakeApiServerOptions = {}): Promise<FakeApiServer> {
  return await new FakeApiServer(options).listen();
}

function send(watch: OpenWatch, event: WatchEvent): void {
  if (watch.mute || !fits(watch.collection, event.stored, watch.field)) return;
  const { kind, object } = event.stored;
  const whole = { ...object, apiVersion: apiVersionOf(kind), kind: kind.kind };
  watch.response.write(`${JSON.stringify({ type: event.type, object: whole })}\n`);
}

function fits(collection: Collection, { kind, name, namespace }: Stored, field: string | undefined): boolean {
  return (
    rootOf(kind) === collection.root &&
    kind.plural === collection.plural &&
    (collection.namespace === undefined || collection.namespace === namespace) &&
    (collection.name === undefined || collection.name === name) &&
    (field === undefined || field === name)
  );
}

const pathForm = /^(\/api\/[^/]+|\/apis\/[^/]+\/[^/]+)(?:\/namespaces\/([^/]+))?\/([^/]+)(?:\/([^/]+))?$/;

function collectionOf(path: string): Collection | undefined {
  const match = pathForm.exec(path);
  if (match === null) return undefined;
  const [, root = "", namespace, plural = "", name] = match;
  return { root, namespace, plural, name };
}

function verbOf(collection: Collection | undefined, query: Readonly<Record<string, string>>): FakeVerb {
  if (collection === undefined) return "other";
  if (collection.name !== undefined) return "get";
  return query["watch"] === "true" ? "watch" : "list";
}

function rootOf(kind: ResourceKind): string {
  return kind.group === "" ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
}

function keyOf(kind: ResourceKind, name: string, namespace: string | undefined): string {
  return `${rootOf(kind)}/${kind.plural} ${namespace ?? ""}/${name}`;
}

function uidOf(stored: Stored): string {
  return (stored.object["metadata"] as { readonly uid: string }).uid;
}

function fieldOf(query: Readonly<Record<string, string>>): string | undefined {
  return /^metadata\.name=(.+)$/.exec(query["fieldSelector"] ?? "")?.[1];
}

function statusOf(code: number): object {
  return { kind: "Status", apiVersion: "v1", status: "Failure", code, message: `status ${code}` };
}

function sendStatus(
  response: ServerResponse,
  status: number,
  headers: Readonly<Record<string, string>> = {},
): void {
  sendJson(response, status, statusOf(status), headers);
}

function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

/** Writes for as long as somebody reads. */
function pour(response: ServerResponse): void {
  const chunk = "x".repeat(64 * 1024);
  const more = (): void => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on("drain", more);
  more();
}

/** How a client reaches such a server, as nobody unless it is told otherwise. */
export function configOf(server: FakeApiServer, differently: Partial<ClusterConfig> = {}): ClusterConfig {
  return {
    server: server.url,
    caPem: undefined,
    skipTlsVerify: false,
    tlsServerName: undefined,
    namespace: undefined,
    credentials: () => Promise.resolve({}),
    describe: () => server.url,
    ...differently,
  };
}

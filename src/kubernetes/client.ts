/**
 * Authenticated requests to one API server: the watch loop, access reviews and status writes all go through here.
 * It adds credentials, bounds time and size, and leaves retries and the meaning of a status to its caller.
 * @module
 */
import { readFile } from "node:fs/promises";
import { Agent as HttpAgent, request as httpRequest } from "node:http";
import type { IncomingHttpHeaders, IncomingMessage, RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Readable } from "node:stream";
import type { Clock } from "../clock.ts";
import { reasonOf, SallyportError } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { Secret } from "../secret.ts";
import { version } from "../version.ts";
import type { ClusterConnection, ExecCommand, Material } from "./cluster-connection.ts";
import { runExecPlugin } from "./exec-credential.ts";
import type { ExecCredential } from "./exec-credential.ts";

export interface ClusterRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Absolute path below the API server's address, each part already encoded: `/api/v1/namespaces/apps/secrets`. */
  readonly path: string;
  /** Parameters; `undefined` ones are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** `application/json` unless a PATCH needs its own kind. */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds until the answer's headers must be there; 15,000. */
  readonly timeoutMilliseconds?: number;
}

export interface ClusterResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The raw body, for a watch. Whoever takes it reads or destroys it. */
  readonly body: Readable;
  /**
   * The whole body as JSON.
   * @param maxBytes a larger body is refused; 64 MiB.
   * @throws SallyportError E_CLUSTER_UNREACHABLE when it breaks off, is too slow, too large or no JSON.
   */
  json(maxBytes?: number): Promise<unknown>;
  /** Throws the body away. */
  discard(): void;
}

export interface ClusterClient {
  /**
   * Sends one request, once. Any status is an answer; redirects are not followed.
   * @throws SallyportError E_CLUSTER_UNREACHABLE without an answer, E_CLUSTER_CREDENTIAL without credentials; the
   * signal's reason when aborted.
   */
  request(request: ClusterRequest): Promise<ClusterResponse>;
  /** The API server's address and where the configuration comes from. */
  describe(): string;
  /** The namespace of the configuration. */
  readonly namespace: string;
  close(): void;
}

interface ClientDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** What an exec plugin inherits, and where `HTTPS_PROXY` and `NO_PROXY` are looked for. */
  readonly environment: NodeJS.ProcessEnv;
}

const execTimeout = 60_000;
/** An exec credential is renewed so long before it expires. */
const execMargin = 30_000;
const bodyTimeout = 30_000;
const defaultMaxBody = 64 * 1024 * 1024;

export function createClusterClient(deps: ClientDeps, connection: ClusterConnection): ClusterClient {
  return new HttpClusterClient(deps, connection);
}

interface Identity {
  readonly headers: Readonly<Record<string, string>>;
  readonly cert?: string;
  readonly key?: string;
}

class HttpClusterClient implements ClusterClient {
  readonly namespace: string;
  readonly #deps: ClientDeps;
  readonly #connection: ClusterConnection;
  readonly #agent: HttpAgent;
  readonly #secure: boolean;
  readonly #lastGood = new Map<string, Secret>();
  #exec: ExecCredential | undefined;
  #execRunning: Promise<ExecCredential> | undefined;

  constructor(deps: ClientDeps, connection: ClusterConnection) {
    this.#deps = deps;
    this.#connection = connection;
    this.namespace = connection.namespace;
    this.#secure = connection.server.protocol === "https:";
    const proxyEnv =
      connection.proxyUrl === undefined
        ? deps.environment
        : { HTTPS_PROXY: connection.proxyUrl, HTTP_PROXY: connection.proxyUrl };
    const options = { keepAlive: true, maxFreeSockets: 4, proxyEnv };
    this.#agent = this.#secure ? new HttpsAgent(options) : new HttpAgent(options);
    if (connection.insecureSkipTlsVerify || !this.#secure) {
      deps.log.warn("kubernetes.tls-unverified", {
        server: connection.server.host,
        reason: this.#secure ? "insecure-skip-tls-verify is set" : "the address is http",
      });
    }
  }

  describe(): string {
    return `cluster ${this.#connection.server.origin} (${this.#connection.origin})`;
  }

  close(): void {
    this.#agent.destroy();
  }

  async request(request: ClusterRequest): Promise<ClusterResponse> {
    request.signal?.throwIfAborted();
    const identity = await this.#identity();
    const { certificateAuthority, tlsServerName, insecureSkipTlsVerify, impersonation } = this.#connection;
    const ca =
      certificateAuthority === undefined ? undefined : (await this.#material(certificateAuthority)).reveal();
    const payload = request.body === undefined ? undefined : Buffer.from(JSON.stringify(request.body));
    const url = this.#url(request);
    request.signal?.throwIfAborted();
    const options: RequestOptions & Readonly<Record<string, unknown>> = {
      method: request.method,
      agent: this.#agent,
      headers: {
        Accept: "application/json",
        "User-Agent": `sallyport/${version}`,
        ...(payload === undefined
          ? {}
          : {
              "Content-Type": request.contentType ?? "application/json",
              "Content-Length": String(payload.length),
            }),
        ...impersonation,
        ...identity.headers,
      },
      // A changed certificate or authority is another key in the agent's pool, so it takes effect on the next request.
      ...(this.#secure
        ? {
            ...(ca === undefined ? {} : { ca }),
            ...(identity.cert === undefined ? {} : { cert: identity.cert, key: identity.key }),
            ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
            rejectUnauthorized: !insecureSkipTlsVerify,
            minVersion: "TLSv1.2",
          }
        : {}),
    };
    const response = await this.#send(url, options, payload, request);
    // The next request fetches a new one; a token file is read for each request anyway.
    if (response.statusCode === 401) this.#exec = undefined;
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: response,
      json: (maxBytes = defaultMaxBody) => this.#json(response, maxBytes),
      discard: () => void response.destroy(),
    };
  }

  #url(request: ClusterRequest): URL {
    const base = this.#connection.server;
    const url = new URL(base.pathname.replace(/\/$/, "") + request.path, base);
    for (const [name, value] of Object.entries(request.query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  #send(
    url: URL,
    options: RequestOptions,
    payload: Buffer | undefined,
    { signal, timeoutMilliseconds = 15_000 }: ClusterRequest,
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = (this.#secure ? httpsRequest : httpRequest)(url, options);
      const onAbort = (): void => void outgoing.destroy(abortReason(signal));
      const cancel = this.#deps.clock.after(timeoutMilliseconds, () => {
        outgoing.destroy(new Error(`no answer within ${timeoutMilliseconds / 1000} s`));
      });
      signal?.addEventListener("abort", onAbort, { once: true });
      outgoing.on("response", (response) => {
        cancel();
        // An abort also ends a body that is still coming.
        response.on("close", () => signal?.removeEventListener("abort", onAbort));
        response.on("error", () => undefined);
        resolve(response);
      });
      outgoing.on("error", (error) => {
        cancel();
        signal?.removeEventListener("abort", onAbort);
        reject(signal?.aborted === true ? abortReason(signal) : this.#unreachable(error));
      });
      outgoing.end(payload);
    });
  }

  #unreachable(cause: unknown): SallyportError {
    return new SallyportError(
      "E_CLUSTER_UNREACHABLE",
      { server: this.#connection.server.host, detail: reasonOf(cause) },
      { cause },
    );
  }

  async #json(response: IncomingMessage, maxBytes: number): Promise<unknown> {
    const chunks: Buffer[] = [];
    let length = 0;
    const cancel = this.#deps.clock.after(bodyTimeout, () =>
      response.destroy(new Error(`the answer took more than ${bodyTimeout / 1000} s`)),
    );
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        length += chunk.length;
        if (length > maxBytes) throw new Error(`the answer has more than ${maxBytes} bytes`);
        chunks.push(chunk);
      }
    } catch (thrown) {
      response.destroy();
      throw this.#unreachable(thrown);
    } finally {
      cancel();
    }
    try {
      return JSON.parse(Buffer.concat(chunks).toString("utf8")) as unknown;
    } catch {
      throw this.#unreachable(new Error("the answer is no JSON"));
    }
  }

  async #identity(): Promise<Identity> {
    const { credential } = this.#connection;
    switch (credential.type) {
      case "none":
        return { headers: {} };
      case "token":
        return this.#bearer(await this.#material(credential.token));
      case "basic": {
        const pair = Buffer.from(`${credential.username}:${credential.password.reveal()}`, "utf8");
        return { headers: { Authorization: `Basic ${pair.toString("base64")}` } };
      }
      case "certificate": {
        const [cert, key] = [
          await this.#material(credential.certificate),
          await this.#material(credential.key),
        ];
        return { headers: {}, cert: cert.reveal(), key: key.reveal() };
      }
      case "exec": {
        const got = await this.#execCredential(credential.command);
        return {
          headers: got.token === undefined ? {} : this.#bearer(got.token).headers,
          ...(got.certificate === undefined || got.key === undefined
            ? {}
            : { cert: got.certificate.reveal(), key: got.key.reveal() }),
        };
      }
    }
  }

  /**
   * What a file holds now. It is read for every request: bound service account tokens rotate hourly, and reading is
   * cheap beside the request. When it cannot be read for a moment, what was last read is tried.
   */
  async #material(material: Material): Promise<Secret> {
    if ("inline" in material) return material.inline;
    const { file } = material;
    try {
      const content = (await readFile(file, "utf8")).trim();
      if (content === "") throw new Error("it is empty");
      const read = new Secret(content);
      this.#lastGood.set(file, read);
      return read;
    } catch (thrown) {
      const detail = `${file}: ${(thrown as NodeJS.ErrnoException).code ?? reasonOf(thrown)}`;
      const known = this.#lastGood.get(file);
      if (known === undefined) throw this.#noCredential(detail, thrown);
      this.#deps.log.warn("kubernetes.credential-stale", { detail });
      return known;
    }
  }

  async #execCredential(command: ExecCommand): Promise<ExecCredential> {
    const held = this.#exec;
    if (
      held !== undefined &&
      (held.expires === undefined || held.expires - execMargin > this.#deps.clock.now())
    )
      return held;
    // Requests at the same time share one run.
    this.#execRunning ??= this.#runExec(command).finally(() => (this.#execRunning = undefined));
    return await this.#execRunning;
  }

  async #runExec(command: ExecCommand): Promise<ExecCredential> {
    const { server, certificateAuthority, tlsServerName, insecureSkipTlsVerify, proxyUrl } = this.#connection;
    const outcome = await runExecPlugin(
      command,
      this.#deps.environment,
      {
        server: server.href,
        ...(tlsServerName === undefined ? {} : { "tls-server-name": tlsServerName }),
        ...(insecureSkipTlsVerify ? { "insecure-skip-tls-verify": true } : {}),
        ...(proxyUrl === undefined ? {} : { "proxy-url": proxyUrl }),
        ...(certificateAuthority === undefined
          ? {}
          : {
              "certificate-authority-data": Buffer.from(
                (await this.#material(certificateAuthority)).reveal(),
              ).toString("base64"),
            }),
      },
      execTimeout,
    );
    if (!outcome.ok) throw this.#noCredential(outcome.problem);
    this.#exec = outcome.credential;
    return outcome.credential;
  }

  #bearer(token: Secret): Identity {
    // Node would refuse a line break in a header with an error of its own; this one says where to look.
    if (!/^[\x21-\x7e]+$/.test(token.reveal())) {
      throw this.#noCredential("the token holds characters that no token has");
    }
    return { headers: { Authorization: `Bearer ${token.reveal()}` } };
  }

  #noCredential(detail: string, cause?: unknown): SallyportError {
    return new SallyportError(
      "E_CLUSTER_CREDENTIAL",
      { server: this.#connection.server.host, detail },
      { cause },
    );
  }
}

function abortReason(signal: AbortSignal | undefined): Error {
  return signal?.reason instanceof Error ? signal.reason : new Error("aborted");
}

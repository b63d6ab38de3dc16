/**
 * The Kubernetes API as a test sees it: plain requests and watches over HTTPS
 * as one identity. Deliberately not the client library that Sallyport uses, so
 * that a fault there cannot hide itself here.
 * @module
 */
import { Agent, request } from "node:https";
import type { IncomingMessage } from "node:http";

/** Whatever the API server sends: a test narrows it where it looks. */
// oxlint-disable-next-line typescript/no-explicit-any
export type KubernetesObject = any;

export interface ApiResponse {
  readonly status: number;
  readonly body: KubernetesObject;
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: KubernetesObject;
}

export interface ApiClientOptions {
  /** Such as `https://127.0.0.1:6443`. */
  readonly server: string;
  /** The authority that signed the server's certificate, PEM. */
  readonly authority: string;
  readonly credential?: { readonly certificate: string; readonly key: string };
  readonly token?: string;
}

/** Requests as one identity; `close` drops its kept connections. */
export class ApiClient {
  readonly #options: ApiClientOptions;
  readonly #agent: Agent;

  constructor(options: ApiClientOptions) {
    this.#options = options;
    this.#agent = new Agent({
      keepAlive: true,
      ca: options.authority,
      ...(options.credential && { cert: options.credential.certificate, key: options.credential.key }),
    });
  }

  /** Any answer is a result, whatever its status; rejects when there was none. */
  async request(
    method: string,
    path: string,
    body?: KubernetesObject,
    contentType = "application/json",
    timeoutMs = 30_000,
  ): Promise<ApiResponse> {
    const response = await this.#send(method, path, AbortSignal.timeout(timeoutMs), body, contentType);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString("utf8");
    const isJson = (response.headers["content-type"] ?? "").includes("json");
    return { status: response.statusCode ?? 0, body: isJson ? JSON.parse(text) : text };
  }

  /** As {@link request}, but any status of 400 and above is thrown with the server's own message. */
  async expect(
    method: string,
    path: string,
    body?: KubernetesObject,
    contentType?: string,
  ): Promise<KubernetesObject> {
    const answer = await this.request(method, path, body, contentType);
    if (answer.status >= 400) {
      throw new Error(`${method} ${path}: ${String(answer.status)} ${answer.body.message ?? answer.body}`);
    }
    return answer.body;
  }

  /** The events of a watch until it ends or the signal aborts it (which throws). */
  async *watch(path: string, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const response = await this.#send("GET", path, signal);
    if (response.statusCode !== 200) {
      response.resume();
      throw new Error(`watch ${path}: ${String(response.statusCode)}`);
    }
    let rest = "";
    response.setEncoding("utf8");
    for await (const chunk of response) {
      const lines = (rest + String(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) yield JSON.parse(line) as WatchEvent;
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #send(
    method: string,
    path: string,
    signal: AbortSignal,
    body?: KubernetesObject,
    contentType = "application/json",
  ): Promise<IncomingMessage> {
    const payload = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const outgoing = request(
        new URL(path, this.#options.server),
        {
          method,
          agent: this.#agent,
          signal,
          headers: {
            accept: "application/json",
            ...(this.#options.token !== undefined && { authorization: `Bearer ${this.#options.token}` }),
            ...(payload !== undefined && {
              "content-type": contentType,
              "content-length": String(Buffer.byteLength(payload)),
            }),
          },
        },
        resolve,
      );
      outgoing.once("error", reject);
      outgoing.end(payload);
    });
  }
}

/**
 * Requests to an API server: TLS and credentials from the cluster configuration, one answer or one stream, limits. No
 * retries: whoever asks knows what a failure means.
 * @module
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from "node:https";
import { systemClock, type Clock } from "../clock.ts";
import type { Log } from "../observe/log.ts";
import type { ClusterConfig, ClusterCredentials } from "./cluster-config.ts";

export interface ClusterRequest {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path below the server's address, beginning with a slash; segments already encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** `application/json` unless said otherwise (patches). */
  readonly contentType?: string;
  readonly signal?: AbortSignal;
  /** For the whole exchange (a stream: until its first byte), milliseconds. */
  readonly timeoutMs?: number;
  /** Longest answer, in bytes. */
  readonly maxBytes?: number;
  /**
   * On a connection of its own rather than one that was kept: for streams, and for a question whose point is whether
   * the server can be reached.
   */
  readonly ownConnection?: boolean;
}

/** The answer is longer than `maxBytes`. */
export class AnswerTooLong extends Error {}

export interface ClusterAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export interface ClusterStream {
  readonly status: number;
  readonly headers: ClusterAnswer["headers"];
  /** The body as it comes; destroy it to end the request. */
  readonly body: IncomingMessage;
}

export interface ClusterClient {
  /** Resolves for every status. Rejects when there is no whole answer: refused, reset, too slow, too long. */
  request(request: ClusterRequest): Promise<ClusterAnswer>;
  /** Resolves with the head of the answer. */
  stream(request: ClusterRequest): Promise<ClusterStream>;
  readonly config: ClusterConfig;
  close(): void;
}

const defaultTimeoutMs = 30_000;
const defaultMaxBytes = 32 * 1024 * 1024;

/** @param clock measures the time limits. */
export function createClusterClient(
  config: ClusterConfig,
  log: Log,
  clock: Clock = systemClock,
): ClusterClient {
  if (config.skipTlsVerify) log.warn("kubernetes.tls-unverified", { server: config.server });
  const secure = config.server.startsWith("https:");
  const pool = { keepAlive: true, maxSockets: 64 };
  const agent = secure ? new HttpsAgent(pool) : new HttpAgent(pool);

  async function open(asked: ClusterRequest): Promise<IncomingMessage> {
    asked.signal?.throwIfAborted();
    const credentials = await config.credentials();
    const url = new URL(config.server + asked.path);
    for (const [name, value] of Object.entries(asked.query ?? {})) url.searchParams.set(name, value);
    const payload = asked.body === undefined ? undefined : Buffer.from(JSON.stringify(asked.body), "utf8");
    const options: RequestOptions = {
      method: asked.method ?? "GET",
      headers: headersOf(asked, credentials, payload),
      ...(asked.signal === undefined ? {} : { signal: asked.signal }),
      agent: asked.ownConnection === true ? false : agent,
      ...(secure ? tlsOf(config, credentials) : {}),
    };
    return await new Promise((resolve, reject) => {
      const timeoutMs = asked.timeoutMs ?? defaultTimeoutMs;
      const send = secure ? httpsRequest : httpRequest;
      const sent = send(url, options, (response) => {
        cancel();
        if (response.statusCode === 401) config.credentialsRefused?.();
        resolve(response);
      });
      const cancel = clock.after(timeoutMs, () =>
        sent.destroy(new Error(`no answer within ${timeoutMs} ms`)),
      );
      sent.on("error", (error) => {
        cancel();
        reject(error);
      });
      sent.end(payload);
    });
  }

  return {
    config,
    async request(asked) {
      const response = await open(asked);
      const chunks: Buffer[] = [];
      let bytes = 0;
      const timeoutMs = asked.timeoutMs ?? defaultTimeoutMs;
      const cancel = clock.after(timeoutMs, () =>
        response.destroy(new Error(`no whole answer within ${timeoutMs} ms`)),
      );
      try {
        for await (const chunk of response as AsyncIterable<Buffer>) {
          bytes += chunk.length;
          if (bytes > (asked.maxBytes ?? defaultMaxBytes)) throw new AnswerTooLong("the answer is too long");
          chunks.push(chunk);
        }
      } finally {
        cancel();
        response.destroy();
      }
      return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) };
    },
    async stream(asked) {
      const body = await open(asked);
      return { status: body.statusCode ?? 0, headers: body.headers, body };
    },
    close: () => agent.destroy(),
  };
}

function headersOf(
  asked: ClusterRequest,
  credentials: ClusterCredentials,
  payload: Buffer | undefined,
): Record<string, string | number> {
  return {
    accept: "application/json",
    "user-agent": "sallyport",
    ...(credentials.token === undefined ? {} : { authorization: `Bearer ${credentials.token.reveal()}` }),
    ...(payload === undefined
      ? {}
      : { "content-type": asked.contentType ?? "application/json", "content-length": payload.length }),
  };
}

function tlsOf(config: ClusterConfig, credentials: ClusterCredentials): RequestOptions {
  return {
    ...(config.caPem === undefined ? {} : { ca: config.caPem }),
    ...(config.tlsServerName === undefined ? {} : { servername: config.tlsServerName }),
    ...(credentials.certificatePem === undefined ? {} : { cert: credentials.certificatePem }),
    ...(credentials.privateKeyPem === undefined ? {} : { key: credentials.privateKeyPem.reveal() }),
    rejectUnauthorized: !config.skipTlsVerify,
    minVersion: "TLSv1.2",
  };
}

/**
 * The one way in which requests leave for Azure: to this vault, to this cloud's authority, or to the machine's own
 * identity endpoint, and nowhere else; no redirects, bounded in time and size. It notes what was answered, because the
 * client libraries keep neither the status nor Retry-After of a token request.
 * @module
 */
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIPv4, type Socket } from "node:net";
import { connect as connectSecurely } from "node:tls";
import type { Clock } from "../../clock.ts";
import { reasonOf } from "../../errors.ts";
import { unlessAborted } from "../../unless-aborted.ts";
import type { SdkAnswer, SdkRequest } from "./azure-sdk.ts";

/** Who answered: what gives tokens, or what keeps secrets. */
export type AzureService = "identity" | "vault";

/** The last thing that happened on the wire. */
export type Exchange =
  | {
      readonly service: AzureService;
      readonly status: number;
      /** The request carried a token: a vault's first answer asks for one. */
      readonly authorized: boolean;
      /** Wait that the service asks for, milliseconds. */
      readonly retryAfterMs?: number;
      /** The body's `error.code` (vault) or `error` (identity), when it has one. */
      readonly code?: string;
      /** The body's `error.innererror.code`. */
      readonly innerCode?: string;
    }
  | { readonly service: AzureService; readonly failure: string };

export interface AzureNetwork {
  /** Authorities to trust beside the system's, PEM. */
  readonly certificateAuthority?: string;
  /** `http://HOST:PORT` for the vault and the authority; the machine's own endpoint is asked directly. */
  readonly proxy?: string;
  /** Where to connect instead: how tests and `npm start` reach a simulator. Names in TLS stay the real ones. */
  readonly dial?: (host: string, port: number) => { readonly host: string; readonly port: number };
}

export interface AzureTransportOptions {
  readonly vaultHost: string;
  readonly authorityHost: string;
  readonly network: AzureNetwork;
  readonly clock: Clock;
}

/** For one request, milliseconds. */
const requestLimitMs = 6_000;
/** A secret has at most 25 KB, six times as much as JSON escapes. */
const answerLimit = 256 * 1024;

export class AzureTransport {
  readonly #options: AzureTransportOptions;
  #signal: AbortSignal | undefined;
  #last: Exchange | undefined;

  constructor(options: AzureTransportOptions) {
    this.#options = options;
  }

  /** Forgets what happened before; from now on requests end with this signal. */
  begin(signal: AbortSignal): void {
    this.#signal = signal;
    this.#last = undefined;
  }

  get last(): Exchange | undefined {
    return this.#last;
  }

  async send(request: SdkRequest): Promise<SdkAnswer> {
    const url = new URL(request.url);
    const service = this.#serviceAt(url);
    const { clock } = this.#options;
    const ending = new AbortController();
    const stop = clock.after(requestLimitMs, () =>
      ending.abort(new Error(`no whole answer within ${requestLimitMs} ms`)),
    );
    const signal = AbortSignal.any([ending.signal, ...(this.#signal === undefined ? [] : [this.#signal])]);
    try {
      const answer = await unlessAborted(this.#exchange(url, request, signal), signal);
      this.#last = {
        service,
        status: answer.status,
        authorized: Object.keys(request.headers).some((name) => name.toLowerCase() === "authorization"),
        ...detailsOf(answer, clock.now()),
      };
      if (answer.status >= 300 && answer.status < 400) throw new Error("redirects are not followed");
      return answer;
    } catch (error) {
      this.#last ??= { service, failure: reasonOf(signal.aborted ? signal.reason : error) };
      throw error;
    } finally {
      stop();
    }
  }

  /** @throws when the URL is none that a request may go to; then none leaves. */
  #serviceAt(url: URL): AzureService {
    const { vaultHost, authorityHost } = this.#options;
    this.#last = undefined;
    if (url.username === "" && url.password === "") {
      if (url.origin === `https://${vaultHost}`) return "vault";
      if (url.origin === new URL(authorityHost).origin && url.protocol === "https:") return "identity";
      if (url.protocol === "http:" && ownMachine(url.hostname)) return "identity";
    }
    throw new Error(`no request may go to ${url.origin}`);
  }

  async #exchange(url: URL, request: SdkRequest, signal: AbortSignal): Promise<SdkAnswer> {
    signal.throwIfAborted();
    const { network } = this.#options;
    const secure = url.protocol === "https:";
    const port = url.port === "" ? (secure ? 443 : 80) : Number(url.port);
    const host = url.hostname.replace(/^\[|\]$/g, "");
    const target = network.dial?.(host, port) ?? { host, port };
    const options = {
      path: `${url.pathname}${url.search}`,
      method: request.method,
      headers: headersFor(request, url.host),
      signal,
    };
    const tls = {
      servername: host,
      minVersion: "TLSv1.2",
      ...(network.certificateAuthority === undefined ? {} : { ca: network.certificateAuthority }),
    } as const;
    const tunnel =
      secure && network.proxy !== undefined ? await openTunnel(network.proxy, target, signal) : undefined;
    return await new Promise((resolve, reject) => {
      const asked = !secure
        ? httpRequest({ ...options, ...target, agent: false })
        : tunnel === undefined
          ? httpsRequest({ ...options, ...target, ...tls, agent: false })
          : httpsRequest({ ...options, createConnection: () => connectSecurely({ ...tls, socket: tunnel }) });
      asked.on("error", reject);
      asked.on("response", (response) => readAnswer(response).then(resolve, reject));
      asked.end(request.body);
    });
  }
}

/**
 * A connection through an HTTP proxy (RFC 9110 section 9.3.6). Not Node's own (`proxyEnv` of an agent): that one cannot be
 * ended while the proxy is silent, and keeps the connection of a refused tunnel open.
 */
function openTunnel(
  proxy: string,
  target: { readonly host: string; readonly port: number },
  signal: AbortSignal,
): Promise<Socket> {
  const { hostname, port } = new URL(proxy);
  const to = `${target.host}:${target.port}`;
  return new Promise((resolve, reject) => {
    const asked = httpRequest({
      host: hostname.replace(/^\[|\]$/g, ""),
      port: port === "" ? 80 : Number(port),
      method: "CONNECT",
      path: to,
      headers: { host: to },
      signal,
      agent: false,
    });
    asked.on("error", reject);
    asked.on("connect", ({ statusCode = 0 }, socket: Socket, early) => {
      // In TLS the client speaks first: what comes before is no part of it.
      if (statusCode >= 200 && statusCode < 300 && early.length === 0 && !signal.aborted) {
        resolve(socket);
        return;
      }
      socket.destroy();
      reject(new Error(`the proxy answered ${statusCode}`));
    });
    asked.end();
  });
}

/** Answers are read as they come: the libraries would have them compressed, which only their own client undoes. */
function headersFor({ headers }: SdkRequest, host: string): Readonly<Record<string, string>> {
  const kept = Object.entries(headers).filter(([name]) => name.toLowerCase() !== "accept-encoding");
  return { ...Object.fromEntries(kept), "accept-encoding": "identity", host };
}

async function readAnswer(response: IncomingMessage): Promise<SdkAnswer> {
  const encoding = response.headers["content-encoding"] ?? "identity";
  if (encoding.toLowerCase() !== "identity") {
    response.destroy();
    throw new Error("the answer is compressed although that was not asked for");
  }
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > answerLimit) {
      response.destroy();
      throw new Error(`the answer is longer than ${answerLimit} bytes`);
    }
    chunks.push(chunk);
  }
  const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
  return {
    status: response.statusCode ?? 0,
    headers: Object.fromEntries(headers) as Record<string, string>,
    // A byte order mark in front of JSON may be ignored (RFC 8259 section 8.1); the libraries do not.
    body: Buffer.concat(chunks)
      .toString("utf8")
      .replace(/^\uFEFF/, ""),
  };
}

/** Link-local or loopback: the metadata service and the agents that stand in for it. */
function ownMachine(host: string): boolean {
  return host === "localhost" || host === "[::1]" || (isIPv4(host) && /^(?:127|169\.254)\./.test(host));
}

function detailsOf(
  { status, headers, body }: SdkAnswer,
  now: number,
): { readonly retryAfterMs?: number; readonly code?: string; readonly innerCode?: string } {
  if (status < 400) return {};
  const retryAfterMs = retryAfter(headers, now);
  return { ...(retryAfterMs === undefined ? {} : { retryAfterMs }), ...errorCodes(body) };
}

/** Retry-After as seconds or as a date (RFC 9110 section 10.2.3), and Azure's own in milliseconds. */
export function retryAfter(headers: Readonly<Record<string, string>>, now: number): number | undefined {
  for (const name of ["retry-after-ms", "x-ms-retry-after-ms"]) {
    if (/^\d{1,9}$/.test(headers[name] ?? "")) return Number(headers[name]);
  }
  const text = headers["retry-after"] ?? "";
  if (/^\d{1,6}$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  return /[a-z]/i.test(text) && !Number.isNaN(date) ? Math.max(0, date - now) : undefined;
}

/** The error codes of a body, which are words of the services' documentation; anything else in it is left alone. */
export function errorCodes(body: string): { readonly code?: string; readonly innerCode?: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    return {};
  }
  const error = member(parsed, "error");
  const [code, innerCode] = [
    word(typeof error === "string" ? error : member(error, "code")),
    word(member(member(error, "innererror"), "code")),
  ];
  return { ...(code === undefined ? {} : { code }), ...(innerCode === undefined ? {} : { innerCode }) };
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

function word(value: unknown): string | undefined {
  return typeof value === "string" && /^\w{1,64}$/.test(value) ? value : undefined;
}

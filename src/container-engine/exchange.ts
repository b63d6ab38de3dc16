/**
 * One HTTP exchange with a container engine: a connection of its own, bounded in time and size, no redirects. Certificate
 * files are read for each, so that a renewed one is used at once.
 * @module
 */
import { readFile } from "node:fs/promises";
import { request as requestPlain, type IncomingMessage, type RequestOptions } from "node:http";
import { request as requestTls } from "node:https";
import { isIP } from "node:net";
import { reasonOf, SallyportError } from "../errors.ts";
import type { ClientFiles, EngineEndpoint } from "./endpoint.ts";

export interface EngineRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** With its query. */
  readonly path: string;
  /** JSON text. */
  readonly body?: string;
}

export interface EngineAnswer {
  readonly status: number;
  readonly text: string;
}

export interface ExchangeLimits {
  /** For the whole exchange, milliseconds. */
  readonly timeoutMs: number;
  /** Largest answer, bytes. */
  readonly answerBytes: number;
}

/**
 * @throws {SallyportError} `E_ENGINE_UNREACHABLE`, `E_ENGINE_TLS`, `E_ENGINE_TIMEOUT`, or `E_ENGINE_ANSWER` for one that is
 *   larger than the limit or breaks off; the signal's reason when that comes first.
 */
export async function exchange(
  endpoint: EngineEndpoint,
  asked: EngineRequest,
  limits: ExchangeLimits,
  signal?: AbortSignal,
): Promise<EngineAnswer> {
  signal?.throwIfAborted();
  const deadline = AbortSignal.timeout(limits.timeoutMs);
  const failed = (error: unknown): unknown => {
    if (signal?.aborted === true) return signal.reason;
    return deadline.aborted ? timeoutError(endpoint, limits) : error;
  };
  let response: IncomingMessage;
  try {
    response = await send(
      endpoint,
      asked,
      signal === undefined ? deadline : AbortSignal.any([signal, deadline]),
    );
  } catch (error) {
    throw failed(error);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limits.answerBytes) break;
      chunks.push(chunk);
    }
  } catch (error) {
    if (signal?.aborted === true || deadline.aborted) throw failed(error);
    throw new SallyportError("E_ENGINE_ANSWER", {
      engine: endpoint.label,
      detail: `the answer to ${asked.method} ${pathOnly(asked.path)} broke off`,
    });
  }
  if (size > limits.answerBytes) {
    throw new SallyportError("E_ENGINE_ANSWER", {
      engine: endpoint.label,
      detail: `the answer to ${asked.method} ${pathOnly(asked.path)} has more than ${limits.answerBytes} bytes`,
    });
  }
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") };
}

/**
 * Follows an answer that does not end, and calls back for each piece of it; what the pieces say is not read. Resolves when
 * the engine ends it or the connection breaks, and with the signal. Rejects as {@link exchange} does when it does not begin.
 */
export async function follow(
  endpoint: EngineEndpoint,
  asked: EngineRequest,
  limits: ExchangeLimits,
  onPiece: () => void,
  signal: AbortSignal,
): Promise<void> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), limits.timeoutMs);
  let response: IncomingMessage;
  try {
    response = await send(endpoint, asked, AbortSignal.any([signal, late.signal]));
  } catch (error) {
    if (signal.aborted) return;
    throw late.signal.aborted ? timeoutError(endpoint, limits) : error;
  } finally {
    clearTimeout(timer);
  }
  if (response.statusCode !== 200) {
    response.destroy();
    const detail = `${pathOnly(asked.path)} answers with status ${response.statusCode}`;
    throw new SallyportError("E_ENGINE_ANSWER", { engine: endpoint.label, detail });
  }
  try {
    for await (const _piece of response) onPiece();
  } catch {
    // Broken off or stopped: in both cases nothing more comes.
  }
}

/** Resolves when the answer begins. */
async function send(
  endpoint: EngineEndpoint,
  asked: EngineRequest,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const tls =
    endpoint.kind === "tcp" && endpoint.tls !== undefined ? await tlsOptions(endpoint.tls) : undefined;
  const options: RequestOptions = {
    method: asked.method,
    path: asked.path,
    ...(endpoint.kind === "socket"
      ? { socketPath: endpoint.path }
      : { host: endpoint.host, port: endpoint.port }),
    headers: {
      // What the engine's own tools send over a socket; a real host name would be refused by none, but means nothing there.
      host: endpoint.kind === "socket" ? "engine" : hostHeader(endpoint.host, endpoint.port),
      accept: "application/json",
      ...(asked.body === undefined
        ? {}
        : { "content-type": "application/json", "content-length": Buffer.byteLength(asked.body) }),
    },
    agent: false,
    signal,
  };
  return await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing =
      tls === undefined
        ? requestPlain(options, resolve)
        : requestTls({ ...options, ...tls, ...serverName(endpoint), rejectUnauthorized: true }, resolve);
    outgoing.on("error", (error) => reject(connectionError(endpoint, error)));
    outgoing.end(asked.body);
  });
}

function timeoutError(endpoint: EngineEndpoint, { timeoutMs }: ExchangeLimits): SallyportError {
  return new SallyportError("E_ENGINE_TIMEOUT", { engine: endpoint.label, milliseconds: timeoutMs });
}

/** A path without its query, for messages. */
export function pathOnly(path: string): string {
  return path.split("?")[0] ?? "";
}

async function tlsOptions(files: ClientFiles): Promise<{ ca: Buffer; cert: Buffer; key: Buffer }> {
  const read = async (path: string): Promise<Buffer> => {
    try {
      return await readFile(path);
    } catch (error) {
      throw new SallyportError("E_ENGINE_TLS", { engine: path, detail: reasonOf(error) });
    }
  };
  const [ca, cert, key] = await Promise.all([
    read(files.authority),
    read(files.certificate),
    read(files.key),
  ]);
  return { ca, cert, key };
}

function serverName(endpoint: EngineEndpoint): { readonly servername?: string } {
  // An address is compared with the certificate's addresses; SNI knows names only (RFC 6066, section 3).
  return endpoint.kind === "tcp" && isIP(endpoint.host) === 0 ? { servername: endpoint.host } : {};
}

function hostHeader(host: string, port: number): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function connectionError(endpoint: EngineEndpoint, error: unknown): SallyportError {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  // OpenSSL's and Node's codes for a handshake, a chain or a name that does not hold.
  const tls = /^(ERR_(TLS|SSL|OSSL)|CERT_|UNABLE_TO_|SELF_SIGNED|DEPTH_ZERO|EPROTO)/.test(code);
  return new SallyportError(
    tls ? "E_ENGINE_TLS" : "E_ENGINE_UNREACHABLE",
    { engine: endpoint.label, detail: reasonOf(error) },
    { cause: error },
  );
}

/**
 * Asks STS: rebuilds the GetCallerIdentity request from the checked parts of a token and constants, sends it to the one
 * configured endpoint and reads a bounded answer in bounded time. Redirects are not followed.
 * @module
 */
import { Agent, request, type RequestOptions } from "node:https";
import { parseStsAnswer, type StsAnswer, type StsResponse } from "./sts-answer.ts";
import { clusterParameter } from "./token.ts";
import { emptyBodySha256, percentEncode } from "./sign.ts";
import type { RamToken } from "./parse-token.ts";
import { reasonOf } from "../../errors.ts";

export type StsCall =
  | StsAnswer
  /** No answer within the time, or none at all. */
  | { readonly outcome: "unreachable"; readonly detail: string };

export interface StsClient {
  /** Never throws. */
  getCallerIdentity(token: RamToken): Promise<StsCall>;
  close(): void;
}

export interface StsClientOptions {
  /** `https://host[:port]`. */
  readonly origin: string;
  readonly clusterId: string;
  readonly userAgent: string;
  /** Milliseconds for the whole call. */
  readonly timeoutMs: number;
  /** PEM of authorities to trust instead of the public ones. */
  readonly authoritiesPem?: string;
  /** Connections kept open to STS. */
  readonly maxIdleConnections: number;
  /** Proxy settings as in the environment (`HTTPS_PROXY`, `NO_PROXY`); absent: no proxy. */
  readonly proxyEnvironment?: NodeJS.ProcessEnv;
}

/** Largest answer in bytes; the real one has about 400. */
const answerLimit = 64 * 1024;

export function createStsClient(options: StsClientOptions): StsClient {
  const origin = new URL(options.origin);
  const agent = new Agent({
    keepAlive: true,
    maxFreeSockets: options.maxIdleConnections,
    ...(options.proxyEnvironment === undefined ? {} : { proxyEnv: options.proxyEnvironment }),
  });
  return {
    async getCallerIdentity(token) {
      const rebuilt = rebuildRequest(token, options);
      try {
        const response = await exchange({
          agent,
          host: origin.hostname.replace(/^\[|\]$/g, ""),
          port: origin.port === "" ? 443 : Number(origin.port),
          minVersion: "TLSv1.2",
          ...(options.authoritiesPem === undefined ? {} : { ca: options.authoritiesPem }),
          ...rebuilt,
          signal: AbortSignal.timeout(options.timeoutMs),
        });
        return parseStsAnswer(response);
      } catch (error) {
        const detail =
          error instanceof Error && (error.name === "TimeoutError" || error.name === "AbortError")
            ? `no answer within ${options.timeoutMs} ms`
            : reasonOf(error);
        return { outcome: "unreachable", detail };
      }
    },
    close: () => agent.destroy(),
  };
}

/** Method, path and headers of the request to STS; nothing else of the token gets near it. */
export function rebuildRequest(
  token: RamToken,
  options: { readonly clusterId: string; readonly userAgent: string },
): { readonly method: string; readonly path: string; readonly headers: Readonly<Record<string, string>> } {
  const common = {
    accept: "application/json",
    "user-agent":
      token.userAgent === "" ? options.userAgent : `${options.userAgent} ${token.userAgent}`.slice(0, 256),
  };
  if (token.generation === 1) {
    return { method: "GET", path: `/?${queryOf(token.parameters)}`, headers: common };
  }
  return {
    method: "POST",
    path: `/?${queryOf({ [clusterParameter]: options.clusterId, ...token.extraQuery })}`,
    headers: {
      ...common,
      "content-length": "0",
      "x-acs-action": "GetCallerIdentity",
      "x-acs-version": "2015-04-01",
      "x-acs-content-sha256": emptyBodySha256,
      "x-acs-date": token.date,
      ...(token.securityToken === undefined ? {} : { "x-acs-security-token": token.securityToken }),
      ...(token.nonce === undefined ? {} : { "x-acs-signature-nonce": token.nonce }),
      authorization: token.authorization,
    },
  };
}

function queryOf(parameters: Readonly<Record<string, string>>): string {
  return Object.entries(parameters)
    .map(([name, value]) => `${percentEncode(name)}=${percentEncode(value)}`)
    .join("&");
}

function exchange(options: RequestOptions): Promise<StsResponse> {
  return new Promise((resolve, reject) => {
    const outgoing = request(options, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > answerLimit) outgoing.destroy(new Error(`the answer is larger than ${answerLimit} bytes`));
        else chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("aborted", () => reject(new Error("the answer was cut off")));
      response.on("end", () => {
        if (!response.complete) {
          reject(new Error("the answer was cut off"));
          return;
        }
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers["content-type"] ?? "",
          body: Buffer.concat(chunks).toString("utf8"),
        });
      });
    });
    outgoing.on("error", reject);
    outgoing.end();
  });
}

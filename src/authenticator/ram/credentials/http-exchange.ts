/**
 * One HTTP exchange with a service that hands out credentials: bounded in time and size, without redirects, and with a
 * look at the service's clock.
 * @module
 */
import { request as requestPlain } from "node:http";
import { Agent, request as requestTls } from "node:https";
import type { Clock } from "../../../clock.ts";
import { SallyportError } from "../../../errors.ts";

export interface Exchange {
  readonly url: URL;
  readonly method: "GET" | "POST" | "PUT";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs: number;
  /** PEM of authorities to trust instead of the public ones. */
  readonly authoritiesPem?: string;
  /** Whether the proxy of the environment is used; never for services of the machine itself. */
  readonly proxy: boolean;
}

export interface ExchangeAnswer {
  readonly status: number;
  readonly body: string;
}

const answerLimit = 256 * 1024;
const clockToleranceMs = 5 * 60 * 1000;

/** Rejects when there is no whole answer in time; `E_RAM_CLOCK` when the clocks are too far apart. */
export async function exchange(asked: Exchange, clock: Clock): Promise<ExchangeAnswer> {
  const { url } = asked;
  const { date, ...answer } = await new Promise<ExchangeAnswer & { readonly date: string | undefined }>(
    (resolve, reject) => {
      const request = url.protocol === "https:" ? requestTls : requestPlain;
      const outgoing = request(
        url,
        {
          method: asked.method,
          headers: {
            ...asked.headers,
            ...(asked.method === "GET" ? {} : { "content-length": Buffer.byteLength(asked.body ?? "") }),
          },
          signal: AbortSignal.timeout(asked.timeoutMs),
          ...(asked.authoritiesPem === undefined ? {} : { ca: asked.authoritiesPem }),
          ...(url.protocol === "https:" && asked.proxy
            ? { agent: new Agent({ proxyEnv: process.env }) }
            : {}),
        },
        (response) => {
          const chunks: Buffer[] = [];
          let size = 0;
          response.on("data", (chunk: Buffer) => {
            size += chunk.length;
            if (size > answerLimit) outgoing.destroy(new Error("the answer is too large"));
            else chunks.push(chunk);
          });
          response.on("error", reject);
          response.on("end", () =>
            resolve({
              status: response.statusCode ?? 0,
              body: Buffer.concat(chunks).toString("utf8"),
              date: response.headers.date,
            }),
          );
        },
      );
      outgoing.on("error", (error) =>
        reject(
          error.name === "TimeoutError" || error.name === "AbortError"
            ? new Error(`no answer within ${asked.timeoutMs} ms`)
            : error,
        ),
      );
      outgoing.end(asked.body);
    },
  );
  const ahead = clock.now() - Date.parse(date ?? "");
  if (Math.abs(ahead) > clockToleranceMs) {
    throw new SallyportError("E_RAM_CLOCK", {
      minutes: Math.round(Math.abs(ahead) / 60_000),
      direction: ahead > 0 ? "ahead of" : "behind",
      authority: url.hostname,
    });
  }
  return answer;
}

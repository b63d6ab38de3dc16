/**
 * The webhook's HTTP surface: paths, methods, content types and limits; decisions are the admitter's. No body, name or
 * content is logged.
 * @module
 */
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import { reasonOf } from "../errors.ts";
import type { AdmissionMetrics } from "../observe/admission-metrics.ts";
import type { Log } from "../observe/log.ts";
import type { Admitter } from "./admitter.ts";
import { readReview, renderReview, deny, type AdmissionRequest, type Verdict } from "./review.ts";
import { reviewSpec } from "./spec-review.ts";

export interface WebhookOptions {
  readonly admitter: Admitter;
  readonly version: string;
  /** Refuse a credential spec that lint finds errors in, instead of warning. */
  readonly enforceLint: boolean;
  /** The reason to refuse a caller, for the log; undefined lets it in. */
  readonly refuseCaller: (request: IncomingMessage) => string | undefined;
  readonly log: Log;
  readonly metrics: AdmissionMetrics;
}

/** An API server's own limit is 3 MB an object; an update carries two. */
const largestBody = 8 * 1024 * 1024;

/** Webhooks have 10 s unless configured otherwise; the answer must be there before. */
const defaultDeadlineMs = 10_000;
const reserveMs = 500;

class Refused extends Error {
  readonly status: number;

  constructor(status: number) {
    super(String(status));
    this.status = status;
  }
}

export function createWebhook(options: WebhookOptions): RequestListener {
  const { admitter, enforceLint } = options;
  const decisions: Readonly<
    Record<string, (request: AdmissionRequest, signal: AbortSignal) => Promise<Verdict>>
  > = {
    "/mutate": (request, signal) => admitter.mutate(request, signal),
    "/validate": (request, signal) => admitter.validate(request, signal),
    "/lint": (request) => Promise.resolve(reviewSpec(request, enforceLint)),
  };
  return (request, response) => {
    const [path = ""] = (request.url ?? "").split("?");
    if (path === "/info") {
      send(response, 200, JSON.stringify({ version: options.version }));
      return;
    }
    if (path === "/health") {
      send(response, 204);
      return;
    }
    const decide = Object.hasOwn(decisions, path) ? decisions[path] : undefined;
    if (decide === undefined) {
      send(response, 404);
      return;
    }
    void answer(path.slice(1), decide, request, response, options);
  };
}

async function answer(
  name: string,
  decide: (request: AdmissionRequest, signal: AbortSignal) => Promise<Verdict>,
  request: IncomingMessage,
  response: ServerResponse,
  { log, metrics, refuseCaller }: WebhookOptions,
): Promise<void> {
  const began = performance.now();
  try {
    if (request.method !== "POST") throw new Refused(405);
    if (
      !/^application\/json\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?$/i.test(
        request.headers["content-type"] ?? "",
      )
    ) {
      throw new Refused(415);
    }
    if ((request.headers["content-encoding"] ?? "identity") !== "identity") throw new Refused(415);
    const refusal = refuseCaller(request);
    if (refusal !== undefined) {
      log.warn("admission.caller-refused", { webhook: name, reason: refusal });
      throw new Refused(403);
    }
    const reading = readReview(await readBody(request));
    const verdict = reading.ok
      ? await decide(reading.request, AbortSignal.timeout(deadlineMs(request)))
      : reading.verdict;
    const uid = reading.ok ? reading.request.uid : reading.uid;
    send(response, 200, renderReview(uid, verdict));
    const seconds = (performance.now() - began) / 1000;
    metrics.reviewed(name, verdict.allowed ? "allowed" : String(verdict.code), seconds);
    log.info("admission.reviewed", {
      webhook: name,
      uid,
      namespace: reading.ok ? reading.request.namespace : undefined,
      allowed: verdict.allowed,
      ...(verdict.allowed ? { patches: verdict.patches.length } : { code: verdict.code }),
      milliseconds: Math.round(seconds * 1000),
    });
  } catch (error) {
    if (response.headersSent || request.destroyed) return;
    if (error instanceof Refused) {
      metrics.reviewed(name, `http-${error.status}`, (performance.now() - began) / 1000);
      // The rest of a body that is too long is not waited for.
      if (error.status === 413) response.setHeader("connection", "close");
      send(response, error.status);
      return;
    }
    log.error("service.request-failed", { webhook: name, reason: reasonOf(error) });
    metrics.reviewed(name, "500", (performance.now() - began) / 1000);
    send(
      response,
      200,
      renderReview("", deny(500, "the webhook met a fault of its own; its log says which")),
    );
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  if (Number(request.headers["content-length"] ?? 0) > largestBody) throw new Refused(413);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > largestBody) throw new Refused(413);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The API server says in the query how long it will wait. */
function deadlineMs(request: IncomingMessage): number {
  const [, seconds] = /[?&]timeout=(\d+(?:\.\d+)?)s(?:&|$)/.exec(request.url ?? "") ?? [];
  const wanted = seconds === undefined ? defaultDeadlineMs : Number(seconds) * 1000;
  return Math.max(Math.min(wanted, 30_000) - reserveMs, reserveMs);
}

function send(response: ServerResponse, status: number, json?: string): void {
  if (json === undefined) {
    response.writeHead(status, status === 204 ? {} : { "content-length": 0 }).end();
    return;
  }
  const body = Buffer.from(json, "utf8");
  response.writeHead(status, { "content-type": "application/json", "content-length": body.length }).end(body);
}

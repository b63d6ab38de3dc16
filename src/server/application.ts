/**
 * A Fastify application that says no more than it must: no default bodies, no echo of the request, no HEAD routes, the
 * same plain answers for everything a service does not serve. It owns no socket; `listener.ts` does.
 * @module
 */
import { randomUUID } from "node:crypto";
import { createServer, type RequestListener } from "node:http";
import fastify, { type FastifyInstance } from "fastify";
import { reasonOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";

export interface ApplicationOptions {
  readonly log: Log;
  /** Largest body in bytes. */
  readonly bodyLimit?: number;
}

export interface Application {
  readonly routes: FastifyInstance;
  /** The request listener, once all routes are declared. */
  handler(): Promise<RequestListener>;
}

export function createApplication(options: ApplicationOptions): Application {
  let listener: RequestListener | undefined;
  const routes = fastify({
    logger: false,
    exposeHeadRoutes: false,
    bodyLimit: options.bodyLimit ?? 1024,
    genReqId: () => randomUUID(),
    return503OnClosing: false,
    serverFactory(handler) {
      listener = handler;
      return createServer();
    },
    frameworkErrors: (_error, _request, reply) => {
      reply.raw.writeHead(400).end();
    },
  });
  routes.setNotFoundHandler((_request, reply) => {
    void reply.code(404).type("text/plain; charset=utf-8").send("404 page not found\n");
  });
  routes.setErrorHandler((error, request, reply) => {
    const status = statusOf(error);
    if (status >= 500) {
      options.log.error("service.request-failed", { requestId: request.id, reason: reasonOf(error) });
    }
    void reply.code(status).send();
  });
  return {
    routes,
    async handler() {
      await routes.ready();
      if (listener === undefined) throw new Error("the application has no request listener");
      return listener;
    },
  };
}

function statusOf(error: unknown): number {
  const status =
    typeof error === "object" && error !== null && "statusCode" in error ? error.statusCode : undefined;
  return typeof status === "number" && status >= 400 && status < 600 ? status : 500;
}

/**
 * `POST /authenticate`: the TokenReview webhook of the API server, as an HTTP application without sockets.
 *
 * A decision is always status 200; 429 and 503 with Retry-After tell the API server to ask again. Nothing of a request is
 * repeated in an answer or a log.
 * @module
 */
import type { FastifyReply } from "fastify";
import type { Clock } from "../clock.ts";
import type { AuthenticatorMetrics } from "../observe/authenticator-metrics.ts";
import type { Log } from "../observe/log.ts";
import { createApplication, type Application } from "../server/application.ts";
import { timeRequests } from "../server/request-timer.ts";
import { checkClientCertificate } from "../server/client-certificate.ts";
import type { Reviewer } from "./review.ts";
import { parseTokenReview, renderAllowed, renderDenied } from "./token-review.ts";

export interface ReviewApplicationOptions {
  readonly reviewer: Reviewer;
  /** Whether a client has to show a certificate of the listener's client authority. */
  readonly requireClientCertificate: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: AuthenticatorMetrics;
}

/** Largest body in bytes: the longest token that can be configured, with room around it. */
const bodyLimit = 256 * 1024;

const plain = "text/plain; charset=utf-8";

export function createReviewApplication(options: ReviewApplicationOptions): Application {
  const { clock, metrics, reviewer } = options;
  const application = createApplication({ log: options.log, bodyLimit });
  const { routes } = application;
  const elapsedMs = timeRequests(routes);

  // The API server's content type is not the question; whether the body is a TokenReview is.
  routes.removeAllContentTypeParsers();
  routes.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body));

  if (options.requireClientCertificate) {
    routes.addHook("onRequest", (request, reply, next) => {
      if (checkClientCertificate(request.raw.socket, clock.now(), () => true).accepted) next();
      else void reply.code(403).type(plain).send("a client certificate is required\n");
    });
  }

  routes.post("/authenticate", async (request, reply) => {
    const review = parseTokenReview(typeof request.body === "string" ? request.body : "");
    if (!review.ok) {
      metrics.reviewed("malformed_request", elapsedMs(request) / 1000);
      return reply.code(400).type(plain).send(`${review.message}\n`);
    }
    const decision = await reviewer.review(review.token);
    switch (decision.outcome) {
      case "allowed":
        return json(reply, renderAllowed(review.apiVersion, decision.user));
      case "denied":
        return json(reply, renderDenied(review.apiVersion, errorText(decision.message)));
      case "retry":
        return json(
          reply.code(decision.status).header("retry-after", String(decision.retryAfterSeconds)),
          renderDenied(review.apiVersion, errorText(decision.message)),
        );
    }
  });
  routes.route({
    method: ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"],
    url: "/authenticate",
    handler: (_request, reply) => reply.code(405).header("allow", "POST").type(plain).send("expected POST\n"),
  });
  return application;
}

function json(reply: FastifyReply, body: string): FastifyReply {
  return reply.header("content-type", "application/json; charset=UTF-8").send(body);
}

/** As operators know it from the API server's log. */
function errorText(message: string): string {
  return `[ack-ram-authenticator] ${message}`;
}

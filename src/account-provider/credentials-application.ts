/**
 * `GET /provider`: the one request that the CCG plugin makes. Every answer comes from memory; every refusal has an empty
 * body, because the released plugin takes any JSON object for credentials, whatever the status.
 * @module
 */
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../clock.ts";
import type {
  AccountProviderMetrics,
  CredentialRequestOutcome,
} from "../observe/account-provider-metrics.ts";
import type { Log } from "../observe/log.ts";
import type { SecretStore } from "../secret-store/secret-store.ts";
import { createApplication, type Application } from "../server/application.ts";
import { checkClientCertificate, type ClientCertificate } from "../server/client-certificate.ts";
import { askedAccount, credentialsBody } from "./credentials-answer.ts";

export interface CredentialsApplicationOptions {
  readonly namespace: string;
  readonly store: SecretStore;
  /** Decides about a client certificate of our authority; absent: plain HTTP, everyone is served (`--disable-mtls`). */
  readonly acceptsClient?: (certificate: ClientCertificate) => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: AccountProviderMetrics;
}

export function createCredentialsApplication(options: CredentialsApplicationOptions): Application {
  const { acceptsClient, clock, log, metrics, namespace, store } = options;
  const application = createApplication({ log });
  const { routes } = application;

  if (acceptsClient !== undefined) {
    routes.addHook("onRequest", (request, reply, next) => {
      const check = checkClientCertificate(request.raw.socket, clock.now(), acceptsClient);
      if (check.accepted) {
        next();
        return;
      }
      metrics.clientRefused(check.reason);
      end(request, reply, 403, "client-refused", { reason: check.reason });
    });
  }

  routes.get("/provider", (request, reply) => {
    const asked = askedAccount(request.headers["object"]);
    if (asked.asked === "nothing") return end(request, reply, 400, "no-name");
    if (asked.asked === "impossible-name") return end(request, reply, 404, "impossible-name");
    const secret = `${namespace}/${asked.name}`;
    const found = store.find(asked.name);
    switch (found.outcome) {
      case "found":
        void reply
          .header("content-type", "application/json; charset=utf-8")
          .header("cache-control", "no-store");
        return end(request, reply, 200, "answered", { secret }, credentialsBody(found.account));
      case "missing":
        return end(request, reply, 404, "secret-missing", { secret });
      case "invalid":
        return end(request, reply, 404, "secret-invalid", { secret, key: found.key, problem: found.problem });
    }
  });

  function end(
    request: FastifyRequest,
    reply: FastifyReply,
    status: number,
    outcome: CredentialRequestOutcome,
    fields: Readonly<Record<string, string>> = {},
    body?: string,
  ): FastifyReply {
    const milliseconds = reply.elapsedTime;
    metrics.requestEnded(outcome, milliseconds / 1000);
    log.info("credentials.requested", {
      requestId: request.id,
      status,
      outcome,
      ...fields,
      ms: Math.round(milliseconds * 100) / 100,
    });
    return reply.code(status).send(body);
  }

  return application;
}

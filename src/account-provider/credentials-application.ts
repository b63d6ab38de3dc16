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
import type { AccountOrigin, AccountOutcome, SecretStore } from "../secret-store/secret-store.ts";
import { createApplication, type Application } from "../server/application.ts";
import { timeRequests } from "../server/request-timer.ts";
import { checkClientCertificate, type ClientCertificate } from "../server/client-certificate.ts";
import { askedAccount, credentialsBody } from "./credentials-answer.ts";
import type { KeyVaultInputs } from "./key-vault-inputs.ts";

export interface CredentialsApplicationOptions {
  readonly namespace: string;
  readonly store: SecretStore;
  /** Absent: inputs that name a Key Vault secret are refused. */
  readonly keyVaultInputs?: KeyVaultInputs | undefined;
  /** Decides about a client certificate of our authority; absent: plain HTTP, everyone is served (`--disable-mtls`). */
  readonly acceptsClient?: (certificate: ClientCertificate) => boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: AccountProviderMetrics;
}

/** What the audit line says beside outcome and time; never a value. */
type Fields = Readonly<Record<string, string | number>>;

export function createCredentialsApplication(options: CredentialsApplicationOptions): Application {
  const { acceptsClient, clock, keyVaultInputs, log, metrics, namespace, store } = options;
  const application = createApplication({ log });
  const { routes } = application;
  const elapsedMs = timeRequests(routes);

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
    switch (asked.asked) {
      case "nothing":
        return end(request, reply, 400, "no-name");
      case "impossible-name":
        return end(request, reply, 404, "impossible-name");
      case "account": {
        const origin = originFields(store.origin(asked.name));
        return answer(request, reply, store.find(asked.name), {
          secret: `${namespace}/${asked.name}`,
          ...origin,
        });
      }
      case "key-vault-input":
        return answerInput(request, reply, asked.text);
    }
  });

  async function answerInput(
    request: FastifyRequest,
    reply: FastifyReply,
    text: string,
  ): Promise<FastifyReply> {
    const answered = await (keyVaultInputs?.find(text) ?? {
      allowed: false as const,
      reason: "switched off" as const,
    });
    if (!answered.allowed) {
      metrics.inputRefused(answered.reason);
      return end(request, reply, 404, "input-refused", { reason: answered.reason });
    }
    return answer(request, reply, answered.outcome, {
      secret: answered.secret,
      identity: answered.objectId,
      ...originFields(answered.origin),
    });
  }

  function answer(
    request: FastifyRequest,
    reply: FastifyReply,
    found: AccountOutcome,
    fields: Fields,
  ): FastifyReply {
    switch (found.outcome) {
      case "found":
        void reply
          .header("content-type", "application/json; charset=utf-8")
          .header("cache-control", "no-store");
        return end(request, reply, 200, "answered", fields, credentialsBody(found.account));
      case "missing":
        return end(request, reply, 404, "secret-missing", fields);
      case "invalid":
        return end(request, reply, 404, "secret-invalid", {
          ...fields,
          key: found.key,
          problem: found.problem,
        });
      case "refused":
        return end(request, reply, 404, "secret-refused", { ...fields, reason: found.reason });
      case "unavailable":
        return end(request, reply, 404, "secret-unavailable", { ...fields, reason: found.reason });
    }
  }

  /** Who answers, with which version, how old. */
  function originFields(origin: AccountOrigin | undefined): Fields {
    if (origin === undefined) return {};
    const { confirmedAt, store: kind, version } = origin;
    return {
      store: kind,
      ...(version === undefined ? {} : { version }),
      ...(confirmedAt === 0
        ? {}
        : { ageSeconds: Math.max(0, Math.round((clock.now() - confirmedAt) / 1000)) }),
    };
  }

  function end(
    request: FastifyRequest,
    reply: FastifyReply,
    status: number,
    outcome: CredentialRequestOutcome,
    fields: Fields = {},
    body?: string,
  ): FastifyReply {
    const milliseconds = elapsedMs(request);
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

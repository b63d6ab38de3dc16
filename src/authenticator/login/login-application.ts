/**
 * `POST /login` and `POST /refresh`: a password for a session, a session for a fresh token, as an HTTP application without
 * sockets. One generic refusal outside; the exact reason is in the audit log.
 * @module
 */
import { createHash } from "node:crypto";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Clock } from "../../clock.ts";
import type { Authentication, BindGuard, Directory, Refreshed } from "../../directory/directory.ts";
import type { Group } from "../../directory/groups.ts";
import type { Person } from "../../directory/person.ts";
import type { Log } from "../../observe/log.ts";
import type { LoginMetrics } from "../../observe/login-metrics.ts";
import { Secret } from "../../secret.ts";
import { createApplication, type Application } from "../../server/application.ts";
import type { IdentityMapper } from "../identity-mapper.ts";
import { subjectOf, type DirectoryIdentity, type GroupFormat } from "./directory-identity.ts";
import type { Attempt, LockoutPolicy, LoginGuard } from "./login-guard.ts";
import type { SessionTokens } from "./session-tokens.ts";

/** What the login needs of a directory. */
export type LoginDirectory = Pick<Directory, "authenticate" | "refresh" | "facts">;

export interface LoginApplicationOptions {
  readonly directory: LoginDirectory;
  readonly tokens: SessionTokens;
  readonly mapper: IdentityMapper<DirectoryIdentity>;
  readonly guard: LoginGuard;
  readonly groupFormat: GroupFormat;
  /** Milliseconds. */
  readonly tokenLifetimeMs: number;
  /** From the login to the moment when the password is asked for again, milliseconds. */
  readonly sessionLifetimeMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: LoginMetrics;
}

const bodyLimit = 128 * 1024;
const longestPassword = 1024;

/** What the person is told. None says whether the account exists. */
const answers = {
  refused: [401, "The user name or the password is wrong, or the account may not log in."],
  "password-expired": [403, "The password is right and has expired: change it, then log in."],
  "must-change-password": [403, "The password is right and has to be changed before the first login."],
  "session-ended": [401, "The session has ended: log in again."],
  "too-many": [429, "Too many attempts: wait a while."],
  unavailable: [503, "The directory cannot be asked just now: try again."],
  malformed: [400, "The request is not understood."],
} as const;
type Answer = keyof typeof answers;

/** How a request ended, as the metrics say it. */
type Outcome = Answer | "session";

export function createLoginApplication(options: LoginApplicationOptions): Application {
  const { directory, tokens, guard, clock, log, metrics } = options;
  const application = createApplication({ log, bodyLimit });
  const { routes } = application;
  routes.removeAllContentTypeParsers();
  routes.addContentTypeParser("application/json", { parseAs: "string" }, (_request, body, done) =>
    done(null, body),
  );
  // Something that answers in clear text must not have been asked in clear text.
  routes.addHook("onRequest", (request, reply, next) => {
    if ((request.raw.socket as { readonly encrypted?: boolean }).encrypted === true) next();
    else void reply.code(403).send();
  });

  const measured =
    (
      operation: "login" | "refresh",
      handle: (request: FastifyRequest, reply: FastifyReply) => Promise<Outcome>,
    ) =>
    async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> => {
      const began = clock.now();
      let outcome: Outcome | "error" = "error";
      try {
        outcome = await handle(request, reply);
      } finally {
        metrics.answered(operation, outcome, (clock.now() - began) / 1000);
      }
      return reply;
    };

  const answerLogin = async (request: FastifyRequest, reply: FastifyReply): Promise<Outcome> => {
    const credentials = readCredentials(request.body);
    if (credentials === undefined) return answer(reply, "malformed");
    if (!guard.admits(request.socket.remoteAddress ?? ""))
      return audited(request, reply, "too-many", "address-or-overall");
    let policy: LockoutPolicy;
    try {
      const facts = await directory.facts();
      policy = { threshold: facts.lockoutThreshold, windowMs: facts.lockoutWindowMs };
    } catch {
      return audited(request, reply, "unavailable", "facts");
    }
    let attempt: Attempt | undefined;
    let limited = false;
    const mayBind: BindGuard = (account) => {
      const key =
        account?.guid ??
        `name:${createHash("sha256").update(credentials.username.trim().toLowerCase()).digest("hex")}`;
      attempt = guard.attempt(key, policy, account);
      limited = attempt === undefined;
      return !limited;
    };
    let result: Authentication | undefined;
    try {
      result = await directory.authenticate(credentials.username, credentials.password, { mayBind });
    } finally {
      if (result !== undefined && clears(result)) attempt?.cleared();
      else attempt?.failed();
    }
    if (limited)
      return audited(
        request,
        reply,
        "too-many",
        "account",
        result.outcome === "refused" ? result.person : undefined,
      );
    switch (result.outcome) {
      case "unavailable":
        return audited(request, reply, "unavailable", result.error.code);
      case "refused": {
        const told =
          result.passwordProven &&
          (result.reason === "password-expired" || result.reason === "must-change-password");
        return audited(
          request,
          reply,
          told ? (result.reason as Answer) : "refused",
          result.reason,
          result.person,
        );
      }
      case "authenticated":
        return session(request, reply, result.person, result.groups, result.authenticatedAt, "login");
    }
  };

  const answerRefresh = async (request: FastifyRequest, reply: FastifyReply): Promise<Outcome> => {
    if (!guard.admits(request.socket.remoteAddress ?? ""))
      return audited(request, reply, "too-many", "address-or-overall");
    const token = /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1];
    if (token === undefined) return answer(reply, "malformed");
    const check = await tokens.check("refresh", token);
    if (!check.ok) return audited(request, reply, "session-ended", `session-${check.problem}`);
    const { subject } = check;
    const now: Refreshed = await directory.refresh(subject.guid, subject.passwordSet);
    switch (now.outcome) {
      case "unavailable":
        return audited(request, reply, "unavailable", now.error.code);
      case "invalid":
        return audited(request, reply, "session-ended", `account-${now.reason}`, subject);
      case "valid":
        return session(request, reply, now.person, now.groups, subject.authenticatedAt, "refresh");
    }
  };
  routes.post("/login", measured("login", answerLogin));
  routes.post("/refresh", measured("refresh", answerRefresh));
  return application;

  async function session(
    request: FastifyRequest,
    reply: FastifyReply,
    person: Person,
    groups: readonly Group[],
    authenticatedAt: number,
    what: "login" | "refresh",
  ): Promise<Outcome> {
    const subject = subjectOf(person, groups, authenticatedAt, options.groupFormat);
    const decision = options.mapper.map({ verifier: "directory", subject: subject.guid, session: subject });
    if (decision.outcome === "unmapped") return audited(request, reply, "refused", decision.reason, person);
    const end = authenticatedAt + options.sessionLifetimeMs;
    const cluster = await tokens.issue(
      "cluster",
      subject,
      Math.min(clock.now() + options.tokenLifetimeMs, end),
    );
    // Groups are read anew at each refresh, so the token that buys it needs none.
    const refresh = await tokens.issue("refresh", { ...subject, groups: [] }, end);
    log.info("login.succeeded", {
      what,
      guid: person.guid,
      user: decision.user.username,
      groups: groups.length,
      requestId: request.id,
    });
    void reply
      .header("cache-control", "no-store")
      .type("application/json; charset=utf-8")
      .send(
        JSON.stringify({
          token: cluster.token,
          expiresAt: new Date(cluster.expiresAt).toISOString(),
          refreshToken: refresh.token,
          sessionEndsAt: new Date(refresh.expiresAt).toISOString(),
          username: decision.user.username,
        }),
      );
    return "session";
  }

  function audited(
    request: FastifyRequest,
    reply: FastifyReply,
    told: Answer,
    reason: string,
    account?: { readonly guid: string },
  ): Answer {
    log.warn("login.refused", {
      told,
      reason,
      requestId: request.id,
      address: request.socket.remoteAddress ?? "",
      ...(account && { guid: account.guid }),
    });
    return answer(reply, told);
  }
}

/** Whether an outcome shows that no wrong password was counted against the account. */
function clears(result: Authentication): boolean {
  if (result.outcome === "authenticated") return true;
  return result.outcome === "refused" && result.passwordProven;
}

function answer(reply: FastifyReply, told: Answer): Answer {
  const [status, message] = answers[told];
  if (status === 429 || status === 503) void reply.header("retry-after", status === 429 ? "60" : "2");
  void reply
    .code(status)
    .header("cache-control", "no-store")
    .type("application/json; charset=utf-8")
    .send(JSON.stringify({ error: told, message }));
  return told;
}

function readCredentials(
  body: unknown,
): { readonly username: string; readonly password: Secret } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(typeof body === "string" ? body : "");
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { username, password } = value as Readonly<Record<string, unknown>>;
  if (typeof username !== "string" || typeof password !== "string" || password.length > longestPassword)
    return undefined;
  return { username, password: new Secret(password) };
}

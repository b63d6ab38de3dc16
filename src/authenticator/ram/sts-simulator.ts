/**
 * A simulator of Alibaba Cloud STS for `sallyport up`, tests and measurements. It is not STS: it listens on loopback only,
 * knows only the access keys that it was given, and makes its certificate itself, so nothing trusts it by accident.
 *
 * It checks ACS3 and RPC signatures, dates, nonces and security tokens, answers GetCallerIdentity, AssumeRole and
 * AssumeRoleWithOIDC, and fails on demand.
 * @module
 */
import { randomBytes, randomUUID, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import type { Clock } from "../../clock.ts";
import type { Log } from "../../observe/log.ts";
import { createAuthority } from "../../pki/authority.ts";
import { Secret } from "../../secret.ts";
import { listen, loopbackAddresses } from "../../server/listener.ts";
import { canonicaliseAcs3, emptyBodySha256, signAcs3, signRpc, type Fields } from "./sign.ts";
import { toSecondsUtc } from "./token.ts";

/** An access key of a RAM user or of an account's root. */
export interface SimulatedAccessKey {
  readonly accessKeyId: string;
  readonly accessKeySecret: Secret;
  /** `acs:ram::<account>:user/<name>` or `acs:ram::<account>:root`. */
  readonly arn: string;
  /** The user's id, or the account's for root. */
  readonly userId: string;
}

export interface SimulatedRole {
  /** `acs:ram::<account>:role/<name>`. */
  readonly arn: string;
  readonly roleId: string;
}

/** What the next requests meet instead of, or before, their answer. */
export type StsFault =
  | { readonly fault: "none" }
  | { readonly fault: "latency"; readonly milliseconds: number }
  /** Never answers. */
  | { readonly fault: "hang" }
  | { readonly fault: "server-error"; readonly status: 500 | 502 | 503 }
  | { readonly fault: "throttling" }
  | { readonly fault: "content-type"; readonly contentType: string }
  /** Ends the connection in the middle of the body. */
  | { readonly fault: "truncated" }
  | { readonly fault: "oversized"; readonly bytes: number }
  | { readonly fault: "redirect"; readonly location: string }
  /** Changes fields of the identity that is answered. */
  | { readonly fault: "identity"; readonly fields: Readonly<Record<string, unknown>> };

export interface StsSimulatorOptions {
  readonly accessKeys: readonly SimulatedAccessKey[];
  readonly roles?: readonly SimulatedRole[];
  /** OIDC tokens that AssumeRoleWithOIDC accepts. */
  readonly oidcTokens?: readonly Secret[];
  /** 0: any free one. */
  readonly port?: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface StsSimulator {
  /** `https://127.0.0.1:<port>`. */
  readonly origin: string;
  /** PEM of the authority that certified it. */
  readonly authoritiesPem: string;
  /** What requests meet from now on. */
  setFault(fault: StsFault): void;
  /** Adds an access key, or replaces the one of that id. */
  addAccessKey(key: SimulatedAccessKey): void;
  removeAccessKey(accessKeyId: string): void;
  /** Requests so far, by action. */
  calls(): Readonly<Record<string, number>>;
  stop(): Promise<void>;
}

/** An identity that can sign: a key of a user, or temporary credentials of a role's session. */
interface Principal {
  readonly secret: Secret;
  readonly identity: Readonly<Record<string, string>>;
  readonly root: boolean;
  readonly session?: { readonly securityToken: string; readonly expiresAt: number };
}

interface Answer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

interface StsRequest {
  readonly method: string;
  readonly query: Fields;
  readonly headers: Fields;
  readonly form: Fields;
}

/** What both signatures have in common. */
interface SignedParts {
  readonly accessKeyId: string;
  readonly signature: string;
  readonly date: string;
  readonly nonce: string;
  readonly securityToken: string;
  expected(secret: string): string;
}

const signatureLifeMs = 15 * 60 * 1000;

export async function startStsSimulator(options: StsSimulatorOptions): Promise<StsSimulator> {
  const authority = await createAuthority({
    commonName: "STS simulator (not Alibaba Cloud)",
    keyType: "ec-p256",
    lifetimeMs: 7 * 24 * 3_600_000,
    clock: options.clock,
  });
  const leaf = await authority.issue({
    commonName: "STS simulator",
    dnsNames: ["localhost"],
    ipAddresses: ["127.0.0.1", "::1"],
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: 7 * 24 * 3_600_000,
  });
  const sts = createSimulatedSts(options);
  let fault: StsFault = { fault: "none" };
  const listener = await listen({
    name: "sts-simulator",
    addresses: loopbackAddresses(options.port ?? 0),
    handler: handlerOf(sts, () => fault),
    tls: { identities: [{ chainPem: leaf.chainPem, privateKeyPem: leaf.privateKeyPem }] },
    limits: { connections: 4096, requestMs: 60_000 },
    log: options.log,
  });
  return {
    origin: `https://127.0.0.1:${listener.port}`,
    authoritiesPem: authority.certificatePem,
    setFault(next) {
      fault = next;
    },
    addAccessKey: (key) => sts.add(key),
    removeAccessKey: (id) => sts.remove(id),
    calls: () => sts.calls(),
    stop: () => listener.close(0),
  };
}

function handlerOf(sts: SimulatedSts, currentFault: () => StsFault): RequestListener {
  return (request, response) => {
    const fault = currentFault();
    void readRequest(request).then(async (parsed) => {
      const answer = sts.answer(parsed);
      switch (fault.fault) {
        case "hang":
          return;
        case "latency":
          await new Promise((resolve) => setTimeout(resolve, fault.milliseconds));
          send(response, answer);
          return;
        case "server-error":
          send(response, failure(fault.status, "ServiceUnavailable", "The service is not available."));
          return;
        case "throttling":
          send(response, failure(400, "Throttling.User", "Request was denied due to user flow control."));
          return;
        case "content-type":
          send(response, answer, fault.contentType);
          return;
        case "truncated": {
          const body = JSON.stringify(answer.body);
          response.writeHead(answer.status, {
            "content-type": "application/json;charset=utf-8",
            "content-length": body.length,
          });
          response.write(body.slice(0, body.length / 2), () => response.destroy());
          return;
        }
        case "oversized":
          send(response, { ...answer, body: { ...answer.body, Padding: "x".repeat(fault.bytes) } });
          return;
        case "redirect":
          response.writeHead(302, { location: fault.location, "content-type": "application/json" }).end("{}");
          return;
        case "identity":
          send(response, { ...answer, body: { ...answer.body, ...fault.fields } });
          return;
        case "none":
          send(response, answer);
      }
    });
  };
}

function send(
  response: ServerResponse,
  answer: Answer,
  contentType = "application/json;charset=utf-8",
): void {
  const body = JSON.stringify(answer.body);
  response.writeHead(answer.status, {
    "content-type": contentType,
    "content-length": Buffer.byteLength(body),
  });
  response.end(body);
}

async function readRequest(request: IncomingMessage): Promise<StsRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const headers: [string, string][] = [];
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    headers.push([(request.rawHeaders[at] ?? "").toLowerCase(), request.rawHeaders[at + 1] ?? ""]);
  }
  return {
    method: request.method ?? "",
    query: [...new URL(request.url ?? "/", "https://sts.invalid").searchParams],
    headers,
    form: [...new URLSearchParams(Buffer.concat(chunks).toString("utf8"))],
  };
}

/** A request in, an answer out. */
export interface SimulatedSts {
  answer(request: StsRequest): Answer;
  add(key: SimulatedAccessKey): void;
  remove(accessKeyId: string): void;
  calls(): Readonly<Record<string, number>>;
}

/** The simulator without its sockets. */
export function createSimulatedSts(options: Omit<StsSimulatorOptions, "log" | "port">): SimulatedSts {
  const { clock } = options;
  const principals = new Map<string, Principal>();
  const nonces = new Map<string, number>();
  const calls: Record<string, number> = {};

  const add = (key: SimulatedAccessKey): void => {
    const account = key.arn.split(":")[3] ?? "";
    const root = key.arn.endsWith(":root");
    principals.set(key.accessKeyId, {
      secret: key.accessKeySecret,
      root,
      identity: {
        IdentityType: root ? "Account" : "RAMUser",
        AccountId: account,
        Arn: key.arn,
        PrincipalId: key.userId,
        UserId: key.userId,
      },
    });
  };
  options.accessKeys.forEach(add);

  /** Temporary credentials of a new session of a role. */
  function openSession(role: SimulatedRole, sessionName: string, seconds: number): Answer {
    const accessKeyId = `STS.${randomBytes(12).toString("hex")}`;
    const secret = randomBytes(24).toString("base64url");
    const securityToken = `CAIS${randomBytes(300).toString("base64")}`;
    const expiresAt = clock.now() + seconds * 1000;
    const arn = `${role.arn.replace(":role/", ":assumed-role/")}/${sessionName}`;
    principals.set(accessKeyId, {
      secret: new Secret(secret),
      root: false,
      session: { securityToken, expiresAt },
      identity: {
        IdentityType: "AssumedRoleUser",
        AccountId: role.arn.split(":")[3] ?? "",
        Arn: arn,
        PrincipalId: `${role.roleId}:${sessionName}`,
        RoleId: role.roleId,
      },
    });
    return {
      status: 200,
      body: {
        RequestId: requestId(),
        AssumedRoleUser: { Arn: arn, AssumedRoleId: `${role.roleId}:${sessionName}` },
        Credentials: {
          AccessKeyId: accessKeyId,
          AccessKeySecret: secret,
          SecurityToken: securityToken,
          Expiration: toSecondsUtc(expiresAt),
        },
      },
    };
  }

  /** Who signed the request, or what STS says instead. */
  function authenticate(request: StsRequest): Principal | Answer {
    const authorization = field(request.headers, "authorization");
    return authorization === "" ? checkRpc(request) : checkAcs3(request, authorization);
  }

  function checkAcs3(request: StsRequest, authorization: string): Principal | Answer {
    const parts = /^ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]+)$/.exec(
      authorization,
    );
    if (parts === null) {
      return failure(400, "IncompleteSignature", "The request signature does not conform to the standard.");
    }
    const [, accessKeyId = "", signedHeaders = "", signature = ""] = parts;
    const names = signedHeaders.split(";");
    const { hash } = canonicaliseAcs3({
      method: request.method,
      path: "/",
      query: request.query,
      headers: request.headers.filter(([name]) => names.includes(name)),
      payloadHash: field(request.headers, "x-acs-content-sha256"),
    });
    return check({
      accessKeyId,
      signature,
      date: field(request.headers, "x-acs-date"),
      nonce: field(request.headers, "x-acs-signature-nonce"),
      securityToken: field(request.headers, "x-acs-security-token"),
      expected: (secret) => signAcs3(hash, secret),
    });
  }

  function checkRpc(request: StsRequest): Principal | Answer {
    const { query } = request;
    if (field(query, "SignatureMethod") !== "HMAC-SHA1") {
      return failure(400, "InvalidSignatureMethod", "The specified parameter SignatureMethod is not valid.");
    }
    return check({
      accessKeyId: field(query, "AccessKeyId"),
      signature: field(query, "Signature"),
      date: field(query, "Timestamp"),
      nonce: field(query, "SignatureNonce"),
      securityToken: field(query, "SecurityToken"),
      expected: (secret) =>
        signRpc(
          request.method,
          [...query, ...request.form].filter(([name]) => name !== "Signature"),
          secret,
        ),
    });
  }

  function check(signed: SignedParts): Principal | Answer {
    const now = clock.now();
    const principal = principals.get(signed.accessKeyId);
    if (principal === undefined) {
      return failure(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.");
    }
    const age = Math.abs(now - Date.parse(signed.date));
    if (!(age <= signatureLifeMs)) {
      return failure(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.");
    }
    const { session } = principal;
    if (session !== undefined) {
      if (signed.securityToken === "") {
        return failure(400, "MissingSecurityToken", "SecurityToken is mandatory for this action.");
      }
      if (signed.securityToken !== session.securityToken) {
        return failure(400, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.");
      }
      if (now >= session.expiresAt) {
        return failure(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.");
      }
    }
    if (!sameText(signed.expected(principal.secret.reveal()), signed.signature)) {
      return failure(
        400,
        "SignatureDoesNotMatch",
        "Specified signature is not matched with our calculation.",
      );
    }
    if (signed.nonce !== "") {
      for (const [nonce, end] of nonces) if (end <= now) nonces.delete(nonce);
      if (nonces.has(signed.nonce)) {
        return failure(400, "SignatureNonceUsed", "Specified signature nonce was used already.");
      }
      nonces.set(signed.nonce, now + signatureLifeMs);
    }
    return principal;
  }

  function assumeRole(request: StsRequest): Answer {
    const parameters = [...request.query, ...request.form];
    const role = options.roles?.find((each) => each.arn === field(parameters, "RoleArn"));
    if (role === undefined) {
      return failure(404, "EntityNotExist.Role", "The specified Role does not exist.");
    }
    const sessionName = field(parameters, "RoleSessionName");
    if (!/^[A-Za-z0-9.@_-]{2,64}$/.test(sessionName)) {
      return failure(400, "InvalidParameter.RoleSessionName", "The parameter RoleSessionName is invalid.");
    }
    const seconds = Number(field(parameters, "DurationSeconds") || "3600");
    if (!(seconds >= 900 && seconds <= 43_200)) {
      return failure(
        400,
        "InvalidParameter.DurationSeconds",
        "The Min/Max value of DurationSeconds is 15min/1hr.",
      );
    }
    return openSession(role, sessionName, seconds);
  }

  return {
    add,
    remove: (id) => principals.delete(id),
    calls: () => ({ ...calls }),
    answer(request) {
      const action = field(request.headers, "x-acs-action") || field(request.query, "Action");
      calls[action] = (calls[action] ?? 0) + 1;
      if (action === "AssumeRoleWithOIDC") {
        const token = new Secret(field([...request.query, ...request.form], "OIDCToken"));
        if (!(options.oidcTokens ?? []).some((known) => known.equals(token))) {
          return failure(400, "AuthenticationFail.OIDCToken.Invalid", "This JWT token has illegal format.");
        }
        return assumeRole(request);
      }
      const body = field(request.headers, "x-acs-content-sha256");
      if (body !== "" && body !== emptyBodySha256) {
        return failure(400, "ContentMD5NotMatched", "The body does not match its hash.");
      }
      const principal = authenticate(request);
      if ("status" in principal) return principal;
      if (action === "GetCallerIdentity") {
        return { status: 200, body: { ...principal.identity, RequestId: requestId() } };
      }
      if (action === "AssumeRole") {
        return principal.root
          ? failure(403, "NoPermission", "Roles may not be assumed by root accounts.")
          : assumeRole(request);
      }
      return failure(404, "InvalidAction.NotFound", "Specified api is not found.");
    },
  };
}

function field(fields: Fields, name: string): string {
  return fields.find(([each]) => each === name)?.[1] ?? "";
}

function failure(status: number, code: string, message: string): Answer {
  return {
    status,
    body: { RequestId: requestId(), HostId: "sts-simulator.invalid", Code: code, Message: message },
  };
}

function requestId(): string {
  return randomUUID().toUpperCase();
}

function sameText(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

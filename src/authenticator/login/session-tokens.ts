/**
 * The two tokens of a session (RFC 7519, RFC 8725): one for the API server, good for minutes, and one that buys the next,
 * good until the end of the session and for nothing else. Both are checked without asking anybody.
 * @module
 */
import { randomUUID } from "node:crypto";
import { decodeProtectedHeader, errors, jwtVerify, SignJWT } from "jose";
import type { Clock } from "../../clock.ts";
import { parseGuid, type Guid } from "../../directory/guid.ts";
import { parseSid, type Sid } from "../../directory/sid.ts";
import { sessionAlgorithms, type SessionKeys } from "./session-keys.ts";

/** In front of every token, so that a review knows at once whose it is. */
export const sessionTokenPrefix = "k8s-sallyport-v1.";

/** What a token says about its holder: the directory's words, not yet the cluster's. */
export interface SessionSubject {
  readonly guid: Guid;
  readonly sid: Sid;
  readonly accountName: string;
  readonly domain: string;
  readonly principalName: string | undefined;
  /** `pwdLastSet` at login. */
  readonly passwordSet: string;
  /** Milliseconds since 1970. */
  readonly authenticatedAt: number;
  /** As the configured format writes them. */
  readonly groups: readonly string[];
}

export type TokenUse = "cluster" | "refresh";

export type TokenCheck =
  | { readonly ok: true; readonly subject: SessionSubject; readonly expiresAt: number }
  /** `problem` is a stable word for logs and metrics. */
  | {
      readonly ok: false;
      readonly problem: "malformed" | "signature" | "unknown-key" | "expired" | "wrong-audience" | "claims";
    };

export interface IssuedToken {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export interface SessionTokensOptions {
  readonly keys: () => SessionKeys;
  /** URL of the login endpoint or another name of this installation. */
  readonly issuer: string;
  /** Name of the cluster: a token for another one is worth nothing here. */
  readonly cluster: string;
  readonly clock: Clock;
}

const longestToken = 64 * 1024;
/** Clocks of replicas may differ so much, seconds. */
const tolerance = 30;

export class SessionTokens {
  readonly #options: SessionTokensOptions;

  constructor(options: SessionTokensOptions) {
    this.#options = options;
  }

  async issue(use: TokenUse, subject: SessionSubject, expiresAt: number): Promise<IssuedToken> {
    const { keys, issuer, clock } = this.#options;
    const { signing } = keys();
    const end = Math.floor(expiresAt / 1000);
    const token = await new SignJWT({
      sid: subject.sid,
      acc: subject.accountName,
      dom: subject.domain,
      ...(subject.principalName === undefined ? {} : { upn: subject.principalName }),
      pws: subject.passwordSet,
      grp: subject.groups,
      auth_time: Math.floor(subject.authenticatedAt / 1000),
    })
      .setProtectedHeader({ alg: signing.algorithm, kid: signing.kid, typ: typeOf(use) })
      .setIssuer(issuer)
      .setAudience(this.#audience(use))
      .setSubject(subject.guid)
      .setIssuedAt(Math.floor(clock.now() / 1000))
      .setExpirationTime(end)
      .setJti(randomUUID())
      .sign(signing.privateKey);
    return { token: `${sessionTokenPrefix}${token}`, expiresAt: end * 1000 };
  }

  /** Never throws for anything in a token. */
  async check(use: TokenUse, token: string): Promise<TokenCheck> {
    if (!token.startsWith(sessionTokenPrefix) || token.length > longestToken)
      return { ok: false, problem: "malformed" };
    const jwt = token.slice(sessionTokenPrefix.length);
    const { keys, issuer, clock } = this.#options;
    try {
      const { kid } = decodeProtectedHeader(jwt);
      const key = typeof kid === "string" ? keys().find(kid) : undefined;
      if (key === undefined) return { ok: false, problem: "unknown-key" };
      const { payload } = await jwtVerify(jwt, key.publicKey, {
        algorithms: [key.algorithm].filter((algorithm) => sessionAlgorithms.includes(algorithm)),
        issuer,
        audience: this.#audience(use),
        typ: typeOf(use),
        clockTolerance: tolerance,
        currentDate: new Date(clock.now()),
        requiredClaims: ["sub", "exp", "iat", "jti", "auth_time"],
      });
      const subject = readSubject(payload);
      return subject === undefined || payload.exp === undefined
        ? { ok: false, problem: "claims" }
        : { ok: true, subject, expiresAt: payload.exp * 1000 };
    } catch (thrown) {
      return { ok: false, problem: problemOf(thrown) };
    }
  }

  #audience(use: TokenUse): string {
    return use === "cluster" ? `cluster:${this.#options.cluster}` : `refresh:${this.#options.cluster}`;
  }
}

/** Explicit types keep one kind of token from being taken for the other (RFC 8725, 3.11). */
function typeOf(use: TokenUse): string {
  return use === "cluster" ? "sallyport+jwt" : "sallyport-refresh+jwt";
}

function readSubject(payload: Readonly<Record<string, unknown>>): SessionSubject | undefined {
  const { sub, sid, acc, dom, upn, pws, grp, auth_time: authTime } = payload;
  const guid = typeof sub === "string" ? parseGuid(sub) : undefined;
  const checkedSid = typeof sid === "string" ? parseSid(sid) : undefined;
  const texts = [acc, dom, pws].every((value) => typeof value === "string");
  const groups = Array.isArray(grp) && grp.every((value) => typeof value === "string");
  if (guid === undefined || checkedSid === undefined || !texts || !groups) return undefined;
  if (typeof authTime !== "number" || !(upn === undefined || typeof upn === "string")) return undefined;
  return {
    guid,
    sid: checkedSid,
    accountName: acc as string,
    domain: dom as string,
    principalName: upn,
    passwordSet: pws as string,
    authenticatedAt: authTime * 1000,
    groups: grp,
  };
}

function problemOf(thrown: unknown): Extract<TokenCheck, { readonly ok: false }>["problem"] {
  if (thrown instanceof errors.JWTExpired) return "expired";
  if (thrown instanceof errors.JWSSignatureVerificationFailed) return "signature";
  if (thrown instanceof errors.JWTClaimValidationFailed)
    return thrown.claim === "aud" || thrown.claim === "iss" ? "wrong-audience" : "claims";
  if (thrown instanceof errors.JOSEAlgNotAllowed) return "signature";
  return "malformed";
}

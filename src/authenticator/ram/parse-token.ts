/**
 * Reads a RAM token and keeps only what STS needs to see again: the signature, the date and the few values that the
 * signature covers. Everything else about the request to STS is a constant of ours, so a token can never make us send a
 * different request than the one that was checked here.
 * @module
 */
import { clusterParameter, v1Prefix, v2Prefix } from "./token.ts";
import { isObject, parseStrictObject } from "./strict-json.ts";
import { emptyBodySha256 } from "./sign.ts";

/** The checked parts of a second-generation token. */
export interface V2Token {
  readonly generation: 2;
  readonly accessKeyId: string;
  /** The `Authorization` header, which matches the one form that is accepted. */
  readonly authorization: string;
  readonly date: string;
  /** Milliseconds since the epoch. */
  readonly signedAt: number;
  readonly securityToken?: string;
  readonly nonce?: string;
  /** Signed query parameters besides the cluster id, all of them on the allow-list. */
  readonly extraQuery: Readonly<Record<string, string>>;
  /** As the client names itself; printable, at most 128 characters. Not signed. */
  readonly userAgent: string;
}

/** The checked parts of a first-generation token: the parameters that the RPC signature covers, and the signature. */
export interface V1Token {
  readonly generation: 1;
  readonly accessKeyId: string;
  readonly signedAt: number;
  readonly parameters: Readonly<Record<string, string>>;
  readonly userAgent: string;
}

export type RamToken = V2Token | V1Token;

export type ParsedToken =
  | { readonly ok: true; readonly token: RamToken }
  | {
      readonly ok: false;
      /** A stable word for metrics and the audit log. */
      readonly reason: TokenFault;
      /** What is wrong with it, for `status.error`. It quotes nothing of the token but a cluster id. */
      readonly message: string;
    };

export type TokenFault =
  | "too-large"
  | "wrong-prefix"
  | "not-base64"
  | "malformed"
  | "repeated-name"
  | "other-cluster"
  | "unexpected-parameter"
  | "bad-authorization"
  | "bad-signed-headers"
  | "unexpected-action"
  | "unexpected-version"
  | "unexpected-body"
  | "too-old"
  | "from-the-future";

export interface ParseTokenOptions {
  readonly clusterId: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** How far a client's clock may be ahead, in milliseconds. */
  readonly clockSkewMs: number;
  /** Longest token in characters. */
  readonly maxLength: number;
  readonly acceptV1: boolean;
  /** Names of further signed query parameters that are passed on to STS. */
  readonly extraParameters: readonly string[];
}

/** STS refuses signatures that are older. */
export const signatureLifeMs = 15 * 60 * 1000;

const authorizationPattern =
  /^ACS3-HMAC-SHA256 Credential=([A-Za-z0-9._-]{1,128}),SignedHeaders=([a-z0-9;-]{1,256}),Signature=([0-9a-f]{64})$/;
const accessKeyPattern = /^[A-Za-z0-9._-]{1,128}$/;
/** Printable ASCII without space: nothing that could end a header line or start another one. */
const headerValuePattern = /^[\x21-\x7e]{1,6000}$/;
const noncePattern = /^[A-Za-z0-9._-]{1,64}$/;

/** Never throws, whatever the text; costs next to nothing for a token of another kind. */
export function parseToken(text: string, options: ParseTokenOptions): ParsedToken {
  if (text.length > options.maxLength) return fault("too-large", "token is too large");
  if (text.startsWith(v2Prefix)) return parseV2(text.slice(v2Prefix.length), options);
  if (options.acceptV1 && text.startsWith(v1Prefix)) return parseV1(text.slice(v1Prefix.length), options);
  return fault("wrong-prefix", `token is missing expected "${v2Prefix}" prefix`);
}

function parseV2(encoded: string, options: ParseTokenOptions): ParsedToken {
  const decoded = decodeBase64(encoded);
  if (decoded === undefined) return fault("not-base64", "token is not valid base64");
  const json = parseStrictObject(decoded);
  if (!json.ok) {
    const reason = json.problem.includes("twice") ? "repeated-name" : "malformed";
    return fault(reason, `token is not a signed request: ${json.problem}`);
  }
  const query = stringsOf(json.value["query"]);
  const headers = stringsOf(json.value["headers"]);
  if (query === undefined || headers === undefined) {
    return fault("malformed", "token is not a signed request: query and headers must hold strings only");
  }

  const cluster = checkQuery(query, options);
  if (!cluster.ok) return cluster;

  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const authorization = lower.get("authorization") ?? "";
  const parts = authorizationPattern.exec(authorization);
  if (parts === null) return fault("bad-authorization", "unexpected Authorization in token");
  const [, accessKeyId = "", signedHeaders = ""] = parts;

  if (lower.get("x-acs-action") !== "GetCallerIdentity") {
    return fault("unexpected-action", "unexpected action in token");
  }
  if (lower.get("x-acs-version") !== "2015-04-01") {
    return fault("unexpected-version", "unexpected version in token");
  }
  if (lower.get("x-acs-content-sha256") !== emptyBodySha256) {
    return fault("unexpected-body", "unexpected content hash in token");
  }
  const securityToken = lower.get("x-acs-security-token");
  const nonce = lower.get("x-acs-signature-nonce");
  if (securityToken !== undefined && !headerValuePattern.test(securityToken)) {
    return fault("malformed", "unexpected security token in token");
  }
  if (nonce !== undefined && !noncePattern.test(nonce)) {
    return fault("malformed", "unexpected nonce in token");
  }
  if (!coversAllHeaders(signedHeaders, securityToken !== undefined, nonce !== undefined)) {
    return fault("bad-signed-headers", "unexpected SignedHeaders in token");
  }
  const date = lower.get("x-acs-date") ?? "";
  const age = checkDate(date, options);
  if (!age.ok) return age;

  const { [clusterParameter]: _cluster, ...extraQuery } = query;
  return {
    ok: true,
    token: {
      generation: 2,
      accessKeyId,
      authorization,
      date,
      signedAt: age.signedAt,
      ...(securityToken === undefined ? {} : { securityToken }),
      ...(nonce === undefined ? {} : { nonce }),
      extraQuery,
      userAgent: printable(lower.get("user-agent") ?? ""),
    },
  };
}

/** Parameters of a first-generation token and the values they must have; the rest is checked by form. */
const v1Constants: Readonly<Record<string, RegExp>> = {
  SignatureVersion: /^1\.0$/,
  Format: /^(?:JSON|json)$/,
  SignatureMethod: /^HMAC-SHA1$/,
  Version: /^2015-04-01$/,
  SignatureNonce: noncePattern,
  AccessKeyId: accessKeyPattern,
  Signature: /^[A-Za-z0-9+/]{27}=$/,
};
const v1Host = /^sts(?:-vpc)?(?:\.[a-z0-9-]+)?\.aliyuncs\.com$/;

function parseV1(encoded: string, options: ParseTokenOptions): ParsedToken {
  const decoded = decodeBase64(encoded);
  if (decoded === undefined) return fault("not-base64", "token is not valid base64");
  if (!/^[\x21-\x7e]+$/.test(decoded) || !URL.canParse(decoded)) {
    return fault("malformed", "token does not hold a URL");
  }
  const url = new URL(decoded);
  if (url.protocol !== "https:") return fault("malformed", "unexpected scheme in token");
  if (url.username !== "" || url.password !== "") return fault("malformed", "unexpected user in token");
  if (!v1Host.test(url.hostname) || url.port !== "")
    return fault("malformed", "unexpected hostname in token");
  if (url.pathname !== "/" || url.hash !== "") return fault("malformed", "unexpected path in token");

  const parameters: Record<string, string> = {};
  const seen = new Set<string>();
  for (const [name, value] of url.searchParams) {
    const lower = name.toLowerCase();
    if (seen.has(lower)) return fault("repeated-name", "a parameter stands in the token twice");
    seen.add(lower);
    parameters[name] = value;
  }
  const { Action, ClusterId, SecurityToken, Timestamp = "", ...others } = parameters;
  if (Action !== "GetCallerIdentity") return fault("unexpected-action", "unexpected action in token");
  if (ClusterId !== options.clusterId) return otherCluster(ClusterId);
  if (SecurityToken !== undefined && !headerValuePattern.test(SecurityToken)) {
    return fault("malformed", "unexpected security token in token");
  }
  for (const [name, form] of Object.entries(v1Constants)) {
    if (!form.test(others[name] ?? "")) return fault("malformed", `unexpected ${name} in token`);
  }
  if (Object.keys(others).some((name) => !Object.hasOwn(v1Constants, name))) {
    return fault("unexpected-parameter", "unexpected query parameter in token");
  }
  const age = checkDate(Timestamp, options);
  if (!age.ok) return age;
  return {
    ok: true,
    token: {
      generation: 1,
      accessKeyId: others["AccessKeyId"] ?? "",
      signedAt: age.signedAt,
      parameters,
      userAgent: "",
    },
  };
}

function checkQuery(
  query: Readonly<Record<string, string>>,
  options: ParseTokenOptions,
): { readonly ok: true } | Extract<ParsedToken, { ok: false }> {
  if (query[clusterParameter] !== options.clusterId) return otherCluster(query[clusterParameter]);
  for (const [name, value] of Object.entries(query)) {
    if (name === clusterParameter) continue;
    if (!options.extraParameters.includes(name)) {
      return fault("unexpected-parameter", "unexpected query parameter in token");
    }
    if (!/^[\x20-\x7e]{0,256}$/.test(value)) {
      return fault("malformed", "unexpected value of a query parameter in token");
    }
  }
  return { ok: true };
}

const requiredSigned = ["x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-version"];

/** All constants and the date are signed, and the optional ones exactly when the token has them. */
function coversAllHeaders(signedHeaders: string, securityToken: boolean, nonce: boolean): boolean {
  const expected = [
    ...requiredSigned,
    ...(securityToken ? ["x-acs-security-token"] : []),
    ...(nonce ? ["x-acs-signature-nonce"] : []),
  ];
  return signedHeaders === expected.sort().join(";");
}

function checkDate(
  date: string,
  options: ParseTokenOptions,
): { readonly ok: true; readonly signedAt: number } | Extract<ParsedToken, { ok: false }> {
  const signedAt = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/.test(date) ? Date.parse(date) : Number.NaN;
  if (Number.isNaN(signedAt) || `${new Date(signedAt).toISOString().slice(0, 19)}Z` !== date) {
    return fault("malformed", "unexpected date in token");
  }
  if (signedAt < options.now - signatureLifeMs) {
    return fault("too-old", "token was signed more than 15 minutes ago");
  }
  if (signedAt > options.now + options.clockSkewMs) {
    return fault("from-the-future", "token was signed in the future: check the client's clock");
  }
  return { ok: true, signedAt };
}

function otherCluster(id: string | undefined): Extract<ParsedToken, { ok: false }> {
  return fault("other-cluster", `unexpected clusterid ${printable(id ?? "")} in token`);
}

function fault(reason: TokenFault, message: string): Extract<ParsedToken, { ok: false }> {
  return { ok: false, reason, message };
}

/** Either alphabet, padding optional, nothing that is not part of the alphabet, and UTF-8 inside. */
function decodeBase64(text: string): string | undefined {
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text)) return undefined;
  const bare = text.replace(/=+$/, "").replaceAll("-", "+").replaceAll("_", "/");
  if (bare.length % 4 === 1) return undefined;
  // Padding, where there is some, must be the right one.
  if (text.endsWith("=") && text.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(bare, "base64");
  // The unused bits of the last character must be zero, so that one request has one encoding.
  if (bytes.toString("base64").replace(/=+$/, "") !== bare) return undefined;
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function stringsOf(value: unknown): Readonly<Record<string, string>> | undefined {
  if (!isObject(value)) return undefined;
  return Object.values(value).every((each) => typeof each === "string")
    ? (value as Readonly<Record<string, string>>)
    : undefined;
}

/** What may be shown of a text from outside: printable ASCII, at most 128 characters. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 128);
}

/**
 * The two request signatures of Alibaba Cloud as pure functions: ACS3-HMAC-SHA256 (tokens, and what STS checks) and the
 * older RPC signature with HMAC-SHA1 (AssumeRole, tokens of the first generation).
 *
 * Source: "V3 request body & signature mechanism" and "Request syntax and signature method V2 (RPC)" of Alibaba Cloud's
 * API documentation; `test/vectors/ram-signatures.json` holds their examples.
 * @module
 */
import { createHash, createHmac } from "node:crypto";

/** SHA-256 of an empty body, the `x-acs-content-sha256` of a request without one. */
export const emptyBodySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** RFC 3986: everything but `A-Za-z0-9-_.~` as `%XX`, upper case. */
export function percentEncode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** Name and value pairs: header names may repeat, and then their values are signed together. */
export type Fields = readonly (readonly [name: string, value: string])[];

/** What an ACS3 signature covers. */
export interface Acs3Request {
  readonly method: string;
  /** Empty means `/`. */
  readonly path: string;
  readonly query: Fields;
  /** Only `x-acs-*`, `host` and `content-type` count; names in any case. */
  readonly headers: Fields;
  /** Lower-case hexadecimal hash of the body. */
  readonly payloadHash: string;
}

export interface Acs3Canonical {
  readonly canonicalRequest: string;
  /** Lower-case hexadecimal SHA-256 of the canonical request. */
  readonly hash: string;
  /** Names joined with `;`. */
  readonly signedHeaders: string;
}

/** The text that is signed, and its hash. */
export function canonicaliseAcs3(request: Acs3Request): Acs3Canonical {
  const valuesOf = new Map<string, string[]>();
  for (const [name, value] of request.headers) {
    const lower = name.toLowerCase();
    if (!lower.startsWith("x-acs-") && lower !== "host" && lower !== "content-type") continue;
    valuesOf.set(lower, [...(valuesOf.get(lower) ?? []), value.trim()]);
  }
  const headers = [...valuesOf].sort(([a], [b]) => compare(a, b));
  const signedHeaders = headers.map(([name]) => name).join(";");
  const canonicalRequest = [
    request.method,
    request.path === "" ? "/" : request.path,
    canonicalQuery(request.query),
    // Each header line ends itself, so that one empty line stands before the names.
    headers.map(([name, values]) => `${name}:${values.sort(compare).join(",")}\n`).join(""),
    signedHeaders,
    request.payloadHash,
  ].join("\n");
  return { canonicalRequest, hash: sha256Hex(canonicalRequest), signedHeaders };
}

/** Lower-case hexadecimal HMAC-SHA256 signature of a canonical request. */
export function signAcs3(hash: string, accessKeySecret: string): string {
  return createHmac("sha256", accessKeySecret).update(`ACS3-HMAC-SHA256\n${hash}`).digest("hex");
}

/** The `Authorization` header of an ACS3 request. */
export function acs3Authorization(
  request: Acs3Request,
  accessKeyId: string,
  accessKeySecret: string,
): string {
  const { hash, signedHeaders } = canonicaliseAcs3(request);
  const signature = signAcs3(hash, accessKeySecret);
  return `ACS3-HMAC-SHA256 Credential=${accessKeyId},SignedHeaders=${signedHeaders},Signature=${signature}`;
}

/** Base64 HMAC-SHA1 signature of an RPC request; `Signature` itself must not be among the parameters. */
export function signRpc(method: string, parameters: Fields, accessKeySecret: string): string {
  const text = `${method}&%2F&${percentEncode(canonicalQuery(parameters))}`;
  return createHmac("sha1", `${accessKeySecret}&`).update(text).digest("base64");
}

/** `key=value` pairs, encoded, sorted by the bytes of the key and joined with `&`. */
export function canonicalQuery(query: Fields): string {
  return [...query]
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([key, value]) => `${percentEncode(key)}=${percentEncode(value)}`)
    .join("&");
}

function sha256Hex(text: string): string {
  return createHash("sha256").update(text, "utf8").digest("hex");
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

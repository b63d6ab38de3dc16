/**
 * Mints RAM tokens: a GetCallerIdentity request, signed but not sent, bound to one cluster by a signed query parameter.
 * Whoever gets the token can ask STS who signed it, and nothing else.
 *
 * Offline and deterministic but for the time. There is no nonce on purpose: several API servers verify the same token,
 * and STS refuses a nonce that it has seen.
 * @module
 */
import { acs3Authorization, emptyBodySha256 } from "./sign.ts";

export const v2Prefix = "k8s-ack-v2.";
export const v1Prefix = "k8s-ack-v1.";

/** The query parameter whose signature binds a token to a cluster. */
export const clusterParameter = "ACKClusterId";

/** STS accepts a signature for 15 minutes; the token is renewed well before. */
const usableForMs = 10 * 60 * 1000;

/** Access key material as the signature needs it. The caller revealed it for this one call. */
export interface SigningKey {
  readonly accessKeyId: string;
  readonly accessKeySecret: string;
  /** Present with temporary credentials. */
  readonly securityToken?: string;
}

export interface MintedToken {
  readonly token: string;
  /** Milliseconds since the epoch after which kubectl asks for a new one. */
  readonly expiresAt: number;
}

/** Ids of ACK clusters are `c` and 32 hexadecimal digits; others are accepted as long as they are safe in every place. */
export const clusterIdPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** An instant as `YYYY-MM-DDTHH:MM:SSZ`. */
export function toSecondsUtc(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

/**
 * @param now milliseconds since the epoch; the token starts its life then.
 * @param userAgent not signed; it only tells the authenticator's log who made the token.
 */
export function mintToken(clusterId: string, key: SigningKey, now: number, userAgent: string): MintedToken {
  const query = { [clusterParameter]: clusterId };
  const signed = {
    "x-acs-action": "GetCallerIdentity",
    "x-acs-version": "2015-04-01",
    "x-acs-date": toSecondsUtc(now),
    "x-acs-content-sha256": emptyBodySha256,
    ...(key.securityToken === undefined ? {} : { "x-acs-security-token": key.securityToken }),
  };
  const authorization = acs3Authorization(
    {
      method: "POST",
      path: "/",
      query: Object.entries(query),
      headers: Object.entries(signed),
      payloadHash: emptyBodySha256,
    },
    key.accessKeyId,
    key.accessKeySecret,
  );
  const envelope = {
    clusterId,
    method: "POST",
    path: "/",
    query,
    headers: { ...signed, "user-agent": userAgent, Authorization: authorization },
  };
  return {
    token: v2Prefix + Buffer.from(JSON.stringify(envelope), "utf8").toString("base64"),
    expiresAt: now + usableForMs,
  };
}

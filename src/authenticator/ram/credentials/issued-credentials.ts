/**
 * Reads temporary credentials as STS, the metadata service and credential URIs hand them out.
 * @module
 */
import { Secret } from "../../../secret.ts";
import type { Credentials } from "./credentials.ts";

/** @param value an object with AccessKeyId, AccessKeySecret, SecurityToken and Expiration. */
export function readIssuedCredentials(value: unknown): Credentials | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { AccessKeyId, AccessKeySecret, SecurityToken, Expiration, Code } = value as Readonly<
    Record<string, unknown>
  >;
  if (Code !== undefined && Code !== "Success") return undefined;
  if (typeof AccessKeyId !== "string" || typeof AccessKeySecret !== "string") return undefined;
  if (typeof SecurityToken !== "string" || typeof Expiration !== "string") return undefined;
  const expiresAt = Date.parse(Expiration);
  if (Number.isNaN(expiresAt) || AccessKeyId === "" || AccessKeySecret === "") return undefined;
  return {
    accessKeyId: AccessKeyId,
    accessKeySecret: new Secret(AccessKeySecret),
    securityToken: new Secret(SecurityToken),
    expiresAt,
  };
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

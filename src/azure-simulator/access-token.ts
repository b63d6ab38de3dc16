/**
 * Tokens of the Azure simulator: what they say can be read by anybody, and the key is in the source. No service but the
 * simulator accepts one.
 * @module
 */
import { createHmac } from "node:crypto";

export interface SimulatedToken {
  readonly objectId: string;
  /** `https://vault.azure.net`. */
  readonly audience: string;
  /** Seconds since the epoch. */
  readonly expires: number;
}

export function issueToken(token: SimulatedToken): string {
  const body = Buffer.from(JSON.stringify(token)).toString("base64url");
  return `simulated.${body}.${signatureOf(body)}`;
}

/** `undefined` when it is none of the simulator's. */
export function readToken(text: string): SimulatedToken | undefined {
  const [mark, body = "", signature] = text.split(".");
  if (mark !== "simulated" || signature !== signatureOf(body)) return undefined;
  return JSON.parse(Buffer.from(body, "base64url").toString("utf8")) as SimulatedToken;
}

function signatureOf(body: string): string {
  return createHmac("sha256", "Sallyport Azure simulator").update(body).digest("base64url");
}

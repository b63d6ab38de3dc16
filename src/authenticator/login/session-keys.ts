/**
 * The keys that sign sessions: a JSON Web Key Set of private keys in a file, mostly a mounted Secret, which all replicas
 * share. The first key signs, every key verifies, so that a new one can be put in front without ending a session.
 * @module
 */
import {
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  importJWK,
  type CryptoKey,
  type JWK,
} from "jose";
import { SallyportError } from "../../errors.ts";
import type { Secret } from "../../secret.ts";

export const sessionAlgorithms = ["EdDSA", "ES256"] as const;
type SessionAlgorithm = (typeof sessionAlgorithms)[number];

interface SessionKey {
  readonly kid: string;
  readonly algorithm: SessionAlgorithm;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

export interface SessionKeys {
  readonly signing: SessionKey;
  find(kid: string): SessionKey | undefined;
  /** In their order, for the log. */
  readonly ids: readonly string[];
}

/** Keys in a set; more than a rotation ever needs would be a mistake. */
const mostKeys = 8;

/** Reads a key set. Throws `E_SESSION_KEYS`, which quotes nothing of it. */
export async function readSessionKeys(text: Secret): Promise<SessionKeys> {
  const fail = (detail: string): SallyportError => new SallyportError("E_SESSION_KEYS", { detail });
  let set: unknown;
  try {
    set = JSON.parse(text.reveal());
  } catch {
    throw fail("it is not JSON");
  }
  const list = typeof set === "object" && set !== null && "keys" in set ? set.keys : undefined;
  if (!Array.isArray(list) || list.length === 0) throw fail('it has no list "keys"');
  if (list.length > mostKeys) throw fail(`it has more than ${mostKeys} keys`);
  const keys: SessionKey[] = [];
  for (const [index, jwk] of (list as readonly JWK[]).entries()) {
    const algorithm = algorithmOf(jwk);
    if (algorithm === undefined || jwk.d === undefined)
      throw fail(`key ${index + 1} is no private Ed25519 or P-256 key`);
    const { kid } = jwk;
    if (typeof kid !== "string" || !/^[\w-]{1,64}$/.test(kid))
      throw fail(`key ${index + 1} has no usable kid`);
    if (keys.some((key) => key.kid === kid)) throw fail(`two keys have the kid ${kid}`);
    const { d: _, ...publicHalf } = jwk;
    try {
      const [privateKey, publicKey] = await Promise.all([
        importJWK(jwk, algorithm),
        importJWK(publicHalf, algorithm),
      ]);
      keys.push({ kid, algorithm, privateKey: privateKey as CryptoKey, publicKey: publicKey as CryptoKey });
    } catch {
      throw fail(`key ${index + 1} cannot be used`);
    }
  }
  const [signing] = keys;
  if (signing === undefined) throw fail("it is empty");
  return { signing, find: (kid) => keys.find((key) => key.kid === kid), ids: keys.map(({ kid }) => kid) };
}

function algorithmOf(jwk: JWK | null): SessionAlgorithm | undefined {
  if (typeof jwk !== "object" || jwk === null) return undefined;
  if (jwk.kty === "OKP" && jwk.crv === "Ed25519") return "EdDSA";
  return jwk.kty === "EC" && jwk.crv === "P-256" ? "ES256" : undefined;
}

/**
 * A key set with a new Ed25519 key in front of those of `previous`, of which the newest `keep` stay: rotating with an
 * interval longer than a session's life never ends one.
 */
export async function rotateSessionKeys(previous: Secret | undefined, keep = 1): Promise<string> {
  const { privateKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const jwk = await exportJWK(privateKey);
  const made = { ...jwk, kid: (await calculateJwkThumbprint(jwk)).slice(0, 16), alg: "EdDSA", use: "sig" };
  let old: readonly JWK[] = [];
  if (previous !== undefined) {
    await readSessionKeys(previous);
    old = (JSON.parse(previous.reveal()) as { readonly keys: readonly JWK[] }).keys;
  }
  return `${JSON.stringify({ keys: [made, ...old.slice(0, keep)] }, undefined, 2)}\n`;
}

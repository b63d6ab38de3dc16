/**
 * The Secret in which the replicas of the webhook share their certificate authorities: its form, and reading and writing
 * it so that no replica undoes what another one did.
 *
 * `authorities.json` is what counts; `ca.crt` beside it holds the same certificates for people and tools. The Secret's
 * type, which the API server never lets anybody change, says that it is ours to write.
 * @module
 */
import type { Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import type { ClusterClient } from "../kubernetes/cluster-client.ts";
import { secretKind } from "../kubernetes/kinds.ts";
import type { KubernetesObject, ObjectMetadata, ResourceSource } from "../kubernetes/resource-source.ts";
import { loadAuthority, type CertificateAuthority } from "../pki/authority.ts";
import { inspectCertificate, openCertificate, thumbprintOf } from "../pki/certificate.ts";
import { Secret } from "../secret.ts";
import { isObject } from "./review.ts";

export const authoritySecretType = "sallyport.dev/webhook-authority";

/** An authority that API servers trust. Times are milliseconds since the epoch. */
export interface SharedAuthority {
  /** Upper-case hex SHA-1. */
  readonly thumbprint: string;
  readonly certificatePem: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** When it was put into the Secret. */
  readonly since: number;
  /** When nothing that it signed can be valid any more. */
  readonly trustedUntil: number;
  /** Absent: it signs nothing more, only what it signed is trusted still. */
  readonly signing?: { readonly authority: CertificateAuthority; readonly privateKeyPem: Secret };
}

export type AuthoritySecret =
  | { readonly state: "absent" }
  | {
      readonly state: "held";
      readonly authorities: readonly SharedAuthority[];
      readonly metadata: ObjectMetadata;
    }
  /** Ours, and nobody has filled it yet: where the service account may not create Secrets. */
  | { readonly state: "empty"; readonly metadata: ObjectMetadata }
  /** Ours, and cannot be read. */
  | { readonly state: "broken"; readonly problem: string; readonly metadata: ObjectMetadata }
  /** Somebody else's: never written. */
  | { readonly state: "foreign"; readonly type: string };

export interface AuthoritySecretStore {
  /** Asks the API server, past any cache. Rejects when it cannot say. */
  read(signal?: AbortSignal): Promise<AuthoritySecret>;
  /**
   * Writes over what was read, or creates. `conflict`: somebody else was faster, read again. Rejects when the API server
   * is away or refuses.
   */
  write(
    authorities: readonly SharedAuthority[],
    over: ObjectMetadata | undefined,
    signal?: AbortSignal,
  ): Promise<"written" | "conflict">;
}

export interface SecretName {
  readonly namespace: string;
  readonly name: string;
}

export function createAuthoritySecretStore(
  { namespace, name }: SecretName,
  ports: { readonly source: ResourceSource; readonly client: ClusterClient; readonly clock: Clock },
): AuthoritySecretStore {
  const { client, clock, source } = ports;
  const collection = `/api/v1/namespaces/${encodeURIComponent(namespace)}/secrets`;
  const selector = {
    kind: secretKind,
    namespace,
    name,
    parse: (object: KubernetesObject) => ({ ok: true as const, value: parseAuthoritySecret(object, clock) }),
  };
  return {
    async read(signal) {
      const lookup = await source.get(selector, signal);
      if (lookup.found) return lookup.object;
      if (lookup.reason === "absent") return { state: "absent" };
      throw new Error(`the Secret ${namespace}/${name} cannot be read: ${lookup.detail}`);
    },
    async write(authorities, over, signal) {
      const body = renderAuthoritySecret(authorities, over ?? { name, namespace });
      const answer = await client.request({
        ...(over === undefined
          ? { method: "POST", path: collection }
          : { method: "PUT", path: `${collection}/${encodeURIComponent(name)}` }),
        body,
        timeoutMs: 10_000,
        ...(signal === undefined ? {} : { signal }),
      });

      if (answer.status === 409) return "conflict";
      // Deleted since it was read: what to do about that is decided on what is read next.
      if (answer.status === 404 && over !== undefined) return "conflict";
      if (answer.status === 200 || answer.status === 201) return "written";
      throw new Error(
        `the Secret ${namespace}/${name} cannot be ${over === undefined ? "created" : "written"}: the API server answered ${answer.status}`,
      );
    },
  };
}

/** Never throws. */
export function parseAuthoritySecret(object: KubernetesObject, clock: Clock): AuthoritySecret {
  const { metadata } = object;
  const { type = "Opaque" } = object;
  if (type !== authoritySecretType) return { state: "foreign", type: typeof type === "string" ? type : "?" };
  const contents = isObject(object["data"]) ? object["data"] : {};
  if (Object.keys(contents).length === 0) return { state: "empty", metadata };
  try {
    const data = contents["authorities.json"];
    if (typeof data !== "string") throw new Error("authorities.json is missing");
    let list: unknown;
    try {
      list = JSON.parse(Buffer.from(data, "base64").toString("utf8"));
    } catch {
      // The parser's own words may quote a key.
      throw new Error("authorities.json is not JSON");
    }
    if (!Array.isArray(list)) throw new Error("authorities.json is not a list");
    const authorities = list.map((entry) => parseEntry(entry, clock));
    return { state: "held", authorities: inOrder(authorities), metadata };
  } catch (error) {
    return { state: "broken", problem: reasonOf(error), metadata };
  }
}

function parseEntry(entry: unknown, clock: Clock): SharedAuthority {
  if (!isObject(entry)) throw new Error("an entry is not an object");
  const { certificate, privateKey, since, trustedUntil } = entry;
  if (typeof certificate !== "string") throw new Error("an entry has no certificate");
  const times = [since, trustedUntil].map((text) => Date.parse(String(text)));
  if (times.some(Number.isNaN)) throw new Error("an entry has no usable since or trustedUntil");
  const facts = inspectCertificate(certificate);
  if (!facts.isCa) throw new Error("a certificate is no authority's");
  if (privateKey !== undefined && typeof privateKey !== "string") throw new Error("a privateKey is no text");
  const key = privateKey === undefined ? undefined : new Secret(privateKey);
  return {
    thumbprint: facts.thumbprintSha1,
    // Without whatever else stands in the text.
    certificatePem: openCertificate(certificate).toString(),
    notBefore: facts.notBefore,
    notAfter: facts.notAfter,
    since: times[0] ?? 0,
    trustedUntil: Math.min(times[1] ?? 0, facts.notAfter),
    ...(key === undefined
      ? {}
      : { signing: { authority: loadAuthority(certificate, key, clock), privateKeyPem: key } }),
  };
}

/** The object to write. The keys are in it: it goes to the API server and nowhere else. */
export function renderAuthoritySecret(
  authorities: readonly SharedAuthority[],
  metadata: ObjectMetadata,
): Readonly<Record<string, unknown>> {
  const entries = inOrder(authorities).map((authority) => ({
    certificate: authority.certificatePem,
    ...(authority.signing === undefined ? {} : { privateKey: authority.signing.privateKeyPem.reveal() }),
    since: new Date(authority.since).toISOString(),
    trustedUntil: new Date(authority.trustedUntil).toISOString(),
  }));
  const { managedFields: _, ...kept } = metadata as ObjectMetadata & { readonly managedFields?: unknown };
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: kept,
    type: authoritySecretType,
    data: {
      "authorities.json": base64(JSON.stringify(entries, undefined, 2)),
      "ca.crt": base64(trustBundlePem(authorities)),
    },
  };
}

/** The certificates that API servers are to trust: the same bytes from every replica. */
export function trustBundlePem(authorities: readonly SharedAuthority[]): string {
  return inOrder(authorities)
    .map((authority) => authority.certificatePem)
    .join("");
}

/** Whose certificates a bundle holds; of one that cannot be read, none. */
export function thumbprintsIn(bundlePem: string): ReadonlySet<string> {
  return new Set(certificatesIn(bundlePem).keys());
}

/** The certificates of a bundle, in PEM, by thumbprint; of one that cannot be read, none. */
export function certificatesIn(bundlePem: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [block] of bundlePem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)) {
    try {
      const certificate = openCertificate(block);
      found.set(thumbprintOf(certificate), certificate.toString());
    } catch {
      // Somebody else's, and broken: whatever it is, it is none of ours.
    }
  }
  return found;
}

function inOrder(authorities: readonly SharedAuthority[]): readonly SharedAuthority[] {
  return authorities.toSorted((a, b) => a.since - b.since || (a.thumbprint < b.thumbprint ? -1 : 1));
}

function base64(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

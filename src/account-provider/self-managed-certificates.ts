/**
 * Certificates without anybody's help: an authority of this process's own, whose key never leaves its memory, and leaf
 * certificates of at most a day, replaced at two thirds of their life.
 *
 * The authority, too, is replaced before it ends: a new one is published in `ca.crt` one leaf rotation before it signs
 * anything, so that no plugin meets a certificate whose authority it has not read yet, and the old one stays there until
 * the last leaf that it signed has ended.
 * @module
 */
import { SallyportError, reasonOf } from "../errors.ts";
import type { Clock } from "../clock.ts";
import type { Log } from "../observe/log.ts";
import { createAuthority, type CertificateAuthority, type IssuedCertificate } from "../pki/authority.ts";
import type { KeyType } from "../pki/certificate.ts";
import { encodePkcs12 } from "../pki/pkcs12.ts";
import type { TlsIdentity } from "../server/listener.ts";
import { KnownClients, type CertificateSet, type ProviderCertificates } from "./provider-certificates.ts";

/** Life of an authority; it is replaced after two thirds of it. */
export const authorityLifetimeMs = 30 * 24 * 3_600_000;

/** First wait before another try when new certificates cannot be made; doubled up to the longest one. */
const firstRetryMs = 1_000;
const longestRetryMs = 5 * 60_000;

export interface SelfManagedOptions {
  /** The plugin input's namespace, to recognise the certificates by. */
  readonly namespace: string;
  /** At most 24 h, milliseconds. */
  readonly leafLifetimeMs: number;
  /** Also make an RSA client identity for the released plugin. */
  readonly legacyPlugin: boolean;
  readonly authorityLifetimeMs?: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** An authority and the end of the last leaf that it signed. */
interface Signer {
  readonly authority: CertificateAuthority;
  readonly lastLeafEnds: number;
}

/** Everything that one rotation makes. */
interface Generation {
  /** Signs from now on; the last one in `trusted` may be newer and wait for its turn. */
  readonly signers: readonly Signer[];
  readonly set: CertificateSet;
  readonly clients: readonly IssuedCertificate[];
  readonly rotateAt: number;
}

/** Makes the first authority and leaves; later ones follow by the clock. */
export async function createSelfManagedCertificates(
  options: SelfManagedOptions,
): Promise<ProviderCertificates> {
  const { clock, log } = options;
  const clients = new KnownClients();
  const listeners: ((set: CertificateSet) => void)[] = [];
  let fault: string | undefined;
  let generation = await nextGeneration(options, []);
  clients.add(generation.clients, clock.now());
  let cancel = clock.after(generation.rotateAt - clock.now(), () => void rotate(firstRetryMs));
  let closed = false;

  async function rotate(retryMs: number): Promise<void> {
    try {
      const next = await nextGeneration(options, generation.signers);
      if (closed) return;
      generation = next;
      clients.add(next.clients, clock.now());
      fault = undefined;
      for (const listener of listeners) listener(next.set);
      cancel = clock.after(next.rotateAt - clock.now(), () => void rotate(firstRetryMs));
    } catch (error) {
      if (closed) return;
      fault = `new certificates could not be made: ${reasonOf(error)}`;
      log.error("certificates.fault", { reason: fault });
      cancel = clock.after(retryMs, () => void rotate(Math.min(retryMs * 2, longestRetryMs)));
    }
  }

  return {
    current: () => generation.set,
    acceptsClient: (certificate) => clients.has(certificate),
    fault: () => fault,
    onChange: (listener) => listeners.push(listener),
    close() {
      closed = true;
      cancel();
    },
  };
}

/**
 * Who signs, and who is to be published beside it: pure, so that every moment of an authority's life can be tested.
 * @param authorities those in existence, oldest first, by their validity and the end of the last leaf that they signed.
 * @returns which of them stay, which one of these signs now (`undefined`: a new one must be made at once, and signs), and
 * whether a further one is to be made for the rotation after this.
 */
export function planAuthorities<
  T extends { readonly notBefore: number; readonly notAfter: number; readonly lastLeafEnds: number },
>(
  authorities: readonly T[],
  now: number,
  leafLifetimeMs: number,
): { readonly signer: T | undefined; readonly kept: readonly T[]; readonly makeSuccessor: boolean } {
  const usable = authorities.filter((authority) => authority.notAfter - now > leafLifetimeMs);
  // The newest published one signs: it was published by the rotation before this one.
  const signer = usable.at(-1);
  const kept = authorities.filter((authority) => authority === signer || authority.lastLeafEnds > now);
  const age = signer === undefined ? 0 : (now - signer.notBefore) / (signer.notAfter - signer.notBefore);
  return { signer, kept, makeSuccessor: signer !== undefined && age >= 2 / 3 };
}

async function nextGeneration(options: SelfManagedOptions, signers: readonly Signer[]): Promise<Generation> {
  const { clock, legacyPlugin, leafLifetimeMs, namespace } = options;
  const now = clock.now();
  const plan = planAuthorities(
    signers.map((signer) => ({
      ...signer,
      notBefore: signer.authority.notBefore,
      notAfter: signer.authority.notAfter,
    })),
    now,
    leafLifetimeMs,
  );
  const newAuthority = (): Promise<CertificateAuthority> =>
    createAuthority({
      commonName: commonName(namespace, "authority"),
      keyType: "ec-p256",
      lifetimeMs: options.authorityLifetimeMs ?? authorityLifetimeMs,
      permittedDnsNames: ["localhost"],
      clock,
    });
  const authority = plan.signer?.authority ?? (await newAuthority());
  const successor = plan.makeSuccessor ? await newAuthority() : undefined;
  const issue = (usage: "server" | "client", keyType: KeyType): Promise<IssuedCertificate> =>
    authority.issue({
      commonName: usage === "server" ? "localhost" : commonName(namespace, "plugin"),
      ...(usage === "server" ? { dnsNames: ["localhost"] } : {}),
      usage,
      keyType,
      lifetimeMs: leafLifetimeMs,
    });
  const [server, client, releasedClient] = await Promise.all([
    issue("server", "ec-p256"),
    issue("client", "ec-p256"),
    legacyPlugin ? issue("client", "rsa-2048") : undefined,
  ]);
  const issued = releasedClient === undefined ? [server, client] : [server, client, releasedClient];
  const lastLeafEnds = Math.max(...issued.map((leaf) => leaf.notAfter));
  const earlier = plan.kept.filter((kept) => kept.authority !== authority);
  const nextSigners: readonly Signer[] = [
    ...earlier.map(({ authority: kept, lastLeafEnds: ends }) => ({ authority: kept, lastLeafEnds: ends })),
    { authority, lastLeafEnds },
    ...(successor === undefined ? [] : [{ authority: successor, lastLeafEnds: now }]),
  ];
  const authoritiesPem = nextSigners.map((signer) => signer.authority.certificatePem).join("");
  const set: CertificateSet = {
    tls: { identities: [identityOf(server)], clientAuthoritiesPem: authoritiesPem },
    clientFiles: {
      authoritiesPem,
      certificatePem: client.certificatePem,
      privateKeyPem: client.privateKeyPem,
      ...(releasedClient === undefined ? {} : { pfx: encodePkcs12({ ...releasedClient, password: "" }) }),
    },
    authorities: nextSigners.map((signer) => ({
      thumbprint: signer.authority.thumbprintSha1,
      certificatePem: signer.authority.certificatePem,
    })),
    serverNotAfter: server.notAfter,
  };
  const leafEnds = Math.min(...issued.map((leaf) => leaf.notAfter));
  if (leafEnds <= now)
    throw new SallyportError("E_CERTIFICATES", { path: "memory", detail: "they have already ended" });
  return {
    signers: nextSigners,
    set,
    clients: issued.filter((leaf) => leaf !== server),
    rotateAt: now + ((leafEnds - now) * 2) / 3,
  };
}

function identityOf(issued: IssuedCertificate): TlsIdentity {
  return { chainPem: issued.certificatePem, privateKeyPem: issued.privateKeyPem };
}

/** At most 64 characters (X.520 `ub-common-name`), whatever the namespace's length (at most 63). */
function commonName(namespace: string, role: string): string {
  const prefix = `sallyport ${role} `;
  return `${prefix}${namespace.slice(0, 64 - prefix.length)}`;
}

/**
 * Certificates without anybody's help: an authority of this process's own, whose key never leaves its memory, and leaf
 * certificates of at most a day, replaced at two thirds of their life.
 *
 * The authority, too, is replaced before it ends: a new one is published in `ca.crt` one leaf rotation before it signs
 * anything, so that no plugin meets a certificate whose authority it has not read yet, and the old one stays there until
 * the last leaf that it signed has ended.
 * @module
 */
import type { Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { createAuthorityChain, type AuthorityChain } from "../pki/authority-chain.ts";
import { createAuthority, type CertificateAuthority, type IssuedCertificate } from "../pki/authority.ts";
import type { KeyType } from "../pki/certificate.ts";
import { encodePkcs12 } from "../pki/pkcs12.ts";
import { createRotation } from "../pki/rotation.ts";
import type { TlsIdentity } from "../server/listener.ts";
import { KnownClients, type CertificateSet, type ProviderCertificates } from "./provider-certificates.ts";

/** Life of an authority; it is replaced after two thirds of it. */
export const authorityLifetimeMs = 30 * 24 * 3_600_000;

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

/** Everything that one rotation makes. */
interface Generation {
  readonly notBefore: number;
  /** End of the leaf that ends first. */
  readonly notAfter: number;
  readonly set: CertificateSet;
  readonly clients: readonly IssuedCertificate[];
  readonly trusted: readonly CertificateAuthority[];
}

/** Makes the first authority and leaves; later ones follow by the clock. */
export async function createSelfManagedCertificates(
  options: SelfManagedOptions,
): Promise<ProviderCertificates> {
  const { clock, log, namespace } = options;
  const clients = new KnownClients();
  const listeners: ((set: CertificateSet) => void)[] = [];
  let fault: string | undefined;
  const authorities = createAuthorityChain({
    clock,
    createAuthority: () =>
      createAuthority({
        commonName: commonName(namespace, "authority"),
        keyType: "ec-p256",
        lifetimeMs: options.authorityLifetimeMs ?? authorityLifetimeMs,
        permittedDnsNames: ["localhost"],
        clock,
      }),
  });
  const say = (error: unknown): void => {
    fault = `new certificates could not be made: ${reasonOf(error)}`;
    log.error("certificates.fault", { reason: fault });
  };
  const rotation = createRotation<Generation>({
    clock,
    async issue() {
      const { creationFailure } = await authorities.advance();
      fault = undefined;
      if (creationFailure !== undefined) say(creationFailure);
      return await makeGeneration(options, authorities);
    },
    onRotated(generation) {
      clients.add(generation.clients, clock.now());
      for (const listener of listeners) listener(generation.set);
    },
    onFailure: say,
  });
  let current = await rotation.start();

  return {
    current() {
      current = rotation.current ?? current;
      return current.set;
    },
    acceptsClient: (certificate) => clients.has(certificate),
    fault: () => fault,
    onChange: (listener) => listeners.push(listener),
    confirmPublished(set) {
      if (rotation.current?.set === set) authorities.confirmPublished(rotation.current.trusted);
    },
    close: () => rotation.stop(),
  };
}

async function makeGeneration(options: SelfManagedOptions, authorities: AuthorityChain): Promise<Generation> {
  const { clock, legacyPlugin, leafLifetimeMs, namespace } = options;
  const issue = (usage: "server" | "client", keyType: KeyType): Promise<IssuedCertificate> =>
    authorities.issue({
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
  const clients = releasedClient === undefined ? [client] : [client, releasedClient];
  const authoritiesPem = authorities.trustBundlePem();
  return {
    notBefore: clock.now(),
    notAfter: Math.min(...[server, ...clients].map((leaf) => leaf.notAfter)),
    clients,
    trusted: authorities.trusted,
    set: {
      tls: { identities: [identityOf(server)], clientAuthoritiesPem: authoritiesPem },
      clientFiles: {
        authoritiesPem,
        certificatePem: client.certificatePem,
        privateKeyPem: client.privateKeyPem,
        ...(releasedClient === undefined ? {} : { pfx: encodePkcs12({ ...releasedClient, password: "" }) }),
      },
      authorities: authorities.trusted.map((authority) => ({
        thumbprint: authority.thumbprintSha1,
        certificatePem: authority.certificatePem,
      })),
      serverNotAfter: server.notAfter,
    },
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

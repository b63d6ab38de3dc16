/**
 * Which certificates the provider works with right now: the port, with two implementations. `self-managed-certificates.ts`
 * has an authority of its own, `mounted-certificates.ts` takes what somebody else puts into a folder.
 * @module
 */
import type { ClientCertificate } from "../server/client-certificate.ts";
import type { TlsMaterial } from "../server/listener.ts";
import type { TrustedRoot } from "../windows-host/trusted-roots.ts";
import type { ClientFiles } from "./host-directory.ts";

/** One consistent set of certificates. */
export interface CertificateSet {
  readonly tls: TlsMaterial;
  readonly clientFiles: ClientFiles;
  /** The authorities of `clientFiles.authoritiesPem`, one by one, for the machine's root store. */
  readonly authorities: readonly TrustedRoot[];
  /** End of the server's certificate, milliseconds since the epoch. */
  readonly serverNotAfter: number;
}

export interface ProviderCertificates {
  current(): CertificateSet;
  /** Is this the client we made (or were given) a key for? Also says yes to the one before, until it expires. */
  acceptsClient(certificate: ClientCertificate): boolean;
  /** Why newer certificates could not be had, as a sentence; the current ones stay in use. */
  fault(): string | undefined;
  /** Calls back with each new set. */
  onChange(listener: (set: CertificateSet) => void): void;
  /** Says that plugins can read this set's files: a new authority may sign only after that. */
  confirmPublished(set: CertificateSet): void;
  close(): void;
}

/** A client key and the end of the certificate it came with. */
interface KnownClient {
  readonly publicKeySha256: string;
  readonly notAfter: number;
}

/** The client keys in use: the newest ones, and earlier ones until their certificate ends. */
export class KnownClients {
  #clients: readonly KnownClient[] = [];

  /** Adds the clients of a new set and forgets those that have expired. */
  add(clients: readonly KnownClient[], now: number): void {
    const keys = new Set(clients.map((client) => client.publicKeySha256));
    const earlier = this.#clients.filter(
      (client) => client.notAfter > now && !keys.has(client.publicKeySha256),
    );
    this.#clients = [...clients, ...earlier];
  }

  /**
   * The key must be known and the certificate must be one that we know of: a later one for the same key, from whatever
   * source, is not.
   */
  has(certificate: ClientCertificate): boolean {
    return this.#clients.some(
      (client) =>
        client.publicKeySha256 === certificate.publicKeySha256 && client.notAfter >= certificate.notAfter,
    );
  }
}

/**
 * Certificates made by somebody else (cert-manager, an enterprise's own authority) and mounted as a folder:
 *
 *     ca/ca.crt            authorities of both sides
 *     server/tls.crt, tls.key, ca.crt
 *     client/tls.crt, tls.key, ca.crt
 *
 * The authorities are all of the three files `ca.crt` that are there. cert-manager writes beside each leaf the authority that
 * signed it, and renews one leaf after the other: for a while the two are not the same.
 *
 * Read again whenever anything below the folder changes, also by the symlink swap of a Kubernetes volume, where the
 * watched file itself never changes. What is new is used only when all of it fits together; else the old stays.
 * @module
 */
import { createHash, type X509Certificate } from "node:crypto";
import { watch, type FSWatcher } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { CancelTimer, Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import {
  extendedKeyUsages,
  inspectCertificate,
  matchesKey,
  openCertificate,
  type CertificateFacts,
} from "../pki/certificate.ts";
import { certificatesIn } from "../pki/pem.ts";
import { encodePkcs12 } from "../pki/pkcs12.ts";
import { Secret } from "../secret.ts";
import { KnownClients, type CertificateSet, type ProviderCertificates } from "./provider-certificates.ts";

export interface MountedCertificatesOptions {
  readonly folder: string;
  /** Also write `tls.pfx` for the released plugin; needs an RSA client key. */
  readonly legacyPlugin: boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** How often the folder is read again whether or not a change was seen, milliseconds. */
  readonly rescanMs?: number;
}

const settleMs = 50;

/** @throws {SallyportError} `E_CERTIFICATES` when the folder's first contents cannot be used. */
export async function openMountedCertificates(
  options: MountedCertificatesOptions,
): Promise<ProviderCertificates> {
  const { clock, folder, log } = options;
  const listeners: ((set: CertificateSet) => void)[] = [];
  const clients = new KnownClients();
  let loaded = await load(options);
  clients.add([loaded.client], clock.now());
  let fault: string | undefined;
  let closed = false;
  let cancelSettle: CancelTimer = () => undefined;
  let cancelRescan: CancelTimer = () => undefined;
  let watchers: readonly FSWatcher[] = [];

  async function reload(): Promise<void> {
    try {
      const next = await load(options);
      if (closed) return;
      fault = undefined;
      if (next.digest === loaded.digest) return;
      loaded = next;
      clients.add([next.client], clock.now());
      for (const listener of listeners) listener(next.set);
    } catch (error) {
      if (closed) return;
      const reason = reasonOf(error);
      // The same fault is met at every rescan and logged once.
      if (fault !== reason) log.error("certificates.fault", { reason });
      fault = reason;
    }
  }

  function onChange(): void {
    cancelSettle();
    cancelSettle = clock.after(settleMs, () => {
      watchAgain();
      void reload();
    });
  }

  /** A swapped folder is another folder: the watchers of the old one see nothing any more. */
  function watchAgain(): void {
    for (const watcher of watchers) watcher.close();
    watchers = closed
      ? []
      : [".", "ca", "server", "client"].flatMap((name) => tryWatch(join(folder, name), onChange));
  }

  function rescan(): void {
    cancelRescan = clock.after(options.rescanMs ?? 10_000, () => {
      watchAgain();
      void reload().then(() => {
        if (!closed) rescan();
      });
    });
  }

  watchAgain();
  rescan();
  return {
    current: () => loaded.set,
    acceptsClient: (certificate) => clients.has(certificate),
    fault: () => fault,
    onChange: (listener) => listeners.push(listener),
    // Whoever makes these certificates decides when an authority signs.
    confirmPublished: () => undefined,
    close() {
      closed = true;
      cancelSettle();
      cancelRescan();
      watchAgain();
    },
  };
}

function tryWatch(path: string, onChange: () => void): readonly FSWatcher[] {
  try {
    const watcher = watch(path, { persistent: false }, onChange);
    // A watcher that fails is replaced at the next rescan.
    watcher.on("error", () => watcher.close());
    return [watcher];
  } catch {
    return [];
  }
}

interface Loaded {
  readonly set: CertificateSet;
  readonly client: CertificateFacts;
  /** Of all that was read, to tell a change from a touch. */
  readonly digest: string;
}

async function load(options: MountedCertificatesOptions): Promise<Loaded> {
  const { clock, folder, legacyPlugin } = options;
  const broken = (detail: string, cause?: unknown): SallyportError =>
    new SallyportError("E_CERTIFICATES", { path: folder, detail }, { cause });
  const read = (name: string): Promise<string> =>
    readFile(join(folder, name), "utf8").catch((error: unknown) => {
      throw broken(`${name} cannot be read: ${reasonOf(error)}`, error);
    });
  const [serverPem, serverKey, clientPem, clientKey, ...authorityFiles] = await Promise.all([
    read("server/tls.crt"),
    read("server/tls.key"),
    read("client/tls.crt"),
    read("client/tls.key"),
    ...(["ca/ca.crt", "server/ca.crt", "client/ca.crt"] as const).map(async (name) => ({
      name,
      text: await readFile(join(folder, name), "utf8").catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw broken(`${name} cannot be read: ${reasonOf(error)}`, error);
      }),
    })),
  ]);
  const server = checked("server", serverPem, new Secret(serverKey));
  const client = checked("client", clientPem, new Secret(clientKey));
  const now = clock.now();
  for (const [side, facts] of [
    ["server", server.facts],
    ["client", client.facts],
  ] as const) {
    if (facts.notAfter <= now)
      throw broken(`${side}/tls.crt ended at ${new Date(facts.notAfter).toISOString()}`);
    if (!facts.extendedKeyUsage.includes(extendedKeyUsages[side])) {
      throw broken(`${side}/tls.crt lacks the extended key usage "${side} authentication"`);
    }
  }
  const authorities = new Set<string>();
  for (const { name, text } of authorityFiles) {
    if (text === undefined) continue;
    try {
      for (const certificate of certificatesIn(text)) authorities.add(certificate);
    } catch (error) {
      throw broken(`${name} holds no certificates: ${reasonOf(error)}`, error);
    }
  }
  if (authorities.size === 0) throw broken("neither ca/ca.crt nor server/ca.crt nor client/ca.crt is there");
  for (const [side, chain] of [
    ["server", serverPem],
    ["client", clientPem],
  ] as const) {
    if (!leadsToAuthority(certificatesIn(chain), [...authorities], now)) {
      throw broken(`${side}/tls.crt leads to none of the authorities, or to one that is out of date`);
    }
  }
  if (legacyPlugin && !client.facts.keyType.startsWith("rsa")) {
    throw broken(
      "client/tls.key is not RSA, as the released plugin needs it; use an RSA key or --no-legacy-plugin",
    );
  }
  const authoritiesPem = [...authorities].join("");
  return {
    client: client.facts,
    digest: createHash("sha256")
      .update([authoritiesPem, serverPem, serverKey, clientPem, clientKey].join("\0"))
      .digest("hex"),
    set: {
      tls: {
        identities: [{ chainPem: serverPem, privateKeyPem: server.key }],
        clientAuthoritiesPem: authoritiesPem,
      },
      clientFiles: {
        authoritiesPem,
        certificatePem: clientPem,
        privateKeyPem: client.key,
        ...(legacyPlugin
          ? { pfx: encodePkcs12({ certificatePem: clientPem, privateKeyPem: client.key, password: "" }) }
          : {}),
      },
      authorities: [...authorities].map((certificatePem) => ({
        thumbprint: inspectCertificate(certificatePem).thumbprintSha1,
        certificatePem,
      })),
      serverNotAfter: server.facts.notAfter,
    },
  };

  function checked(
    side: "server" | "client",
    pem: string,
    key: Secret,
  ): { readonly facts: CertificateFacts; readonly key: Secret } {
    try {
      if (matchesKey(pem, key)) return { facts: inspectCertificate(pem), key };
    } catch (error) {
      throw broken(`${side}/tls.crt: ${reasonOf(error)}`, error);
    }
    throw broken(`${side}/tls.key does not belong to ${side}/tls.crt`);
  }
}

/**
 * Whether a chain, its leaf first, reaches a root among the authorities, over the certificates of both, all of them of
 * this time: what TLS asks on either side.
 */
function leadsToAuthority(chain: readonly string[], authorities: readonly string[], now: number): boolean {
  const roots = new Set(authorities.map((pem) => openCertificate(pem).fingerprint256));
  const issuers = [...authorities, ...chain.slice(1)].map(openCertificate);
  const seen = new Set<string>();
  const queue = chain.slice(0, 1).map(openCertificate);
  for (const certificate of queue) {
    if (seen.has(certificate.fingerprint256)) continue;
    seen.add(certificate.fingerprint256);
    if (certificate.validFromDate.getTime() > now || certificate.validToDate.getTime() <= now) continue;
    if (roots.has(certificate.fingerprint256) && isIssuedBy(certificate, certificate)) return true;
    queue.push(...issuers.filter((issuer) => isIssuedBy(certificate, issuer)));
  }
  return false;
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

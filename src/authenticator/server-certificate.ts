/**
 * The authenticator's certificate: a pair in the state directory (`cert.pem`, `key.pem`), certified by an authority of its
 * own beside it (`ca.pem`, `ca-key.pem`). The API server trusts the authority, so the pair is renewed without the API
 * server noticing. A pair that somebody else made is served as it is and never written.
 * @module
 */
import { chmod, chown, mkdir } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { writeFileAtomically } from "../atomic-file.ts";
import type { Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { createAuthority, loadAuthority, type CertificateAuthority } from "../pki/authority.ts";
import { inspectCertificate, matchesKey } from "../pki/certificate.ts";
import { Secret } from "../secret.ts";
import type { TlsMaterial } from "../server/listener.ts";
import type { Readiness } from "../server/operations.ts";
import { readState } from "./mapping/followed-file.ts";

const day = 24 * 3_600_000;
const leafLifetimeMs = 365 * day;
const authorityLifetimeMs = 10 * 365 * day;
/** How often the files are looked at, and whether the certificate is due. */
const lookMs = 1_000;

export interface CertificateNames {
  readonly hostname: string;
  /** An address to certify; an unspecified one (`0.0.0.0`, `::`) is left out. */
  readonly address: string;
}

export interface StateFiles {
  readonly certificate: string;
  readonly key: string;
  readonly authority: string;
  readonly authorityKey: string;
}

export function stateFilesIn(directory: string): StateFiles {
  return {
    certificate: join(directory, "cert.pem"),
    key: join(directory, "key.pem"),
    authority: join(directory, "ca.pem"),
    authorityKey: join(directory, "ca-key.pem"),
  };
}

/** What lies in a state directory. */
interface Pair {
  readonly chainPem: string;
  readonly privateKeyPem: Secret;
  readonly notBefore: number;
  readonly notAfter: number;
  /** What clients have to trust: our authority, or the foreign pair's own certificate. */
  readonly trustPem: string;
  /** Only of a pair that we made. */
  readonly authority?: CertificateAuthority;
}

/**
 * Makes sure that there is a usable pair: keeps the one that is there, makes one with its authority otherwise.
 *
 * @returns the PEM that the webhook's kubeconfig has to trust, and whether the pair was made now.
 * @throws {SallyportError} `E_AUTHENTICATOR_STATE` when what is there cannot be used or nothing can be written.
 */
export async function ensurePair(
  directory: string,
  names: CertificateNames,
  clock: Clock,
): Promise<{ readonly trustPem: string; readonly made: boolean }> {
  const files = stateFilesIn(directory);
  const authority = await loadOwnAuthority(files, clock);
  try {
    const present = await loadPair(directory, clock);
    if (present !== undefined) return { trustPem: present.trustPem, made: false };
  } catch (error) {
    // A renewal that was cut off between its two files is made again; what is not ours is left alone.
    if (authority === undefined) throw error;
  }
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const usable = authority ?? (await makeAuthority(files, clock));
    await issuePair(files, usable, names);
    return { trustPem: usable.certificatePem, made: true };
  } catch (error) {
    throw stateError(directory, reasonOf(error), error);
  }
}

/** Gives the files of a state directory to the user and group that the server will run as. */
export async function giveFilesTo(
  directory: string,
  owner: { readonly uid: number; readonly gid: number },
): Promise<void> {
  for (const path of [directory, ...Object.values(stateFilesIn(directory))]) {
    try {
      await chown(path, owner.uid, owner.gid);
    } catch (error) {
      if (!isMissing(error)) throw stateError(directory, reasonOf(error), error);
    }
  }
}

export interface ServerCertificate {
  current(): TlsMaterial;
  /** What clients have to trust. */
  readonly trustPem: string;
  readiness(): Readiness;
  /** Milliseconds since the epoch. */
  notAfter(): number;
  onChange(listener: (material: TlsMaterial) => void): void;
  close(): void;
}

/** Serves the pair of a state directory: follows changes of the files and renews our own in time. */
export async function openServerCertificate(
  directory: string,
  names: CertificateNames,
  deps: { readonly clock: Clock; readonly log: Log },
): Promise<ServerCertificate> {
  const { clock, log } = deps;
  const files = stateFilesIn(directory);
  const first = await loadPair(directory, clock);
  if (first === undefined) throw stateError(directory, "cert.pem and key.pem are not there");
  let pair = first;
  let problem: string | undefined;
  let closed = false;
  let cancel: () => void = () => undefined;
  const listeners: ((material: TlsMaterial) => void)[] = [];

  const materialOf = (of: Pair): TlsMaterial => ({
    identities: [{ chainPem: of.chainPem, privateKeyPem: of.privateKeyPem }],
  });
  const fail = (reason: string): void => {
    if (problem !== reason) log.error("authenticator.certificate-kept", { reason });
    problem = reason;
  };

  async function look(): Promise<void> {
    try {
      if (pair.authority !== undefined && isDue(pair, clock.now())) {
        await issuePair(files, pair.authority, names);
        log.info("authenticator.certificate-rotated", { directory });
      }
      const next = await loadPair(directory, clock);
      if (closed) return;
      if (next === undefined) fail("cert.pem and key.pem are gone");
      else {
        problem = undefined;
        if (next.chainPem !== pair.chainPem) {
          pair = next;
          for (const listener of listeners) listener(materialOf(next));
        }
      }
    } catch (error) {
      // Half of a change, or a broken one: the pair in use stays.
      fail(reasonOf(error));
    }
    if (!closed) cancel = clock.after(lookMs, () => void look());
  }
  cancel = clock.after(lookMs, () => void look());

  return {
    current: () => materialOf(pair),
    trustPem: first.trustPem,
    notAfter: () => pair.notAfter,
    readiness() {
      const left = pair.notAfter - clock.now();
      if (left <= 0) return { ready: false, reason: "the certificate has expired" };
      const note =
        problem ??
        (pair.authority === undefined && left < 30 * day
          ? `the certificate, which is not ours to renew, ends in ${Math.floor(left / day)} days`
          : undefined);
      return note === undefined ? { ready: true } : { ready: true, note };
    },
    onChange: (listener) => void listeners.push(listener),
    close() {
      closed = true;
      cancel();
    },
  };
}

/** Renewed when a third of its life is left. */
function isDue(pair: Pair, now: number): boolean {
  return now >= pair.notAfter - (pair.notAfter - pair.notBefore) / 3;
}

/** `undefined`: neither file is there. Throws when what is there does not fit together. */
async function loadPair(directory: string, clock: Clock): Promise<Pair | undefined> {
  const files = stateFilesIn(directory);
  const [certificate, key] = await Promise.all([readState(files.certificate), readState(files.key)]);
  if (certificate.state === "absent" && key.state === "absent") return undefined;
  for (const [path, file] of [
    [files.certificate, certificate],
    [files.key, key],
  ] as const) {
    if (file.state === "absent")
      throw stateError(directory, `${path} is missing and its counterpart is there`);
    if (file.state === "unreadable") throw stateError(directory, `${path}: ${file.problem}`);
  }
  if (certificate.state !== "present" || key.state !== "present") return undefined;
  const privateKeyPem = new Secret(key.text);
  const facts = inspectCertificate(certificate.text);
  if (!matchesKey(certificate.text, privateKeyPem)) {
    throw stateError(directory, "key.pem is not the key of cert.pem");
  }
  const authority = await loadOwnAuthority(files, clock);
  const ours = authority !== undefined && isIssuedBy(certificate.text, authority.certificatePem);
  return {
    chainPem: certificate.text,
    privateKeyPem,
    notBefore: facts.notBefore,
    notAfter: facts.notAfter,
    trustPem: ours ? authority.certificatePem : certificate.text,
    ...(ours ? { authority } : {}),
  };
}

function isIssuedBy(certificatePem: string, authorityPem: string): boolean {
  const issuer = new X509Certificate(authorityPem);
  return new X509Certificate(certificatePem).verify(issuer.publicKey);
}

async function loadOwnAuthority(files: StateFiles, clock: Clock): Promise<CertificateAuthority | undefined> {
  const [certificate, key] = await Promise.all([readState(files.authority), readState(files.authorityKey)]);
  if (certificate.state !== "present" || key.state !== "present") return undefined;
  return loadAuthority(certificate.text, new Secret(key.text), clock);
}

async function makeAuthority(files: StateFiles, clock: Clock): Promise<CertificateAuthority> {
  const authority = await createAuthority({
    commonName: "ack-ram-authenticator CA",
    keyType: "ec-p256",
    lifetimeMs: authorityLifetimeMs,
    exportable: true,
    clock,
  });
  const key = await authority.exportPrivateKeyPem();
  await writeFileAtomically(files.authorityKey, key.reveal());
  await writePublic(files.authority, authority.certificatePem);
  return authority;
}

async function issuePair(
  files: StateFiles,
  authority: CertificateAuthority,
  names: CertificateNames,
): Promise<void> {
  const unspecified = names.address === "0.0.0.0" || names.address === "::" || names.address === "";
  const all = [names.hostname, ...(unspecified ? [] : [names.address])];
  const leaf = await authority.issue({
    commonName: "ack-ram-authenticator",
    dnsNames: [...new Set(all.filter((name) => isIP(name) === 0))],
    ipAddresses: [...new Set(all.filter((name) => isIP(name) !== 0))],
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: leafLifetimeMs,
  });
  // A reader between the two finds a key that does not fit, keeps what it has and looks again.
  await writeFileAtomically(files.key, leaf.privateKeyPem.reveal());
  await writePublic(files.certificate, leaf.chainPem);
}

/** A file without secrets that other users may read (mode 0644). */
export async function writePublic(path: string, content: string): Promise<void> {
  await writeFileAtomically(path, content, { beforeRename: (temporary) => chmod(temporary, 0o644) });
}

function stateError(directory: string, detail: string, cause?: unknown): SallyportError {
  return new SallyportError("E_AUTHENTICATOR_STATE", { directory, detail }, { cause });
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

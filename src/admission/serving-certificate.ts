/**
 * The webhook's certificate: the port, and the adapter that reads it from two mounted files, followed through every
 * rotation (`self-managed-certificate.ts` is the other one). A secret volume rotates by swapping
 * a symbolic link, which a watch on the file sees once at most, so the contents are compared at a short interval.
 * @module
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { CancelTimer, Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { inspectCertificate, matchesKey } from "../pki/certificate.ts";
import { Secret } from "../secret.ts";
import type { TlsIdentity } from "../server/listener.ts";
import type { Readiness } from "../server/operations.ts";

export interface ServingCertificate {
  readonly identity: TlsIdentity;
  /** Milliseconds since the epoch. */
  readonly notAfter: number;
}

export interface FollowedCertificate {
  current(): ServingCertificate;
  /**
   * Whether it can be served. A newer one that cannot be had, while the last good one stays in use, is a note until
   * that one is about to end.
   */
  readiness(): Readiness;
  onChange(listener: (certificate: ServingCertificate) => void): void;
  close(): Promise<void>;
}

export interface MountedCertificateOptions {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly intervalMs?: number;
}

/** @throws {SallyportError} `E_WEBHOOK_CERTIFICATE` when the first contents cannot be used. */
export async function followMountedCertificate(
  options: MountedCertificateOptions,
): Promise<FollowedCertificate> {
  const { clock, intervalMs = 1_000, log } = options;
  let loaded = await load(options);
  let fault: string | undefined;
  let cancel: CancelTimer = () => undefined;
  let closed = false;
  const listeners: ((certificate: ServingCertificate) => void)[] = [];

  async function reload(): Promise<void> {
    try {
      const next = await load(options);
      if (closed) return;
      fault = undefined;
      if (next.digest === loaded.digest) return;
      loaded = next;
      log.info("admission.certificate-rotated", { notAfter: new Date(next.notAfter).toISOString() });
      for (const listener of listeners) listener(next);
    } catch (error) {
      const reason = reasonOf(error);
      // A rotation is not atomic for every tool: what does not fit together now may in a second.
      if (!closed && fault !== reason) log.warn("admission.certificate-kept", { reason });
      fault = reason;
    }
  }

  const plan = (): void => {
    cancel = clock.after(intervalMs, () => {
      void reload().then(() => {
        if (!closed) plan();
      });
    });
  };
  plan();
  return {
    current: () => loaded,
    readiness: () => lifeReadiness(loaded.notAfter - clock.now(), fault),
    onChange: (listener) => void listeners.push(listener),
    close() {
      closed = true;
      cancel();
      return Promise.resolve();
    },
  };
}

/** Life left below which a certificate is about to end, milliseconds. */
export const leastLifeMs = 3_600_000;

/** Readiness of a certificate with so much of its life left. */
export function lifeReadiness(leftMs: number, fault: string | undefined, least = leastLifeMs): Readiness {
  if (leftMs >= least) return fault === undefined ? { ready: true } : { ready: true, note: fault };
  const minutes = Math.round(Math.abs(leftMs) / 60_000);
  const end = leftMs < 0 ? `ended ${minutes} minutes ago` : `ends in ${minutes} minutes`;
  return { ready: false, reason: fault === undefined ? end : `${end}; ${fault}` };
}

async function load(
  options: MountedCertificateOptions,
): Promise<ServingCertificate & { readonly digest: string }> {
  const { certificateFile, keyFile } = options;
  const broken = (path: string, detail: string, cause?: unknown): SallyportError =>
    new SallyportError("E_WEBHOOK_CERTIFICATE", { path, detail }, { cause });
  const read = async (path: string): Promise<string> => {
    try {
      return await readFile(path, "utf8");
    } catch (error) {
      throw broken(path, reasonOf(error), error);
    }
  };
  const [chainPem, keyText] = await Promise.all([read(certificateFile), read(keyFile)]);
  const privateKeyPem = new Secret(keyText);
  let notAfter: number;
  try {
    notAfter = inspectCertificate(chainPem).notAfter;
    if (!matchesKey(chainPem, privateKeyPem))
      throw new Error("the private key belongs to another certificate");
  } catch (error) {
    throw broken(certificateFile, reasonOf(error), error);
  }
  const digest = createHash("sha256").update(chainPem).update("\0").update(keyText).digest("hex");
  return { identity: { chainPem, privateKeyPem }, notAfter, digest };
}

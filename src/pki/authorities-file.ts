/**
 * A file of authorities to trust: certificates in PEM.
 * @module
 */
import { open } from "node:fs/promises";
import { reasonOf } from "../errors.ts";
import { openCertificate } from "./certificate.ts";
import { certificatesIn } from "./pem.ts";

/** Every root of the world is a fifth of this. */
const mostBytes = 1_048_576;

export type AuthoritiesFile =
  | { readonly ok: true; readonly pem: string }
  | { readonly ok: false; readonly problem: string };

/**
 * Reads such a file. One without a certificate is a problem and never an empty list: TLS takes that for the machine's own
 * authorities, and would trust every public one.
 */
export async function readAuthoritiesFile(path: string): Promise<AuthoritiesFile> {
  try {
    const file = await open(path);
    try {
      const contents = Buffer.alloc(mostBytes + 1);
      let length = 0;
      for (let read = -1; read !== 0 && length < contents.length; length += read) {
        ({ bytesRead: read } = await file.read(contents, length, contents.length - length, null));
      }
      if (length > mostBytes) return { ok: false, problem: `${path} has more than 1 MiB` };
      const certificates = certificatesIn(contents.toString("utf8", 0, length));
      for (const certificate of certificates) openCertificate(certificate);
      return { ok: true, pem: certificates.join("") };
    } finally {
      await file.close();
    }
  } catch (error) {
    return { ok: false, problem: `${path} cannot be used: ${reasonOf(error)}` };
  }
}

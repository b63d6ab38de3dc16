/**
 * The throw-away certificate authority of a test cluster: it vouches for the
 * API server and for every user a test makes up. Made by OpenSSL rather than by
 * Sallyport's own `pki/`, so that a fault there cannot hide itself here.
 * @module
 */
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";

import { BedUnavailable } from "../bed.ts";
import { runCommand } from "../guarded-process.ts";

/** A certificate and its private key, both PEM (the key PKCS#8). */
export interface Credential {
  readonly certificate: string;
  readonly key: string;
}

/** A name a server is called by. */
export type ServerName = `DNS:${string}` | `IP:${string}`;

/** Throws {@link BedUnavailable} where there is no OpenSSL that this can use. */
export async function requireOpenssl(): Promise<void> {
  const version = await runCommand("openssl", ["version"]).catch(() => undefined);
  if (version === undefined || !/^OpenSSL [3-9]/u.test(version.stdout)) {
    throw new BedUnavailable("The Kubernetes bed needs OpenSSL 3: install Debian's package openssl.");
  }
}

/** Signs the cluster's certificates; its own are `ca.crt` and `ca.key` of a folder. */
export class CertificateAuthority {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Makes a new one in an existing folder. */
  static async create(folder: string): Promise<CertificateAuthority> {
    await makeCertificate("/CN=end-to-end test cluster", join(folder, "ca"), [
      "basicConstraints=critical,CA:TRUE",
      "keyUsage=critical,keyCertSign,cRLSign",
    ]);
    return new CertificateAuthority(folder);
  }

  /** Its own certificate, PEM. */
  get certificate(): string {
    return readFileSync(join(this.#folder, "ca.crt"), "utf8");
  }

  /** A certificate that a server shows for these names. */
  issueServer(commonName: string, names: readonly ServerName[]): Promise<Credential> {
    return this.#issue(`/CN=${escape(commonName)}`, [
      "extendedKeyUsage=serverAuth",
      `subjectAltName=${names.join(",")}`,
    ]);
  }

  /** A client certificate; Kubernetes reads the user from its CN and the groups from its Os. */
  issueClient(user: string, groups: readonly string[] = []): Promise<Credential> {
    const organizations = groups.map((group) => `/O=${escape(group)}`).join("");
    return this.#issue(`${organizations}/CN=${escape(user)}`, ["extendedKeyUsage=clientAuth"]);
  }

  async #issue(subject: string, extensions: readonly string[]): Promise<Credential> {
    const file = join(this.#folder, randomUUID());
    try {
      await makeCertificate(
        subject,
        file,
        ["basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature", ...extensions],
        ["-CA", join(this.#folder, "ca.crt"), "-CAkey", join(this.#folder, "ca.key")],
      );
      return {
        certificate: readFileSync(`${file}.crt`, "utf8"),
        key: readFileSync(`${file}.key`, "utf8"),
      };
    } finally {
      rmSync(`${file}.crt`, { force: true });
      rmSync(`${file}.key`, { force: true });
    }
  }
}

/** The key pair that signs service-account tokens, both halves PEM. */
export function createTokenSigner(): { readonly privateKey: string; readonly publicKey: string } {
  return generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: { type: "sec1", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
}

/** Writes `FILE.crt` and `FILE.key`; self-signed unless told otherwise. */
async function makeCertificate(
  subject: string,
  file: string,
  extensions: readonly string[],
  signer: readonly string[] = [],
): Promise<void> {
  const { code, stderr } = await runCommand("openssl", [
    ..."req -x509 -utf8 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2".split(" "),
    "-subj",
    subject,
    "-keyout",
    `${file}.key`,
    "-out",
    `${file}.crt`,
    ...extensions.flatMap((extension) => ["-addext", extension]),
    ...signer,
  ]);
  if (code !== 0) throw new Error(`openssl could not make a certificate for ${subject}:\n${stderr}`);
}

/** What separates the parts of `-subj` may stand in a user's name. */
function escape(text: string): string {
  return text.replaceAll(/[\\/+=]/gu, String.raw`\$&`);
}

/**
 * The throw-away certificate authority of a test cluster: it vouches for the
 * API server and for every user a test makes up.
 * @module
 */
import "reflect-metadata";
import { createPrivateKey, generateKeyPairSync, randomBytes, webcrypto } from "node:crypto";
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import type { Extension, JsonGeneralNames, JsonName } from "@peculiar/x509";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const serverAuth = "1.3.6.1.5.5.7.3.1";
const clientAuth = "1.3.6.1.5.5.7.3.2";
const lifeMs = 24 * 60 * 60 * 1000;

/** A certificate and its private key, both PEM (the key PKCS#8). */
export interface Credential {
  readonly certificate: string;
  readonly key: string;
}

/** Signs the cluster's certificates; its own key is part of the cluster's state folder. */
export class CertificateAuthority {
  readonly credential: Credential;

  constructor(credential: Credential) {
    this.credential = credential;
  }

  static async create(): Promise<CertificateAuthority> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: "CN=end-to-end test cluster",
      ...validity(),
      signingAlgorithm: algorithm,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      ],
    });
    return new CertificateAuthority({
      certificate: certificate.toString("pem"),
      key: await privateKey(keys),
    });
  }

  /** A certificate that a server shows for these names. */
  async issueServer(commonName: string, names: JsonGeneralNames): Promise<Credential> {
    return this.#issue(
      [{ CN: [commonName] }],
      [new SubjectAlternativeNameExtension(names), new ExtendedKeyUsageExtension([serverAuth])],
    );
  }

  /** A client certificate; Kubernetes reads the user from its CN and the groups from its Os. */
  async issueClient(user: string, groups: readonly string[] = []): Promise<Credential> {
    return this.#issue(
      [...groups.map((group) => ({ O: [group] })), { CN: [user] }],
      [new ExtendedKeyUsageExtension([clientAuth])],
    );
  }

  async #issue(subject: JsonName, extensions: readonly Extension[]): Promise<Credential> {
    const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const certificate = await X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject,
      issuer: new X509Certificate(this.credential.certificate).subject,
      ...validity(),
      signingAlgorithm: algorithm,
      publicKey: keys.publicKey,
      signingKey: await webcrypto.subtle.importKey(
        "pkcs8",
        createPrivateKey(this.credential.key).export({ type: "pkcs8", format: "der" }),
        algorithm,
        false,
        ["sign"],
      ),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        ...extensions,
      ],
    });
    return { certificate: certificate.toString("pem"), key: await privateKey(keys) };
  }
}

/** The key pair that signs service-account tokens, both halves PEM. */
export function createTokenSigner(): { readonly privateKey: string; readonly publicKey: string } {
  const pair = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    privateKey: pair.privateKey.export({ type: "sec1", format: "pem" }),
    publicKey: pair.publicKey.export({ type: "spki", format: "pem" }),
  };
}

async function privateKey(keys: webcrypto.CryptoKeyPair): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" }).export({
    type: "pkcs8",
    format: "pem",
  });
}

function validity(): { readonly notBefore: Date; readonly notAfter: Date } {
  const now = Date.now();
  // A minute back, for a server that rounds its clock.
  return { notBefore: new Date(now - 60_000), notAfter: new Date(now + lifeMs) };
}

/** Positive and without a leading zero byte, as DER wants its integers. */
function serialNumber(): string {
  return `4${randomBytes(8).toString("hex").slice(1)}`;
}

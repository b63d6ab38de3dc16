/**
 * What a certificate says, read once into plain values: for readiness, pinning, the Windows root store and for deciding
 * whether certificates made by someone else can be used. Trust is never decided here; TLS does that.
 * @module
 */
import { X509Certificate, createHash, createPrivateKey } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { SallyportError, reasonOf } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { elementsIn, readElement, readElements, readObjectIdentifier, tags, contextTag } from "./der.ts";

/** Kinds of key that Sallyport makes. */
export type KeyType = "ec-p256" | "rsa-2048";

/** Extended key usage identifiers (RFC 5280 §4.2.1.12). */
export const extendedKeyUsages = {
  server: "1.3.6.1.5.5.7.3.1",
  client: "1.3.6.1.5.5.7.3.2",
} as const;

export interface CertificateFacts {
  /** Distinguished name, one attribute a line, as Node writes it. */
  readonly subject: string;
  readonly issuer: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Dotted identifiers; empty when the extension is missing, which X.509 reads as "any usage". */
  readonly extendedKeyUsage: readonly string[];
  readonly isCa: boolean;
  /** Lower-case hex SHA-256 of the SubjectPublicKeyInfo: stays the same when a key is certified again. */
  readonly publicKeySha256: string;
  /** Upper-case hex SHA-1 of the whole certificate: the name Windows gives it in its stores. */
  readonly thumbprintSha1: string;
  /** Such as `ec-p256`, `ec-p384`, `rsa-2048`, `ed25519`. */
  readonly keyType: string;
}

/** Reads the first certificate of `pem`. Throws `E_CERTIFICATE_INVALID` when there is none or it cannot be read. */
export function inspectCertificate(pem: string): CertificateFacts {
  const certificate = openCertificate(pem);
  return {
    subject: certificate.subject,
    issuer: certificate.issuer,
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    extendedKeyUsage: readExtendedKeyUsage(certificate),
    isCa: certificate.ca,
    publicKeySha256: publicKeySha256(certificate.publicKey.export({ type: "spki", format: "der" })),
    thumbprintSha1: thumbprintOf(certificate),
    keyType: keyTypeOf(certificate.publicKey),
  };
}

/** Whether `key` is the private half of the certificate's key. False also for a key that cannot be read. */
export function matchesKey(certificatePem: string, key: Secret): boolean {
  const certificate = openCertificate(certificatePem);
  try {
    return certificate.checkPrivateKey(createPrivateKey(key.reveal()));
  } catch {
    return false;
  }
}

/** Node's own view of the first certificate in `pem`. Throws `E_CERTIFICATE_INVALID`. */
export function openCertificate(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (error) {
    throw new SallyportError("E_CERTIFICATE_INVALID", { detail: reasonOf(error) }, { cause: error });
  }
}

/** Lower-case hex SHA-256 of a SubjectPublicKeyInfo in DER (the pin of RFC 7469, in hex). */
export function publicKeySha256(spki: Uint8Array): string {
  return createHash("sha256").update(spki).digest("hex");
}

/** SHA-1 of the certificate in upper-case hex without colons. */
export function thumbprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint.replaceAll(":", "");
}

/** The kind of a key, with its curve or size: `ec-p256`, `rsa-3072`, or the name Node has for other kinds. */
export function keyTypeOf(key: KeyObject): string {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === "rsa") return `rsa-${details?.modulusLength}`;
  if (key.asymmetricKeyType !== "ec") return String(key.asymmetricKeyType);
  const curve = details?.namedCurve ?? "unknown";
  return `ec-${{ prime256v1: "p256", secp384r1: "p384", secp521r1: "p521" }[curve] ?? curve}`;
}

/** Parts of a certificate that another certificate is made from, byte for byte. */
export interface CertificateParts {
  /** The subject as a DER Name: the issuer of what this certificate signs. */
  readonly subject: Buffer;
  /** Contents of the subject key identifier extension, when there is one. */
  readonly subjectKeyId: Buffer | undefined;
  /** Values of the extensions by identifier. */
  readonly extensions: ReadonlyMap<string, Buffer>;
}

/** Takes a DER certificate apart (RFC 5280 §4.1). Throws `E_CERTIFICATE_INVALID`. */
export function dissectCertificate(der: Uint8Array): CertificateParts {
  try {
    const [signed] = elementsIn(readElement(der), tags.sequence);
    const fields = elementsIn(signed, tags.sequence);
    // version [0], serial, signature, issuer, validity, subject, key, …; version 1 leaves the first one out.
    const subject = fields[fields[0]?.tag === contextTag(0) ? 5 : 4];
    if (subject?.tag !== tags.sequence) throw new RangeError("no subject");
    const extensions = new Map<string, Buffer>();
    const wrapped = fields.find((field) => field.tag === contextTag(3));
    if (wrapped !== undefined) {
      for (const extension of elementsIn(readElement(wrapped.contents), tags.sequence)) {
        const parts = elementsIn(extension, tags.sequence);
        extensions.set(readObjectIdentifier(parts[0]), parts.at(-1)?.contents ?? Buffer.alloc(0));
      }
    }
    const keyId = extensions.get("2.5.29.14");
    return {
      subject: subject.whole,
      subjectKeyId: keyId === undefined ? undefined : readElement(keyId).contents,
      extensions,
    };
  } catch (error) {
    throw new SallyportError("E_CERTIFICATE_INVALID", { detail: reasonOf(error) }, { cause: error });
  }
}

function readExtendedKeyUsage(certificate: X509Certificate): readonly string[] {
  const value = dissectCertificate(certificate.raw).extensions.get("2.5.29.37");
  return value === undefined ? [] : readElements(readElement(value).contents).map(readObjectIdentifier);
}

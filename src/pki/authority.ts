/**
 * A certificate authority of our own, so that mutual TLS needs neither cert-manager nor a key in a Secret. Its private
 * key is a WebCrypto key that cannot be exported: it never reaches a disk or another process, unless it was made
 * `exportable` for an authority that several replicas share.
 *
 * An authority with `permittedDnsNames` may be trusted by a whole machine: even whoever took its key could make
 * certificates for those names and for TLS only (RFC 5280 §4.2.1.10 and §4.2.1.12).
 * @module
 */
import { createPrivateKey, generateKeyPair, webcrypto } from "node:crypto";
import type { KeyObject } from "node:crypto";
import { isIP } from "node:net";
import { promisify } from "node:util";
import type { Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import { Secret } from "../secret.ts";
import {
  authorityKeyIdentifier,
  basicConstraints,
  encodeCertificate,
  encodeCommonName,
  extendedKeyUsage,
  keyIdentifier,
  keyUsage,
  nameConstraints,
  signatureAlgorithms,
  subjectAlternativeName,
  subjectKeyIdentifier,
} from "./certificate-encoding.ts";
import type { CertificateSigner } from "./certificate-encoding.ts";
import {
  dissectCertificate,
  extendedKeyUsages,
  keyTypeOf,
  matchesKey,
  openCertificate,
  publicKeySha256,
  thumbprintOf,
} from "./certificate.ts";
import type { KeyType } from "./certificate.ts";
import { sequence, unsignedInteger } from "./der.ts";
import { encodePem } from "./pem.ts";

/** Certificates begin this long before they are made, for hosts whose clocks are behind (milliseconds). */
export const clockSkew = 5 * 60_000;

/** Longest common name (ub-common-name, RFC 5280 appendix A.1), in characters. */
export const longestCommonName = 64;

interface AuthorityRequest {
  /** 1 to 64 characters. */
  readonly commonName: string;
  readonly keyType: KeyType;
  /** From now to `notAfter`, in milliseconds. */
  readonly lifetimeMs: number;
  /** The only DNS names it may certify; no IP addresses then, and TLS only. Unconstrained when left out. */
  readonly permittedDnsNames?: readonly string[];
  readonly clock: Clock;
}

/** What a leaf certificate is to be. */
export interface CertificateRequest {
  /** 1 to 64 characters. */
  readonly commonName: string;
  /** A server's names. A client may have none. */
  readonly dnsNames?: readonly string[];
  readonly ipAddresses?: readonly string[];
  readonly usage: "server" | "client";
  readonly keyType: KeyType;
  /** From now to `notAfter`, in milliseconds; shortened to the authority's own end. */
  readonly lifetimeMs: number;
}

/** A leaf certificate with its new key. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  /** The leaf, then its authority: what a TLS server or client presents. */
  readonly chainPem: string;
  /** PKCS#8 in PEM. */
  readonly privateKeyPem: Secret;
  /** Lower-case hex SHA-256 of the SubjectPublicKeyInfo, for pinning. */
  readonly publicKeySha256: string;
  /** Milliseconds since the epoch, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Upper-case hex, as Windows shows it. */
  readonly thumbprintSha1: string;
}

export interface CertificateAuthority {
  readonly certificatePem: string;
  /** Upper-case hex, as Windows shows it. */
  readonly thumbprintSha1: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /**
   * Makes a key and certifies it. The key is generated off the main thread. Throws `E_CERTIFICATE_REQUEST_INVALID` for
   * names that X.509 or this authority does not allow, `E_AUTHORITY_UNUSABLE` when the authority itself has expired.
   */
  issue(request: CertificateRequest): Promise<IssuedCertificate>;
}

/** An authority whose key can be stored, to be shared by replicas or to outlive the process. */
export interface ExportableAuthority extends CertificateAuthority {
  /** PKCS#8 in PEM. */
  exportPrivateKeyPem(): Promise<Secret>;
}

/**
 * Makes a new authority with a self-signed certificate: path length 0, certificate and CRL signing only.
 * Throws `E_CERTIFICATE_REQUEST_INVALID` for a common name or a permitted name that X.509 cannot carry.
 */
export function createAuthority(
  request: AuthorityRequest & { readonly exportable: true },
): Promise<ExportableAuthority>;
export function createAuthority(
  request: AuthorityRequest & { readonly exportable?: false },
): Promise<CertificateAuthority>;
export async function createAuthority(
  request: AuthorityRequest & { readonly exportable?: boolean },
): Promise<CertificateAuthority | ExportableAuthority> {
  const { commonName, keyType, permittedDnsNames, clock, exportable = false } = request;
  checkNames(commonName, permittedDnsNames ?? [], []);
  const { publicKey, privateKey } = await generateAuthorityKey(keyType, exportable);
  const spki = new Uint8Array(await webcrypto.subtle.exportKey("spki", publicKey));
  const name = encodeCommonName(commonName);
  const now = clock.now();
  const constraints =
    permittedDnsNames === undefined
      ? []
      : [
          extendedKeyUsage(extendedKeyUsages.server, extendedKeyUsages.client),
          nameConstraints(permittedDnsNames),
        ];
  const der = await encodeCertificate(
    {
      issuer: name,
      subject: name,
      notBefore: wholeSeconds(now - clockSkew),
      notAfter: wholeSeconds(now + request.lifetimeMs),
      publicKey: spki,
      extensions: [
        basicConstraints({ ca: true, pathLength: 0 }),
        keyUsage("keyCertSign", "cRLSign"),
        subjectKeyIdentifier(keyIdentifier(spki)),
        ...constraints,
      ],
    },
    createSigner(privateKey),
  );
  const authority = openAuthority(encodePem("CERTIFICATE", der), privateKey, clock, permittedDnsNames);
  if (!exportable) return authority;
  return {
    ...authority,
    async exportPrivateKeyPem() {
      const pkcs8 = new Uint8Array(await webcrypto.subtle.exportKey("pkcs8", privateKey));
      return new Secret(encodePem("PRIVATE KEY", pkcs8));
    },
  };
}

/**
 * Takes up an authority that was made before, from its certificate and its private key (PKCS#8, PKCS#1 or SEC 1 in
 * PEM). Keys of P-256, P-384 and RSA from 2048 bits are taken. Throws `E_CERTIFICATE_INVALID` when the certificate cannot
 * be read, `E_AUTHORITY_UNUSABLE` when it is no authority's, or the key is another one or of another kind.
 */
export function loadAuthority(
  certificatePem: string,
  privateKeyPem: Secret,
  clock: Clock,
): CertificateAuthority {
  const certificate = openCertificate(certificatePem);
  const unusable = (detail: string): SallyportError =>
    new SallyportError("E_AUTHORITY_UNUSABLE", { subject: certificate.subject, detail });
  let key: KeyObject;
  try {
    key = createPrivateKey(privateKeyPem.reveal());
  } catch (error) {
    throw unusable(`its private key cannot be read (${reasonOf(error)})`);
  }
  if (!certificate.ca) throw unusable("its certificate may not sign certificates");
  if (!matchesKey(certificatePem, privateKeyPem))
    throw unusable("the private key belongs to another certificate");
  const algorithm = importAlgorithm(keyTypeOf(key));
  if (algorithm === undefined) throw unusable(`keys of the kind ${keyTypeOf(key)} are not supported`);
  return openAuthority(certificate.toString(), key.toCryptoKey(algorithm, false, ["sign"]), clock, undefined);
}

function openAuthority(
  certificatePem: string,
  privateKey: webcrypto.CryptoKey,
  clock: Clock,
  permittedDnsNames: readonly string[] | undefined,
): CertificateAuthority {
  const certificate = openCertificate(certificatePem);
  const spki = certificate.publicKey.export({ type: "spki", format: "der" });
  const { subject, subjectKeyId = keyIdentifier(spki) } = dissectCertificate(certificate.raw);
  const signer = createSigner(privateKey);
  const begin = certificate.validFromDate.getTime();
  const end = certificate.validToDate.getTime();

  return {
    certificatePem,
    thumbprintSha1: thumbprintOf(certificate),
    notBefore: begin,
    notAfter: end,
    async issue(request) {
      const { commonName, dnsNames = [], ipAddresses = [], usage, keyType } = request;
      checkNames(commonName, dnsNames, ipAddresses);
      if (permittedDnsNames !== undefined) checkPermitted(request, permittedDnsNames);
      if (usage === "server" && dnsNames.length + ipAddresses.length === 0) {
        throw refused(commonName, "a server's certificate needs a DNS name or an IP address");
      }
      const key = await generateLeafKey(keyType);
      const now = clock.now();
      if (now >= end) {
        const detail = `it expired at ${new Date(end).toISOString()}`;
        throw new SallyportError("E_AUTHORITY_UNUSABLE", { subject: certificate.subject, detail });
      }
      const notBefore = wholeSeconds(Math.max(now - clockSkew, begin));
      const notAfter = wholeSeconds(Math.min(now + request.lifetimeMs, end));
      const names = [...dnsNames, ...ipAddresses];
      const der = await encodeCertificate(
        {
          issuer: subject,
          subject: encodeCommonName(commonName),
          notBefore,
          notAfter,
          publicKey: key.publicKey,
          extensions: [
            basicConstraints({ ca: false }),
            keyType === "rsa-2048"
              ? keyUsage("digitalSignature", "keyEncipherment")
              : keyUsage("digitalSignature"),
            extendedKeyUsage(extendedKeyUsages[usage]),
            subjectKeyIdentifier(keyIdentifier(key.publicKey)),
            authorityKeyIdentifier(subjectKeyId),
            ...(names.length === 0 ? [] : [subjectAlternativeName(dnsNames, ipAddresses)]),
          ],
        },
        signer,
      );
      const leafPem = encodePem("CERTIFICATE", der);
      return {
        certificatePem: leafPem,
        chainPem: leafPem + certificatePem,
        privateKeyPem: new Secret(key.privateKey),
        publicKeySha256: publicKeySha256(key.publicKey),
        notBefore,
        notAfter,
        thumbprintSha1: thumbprintOf(openCertificate(leafPem)),
      };
    },
  };
}

type SignAlgorithm = webcrypto.EcKeyImportParams | webcrypto.RsaHashedImportParams;

function importAlgorithm(keyType: string): SignAlgorithm | undefined {
  if (keyType === "ec-p256") return { name: "ECDSA", namedCurve: "P-256" };
  if (keyType === "ec-p384") return { name: "ECDSA", namedCurve: "P-384" };
  const [, bits] = /^rsa-(\d+)$/.exec(keyType) ?? [];
  return Number(bits) >= 2048 ? { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" } : undefined;
}

function generateAuthorityKey(keyType: KeyType, exportable: boolean): Promise<webcrypto.CryptoKeyPair> {
  if (keyType === "ec-p256") {
    const algorithm: webcrypto.EcKeyGenParams = { name: "ECDSA", namedCurve: "P-256" };
    return webcrypto.subtle.generateKey(algorithm, exportable, ["sign", "verify"]);
  }
  const algorithm: webcrypto.RsaHashedKeyGenParams = {
    name: "RSASSA-PKCS1-v1_5",
    hash: "SHA-256",
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
  };
  return webcrypto.subtle.generateKey(algorithm, exportable, ["sign", "verify"]);
}

const generate = promisify(generateKeyPair);

async function generateLeafKey(
  keyType: KeyType,
): Promise<{ readonly publicKey: Buffer; readonly privateKey: string }> {
  const encoding = {
    publicKeyEncoding: { type: "spki", format: "der" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  } as const;
  return keyType === "ec-p256"
    ? await generate("ec", { namedCurve: "P-256", ...encoding })
    : await generate("rsa", { modulusLength: 2048, ...encoding });
}

function createSigner(key: webcrypto.CryptoKey): CertificateSigner {
  if (key.algorithm.name !== "ECDSA") {
    return {
      algorithm: signatureAlgorithms.rsaSha256,
      sign: async (bytes) =>
        new Uint8Array(await webcrypto.subtle.sign("RSASSA-PKCS1-v1_5", key, Uint8Array.from(bytes))),
    };
  }
  const p384 = (key.algorithm as webcrypto.EcKeyAlgorithm).namedCurve === "P-384";
  const hash = p384 ? "SHA-384" : "SHA-256";
  return {
    algorithm: p384 ? signatureAlgorithms.ecdsaSha384 : signatureAlgorithms.ecdsaSha256,
    async sign(bytes) {
      const raw = new Uint8Array(
        await webcrypto.subtle.sign({ name: "ECDSA", hash }, key, Uint8Array.from(bytes)),
      );
      // WebCrypto answers r and s side by side; X.509 wants them as a SEQUENCE of INTEGERs (RFC 3279 §2.2.3).
      const half = raw.length / 2;
      return sequence(unsignedInteger(raw.subarray(0, half)), unsignedInteger(raw.subarray(half)));
    },
  };
}

function wholeSeconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000) * 1000;
}

const dnsName = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;

function checkNames(commonName: string, dnsNames: readonly string[], ipAddresses: readonly string[]): void {
  // Characters, not UTF-16 units.
  const characters = Array.from(commonName).length;
  if (characters < 1 || characters > longestCommonName) {
    throw refused(
      commonName,
      `a common name has 1 to ${longestCommonName} characters, this one ${characters}`,
    );
  }
  if (/\p{Cc}/u.test(commonName)) throw refused("a name", "its common name has control characters");
  for (const name of dnsNames) {
    if (!dnsName.test(name)) throw refused(commonName, `${JSON.stringify(name)} is no DNS name`);
  }
  for (const address of ipAddresses) {
    if (isIP(address) === 0 || address.includes("%")) {
      throw refused(commonName, `${JSON.stringify(address)} is no IP address`);
    }
  }
}

/** Refuses what a verifier would refuse under the authority's name constraints, before anyone has to wonder why. */
function checkPermitted(request: CertificateRequest, permitted: readonly string[]): void {
  const { commonName, dnsNames = [], ipAddresses = [] } = request;
  // Without alternative names OpenSSL holds a common name of several labels to the constraints, as a host's name.
  const hosts =
    dnsNames.length === 0 && dnsName.test(commonName) && commonName.includes(".") ? [commonName] : dnsNames;
  const outside = hosts.find(
    (name) => !permitted.some((base) => `.${name}`.toLowerCase().endsWith(`.${base}`.toLowerCase())),
  );
  const problem = outside ?? ipAddresses[0];
  if (problem !== undefined) {
    throw refused(commonName, `its authority may not certify ${problem}, only ${permitted.join(", ")}`);
  }
}

function refused(subject: string, detail: string): SallyportError {
  return new SallyportError("E_CERTIFICATE_REQUEST_INVALID", { subject: JSON.stringify(subject), detail });
}

/**
 * Writes X.509 certificates (RFC 5280) with the few extensions that Sallyport uses. What goes into a certificate is
 * decided by `authority.ts`; this module only knows how it is written down.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { isIPv4, isIPv6 } from "node:net";
import {
  bitString,
  boolean,
  contextTag,
  element,
  elementsIn,
  namedBits,
  nothing,
  objectIdentifier,
  octetString,
  readElement,
  sequence,
  set,
  smallInteger,
  tags,
  time,
  unsignedInteger,
  utf8String,
} from "./der.ts";

/** Bits of the key usage extension (RFC 5280 §4.2.1.3). */
export const keyUsageBits = { digitalSignature: 0, keyEncipherment: 2, keyCertSign: 5, cRLSign: 6 } as const;

/** How a certificate is signed. */
export interface CertificateSigner {
  /** The AlgorithmIdentifier in DER: see {@link signatureAlgorithms}. */
  readonly algorithm: Buffer;
  /** Signs the bytes and answers the contents of the signature's BIT STRING. */
  sign(toBeSigned: Uint8Array): Promise<Uint8Array>;
}

/** AlgorithmIdentifiers (RFC 5758 §3.2: no parameters for ECDSA; RFC 4055 §5: NULL for RSA). */
export const signatureAlgorithms = {
  ecdsaSha256: sequence(objectIdentifier("1.2.840.10045.4.3.2")),
  ecdsaSha384: sequence(objectIdentifier("1.2.840.10045.4.3.3")),
  rsaSha256: sequence(objectIdentifier("1.2.840.113549.1.1.11"), nothing()),
} as const;

/** The fields of a certificate, in the order in which it has them. */
export interface CertificateFields {
  /** DER Names. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  /** Milliseconds; written to the second, downwards. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** SubjectPublicKeyInfo in DER. */
  readonly publicKey: Uint8Array;
  readonly extensions: readonly Buffer[];
}

/** Builds and signs a version 3 certificate with a new random serial number; answers its DER. */
export async function encodeCertificate(
  fields: CertificateFields,
  signer: CertificateSigner,
): Promise<Buffer> {
  const toBeSigned = sequence(
    element(contextTag(0), smallInteger(2)),
    unsignedInteger(randomSerial()),
    signer.algorithm,
    fields.issuer,
    sequence(time(fields.notBefore), time(fields.notAfter)),
    fields.subject,
    fields.publicKey,
    element(contextTag(3), sequence(...fields.extensions)),
  );
  return sequence(toBeSigned, signer.algorithm, bitString(await signer.sign(toBeSigned)));
}

/**
 * A serial number of exactly 16 octets: positive (the first bit is clear), never shortened by leading zeros (the second
 * is set), with 126 random bits; RFC 5280 §4.1.2.2 allows 20 octets, the CA/Browser Forum asks for 64 random bits.
 */
export function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}

/** A Name of one common name. */
export function encodeCommonName(commonName: string): Buffer {
  return sequence(set(sequence(objectIdentifier("2.5.4.3"), utf8String(commonName))));
}

/** SHA-1 of the public key's bits: method 1 of RFC 5280 §4.2.1.2. An identifier, not a protection. */
export function keyIdentifier(publicKey: Uint8Array): Buffer {
  const [, bits] = elementsIn(readElement(publicKey), tags.sequence);
  return createHash("sha1")
    .update(bits?.contents.subarray(1) ?? Buffer.alloc(0))
    .digest();
}

export function basicConstraints(
  value: { readonly ca: false } | { readonly ca: true; readonly pathLength: number },
): Buffer {
  const contents = value.ca ? [boolean(true), smallInteger(value.pathLength)] : [];
  return extension("2.5.29.19", "critical", sequence(...contents));
}

export function keyUsage(...bits: readonly (keyof typeof keyUsageBits)[]): Buffer {
  return extension("2.5.29.15", "critical", namedBits(bits.map((bit) => keyUsageBits[bit])));
}

export function extendedKeyUsage(...usages: readonly string[]): Buffer {
  return extension("2.5.29.37", "optional", sequence(...usages.map(objectIdentifier)));
}

export function subjectKeyIdentifier(id: Uint8Array): Buffer {
  return extension("2.5.29.14", "optional", octetString(id));
}

export function authorityKeyIdentifier(id: Uint8Array): Buffer {
  return extension("2.5.29.35", "optional", sequence(element(contextTag(0, "primitive"), id)));
}

export function subjectAlternativeName(dnsNames: readonly string[], ipAddresses: readonly string[]): Buffer {
  const names = [...dnsNames.map(dnsGeneralName), ...ipAddresses.map((ip) => ipGeneralName(ipOctets(ip)))];
  return extension("2.5.29.17", "optional", sequence(...names));
}

/**
 * Permits the given DNS names (and what lies under them, RFC 5280 §4.2.1.10) and no IP address at all: both families
 * are excluded by a range of every address.
 */
export function nameConstraints(permittedDnsNames: readonly string[]): Buffer {
  const permitted = permittedDnsNames.map((name) => sequence(dnsGeneralName(name)));
  const excluded = [8, 32].map((octets) => sequence(ipGeneralName(Buffer.alloc(octets))));
  return extension(
    "2.5.29.30",
    "critical",
    sequence(element(contextTag(0), ...permitted), element(contextTag(1), ...excluded)),
  );
}

/** The 4 or 16 octets of an IP address. Throws `RangeError` when it is none. */
export function ipOctets(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split(".").map(Number));
  if (!isIPv6(address) || address.includes("%")) throw new RangeError(`${address} is no IP address`);
  // The URL parser writes every form of an IPv6 address, also one with an IPv4 tail, in the one canonical way.
  const [head = "", tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  return Buffer.from([...left, ...zeros, ...right].map((group) => group.padStart(4, "0")).join(""), "hex");
}

function extension(id: string, weight: "critical" | "optional", value: Buffer): Buffer {
  const critical = weight === "critical" ? [boolean(true)] : [];
  return sequence(objectIdentifier(id), ...critical, octetString(value));
}

function dnsGeneralName(name: string): Buffer {
  return element(contextTag(2, "primitive"), Buffer.from(name, "ascii"));
}

function ipGeneralName(octets: Uint8Array): Buffer {
  return element(contextTag(7, "primitive"), octets);
}

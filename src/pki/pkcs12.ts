/**
 * The one PFX file that Sallyport writes: an RSA client identity for the released CCG plugin, in the encoding that every
 * .NET Framework and CryptoAPI reads (RFC 7292 with 3DES and SHA-1, nothing newer). The encoding protects nothing, its
 * password being empty: the file's access rules do.
 * @module
 */
import { createCipheriv, createHmac, createPrivateKey, hash, randomBytes } from "node:crypto";
import { SallyportError } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { inspectCertificate, matchesKey, openCertificate } from "./certificate.ts";
import {
  contextTag,
  element,
  nothing,
  objectIdentifier,
  octetString,
  sequence,
  set,
  smallInteger,
} from "./der.ts";
import { certificatesIn } from "./pem.ts";

export interface PfxIdentity {
  readonly certificatePem: string;
  /** RSA, in any PEM that Node reads. */
  readonly privateKeyPem: Secret;
  /** Further certificates to carry, such as the authority's; the leaf may stand among them. */
  readonly chainPem?: string;
  /** Empty for the plugin, which opens the file with a null password. */
  readonly password: string;
}

const ids = {
  data: objectIdentifier("1.2.840.113549.1.7.1"),
  encryptedData: objectIdentifier("1.2.840.113549.1.7.6"),
  shroudedKeyBag: objectIdentifier("1.2.840.113549.1.12.10.1.2"),
  certificateBag: objectIdentifier("1.2.840.113549.1.12.10.1.3"),
  x509Certificate: objectIdentifier("1.2.840.113549.1.9.22.1"),
  localKeyId: objectIdentifier("1.2.840.113549.1.9.21"),
  pbeWithSha1And3Des: objectIdentifier("1.2.840.113549.1.12.1.3"),
  sha1: objectIdentifier("1.3.14.3.2.26"),
} as const;

/** What Windows itself writes; more would only cost time, there being no password to guess. */
const iterations = 2000;

/**
 * Encodes the identity as a PFX (DER): key and certificates each under pbeWithSHAAnd3-KeyTripleDES-CBC, an HMAC-SHA-1
 * over both, and the same localKeyId on the leaf and its key. Throws `E_PFX_UNSUITABLE` when the key is not RSA or not
 * the certificate's: the released plugin could not use it.
 */
export function encodePkcs12(identity: PfxIdentity): Buffer {
  const { certificatePem, privateKeyPem, chainPem, password } = identity;
  const facts = inspectCertificate(certificatePem);
  if (!facts.keyType.startsWith("rsa-")) throw unsuitable(`its key is ${facts.keyType}, not RSA`);
  if (!matchesKey(certificatePem, privateKeyPem)) {
    throw unsuitable("the private key belongs to another certificate");
  }
  const leaf = openCertificate(certificatePem).raw;
  const others = (chainPem === undefined ? [] : certificatesIn(chainPem))
    .map((pem) => openCertificate(pem).raw)
    .filter((der) => !der.equals(leaf));
  const localKeyId = set(
    sequence(ids.localKeyId, set(octetString(Buffer.from(facts.thumbprintSha1, "hex")))),
  );
  const key = createPrivateKey(privateKeyPem.reveal()).export({ type: "pkcs8", format: "der" });

  const certificates = sequence(
    certificateBag(leaf, localKeyId),
    ...others.map((der) => certificateBag(der)),
  );
  const hidden = encrypt(certificates, password);
  const hiddenKey = encrypt(key, password);
  key.fill(0);
  const safe = sequence(
    sequence(
      ids.encryptedData,
      element(
        contextTag(0),
        sequence(
          smallInteger(0),
          sequence(ids.data, hidden.algorithm, element(contextTag(0, "primitive"), hidden.bytes)),
        ),
      ),
    ),
    dataContent(
      sequence(
        bag(ids.shroudedKeyBag, sequence(hiddenKey.algorithm, octetString(hiddenKey.bytes)), localKeyId),
      ),
    ),
  );

  const salt = randomBytes(8);
  const mac = createHmac("sha1", deriveKey("mac", password, salt, 20))
    .update(safe)
    .digest();
  const macData = sequence(
    sequence(sequence(ids.sha1, nothing()), octetString(mac)),
    octetString(salt),
    smallInteger(iterations),
  );
  return sequence(smallInteger(3), dataContent(safe), macData);
}

function certificateBag(der: Uint8Array, ...attributes: readonly Buffer[]): Buffer {
  const value = sequence(ids.x509Certificate, element(contextTag(0), octetString(der)));
  return bag(ids.certificateBag, value, ...attributes);
}

function bag(id: Buffer, value: Buffer, ...attributes: readonly Buffer[]): Buffer {
  return sequence(id, element(contextTag(0), value), ...attributes);
}

function dataContent(bytes: Uint8Array): Buffer {
  return sequence(ids.data, element(contextTag(0), octetString(bytes)));
}

function encrypt(
  plain: Uint8Array,
  password: string,
): { readonly algorithm: Buffer; readonly bytes: Buffer } {
  const salt = randomBytes(8);
  const cipher = createCipheriv(
    "des-ede3-cbc",
    deriveKey("encryption", password, salt, 24),
    deriveKey("initialisation vector", password, salt, 8),
  );
  return {
    algorithm: sequence(ids.pbeWithSha1And3Des, sequence(octetString(salt), smallInteger(iterations))),
    bytes: Buffer.concat([cipher.update(plain), cipher.final()]),
  };
}

/** The ID octet of RFC 7292 appendix B.3. */
const purposes = { encryption: 1, "initialisation vector": 2, mac: 3 } as const;

/**
 * RFC 7292 appendix B.2 with SHA-1 (blocks of 64 octets in, 20 out). The password is a BMPString with its terminator
 * (B.1), so an empty one is two zero octets, not none: readers that are given an empty or a null password try both.
 */
function deriveKey(
  purpose: keyof typeof purposes,
  password: string,
  salt: Uint8Array,
  length: number,
): Buffer {
  const input = Buffer.concat([fill(salt), fill(Buffer.from(`${password}\0`, "utf16le").swap16())]);
  const diversifier = Buffer.alloc(64, purposes[purpose]);
  const derived: Buffer[] = [];
  for (let have = 0; have < length; have += 20) {
    let digest: Buffer = Buffer.concat([diversifier, input]);
    for (let round = 0; round < iterations; round++) digest = hash("sha1", digest, "buffer");
    derived.push(digest);
    const addend = Buffer.alloc(64);
    for (let at = 0; at < 64; at++) addend[at] = digest[at % 20] ?? 0;
    for (let block = 0; block < input.length; block += 64)
      addWithOne(input.subarray(block, block + 64), addend);
  }
  return Buffer.concat(derived).subarray(0, length);
}

/** Repeats the bytes until they fill whole blocks of 64. */
function fill(bytes: Uint8Array): Buffer {
  return Buffer.alloc(Math.ceil(bytes.length / 64) * 64, bytes);
}

/** `block = block + addend + 1`, both big-endian, the overflow dropped. */
function addWithOne(block: Buffer, addend: Uint8Array): void {
  let carry = 1;
  for (let at = block.length - 1; at >= 0; at--) {
    carry += (block[at] ?? 0) + (addend[at] ?? 0);
    block[at] = carry & 0xff;
    carry >>= 8;
  }
}

function unsuitable(detail: string): SallyportError {
  return new SallyportError("E_PFX_UNSUITABLE", { detail });
}

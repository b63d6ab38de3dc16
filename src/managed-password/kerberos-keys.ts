/**
 * Kerberos keys of a managed password: AES by RFC 3962 and, where an old service still needs it, the NT hash as the
 * RC4-HMAC key (RFC 4757).
 * @module
 */
import { createCipheriv, pbkdf2Sync } from "node:crypto";
import { SecretBytes } from "../secret.ts";
import { md4 } from "./md4.ts";

/** Encryption types by their numbers (RFC 3961 registry). */
export const encryptionTypes = { aes256: 18, aes128: 17, rc4: 23 } as const;
export type EncryptionTypeName = keyof typeof encryptionTypes;

export interface KerberosKey {
  readonly encryptionType: EncryptionTypeName;
  readonly key: SecretBytes;
}

/** Name under which AD salts the keys of a computer or a managed service account (MS-KILE 3.1.1.2). */
export function serviceAccountSalt(realm: string, samAccountName: string): string {
  const host = samAccountName.replace(/\$$/, "").toLowerCase();
  return `${realm.toUpperCase()}host${host}.${realm.toLowerCase()}`;
}

/**
 * Keys of a password of UTF-16LE octets for these encryption types, in their order.
 * For AES the password is taken as UTF-8, every unpaired surrogate as U+FFFD, which is what domain controllers do.
 */
export function kerberosKeys(
  password: SecretBytes,
  salt: string,
  types: readonly EncryptionTypeName[],
): readonly KerberosKey[] {
  return types.map((encryptionType) => ({
    encryptionType,
    key:
      encryptionType === "rc4"
        ? new SecretBytes(md4(password.reveal()))
        : aesStringToKey(utf8OfPassword(password), salt, encryptionType),
  }));
}

/** RFC 3962, section 4, with AD's default of 4096 iterations. */
export function aesStringToKey(
  password: Uint8Array,
  salt: string,
  encryptionType: "aes128" | "aes256",
  iterations = 4096,
): SecretBytes {
  const length = encryptionType === "aes256" ? 32 : 16;
  const base = pbkdf2Sync(password, Buffer.from(salt, "utf8"), iterations, length, "sha1");
  const cipher = createCipheriv(`aes-${length * 8}-cbc`, base, Buffer.alloc(16));
  cipher.setAutoPadding(false);
  // DK(key, "kerberos"): encrypt the folded constant, and for the second half its own result; CBC over zeros does both.
  const key = cipher.update(Buffer.concat([foldedKerberosConstant, Buffer.alloc(length - 16)]));
  base.fill(0);
  return new SecretBytes(key);
}

/** n-fold("kerberos") to 128 bits (RFC 3961, 5.1). */
const foldedKerberosConstant = Buffer.from("6b65726265726f737b9b5b2b93132b93", "hex");

function utf8OfPassword(password: SecretBytes): Buffer {
  // The decoder replaces each unpaired surrogate; without `ignoreBOM` it would eat a leading U+FEFF.
  return Buffer.from(new TextDecoder("utf-16le", { ignoreBOM: true }).decode(password.reveal()), "utf8");
}

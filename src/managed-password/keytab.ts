/**
 * MIT keytab files, format 5.2 (krb5 documentation, "Keytab file format"): written for the services that use a managed
 * account, read back to see what a file holds.
 * @module
 */
import { SecretBytes } from "../secret.ts";
import { encryptionTypes, type EncryptionTypeName } from "./kerberos-keys.ts";

export interface KeytabEntry {
  readonly realm: string;
  /** `["webapp01$"]`, `["HTTP", "web.contoso.test"]`. */
  readonly components: readonly string[];
  /** Key version number, at most 2³²−1. */
  readonly keyVersion: number;
  /** Number of the encryption type. */
  readonly encryptionType: number;
  readonly key: SecretBytes;
  /** Seconds since 1970 when the entry was written. */
  readonly timestamp: number;
}

const formatVersion = 0x0502;
/** KRB5_NT_PRINCIPAL. */
const principalNameType = 1;

/** The file's octets. */
export function encodeKeytab(entries: readonly KeytabEntry[]): Buffer {
  const version = Buffer.alloc(2);
  version.writeUInt16BE(formatVersion);
  return Buffer.concat([version, ...entries.map(encodeEntry)]);
}

function encodeEntry(entry: KeytabEntry): Buffer {
  const tail = Buffer.alloc(4 + 4 + 1 + 2);
  tail.writeUInt32BE(principalNameType, 0);
  tail.writeUInt32BE(entry.timestamp >>> 0, 4);
  // Eight bits for readers of old; the full number follows the key.
  tail.writeUInt8(entry.keyVersion & 0xff, 8);
  tail.writeUInt16BE(entry.encryptionType, 9);
  const body = Buffer.concat([
    uint16(entry.components.length),
    counted(Buffer.from(entry.realm, "utf8")),
    ...entry.components.map((component) => counted(Buffer.from(component, "utf8"))),
    tail,
    counted(entry.key.reveal()),
    uint32(entry.keyVersion),
  ]);
  return Buffer.concat([uint32(body.length), body]);
}

/** The entries of a file, or `undefined` when it is not a keytab of format 5.2. */
export function decodeKeytab(file: Uint8Array): readonly KeytabEntry[] | undefined {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  if (bytes.length < 2 || bytes.readUInt16BE(0) !== formatVersion) return undefined;
  const entries: KeytabEntry[] = [];
  let at = 2;
  while (at < bytes.length) {
    if (at + 4 > bytes.length) return undefined;
    const size = bytes.readInt32BE(at);
    at += 4;
    // A negative size is a hole, left where an entry was removed.
    const end = at + Math.abs(size);
    if (end > bytes.length || size === 0) return undefined;
    if (size > 0) {
      const entry = decodeEntry(bytes.subarray(at, end));
      if (entry === undefined) return undefined;
      entries.push(entry);
    }
    at = end;
  }
  return entries;
}

function decodeEntry(body: Buffer): KeytabEntry | undefined {
  try {
    let at = 0;
    const number = (size: 1 | 2 | 4): number => {
      const value = body.readUIntBE(at, size);
      at += size;
      return value;
    };
    const octets = (): Buffer => {
      const length = number(2);
      if (at + length > body.length) throw new RangeError("beyond the entry");
      at += length;
      return body.subarray(at - length, at);
    };
    const count = number(2);
    const realm = octets().toString("utf8");
    const components: string[] = [];
    for (let index = 0; index < count; index++) components.push(octets().toString("utf8"));
    number(4);
    const timestamp = number(4);
    const shortVersion = number(1);
    const encryptionType = number(2);
    const key = new SecretBytes(octets());
    const longVersion = body.length - at >= 4 ? number(4) : 0;
    return { realm, components, keyVersion: longVersion || shortVersion, encryptionType, key, timestamp };
  } catch (thrown) {
    if (thrown instanceof RangeError) return undefined;
    throw thrown;
  }
}

/** The name that goes with an encryption type's number, or the number itself. */
export function encryptionTypeName(number: number): string {
  const known = (Object.keys(encryptionTypes) as EncryptionTypeName[]).find(
    (name) => encryptionTypes[name] === number,
  );
  return known ?? String(number);
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

function counted(octets: Buffer): Buffer {
  return Buffer.concat([uint16(octets.length), octets]);
}

/**
 * Managed-password blobs for tests and for the directory simulator's suites, laid out as domain controllers do.
 * @module
 */
import { randomBytes } from "node:crypto";

export interface BlobParts {
  readonly current: Uint8Array;
  readonly previous?: Uint8Array;
  readonly queryInterval?: bigint;
  readonly unchangedInterval?: bigint;
  /** Octets of alignment before the intervals. */
  readonly padding?: number;
}

export function encodeManagedPasswordBlob(parts: BlobParts): Buffer {
  const nul = Buffer.alloc(2);
  const passwords = [parts.current, nul, ...(parts.previous === undefined ? [] : [parts.previous, nul])];
  const body = Buffer.concat([...passwords, Buffer.alloc(parts.padding ?? 0)]);
  const header = Buffer.alloc(16);
  const intervals = Buffer.alloc(16);
  intervals.writeBigUInt64LE(parts.queryInterval ?? 25_920_000_000_000n, 0);
  intervals.writeBigUInt64LE(parts.unchangedInterval ?? 25_917_000_000_000n, 8);
  header.writeUInt16LE(1, 0);
  header.writeUInt32LE(16 + body.length + 16, 4);
  header.writeUInt16LE(16, 8);
  header.writeUInt16LE(parts.previous === undefined ? 0 : 16 + parts.current.length + 2, 10);
  header.writeUInt16LE(16 + body.length, 12);
  header.writeUInt16LE(16 + body.length + 8, 14);
  return Buffer.concat([header, body, intervals]);
}

/** 256 octets that hold no NUL unit, as domain controllers make them. */
export function randomManagedPassword(): Buffer {
  const bytes = randomBytes(256);
  for (let at = 0; at < 256; at += 2) if (bytes.readUInt16LE(at) === 0) bytes.writeUInt16LE(1, at);
  return bytes;
}

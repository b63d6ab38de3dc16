/**
 * MSDS-MANAGEDPASSWORD_BLOB (MS-ADTS 2.2.19): what `msDS-ManagedPassword` holds. Its layout is given by offsets inside it,
 * each of which is checked against the declared length and the octets that came.
 * @module
 */
import { SecretBytes } from "../secret.ts";
import type { Ticks } from "../directory/filetime.ts";

export interface ManagedPassword {
  /** UTF-16LE, without its terminating NUL; mostly 256 octets with unpaired surrogates among them. */
  readonly current: SecretBytes;
  readonly previous: SecretBytes | undefined;
  /** Time left until the password changes. */
  readonly queryInterval: Ticks;
  /** Time left during which asking again gives nothing new. */
  readonly unchangedInterval: Ticks;
}

/** Why octets are not a managed password, in words that tell nothing of their content. */
export interface MalformedBlob {
  readonly malformed: string;
}

const headerLength = 16;

/** Decodes the blob. The result holds copies, so the argument may be wiped. */
export function parseManagedPasswordBlob(blob: Uint8Array): ManagedPassword | MalformedBlob {
  const bytes = Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  if (bytes.length < headerLength)
    return { malformed: `${bytes.length} octets are fewer than its header has` };
  if (bytes.readUInt16LE(0) !== 1) return { malformed: `version ${bytes.readUInt16LE(0)} is not 1` };
  if (bytes.readUInt16LE(2) !== 0) return { malformed: "the reserved field is not 0" };
  const length = bytes.readUInt32LE(4);
  if (length !== bytes.length) return { malformed: `it says ${length} octets and has ${bytes.length}` };
  const current = bytes.readUInt16LE(8);
  const previous = bytes.readUInt16LE(10);
  const query = bytes.readUInt16LE(12);
  const unchanged = bytes.readUInt16LE(14);
  const starts = previous === 0 ? [headerLength, current, query] : [headerLength, current, previous, query];
  if (starts.some((start, index) => index > 0 && start < (starts[index - 1] ?? 0))) {
    return { malformed: "its offsets are out of order" };
  }
  if (unchanged < query + 8 || unchanged + 8 > length) return { malformed: "an interval lies outside it" };
  const gaps = [
    [headerLength, current],
    [query + 8, unchanged],
    [unchanged + 8, length],
  ] as const;
  if (!gaps.every(([from, to]) => isPadding(bytes.subarray(from, to)))) {
    return { malformed: "it holds octets that no field explains" };
  }
  const currentPassword = passwordBetween(bytes, current, previous === 0 ? query : previous);
  if (typeof currentPassword === "string") return { malformed: `the current password ${currentPassword}` };
  const previousPassword = previous === 0 ? undefined : passwordBetween(bytes, previous, query);
  if (typeof previousPassword === "string") return { malformed: `the previous password ${previousPassword}` };
  return {
    current: currentPassword,
    previous: previousPassword,
    queryInterval: bytes.readBigUInt64LE(query),
    unchangedInterval: bytes.readBigUInt64LE(unchanged),
  };
}

/** What may lie between fields: zeros that align the next one. An altered offset would skip something else. */
function isPadding(gap: Buffer): boolean {
  return gap.length < 8 && gap.every((octet) => octet === 0);
}

/** The UTF-16 units from `start` to the first NUL unit, which must lie before `end`; only padding may follow it. */
function passwordBetween(bytes: Buffer, start: number, end: number): SecretBytes | string {
  for (let at = start; at + 2 <= end; at += 2) {
    if (bytes.readUInt16LE(at) !== 0) continue;
    if (at === start) return "is empty";
    if (!isPadding(bytes.subarray(at + 2, end))) return "is followed by something else";
    return new SecretBytes(bytes.subarray(start, at));
  }
  return "does not end";
}

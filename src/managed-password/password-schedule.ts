/**
 * When a managed password changes, and when to ask for it again (MS-ADTS 3.1.1.4.5.39, MS-GKDI 3.1.4.1.1): keys live on a
 * grid of ten-hour cycles since 1601, the same for every domain.
 * @module
 */
import { fileTimeToMilliseconds, ticksToMilliseconds, type Ticks } from "../directory/filetime.ts";
import { guidFromBytes, type Guid } from "../directory/guid.ts";

const cycleTicks: Ticks = 360_000_000_000n;

/** `msDS-ManagedPasswordId`: which group key the stored password was made from (MS-ADTS 2.2.20). */
export interface ManagedPasswordId {
  readonly rootKey: Guid;
  readonly l0: number;
  readonly l1: number;
  readonly l2: number;
}

/** Reads the identifier; `undefined` when it is not one. */
export function parseManagedPasswordId(value: Uint8Array): ManagedPasswordId | undefined {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  if (bytes.length < 52 || bytes.readUInt32LE(0) !== 1 || bytes.toString("latin1", 4, 8) !== "KDSK")
    return undefined;
  const [l0, l1, l2] = [bytes.readInt32LE(12), bytes.readInt32LE(16), bytes.readInt32LE(20)];
  const rootKey = guidFromBytes(bytes.subarray(24, 40));
  if (rootKey === undefined || l0 < 0 || l1 < 0 || l1 > 31 || l2 < 0 || l2 > 31) return undefined;
  return { rootKey, l0, l1, l2 };
}

/** Start of the key's validity, milliseconds since 1970. */
export function keyStart(id: ManagedPasswordId): number {
  return fileTimeToMilliseconds(BigInt(id.l0 * 1024 + id.l1 * 32 + id.l2) * cycleTicks);
}

/** End of the password made from this key, milliseconds since 1970, with the account's interval in days. */
export function keyEnd(id: ManagedPasswordId, intervalDays: number): number {
  return keyStart(id) + Math.floor((intervalDays * 24) / 10) * ticksToMilliseconds(cycleTicks);
}

export interface PasswordIntervals {
  readonly queryInterval: Ticks;
  readonly unchangedInterval: Ticks;
}

/**
 * Whether the blob was read in the last minutes before a change: the domain controller then already gives the next
 * password as the current one and the password that is still in force as the previous one.
 */
export function isNextPasswordEarly(intervals: PasswordIntervals): boolean {
  return intervals.unchangedInterval > intervals.queryInterval;
}

/**
 * When the next reading gives something new, milliseconds since 1970 on the caller's own clock: the intervals are
 * durations, so that clocks need not agree. Jitter keeps many readers from asking in the same second.
 *
 * @param readAt when the blob was asked for, so that the time it travelled makes the answer late, never early
 * @param jitter 0 to 1
 */
export function nextReading(intervals: PasswordIntervals, readAt: number, jitter: number): number {
  const spread = 10_000 * jitter;
  // Early next password: come back when it is in force, which is when this password's time has run out.
  const wait = isNextPasswordEarly(intervals) ? intervals.queryInterval : intervals.unchangedInterval;
  return readAt + ticksToMilliseconds(wait) + 1000 + spread;
}

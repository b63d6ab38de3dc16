/**
 * FILETIME, AD's instants and durations: 100-nanosecond ticks, instants counted from 1601-01-01 UTC (MS-DTYP 2.3.3).
 * @module
 */

/** Ticks of 100 ns. Larger than a JavaScript number holds exactly, so always a `bigint`. */
export type Ticks = bigint;

const ticksPerMillisecond = 10_000n;
const unixEpoch: Ticks = 116_444_736_000_000_000n;

/** The value that means "never" in `accountExpires` and in durations such as `maxPwdAge`. */
export const neverTicks: Ticks = 0x7fff_ffff_ffff_ffffn;

/** Milliseconds since 1970 (rounded down) of an instant. */
export function fileTimeToMilliseconds(ticks: Ticks): number {
  const since = ticks - unixEpoch;
  const quotient = since / ticksPerMillisecond;
  return Number(since < 0n && since % ticksPerMillisecond !== 0n ? quotient - 1n : quotient);
}

/** The instant of a number of milliseconds since 1970. */
export function millisecondsToFileTime(milliseconds: number): Ticks {
  return BigInt(Math.floor(milliseconds)) * ticksPerMillisecond + unixEpoch;
}

/** A duration in milliseconds, rounded down. */
export function ticksToMilliseconds(ticks: Ticks): number {
  return Number(ticks / ticksPerMillisecond);
}

/** AD's LargeInteger syntax: a decimal 64-bit number; `undefined` for anything else. */
export function parseTicks(text: string): Ticks | undefined {
  if (!/^-?\d{1,19}$/.test(text)) return undefined;
  const ticks = BigInt(text);
  return ticks === BigInt.asIntN(64, ticks) ? ticks : undefined;
}

/**
 * The instant of an attribute like `accountExpires`, where 0 and the largest value mean that there is none.
 * @returns milliseconds since 1970, or `undefined` for never
 */
export function expiryToMilliseconds(ticks: Ticks): number | undefined {
  return ticks <= 0n || ticks === neverTicks ? undefined : fileTimeToMilliseconds(ticks);
}

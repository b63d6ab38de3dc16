/**
 * The few forms of ASN.1 DER (X.690) that certificates and PFX files are made of: a writer, and a reader that accepts
 * definite lengths in their shortest form only. Nothing here knows what a certificate is.
 * @module
 */

/** Identifier octets (X.690 §8.1.2); context-specific ones come from {@link contextTag}. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** `[number]` as it stands before constructed contents, or before a primitive value (an implicit string). */
export function contextTag(number: number, form: "constructed" | "primitive" = "constructed"): number {
  return (form === "constructed" ? 0xa0 : 0x80) | number;
}

/** One element: tag, length, then the contents one after another. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([tag]), lengthOctets(body.length), body]);
}

export function sequence(...contents: readonly Uint8Array[]): Buffer {
  return element(tags.sequence, ...contents);
}

export function set(...contents: readonly Uint8Array[]): Buffer {
  return element(tags.set, ...contents);
}

/** An INTEGER from an unsigned big-endian number of any length. */
export function unsignedInteger(bytes: Uint8Array): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const shortest = bytes.subarray(start);
  const looksNegative = shortest.length === 0 || (shortest[0] ?? 0) >= 0x80;
  return element(tags.integer, looksNegative ? Buffer.from([0]) : Buffer.alloc(0), shortest);
}

/** A small non-negative INTEGER (below 2^32). */
export function smallInteger(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return unsignedInteger(bytes);
}

export function boolean(value: boolean): Buffer {
  return element(tags.boolean, Buffer.from([value ? 0xff : 0x00]));
}

export function nothing(): Buffer {
  return element(tags.null);
}

/** An OBJECT IDENTIFIER from its dotted form. */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  return element(tags.objectIdentifier, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

export function octetString(...contents: readonly Uint8Array[]): Buffer {
  return element(tags.octetString, ...contents);
}

/** A BIT STRING of whole octets. */
export function bitString(bytes: Uint8Array): Buffer {
  return element(tags.bitString, Buffer.from([0]), bytes);
}

/** A BIT STRING of named flags (bit 0 is the leftmost): trailing zero bits are dropped, as DER asks (X.690 §11.2.2). */
export function namedBits(bits: readonly number[]): Buffer {
  const highest = Math.max(...bits);
  const bytes = Buffer.alloc(Math.floor(highest / 8) + 1);
  for (const bit of bits) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return element(tags.bitString, Buffer.from([7 - (highest & 7)]), bytes);
}

export function utf8String(text: string): Buffer {
  return element(tags.utf8String, Buffer.from(text, "utf8"));
}

/** A point in time to the second: UTCTime until 2049, GeneralizedTime after it (RFC 5280 §4.1.2.5). */
export function time(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replace(/[-:T]|\.\d+/g, "");
  const utc = digits >= "1950" && digits < "2050";
  return element(
    utc ? tags.utcTime : tags.generalizedTime,
    Buffer.from(utc ? digits.slice(2) : digits, "ascii"),
  );
}

/** One element as it was read. */
export interface DerElement {
  readonly tag: number;
  /** The contents octets. */
  readonly contents: Buffer;
  /** Tag, length and contents: what a signature or a copied name is made over. */
  readonly whole: Buffer;
}

/** All elements that lie side by side in `bytes`. Throws `RangeError` when they do not fill it exactly. */
export function readElements(bytes: Uint8Array): readonly DerElement[] {
  const found: DerElement[] = [];
  for (let at = 0; at < bytes.length;) {
    const next = readElementAt(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), at);
    found.push(next);
    at += next.whole.length;
  }
  return found;
}

/** The one element that `bytes` is. Throws `RangeError` for anything before, behind or instead of it. */
export function readElement(bytes: Uint8Array): DerElement {
  const [only, ...more] = readElements(bytes);
  if (only === undefined || more.length > 0) throw new RangeError("not exactly one DER element");
  return only;
}

/** The elements inside a constructed element that must have `tag`. */
export function elementsIn(parent: DerElement | undefined, tag: number): readonly DerElement[] {
  if (parent?.tag !== tag) throw new RangeError(`DER element 0x${tag.toString(16)} expected`);
  return readElements(parent.contents);
}

/** The dotted form of an OBJECT IDENTIFIER. */
export function readObjectIdentifier(from: DerElement | undefined): string {
  if (from?.tag !== tags.objectIdentifier || from.contents.length === 0) {
    throw new RangeError("DER object identifier expected");
  }
  const arcs: number[] = [];
  let arc = 0;
  for (const octet of from.contents) {
    arc = arc * 128 + (octet & 0x7f);
    if (octet < 0x80) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const [head = 0, ...rest] = arcs;
  const first = Math.min(Math.floor(head / 40), 2);
  return [first, head - first * 40, ...rest].join(".");
}

function readElementAt(bytes: Buffer, at: number): DerElement {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) {
    throw new RangeError("truncated or multi-octet DER tag");
  }
  let length = first;
  let start = at + 2;
  if (first >= 0x80) {
    const octets = first & 0x7f;
    if (octets === 0 || octets > 4 || start + octets > bytes.length) throw new RangeError("bad DER length");
    length = bytes.readUIntBE(start, octets);
    if (length < 0x80 || length < 2 ** (8 * (octets - 1))) throw new RangeError("DER length is not minimal");
    start += octets;
  }
  const end = start + length;
  if (end > bytes.length) throw new RangeError("DER element runs past the end");
  return { tag, contents: bytes.subarray(start, end), whole: bytes.subarray(at, end) };
}

function lengthOctets(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  const shortest = bytes.subarray(bytes.findIndex((octet) => octet !== 0));
  return Buffer.concat([Buffer.from([0x80 | shortest.length]), shortest]);
}

function base128(arc: number): readonly number[] {
  const octets = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) {
    octets.unshift(0x80 | (rest % 128));
  }
  return octets;
}

/**
 * The little of ASN.1's Basic Encoding Rules that LDAP messages are made of (RFC 4511, 5.1): one-octet tags and definite
 * lengths. For looking at messages on their way; LDAP itself is spoken by the client library.
 * @module
 */

/** One element inside a buffer. `content` shares the buffer's memory. */
export interface BerElement {
  readonly tag: number;
  readonly content: Buffer;
  /** Offset of the octet that follows it. */
  readonly end: number;
}

export const berTag = {
  boolean: 0x01,
  integer: 0x02,
  octetString: 0x04,
  enumerated: 0x0a,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Tag and length of an element, of which the content need not have come yet. */
export interface BerHeader {
  readonly tag: number;
  readonly headerLength: number;
  readonly contentLength: number;
}

/** Reads tag and length at `at`; `undefined`: more octets are needed; `"malformed"`: LDAP does not allow them. */
export function readBerHeader(bytes: Buffer, at: number): BerHeader | "malformed" | undefined {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined) return undefined;
  if ((tag & 0x1f) === 0x1f) return "malformed";
  if (first === undefined) return undefined;
  if (first < 0x80) return { tag, headerLength: 2, contentLength: first };
  const count = first & 0x7f;
  // 0x80 would be an indefinite length, which RFC 4511 forbids; four octets already say 4 GiB.
  if (count === 0 || count > 4) return "malformed";
  if (at + 2 + count > bytes.length) return undefined;
  return { tag, headerLength: 2 + count, contentLength: bytes.readUIntBE(at + 2, count) };
}

/** Reads a complete element at `at`; `undefined` when it is not complete or not allowed. */
export function readBer(bytes: Buffer, at: number): BerElement | undefined {
  const header = readBerHeader(bytes, at);
  if (header === undefined || header === "malformed") return undefined;
  const start = at + header.headerLength;
  const end = start + header.contentLength;
  return end > bytes.length ? undefined : { tag: header.tag, content: bytes.subarray(start, end), end };
}

/** The elements that `content` is made of; `undefined` when it is not exactly a row of elements. */
export function readBerSequence(content: Buffer): readonly BerElement[] | undefined {
  const elements: BerElement[] = [];
  let at = 0;
  while (at < content.length) {
    const element = readBer(content, at);
    if (element === undefined) return undefined;
    elements.push(element);
    at = element.end;
  }
  return elements;
}

/** A non-negative integer of at most 31 bits; `undefined` for any other. */
export function berToInteger(content: Buffer): number | undefined {
  if (content.length === 0 || content.length > 4) return undefined;
  const value = content.readIntBE(0, content.length);
  return value < 0 ? undefined : value;
}

/** An element of octets, text (UTF-8) or other elements. */
export function ber(tag: number, ...content: readonly (Buffer | string)[]): Buffer {
  const body = Buffer.concat(
    content.map((part) => (typeof part === "string" ? Buffer.from(part, "utf8") : part)),
  );
  return Buffer.concat([berLength(tag, body.length), body]);
}

/** A non-negative integer of at most 31 bits. */
export function berInteger(value: number, tag: number = berTag.integer): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  let start = 0;
  while (start < 3 && bytes[start] === 0 && (bytes[start + 1] ?? 0) < 0x80) start++;
  return ber(tag, bytes.subarray(start));
}

function berLength(tag: number, length: number): Buffer {
  if (length < 0x80) return Buffer.from([tag, length]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(length);
  const start = bytes.findIndex((octet) => octet !== 0);
  return Buffer.from([tag, 0x80 | (4 - start), ...bytes.subarray(start)]);
}

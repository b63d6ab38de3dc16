/**
 * Distinguished names as text (RFC 4514): parsed, written and compared. Names come from directory entries or from
 * checked configuration; nothing is ever built from what a user typed.
 * @module
 */

/** One `type=value` of a relative distinguished name. A `#…` value is BER in hexadecimal and is kept as such. */
export interface AttributeTypeAndValue {
  readonly type: string;
  readonly value: string;
  /** The value was written as `#` and hexadecimal digits; `value` then holds the digits in lower case. */
  readonly hexadecimal?: true;
}

/** One level of a name: mostly one pair, sometimes several joined by `+`. */
export type RelativeDistinguishedName = readonly AttributeTypeAndValue[];

/** From the entry upwards: the first element is the entry's own. */
export type DistinguishedName = readonly RelativeDistinguishedName[];

const longestName = 64 * 1024;

/** Parses RFC 4514 text (with the optional spaces around separators that RFC 2253 allowed); `undefined` when it isn't a name. */
export function parseDistinguishedName(text: string): DistinguishedName | undefined {
  if (text.length > longestName || text.includes("\0")) return undefined;
  if (text.trim() === "") return [];
  const name: AttributeTypeAndValue[][] = [[]];
  let at = 0;
  for (;;) {
    const type = / *([A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)*) *= */y;
    type.lastIndex = at;
    const match = type.exec(text);
    if (match?.[1] === undefined) return undefined;
    const read = readValue(text, type.lastIndex);
    if (read === undefined) return undefined;
    name.at(-1)?.push({ type: match[1], ...read.parsed });
    at = read.end;
    if (at === text.length) return name;
    if (text[at] !== "+") name.push([]);
    at += 1;
  }
}

interface ReadValue {
  readonly parsed: Omit<AttributeTypeAndValue, "type">;
  readonly end: number;
}

/** Reads a value up to an unescaped separator or the end; trailing unescaped spaces don't belong to it. */
function readValue(text: string, start: number): ReadValue | undefined {
  if (text[start] === "#") {
    const hex = /#((?:[0-9a-fA-F]{2})+) *(?=[,+;]|$)/y;
    hex.lastIndex = start;
    const match = hex.exec(text);
    return match?.[1] === undefined
      ? undefined
      : { parsed: { value: match[1].toLowerCase(), hexadecimal: true }, end: hex.lastIndex };
  }
  const bytes: Buffer[] = [];
  let length = 0;
  let significant = 0;
  let at = start;
  while (at < text.length) {
    const character = String.fromCodePoint(text.codePointAt(at) ?? 0);
    if (character === "," || character === ";" || character === "+") break;
    let chunk: Buffer;
    if (character === "\\") {
      const pair = /\\(?:([0-9a-fA-F]{2})|([ "#+,;<=>\\]))/y;
      pair.lastIndex = at;
      const match = pair.exec(text);
      if (match === null) return undefined;
      chunk = match[1] === undefined ? Buffer.from(match[2] ?? "") : Buffer.from(match[1], "hex");
      at = pair.lastIndex;
      significant = length + chunk.length;
    } else {
      if (character === '"' || character === "<" || character === ">") return undefined;
      chunk = Buffer.from(character, "utf8");
      at += character.length;
      if (character !== " ") significant = length + chunk.length;
    }
    bytes.push(chunk);
    length += chunk.length;
  }
  const value = Buffer.concat(bytes).subarray(0, significant);
  const decoded = value.toString("utf8");
  return Buffer.from(decoded, "utf8").equals(value) ? { parsed: { value: decoded }, end: at } : undefined;
}

/** The name as RFC 4514 text, with every character escaped that has to be. */
export function formatDistinguishedName(name: DistinguishedName): string {
  return name
    .map((level) =>
      level
        .map(
          ({ type, value, hexadecimal }) =>
            `${type}=${hexadecimal === true ? `#${value}` : escapeDistinguishedNameValue(value)}`,
        )
        .join("+"),
    )
    .join(",");
}

/** Escapes one value (RFC 4514, 2.4); a NUL becomes `\00`. */
export function escapeDistinguishedNameValue(value: string): string {
  return value
    .replace(/["+,;<>\\=]/g, "\\$&")
    .replace(/[\0\r\n]/g, (control) => `\\${control.charCodeAt(0).toString(16).padStart(2, "0")}`)
    .replace(/ $/, "\\ ")
    .replace(/^[ #]/, "\\$&");
}

/**
 * Whether two names denote the same entry as far as text can tell: types and values compared without regard to case and
 * repeated spaces, pairs of one level in any order.
 */
export function sameDistinguishedName(one: DistinguishedName, other: DistinguishedName): boolean {
  return comparable(one) === comparable(other);
}

/** Whether `name` is `base` or lies below it. */
export function isWithin(name: DistinguishedName, base: DistinguishedName): boolean {
  return name.length >= base.length && sameDistinguishedName(name.slice(name.length - base.length), base);
}

/** The DNS domain that the `DC=` levels of a name spell (`contoso.test`), or `undefined` when it has none. */
export function domainOf(name: DistinguishedName): string | undefined {
  const labels = name
    .filter((level) => level.length === 1 && level[0]?.type.toLowerCase() === "dc")
    .map((level) => level[0]?.value ?? "");
  return labels.length === 0 ? undefined : labels.join(".").toLowerCase();
}

/** `DC=contoso,DC=test` of `contoso.test`. */
export function domainToDistinguishedName(domain: string): string {
  return formatDistinguishedName(domain.split(".").map((label) => [{ type: "DC", value: label }]));
}

function comparable(name: DistinguishedName): string {
  return JSON.stringify(
    name.map((level) =>
      level
        .map(({ type, value, hexadecimal }) => [
          type.toLowerCase(),
          hexadecimal === true ? "#" : "",
          value.normalize("NFC").toLowerCase().trim().replace(/ +/g, " "),
        ])
        .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)),
    ),
  );
}

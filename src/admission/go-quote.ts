/**
 * Go's `%q`: the webhook's messages quote names and contents with it, and scripts match them.
 * @module
 */

const short: Readonly<Record<string, string>> = {
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
  "\\": "\\\\",
  '"': '\\"',
};

/** What Go calls printable: letters, marks, numbers, punctuation, symbols and the ASCII space. */
const printable = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u;

/** The text in double quotes, as `strconv.Quote` writes it. */
export function goQuote(text: string): string {
  let quoted = "";
  for (const character of text.toWellFormed()) quoted += short[character] ?? escapeUnprintable(character);
  return `"${quoted}"`;
}

function escapeUnprintable(character: string): string {
  if (printable.test(character)) return character;
  const code = character.codePointAt(0) ?? 0;
  if (code < 0x80) return `\\x${code.toString(16).padStart(2, "0")}`;
  return code > 0xffff
    ? `\\U${code.toString(16).padStart(8, "0")}`
    : `\\u${code.toString(16).padStart(4, "0")}`;
}

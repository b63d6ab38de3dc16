/**
 * JSON read exactly: duplicate keys are noticed, integers keep every digit, each value knows where it stands. A credential
 * spec is compared and authorised as text that Windows will parse again, so a reader that silently lets the last key win
 * (as `JSON.parse` does) would open a gap between what was checked and what is used.
 * @module
 */

/** A JSON value. `at` is its offset in the source text (UTF-16 units), absent when it was not read from text. */
export type JsonNode =
  | { readonly type: "null"; readonly at?: number }
  | { readonly type: "boolean"; readonly value: boolean; readonly at?: number }
  /** `text` is the number as written. */
  | { readonly type: "number"; readonly text: string; readonly at?: number }
  | { readonly type: "string"; readonly value: string; readonly at?: number }
  | { readonly type: "array"; readonly items: readonly JsonNode[]; readonly at?: number }
  | { readonly type: "object"; readonly members: readonly JsonMember[]; readonly at?: number };

export interface JsonMember {
  readonly key: string;
  readonly value: JsonNode;
  readonly at?: number;
}

/** A key that stands twice in one object: its JSON pointer (RFC 6901) and the offset of the later one. */
export interface DuplicateKey {
  readonly pointer: string;
  readonly at: number;
}

export type JsonReading =
  | { readonly ok: true; readonly value: JsonNode; readonly duplicates: readonly DuplicateKey[] }
  | { readonly ok: false; readonly problem: string; readonly at: number };

/** Deeper nesting than this is refused: no document of ours needs more than four levels. */
const deepest = 128;

const whitespace = /[\t\n\r ]*/y;
// eslint-disable-next-line no-control-regex -- JSON forbids control characters in strings (RFC 8259 section 7)
const plainText = /[^"\\\u0000-\u001f]*/y;
const numeral = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const fourHex = /[0-9a-fA-F]{4}/y;
const shortEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

class Malformed extends Error {
  readonly at: number;

  constructor(problem: string, at: number) {
    super(problem);
    this.at = at;
  }
}

/**
 * Reads one JSON text (RFC 8259). Never throws. Stricter than the RFC in two points where readers disagree: lone surrogates
 * and numbers beyond a double are refused.
 */
export function readJson(text: string): JsonReading {
  const reader = new Reader(text);
  try {
    return { ok: true, value: reader.readDocument(), duplicates: reader.duplicates };
  } catch (thrown) {
    if (thrown instanceof Malformed) return { ok: false, problem: thrown.message, at: thrown.at };
    throw thrown;
  }
}

class Reader {
  readonly duplicates: DuplicateKey[] = [];
  readonly #text: string;
  readonly #path: string[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  readDocument(): JsonNode {
    this.#skip();
    const value = this.#value();
    this.#skip();
    if (this.#at < this.#text.length) throw this.#unexpected("after the end of the document");
    return value;
  }

  #value(): JsonNode {
    const at = this.#at;
    const next = this.#text[at];
    if (next === "{") return this.#nested(() => this.#object());
    if (next === "[") return this.#nested(() => this.#array());
    if (next === '"') return { type: "string", value: this.#string(), at };
    if (this.#word("true")) return { type: "boolean", value: true, at };
    if (this.#word("false")) return { type: "boolean", value: false, at };
    if (this.#word("null")) return { type: "null", at };
    const text = this.#match(numeral);
    if (text === "") throw this.#unexpected("where a value should be");
    if (!Number.isFinite(Number(text))) throw new Malformed("the number is out of range", at);
    return { type: "number", text, at };
  }

  #nested(read: () => JsonNode): JsonNode {
    if (this.#path.length >= deepest) throw new Malformed(`nested deeper than ${deepest} levels`, this.#at);
    this.#path.push("");
    const value = read();
    this.#path.pop();
    return value;
  }

  #object(): JsonNode {
    const at = this.#at++;
    const members: JsonMember[] = [];
    const seen = new Set<string>();
    this.#skip();
    if (this.#take("}")) return { type: "object", members, at };
    for (;;) {
      this.#skip();
      const keyAt = this.#at;
      if (this.#text[keyAt] !== '"') throw this.#unexpected("where a key should be");
      const key = this.#string();
      this.#path[this.#path.length - 1] = key;
      if (seen.has(key)) this.duplicates.push({ pointer: pointerOf(this.#path), at: keyAt });
      seen.add(key);
      this.#skip();
      if (!this.#take(":")) throw this.#unexpected("after a key, where a colon should be");
      this.#skip();
      members.push({ key, value: this.#value(), at: keyAt });
      this.#skip();
      if (this.#take("}")) return { type: "object", members, at };
      if (!this.#take(",")) throw this.#unexpected("in an object, where a comma or a brace should be");
    }
  }

  #array(): JsonNode {
    const at = this.#at++;
    const items: JsonNode[] = [];
    this.#skip();
    if (this.#take("]")) return { type: "array", items, at };
    for (;;) {
      this.#path[this.#path.length - 1] = String(items.length);
      this.#skip();
      items.push(this.#value());
      this.#skip();
      if (this.#take("]")) return { type: "array", items, at };
      if (!this.#take(",")) throw this.#unexpected("in a list, where a comma or a bracket should be");
    }
  }

  #string(): string {
    const at = this.#at++;
    let value = "";
    for (;;) {
      value += this.#match(plainText);
      const next = this.#text[this.#at];
      if (next === undefined) throw new Malformed("the string does not end", at);
      if (next === '"') break;
      if (next !== "\\") throw this.#unexpected("in a string");
      value += this.#escape();
    }
    this.#at++;
    if (!value.isWellFormed()) throw new Malformed("the string holds half of a surrogate pair", at);
    return value;
  }

  #escape(): string {
    const letter = this.#text[this.#at + 1] ?? "";
    this.#at += 2;
    if (letter === "u") {
      const digits = this.#match(fourHex);
      if (digits === "") throw this.#unexpected("after \\u, where four hexadecimal digits should be");
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    const short = shortEscapes[letter];
    if (letter === "" || short === undefined)
      throw new Malformed("the string has an unknown escape", this.#at - 2);
    return short;
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += found.length;
    return found;
  }

  #skip(): void {
    this.#match(whitespace);
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #word(word: string): boolean {
    if (!this.#text.startsWith(word, this.#at)) return false;
    this.#at += word.length;
    return true;
  }

  #unexpected(where: string): Malformed {
    if (this.#at >= this.#text.length)
      return new Malformed("unexpected end of JSON input", this.#text.length);
    const character = String.fromCodePoint(this.#text.codePointAt(this.#at) ?? 0);
    return new Malformed(`unexpected ${JSON.stringify(character)} ${where}`, this.#at);
  }
}

/**
 * An ordinary JavaScript value (parsed by someone else) as a node. Big integers keep their digits, half surrogate pairs
 * become U+FFFD as in Go; what JSON cannot hold (functions, symbols, undefined members) is left out.
 */
export function nodeOf(value: unknown): JsonNode {
  if (typeof value === "string") return { type: "string", value: value.toWellFormed() };
  if (typeof value === "boolean") return { type: "boolean", value };
  if (typeof value === "bigint") return { type: "number", text: String(value) };
  if (typeof value === "number" && Number.isFinite(value)) {
    return { type: "number", text: Object.is(value, -0) ? "-0.0" : String(value) };
  }
  if (typeof value !== "object" || value === null) return { type: "null" };
  if (Array.isArray(value)) return { type: "array", items: value.map(nodeOf) };
  const members = Object.entries(value)
    .filter(
      ([, member]) => member !== undefined && typeof member !== "function" && typeof member !== "symbol",
    )
    .map(([key, member]) => ({ key: key.toWellFormed(), value: nodeOf(member) }));
  return { type: "object", members };
}

/** The member of that name, the last one when it stands twice; `undefined` for anything but an object that has it. */
export function memberOf(node: JsonNode | undefined, key: string): JsonNode | undefined {
  if (node?.type !== "object") return undefined;
  return node.members.findLast((member) => member.key === key)?.value;
}

/** A JSON pointer (RFC 6901) of these steps. */
export function pointerOf(steps: readonly (string | number)[]): string {
  return steps.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** Line and column (both from 1, columns in UTF-16 units) of an offset. */
export function positionAt(text: string, offset: number): { readonly line: number; readonly column: number } {
  const before = text.slice(0, offset);
  const line = before.split("\n").length;
  return { line, column: offset - (before.lastIndexOf("\n") + 1) + 1 };
}

/**
 * JSON from strangers: one value, an object, in which no name stands twice, not even in another case. Two readers of the
 * same text would otherwise see different requests (GHSA-pp3f-98qg-5g75 came of exactly that).
 * @module
 */

export type StrictJson =
  | { readonly ok: true; readonly value: Readonly<Record<string, unknown>> }
  | { readonly ok: false; readonly problem: string };

/** Parses an object. The problem never quotes the text. */
export function parseStrictObject(text: string): StrictJson {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, problem: "it is not JSON" };
  }
  if (!isObject(value)) return { ok: false, problem: "it is not a JSON object" };
  if (hasRepeatedName(text)) return { ok: false, problem: "a name stands in it twice" };
  return { ok: true, value };
}

/** A JSON object, neither null nor an array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Walks valid JSON and compares the names of each object; strings are the only place where braces can hide. */
function hasRepeatedName(text: string): boolean {
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "{") open.push(new Set());
    else if (character === "[") open.push(undefined);
    else if (character === "}" || character === "]") open.pop();
    else if (character === '"') {
      const end = endOfString(text, at);
      if (isFollowedByColon(text, end)) {
        const names = open.at(-1);
        const name = (JSON.parse(text.slice(at, end)) as string).toLowerCase();
        if (names?.has(name) === true) return true;
        names?.add(name);
      }
      at = end - 1;
    }
  }
  return false;
}

/** Index after the closing quote of the string that opens at `at`. */
function endOfString(text: string, at: number): number {
  let end = at + 1;
  while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
  return end + 1;
}

function isFollowedByColon(text: string, at: number): boolean {
  let next = at;
  while (" \t\r\n".includes(text[next] ?? "x")) next++;
  return text[next] === ":";
}

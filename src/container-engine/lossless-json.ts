/**
 * JSON that survives a round trip to the byte of every number: a service's settings go back to the engine as they came,
 * and an engine written in Go has 64-bit integers that a JavaScript number cannot hold.
 * @module
 */

/** What ECMAScript 2026 adds to `JSON` (https://tc39.es/proposal-json-parse-with-source/); the types do not know it yet. */
interface JsonWithSource {
  parse(
    text: string,
    reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
}

const json = JSON as unknown as JsonWithSource;

/** As `JSON.parse`, but a number that would change when printed again is kept as its text. Throws `SyntaxError`. */
export function parseLossless(text: string): unknown {
  return json.parse(text, (_key, value, { source }) =>
    typeof value === "number" && source !== undefined && String(value) !== source
      ? json.rawJSON(source)
      : value,
  );
}

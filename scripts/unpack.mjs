/**
 * Part of the bundle (`build.ts`): makes a module of what lies packed in one of the last lines of the bundle's own file.
 * @module
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

/** @typedef {(name: string) => Promise<Record<string, unknown>>} Load */

/** @type {Map<string, Promise<Load>>} */
const unpacked = new Map();

/**
 * @param {string} bundle URL of the bundle, or of a part of it.
 * @param {string} part name of the packed part.
 * @returns {Promise<Load>} loads a packed module by its name.
 */
export function unpack(bundle, part) {
  const known = unpacked.get(part) ?? evaluate(bundle.split("?")[0] ?? "", part);
  unpacked.set(part, known);
  return known;
}

/**
 * @param {string} bundle
 * @param {string} part
 */
async function evaluate(bundle, part) {
  const text = readFileSync(fileURLToPath(bundle), "latin1");
  const mark = `//${part}:`;
  const begin = text.lastIndexOf(mark) + mark.length;
  const source = brotliDecompressSync(Buffer.from(text.slice(begin, text.indexOf("\n", begin)), "base64"));
  const url = `${bundle}?${part}`;
  // The module keeps the bundle's address, so that its relative paths and its source map are found.
  const hooks = registerHooks({
    resolve: (specifier, context, next) =>
      specifier === url ? { url, format: "module", shortCircuit: true } : next(specifier, context),
    load: (address, context, next) =>
      address === url ? { format: "module", source, shortCircuit: true } : next(address, context),
  });
  try {
    return (await import(url)).load;
  } finally {
    hooks.deregister();
  }
}

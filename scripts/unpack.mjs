/**
 * Part of the bundle's head (`build.ts`): makes a module of what lies packed in the last line of the bundle's own file.
 * @module
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

/** @type {Promise<(name: string) => Promise<Record<string, unknown>>> | undefined} */
let unpacked;

/**
 * @param {string} bundle URL of the bundle.
 * @returns {Promise<(name: string) => Promise<Record<string, unknown>>>} loads a packed module by its name.
 */
export function unpack(bundle) {
  unpacked ??= evaluate(bundle);
  return unpacked;
}

/** @param {string} bundle */
async function evaluate(bundle) {
  const text = readFileSync(fileURLToPath(bundle), "latin1");
  const source = brotliDecompressSync(Buffer.from(text.slice(text.lastIndexOf("//packed:") + 9), "base64"));
  const url = `${bundle}?packed`;
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

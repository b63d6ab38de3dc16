/**
 * The running version: the bundle carries it as a constant, a checkout reads its package.json.
 * @module
 */
import { readFileSync } from "node:fs";

/** Set by the bundler (`scripts/build.ts`). */
declare const SALLYPORT_VERSION: string | undefined;

export const version: string =
  typeof SALLYPORT_VERSION === "string" ? SALLYPORT_VERSION : versionOfCheckout();

function versionOfCheckout(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return (manifest as { readonly version: string }).version;
}

/**
 * `port.txt`, by which a provider's port is told to whoever looks into its host directory.
 * @module
 */

/** The port (1 to 65535) that the file's text names, decimal digits and nothing else; otherwise `undefined`. */
export function portOfFile(text: string): number | undefined {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  return port >= 1 && port <= 65_535 ? port : undefined;
}

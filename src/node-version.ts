/**
 * The oldest Node that can start this program: the bundle loads its packed parts by hooks that came with 22.
 * @module
 */
import { SallyportError } from "./errors.ts";

const oldest = 22;

/** @throws {SallyportError} `E_NODE_VERSION` when the program cannot run on it. */
export function checkNodeVersion(version: string): void {
  if (Number.parseInt(version, 10) < oldest) throw new SallyportError("E_NODE_VERSION", { version });
}

/**
 * The keytab on disk: read back before it is replaced, replaced in one step, readable by its owner alone.
 * @module
 */
import { lstat, readFile } from "node:fs/promises";
import { dirname } from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import { reasonOf, SallyportError } from "../errors.ts";
import { decodeKeytab, type KeytabEntry } from "./keytab.ts";

const largestKeytab = 1024 * 1024;

/**
 * Checks that `path` is free or an ordinary file and returns the entries it holds. Throws `E_KEYTAB_FILE` for anything
 * else: through a link somebody could have us write keys, or lose a file, elsewhere.
 */
export async function readKeytabFile(path: string): Promise<readonly KeytabEntry[]> {
  const fail = (detail: string): SallyportError => new SallyportError("E_KEYTAB_FILE", { path, detail });
  try {
    if (!(await lstat(dirname(path))).isDirectory()) throw fail("its folder is not a folder");
  } catch (thrown) {
    throw thrown instanceof SallyportError ? thrown : fail(reasonOf(thrown));
  }
  try {
    const status = await lstat(path);
    if (status.isSymbolicLink()) throw fail("it is a symbolic link");
    if (!status.isFile()) throw fail("it is not an ordinary file");
    if (status.size > largestKeytab) return [];
    return decodeKeytab(await readFile(path)) ?? [];
  } catch (thrown) {
    if (thrown instanceof SallyportError) throw thrown;
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw fail(reasonOf(thrown));
  }
}

/** Replaces the file (mode 0600, renamed into place). Throws `E_KEYTAB_FILE`. */
export async function writeKeytabFile(path: string, contents: Buffer): Promise<void> {
  try {
    await writeFileAtomically(path, contents);
  } catch (thrown) {
    throw new SallyportError("E_KEYTAB_FILE", { path, detail: reasonOf(thrown) }, { cause: thrown });
  }
}

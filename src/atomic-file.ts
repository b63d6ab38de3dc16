/**
 * Files that others read while we write them: written under a temporary name in the same directory, then renamed.
 * @module
 */
import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Mark of a temporary name; a crashed writer's leftovers are recognised by it. */
const temporaryMark = ".sallyport-tmp-";

export interface AtomicFileOptions {
  /** Called with the temporary file, complete and closed, before it takes the name: the place to set access lists. */
  readonly beforeRename?: (temporaryPath: string) => Promise<void>;
}

/**
 * Replaces `path` with `contents`, readable and writable by its owner alone (mode 0600; Windows: what the directory
 * hands down). A reader sees the old file or the new one, never a part. Fails as `node:fs` does, leaving nothing behind.
 */
export async function writeFileAtomically(
  path: string,
  contents: string | Buffer,
  options: AtomicFileOptions = {},
): Promise<void> {
  const temporary = join(
    dirname(path),
    `.${basename(path)}${temporaryMark}${randomBytes(6).toString("hex")}`,
  );
  try {
    // "wx" neither follows a link nor opens what somebody else put there.
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(contents);
      await file.sync();
    } finally {
      await file.close();
    }
    await options.beforeRename?.(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Is this the name of a temporary file of {@link writeFileAtomically}? */
export function isTemporaryName(name: string): boolean {
  return name.includes(temporaryMark);
}

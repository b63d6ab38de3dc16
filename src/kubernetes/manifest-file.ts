/**
 * Reads one file of a manifest folder without ever waiting: a folder may hold a FIFO, a device, a directory with a
 * file's name or a file of any size.
 * @module
 */
import { constants } from "node:fs";
import { lstat, open, stat } from "node:fs/promises";
import type { BigIntStats } from "node:fs";

export type ManifestFile =
  | { readonly outcome: "unchanged" }
  | { readonly outcome: "gone" }
  /** `signature` changes when the file does. */
  | { readonly outcome: "read"; readonly bytes: Uint8Array; readonly signature: string }
  /** `problem` is a sentence without a full stop. */
  | { readonly outcome: "refused"; readonly problem: string };

/**
 * @param known the signature of the version that is already read; then an unchanged file is not opened.
 * @param maxBytes a larger file is refused unread.
 */
export async function readManifestFile(
  path: string,
  known: string | undefined,
  maxBytes: number,
): Promise<ManifestFile> {
  try {
    // Follows symbolic links: a Kubernetes volume shows its files through them.
    const before = await stat(path, { bigint: true });
    const refusal = refusalOf(before, maxBytes);
    if (refusal !== undefined) return refusal;
    if (signatureOf(before) === known) return { outcome: "unchanged" };
    // O_NONBLOCK: should it have become a FIFO just now, opening returns at once. Windows has neither.
    const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      const opened = await handle.stat({ bigint: true });
      const late = refusalOf(opened, maxBytes);
      if (late !== undefined) return late;
      const buffer = Buffer.alloc(Number(opened.size) + 1);
      let length = 0;
      while (length < buffer.length) {
        const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      const after = await handle.stat({ bigint: true });
      if (signatureOf(after) !== signatureOf(opened) || length !== Number(opened.size)) {
        return { outcome: "refused", problem: "it changed while it was read" };
      }
      return { outcome: "read", bytes: buffer.subarray(0, length), signature: signatureOf(opened) };
    } finally {
      await handle.close();
    }
  } catch (thrown) {
    const code = (thrown as NodeJS.ErrnoException).code ?? "unknown error";
    if (code === "ENOENT") {
      const dangling = await lstat(path).then(
        (link) => link.isSymbolicLink(),
        () => false,
      );
      return dangling
        ? { outcome: "refused", problem: "it is a symbolic link to nothing" }
        : { outcome: "gone" };
    }
    return { outcome: "refused", problem: `it cannot be read (${code})` };
  }
}

function refusalOf(stats: BigIntStats, maxBytes: number): ManifestFile | undefined {
  if (stats.isDirectory()) return { outcome: "refused", problem: "it is a directory" };
  if (!stats.isFile())
    return { outcome: "refused", problem: "it is not a regular file (a FIFO, socket or device)" };
  if (stats.size > BigInt(maxBytes)) {
    return {
      outcome: "refused",
      problem: `it has ${stats.size} bytes, more than the ${maxBytes} that are read`,
    };
  }
  return undefined;
}

function signatureOf(stats: BigIntStats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeNs}:${stats.ctimeNs}`;
}

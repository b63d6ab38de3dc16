/**
 * Follows one file by looking at it again and again. Looking works everywhere that mappings are mounted: with the symbolic
 * links of a ConfigMap volume, over network file systems, and when the file does not exist yet.
 * @module
 */
import { readFile } from "node:fs/promises";
import type { Clock } from "../../clock.ts";
import { reasonOf } from "../../errors.ts";

export type FileState =
  | { readonly state: "present"; readonly text: string }
  | { readonly state: "absent" }
  | { readonly state: "unreadable"; readonly problem: string };

/** Largest file of mappings in bytes. */
const sizeLimit = 8 * 1024 * 1024;

export async function readState(path: string): Promise<FileState> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > sizeLimit)
      return { state: "unreadable", problem: `it is larger than ${sizeLimit} bytes` };
    return { state: "present", text: bytes.toString("utf8") };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") return { state: "absent" };
    return { state: "unreadable", problem: reasonOf(error) };
  }
}

/**
 * Calls back with the first state, and again whenever the file is another one.
 *
 * @param intervalMs time between two looks.
 * @returns resolves after the first callback with the way to stop.
 */
export async function followFile(
  path: string,
  options: { readonly clock: Clock; readonly intervalMs: number },
  callback: (state: FileState) => void,
): Promise<() => void> {
  let known: string | undefined;
  let stopped = false;
  let cancel: () => void = () => undefined;
  const look = async (): Promise<void> => {
    const state = await readState(path);
    if (stopped) return;
    const print = JSON.stringify(state);
    if (print !== known) {
      known = print;
      callback(state);
    }
    cancel = options.clock.after(options.intervalMs, () => void look());
  };
  await look();
  return () => {
    stopped = true;
    cancel();
  };
}

/**
 * Proves that a run left no process behind: whatever a run starts carries the
 * run's folder in its environment, also when it was started by a program that
 * a test started.
 * @module
 */
import { readFileSync, readdirSync } from "node:fs";

interface Leftover {
  readonly pid: number;
  readonly command: string;
}

/** The other processes of this machine that belong to the run with this folder. */
export function findLeftovers(runDirectory: string): readonly Leftover[] {
  return findProcessesWith(`SALLYPORT_E2E_RUN_DIRECTORY=${runDirectory}`);
}

/** The other processes of this machine with this entry, `NAME=value`, in their environment. */
export function findProcessesWith(mark: string): readonly Leftover[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/u.test(entry) && Number(entry) !== process.pid)
    .filter((pid) => read(`/proc/${pid}/environ`).split("\0").includes(mark))
    .map((pid) => ({ pid: Number(pid), command: read(`/proc/${pid}/cmdline`).replaceAll("\0", " ").trim() }));
}

/** Empty for a process that ended meanwhile, or is someone else's. */
function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

/**
 * Whether processes still run, as the tests of the bed and of the runner ask.
 * @module
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Whether the process runs; one that has ended and only waits to be collected (a zombie) does not. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${String(pid)}/stat`, "utf8");
    // The state follows the command's name, which may hold anything (proc(5)).
    return !["Z", "X"].includes(stat.charAt(stat.lastIndexOf(")") + 2));
  } catch {
    return false;
  }
}

/** Throws when the condition does not hold within 15 seconds. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("waited for 15 s in vain");
    await sleep(20);
  }
}

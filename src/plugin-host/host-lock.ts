/**
 * One change of a host at a time: a lock file that names its holder. A holder that has died is not waited for.
 * @module
 */
import { open, readFile, rm } from "node:fs/promises";
import { delay, type Clock } from "../clock.ts";
import { SallyportError } from "../errors.ts";

const pollMs = 100;

export interface HostLockOptions {
  readonly clock: Clock;
  /** Milliseconds to wait for another holder. */
  readonly waitMs: number;
  /** Whether a process of this id runs. */
  readonly isRunning?: (processId: number) => boolean;
}

/** Runs `body` while holding the lock. @throws {SallyportError} `E_PLUGIN_BUSY` when another process keeps it. */
export async function withHostLock<T>(
  file: string,
  options: HostLockOptions,
  body: () => Promise<T>,
): Promise<T> {
  const { clock, waitMs, isRunning = processRuns } = options;
  const deadline = clock.now() + waitMs;
  while (!(await take(file))) {
    const holder = Number(await readFile(file, "utf8").catch(() => ""));
    // An empty file is one whose holder has not written its name yet; it is judged next time.
    if (holder > 0 && holder !== process.pid && !isRunning(holder)) {
      await rm(file, { force: true });
      continue;
    }
    if (clock.now() >= deadline) throw new SallyportError("E_PLUGIN_BUSY", { holder, file });
    await delay(clock, pollMs);
  }
  try {
    return await body();
  } finally {
    await rm(file, { force: true });
  }
}

async function take(file: string): Promise<boolean> {
  try {
    const handle = await open(file, "wx", 0o600);
    await handle.writeFile(String(process.pid));
    await handle.close();
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function processRuns(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/**
 * One change of a host at a time: a lock file that names its holder. A holder that has died is not waited for, nor one
 * from before the host was started, whose process id may be another's by now.
 * @module
 */
import { open, readFile, rm, stat } from "node:fs/promises";
import { uptime } from "node:os";
import { delay, type Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";

const pollMs = 100;
/** A holder writes its name as soon as it has made the file; one that has not by now never will. */
const namelessMs = 10_000;
/** How far a clock is set forward, at most, without a lock being taken for one from before the start. */
const clockStepMs = 300_000;

export interface HostLockOptions {
  readonly clock: Clock;
  /** Milliseconds to wait for another holder. */
  readonly waitMs: number;
  /** Whether a process of this id runs. */
  readonly isRunning?: (processId: number) => boolean;
  /** Milliseconds since the host was started. */
  readonly uptimeMs?: () => number;
}

/**
 * Runs `body` while holding the lock.
 * @throws {SallyportError} `E_PLUGIN_BUSY` when another process keeps it, `E_PLUGIN_LOCK` when it cannot be made.
 */
export async function withHostLock<T>(
  file: string,
  options: HostLockOptions,
  body: () => Promise<T>,
): Promise<T> {
  const { clock, waitMs } = options;
  const deadline = clock.now() + waitMs;
  while (!(await take(file))) {
    const lock = await readLock(file);
    if (lock !== undefined && isStale(lock, options)) {
      if (await breakStale(file, lock, options)) continue;
    }
    if (clock.now() >= deadline)
      throw new SallyportError("E_PLUGIN_BUSY", { holder: lock?.holder ?? 0, file });
    await delay(clock, pollMs);
  }
  try {
    return await body();
  } finally {
    await rm(file, { force: true });
  }
}

interface Lock {
  /** Process id, or 0 in a file without a name. */
  readonly holder: number;
  /** Milliseconds since the epoch. */
  readonly modifiedAt: number;
}

async function readLock(file: string): Promise<Lock | undefined> {
  try {
    const [text, { mtimeMs }] = [await readFile(file, "utf8"), await stat(file)];
    return { holder: Number(text) || 0, modifiedAt: mtimeMs };
  } catch {
    // It has just been given back.
    return undefined;
  }
}

function isStale({ holder, modifiedAt }: Lock, options: HostLockOptions): boolean {
  const { clock, isRunning = processRuns, uptimeMs = () => uptime() * 1_000 } = options;
  const age = clock.now() - modifiedAt;
  if (holder === 0) return age > namelessMs;
  return (holder !== process.pid && !isRunning(holder)) || age > uptimeMs() + clockStepMs;
}

/**
 * Removes a stale lock, one process at a time: two that saw the same one would otherwise remove the first one's new lock.
 * @returns whether it is gone.
 */
async function breakStale(file: string, seen: Lock, { clock }: HostLockOptions): Promise<boolean> {
  const guard = `${file}.break`;
  if (!(await take(guard))) {
    const other = await readLock(guard);
    if (other !== undefined && clock.now() - other.modifiedAt > namelessMs) await rm(guard, { force: true });
    return false;
  }
  try {
    const now = await readLock(file);
    if (now?.holder === seen.holder && now.modifiedAt === seen.modifiedAt) await rm(file, { force: true });
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}

async function take(file: string): Promise<boolean> {
  try {
    const handle = await open(file, "wx", 0o600);
    try {
      await handle.writeFile(String(process.pid));
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new SallyportError("E_PLUGIN_LOCK", { file, detail: reasonOf(error) }, { cause: error });
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

/**
 * One change of a host at a time: a lock file that names its holder. A holder that has died is not waited for, nor one
 * that has stopped to show that it is at work: its process id may be another's by now.
 * @module
 */
import { open, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { delay, type Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";

const pollMs = 100;
/** A holder writes its name as soon as it has made the file; one that has not by now never will. */
const namelessMs = 10_000;
/** How often a holder shows that it is at work, by its file's time. */
const touchMs = 60_000;
/** A holder that has not shown it for this long is none: above any step of a clock that is set right. */
const silentMs = 15 * 60_000;
/** A virus scanner, or whoever looks at the file, keeps it for this long at most: tries of growing pauses. */
const releasePauses = [20, 100, 500];

export interface HostLockOptions {
  readonly clock: Clock;
  /** Milliseconds to wait for another holder. */
  readonly waitMs: number;
  /** Whether a process of this id runs. */
  readonly isRunning?: (processId: number) => boolean;
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
  let cancelTouch = (): void => undefined;
  const touchLater = (): void => {
    cancelTouch = clock.after(touchMs, () => {
      // One that could not be touched is tried again; it takes many misses to lose the lock.
      void utimes(file, clock.now() / 1_000, clock.now() / 1_000).catch(() => undefined);
      touchLater();
    });
  };
  touchLater();
  try {
    return await body();
  } finally {
    cancelTouch();
    await release(file, clock);
  }
}

/**
 * Gives the lock back. Never throws: what came of the work counts, not this. A file that does not let itself be deleted
 * loses its name instead, so that others soon take it; one that belongs to a successor stays.
 */
async function release(file: string, clock: Clock): Promise<void> {
  for (const pause of [...releasePauses, undefined]) {
    const lock = await readLock(file);
    if (lock !== undefined && lock.holder !== process.pid) return;
    if (await removed(file)) return;
    if (pause !== undefined) await delay(clock, pause);
  }
  await writeFile(file, "").catch(() => undefined);
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
  const { clock, isRunning = processRuns } = options;
  const age = clock.now() - modifiedAt;
  if (holder === 0) return age > namelessMs;
  return (holder !== process.pid && !isRunning(holder)) || age > silentMs;
}

/**
 * Removes a stale lock, one process at a time: two that saw the same one would otherwise remove the first one's new lock.
 * @returns whether it is gone.
 */
async function breakStale(file: string, seen: Lock, { clock }: HostLockOptions): Promise<boolean> {
  const guard = `${file}.break`;
  if (!(await take(guard))) {
    const other = await readLock(guard);
    if (other !== undefined && clock.now() - other.modifiedAt > namelessMs) await removed(guard);
    return false;
  }
  try {
    const now = await readLock(file);
    if (now?.holder === seen.holder && now.modifiedAt === seen.modifiedAt) return await removed(file);
    return true;
  } finally {
    await removed(guard);
  }
}

/** @returns whether the file is gone: on Windows one that somebody looks at stays for the moment. */
async function removed(file: string): Promise<boolean> {
  return rm(file, { force: true }).then(
    () => true,
    () => false,
  );
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

/**
 * Time as a port: everything that waits or compares dates takes a `Clock`, so that tests turn hours by hand.
 * @module
 */

/** Cancels a timer; calling it twice is harmless. */
export type CancelTimer = () => void;

export interface Clock {
  /** Milliseconds since the epoch (UTC). */
  now(): number;
  /** Calls back once after `milliseconds`. The timer does not keep the process alive. */
  after(milliseconds: number, callback: () => void): CancelTimer;
}

/** Longest wait Node's timers know, milliseconds (about 24.8 days): the clock takes longer ones in steps. */
export const longestTimerMs = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  after(milliseconds, callback) {
    let timer: NodeJS.Timeout;
    const arm = (left: number): void => {
      const step = Math.min(Math.max(left, 0), longestTimerMs);
      timer = setTimeout(() => (left > step ? arm(left - step) : callback()), step);
      timer.unref();
    };
    arm(milliseconds);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `milliseconds` of the clock, or rejects with the signal's reason when that comes first. */
export function delay(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
      return;
    }
    const onAbort = (): void => {
      cancel();
      reject(signal?.reason instanceof Error ? signal.reason : new Error("aborted"));
    };
    const cancel = clock.after(milliseconds, () => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    });
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

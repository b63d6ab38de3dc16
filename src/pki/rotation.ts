/**
 * Renews something that expires, long before it does: at two thirds of its life, and again and again while renewing
 * fails, with the old one in use all the while.
 * @module
 */
import type { CancelTimer, Clock } from "../clock.ts";

/** What can be rotated: whatever says when it begins and ends, in milliseconds since the epoch. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface RotationPorts<T extends Validity> {
  readonly clock: Clock;
  /** Makes the next one. */
  readonly issue: () => Promise<T>;
  /** Puts a new one into use, the first one too. When it rejects, the rotation has failed and is tried again. */
  readonly onRotated: (next: T) => void | Promise<void>;
  /** Hears of every failed attempt and of the wait until the next one, in milliseconds. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
}

export interface Rotation<T extends Validity> {
  /** Makes the first one and plans the rest. Rejects with what went wrong, and plans nothing then. */
  start(): Promise<T>;
  /** The one in use; it may have expired when every attempt to renew it failed. `undefined` before the start. */
  readonly current: T | undefined;
  /** Renews now, whatever the plan says; joins a renewal that is under way. */
  rotateNow(): Promise<void>;
  /** Plans nothing more; a renewal that is under way is not put into use. */
  stop(): void;
}

/** Part of a life after which a certificate is renewed: a third is left for outages. */
const renewAfter = 2 / 3;

/**
 * A timer counts time, not dates: after a suspended machine, or a clock that was put right, it rings too late. So the
 * date is looked at again after this long at the latest.
 */
const longestWait = 60_000;

const firstRetry = 1_000;
const longestRetry = 60_000;

/**
 * When to renew what was received at `received`: two thirds on from there to its end. Counted from its receipt, not
 * from `notBefore`, which lies in the past for the sake of slow clocks.
 */
export function renewalTime(validity: Validity, received: number): number {
  const begin = Math.max(validity.notBefore, received);
  return begin + Math.max(validity.notAfter - begin, 0) * renewAfter;
}

/** Wait before the attempt that follows `failures` failed ones: 1 s, doubling to a minute. */
export function retryDelay(failures: number): number {
  return Math.min(firstRetry * 2 ** Math.min(failures - 1, 30), longestRetry);
}

export function createRotation<T extends Validity>(ports: RotationPorts<T>): Rotation<T> {
  const { clock, issue, onRotated, onFailure } = ports;
  let current: T | undefined;
  let cancel: CancelTimer = () => undefined;
  let underWay: Promise<void> | undefined;
  let failures = 0;
  let stopped = false;

  const rotateIn = (milliseconds: number): void => {
    cancel();
    if (!stopped) cancel = clock.after(milliseconds, () => void rotate());
  };

  const rotateAt = (date: number): void => {
    const left = date - clock.now();
    if (left <= longestWait) {
      rotateIn(Math.max(left, 0));
      return;
    }
    cancel();
    if (!stopped) cancel = clock.after(longestWait, () => rotateAt(date));
  };

  const renew = async (): Promise<T> => {
    const next = await issue();
    const received = clock.now();
    if (!stopped) {
      await onRotated(next);
      current = next;
      failures = 0;
      // Something already expired, or issued by a source that stands still, must not become a busy loop.
      rotateAt(Math.max(renewalTime(next, received), received + firstRetry));
    }
    return next;
  };

  const rotate = (): Promise<void> => {
    cancel();
    underWay ??= renew()
      .then(
        () => undefined,
        (error: unknown) => {
          failures++;
          if (stopped) return;
          const wait = retryDelay(failures);
          rotateIn(wait);
          onFailure(error, wait);
        },
      )
      .finally(() => (underWay = undefined));
    return underWay;
  };

  return {
    start: renew,
    get current() {
      return current;
    },
    rotateNow: rotate,
    stop() {
      stopped = true;
      cancel();
    },
  };
}

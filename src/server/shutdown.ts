/**
 * Ends a service on SIGTERM or SIGINT: the first signal asks for an orderly stop, a second one ends the process at once.
 * @module
 */

/**
 * One request to stop may come twice: a terminal signals the whole process group and npm passes the signal on, too. What
 * follows within this time (milliseconds) is an echo.
 */
const echoMs = 300;

const endAtOnce = (name: NodeJS.Signals): void => {
  process.exit(name === "SIGINT" ? 130 : 143);
};

/**
 * Makes a signal end the process that is the first of its container, as it ends any other: the kernel keeps from that one what
 * it has no handler for, and a pod that is deleted while it starts would be waited for in vain.
 */
export function endAtSignals(): void {
  if (process.pid !== 1) return;
  process.on("SIGTERM", endAtOnce);
  process.on("SIGINT", endAtOnce);
}

/**
 * Does the work of a service, which is told by the signal when it has to stop. However the work ends, with an error too,
 * signals do afterwards what they always do, and nothing of this keeps the process alive.
 */
export async function untilShutdown<Result>(work: (signal: AbortSignal) => Promise<Result>): Promise<Result> {
  const controller = new AbortController();
  let first = 0;
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) {
      if (performance.now() - first < echoMs) return;
      endAtOnce(name);
    }
    first = performance.now();
    clearInterval(alive);
    controller.abort();
  };
  // A service lives until it is told to stop, also while all that it waits for is a timer.
  const alive = setInterval(() => undefined, 2 ** 30);
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.on(name, onSignal);
    process.off(name, endAtOnce);
  }
  try {
    return await work(controller.signal);
  } finally {
    clearInterval(alive);
    endAtSignals();
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
  }
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

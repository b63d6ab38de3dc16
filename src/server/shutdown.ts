/**
 * Ends a service on SIGTERM or SIGINT: the first signal asks for an orderly stop, a second one ends the process at once.
 * @module
 */

/**
 * One request to stop may come twice: a terminal signals the whole process group and npm passes the signal on, too. What
 * follows within this time (milliseconds) is an echo.
 */
const echoMs = 300;

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
      process.exit(name === "SIGINT" ? 130 : 143);
    }
    first = performance.now();
    clearInterval(alive);
    controller.abort();
  };
  // A service lives until it is told to stop, also while all that it waits for is a timer.
  const alive = setInterval(() => undefined, 2 ** 30);
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  try {
    return await work(controller.signal);
  } finally {
    clearInterval(alive);
    process.off("SIGTERM", onSignal);
    process.off("SIGINT", onSignal);
  }
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

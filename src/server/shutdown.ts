/**
 * Ends a service on SIGTERM or SIGINT: the first signal asks for an orderly stop, a second one ends the process at once.
 * @module
 */

export interface ShutdownSignals {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** Stops listening for signals. */
  dispose(): void;
}

export function watchShutdownSignals(): ShutdownSignals {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(name === "SIGINT" ? 130 : 143);
    clearInterval(alive);
    controller.abort();
  };
  // A service lives until it is told to stop, also while all that it waits for is a timer.
  const alive = setInterval(() => undefined, 2 ** 30);
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  return {
    signal: controller.signal,
    dispose() {
      clearInterval(alive);
      process.off("SIGTERM", onSignal);
      process.off("SIGINT", onSignal);
    },
  };
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

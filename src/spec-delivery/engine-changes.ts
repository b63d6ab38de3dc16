/**
 * News from the engine for a delivery that goes on: a service that was just made or deployed anew gets its spec in a moment
 * instead of at the next interval. Only a hint: whatever is missed is found at the interval.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { ContainerEngine } from "../container-engine/container-engine.ts";

/** Changes come in crowds; one look is enough for those of this time, milliseconds. */
const gatherMs = 500;
/** Before it listens anew to an engine that fell silent, milliseconds. */
const pauseMs = 5_000;

/** Calls back soon after something changed in the engine. Returns the way to stop it. Never throws. */
export function followEngine(
  engine: Pick<ContainerEngine, "followChanges">,
  clock: Clock,
  onChange: () => void,
): () => void {
  const stop = new AbortController();
  let cancel: (() => void) | undefined;
  const gather = (): void => {
    cancel ??= clock.after(gatherMs, () => {
      cancel = undefined;
      onChange();
    });
  };
  const listen = (): void => {
    const again = (): void => {
      if (!stop.signal.aborted) cancelPause = clock.after(pauseMs, listen);
    };
    engine.followChanges(gather, stop.signal).then(() => {
      // The engine is gone, which the next look will say, or was started anew.
      if (!stop.signal.aborted) gather();
      again();
    }, again);
  };
  let cancelPause = (): void => undefined;
  listen();
  return () => {
    stop.abort();
    cancel?.();
    cancelPause();
  };
}

/**
 * Delivery that goes on: again after each change of the folder, and from time to time for what changed in the engine. An
 * engine that is away is waited for, longer each time, and told about once.
 * @module
 */
import type { Clock } from "../clock.ts";
import { SallyportError } from "../errors.ts";
import type { Log, LogFields } from "../observe/log.ts";
import { isContainerFault } from "./container-check.ts";
import type { DeliveryReport, SpecDelivery } from "./deliver.ts";
import { isFault } from "./delivery-plan.ts";

export interface WatchDependencies {
  readonly delivery: SpecDelivery;
  readonly clock: Clock;
  readonly log: Log;
  /** Calls back when the folder changed; returns the way to stop it. */
  readonly onChange: (callback: () => void) => () => void;
  /** Told each report that is not like the one before. */
  readonly onReport?: (report: DeliveryReport) => void;
}

export interface WatchOptions {
  /** How often the engine is looked at whether or not the folder changed, milliseconds. */
  readonly intervalMs: number;
}

/** Between a run and the next one, milliseconds: a run's own changes are news, and those of others may have no end. */
const restMs = 1_000;
const firstWaitMs = 1_000;
const longestWaitMs = 60_000;

/** Resolves when the signal is aborted. Rejects only with what is no fault of an engine. */
export async function watchDelivery(
  { delivery, clock, log, onChange, onReport }: WatchDependencies,
  { intervalMs }: WatchOptions,
  signal: AbortSignal,
): Promise<void> {
  let wake: (() => void) | undefined;
  let changed = false;
  const stopListening = onChange(() => {
    changed = true;
    wake?.();
  });
  const pause = async (milliseconds: number, endsWithChange: boolean): Promise<void> => {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        cancel();
        wake = undefined;
        signal.removeEventListener("abort", finish);
        resolve();
      };
      const cancel = clock.after(milliseconds, finish);
      if (endsWithChange) wake = finish;
      signal.addEventListener("abort", finish, { once: true });
    });
  };
  const remarks = new RemarkLog(log);
  let attempts = 0;
  let before = "";
  try {
    while (!signal.aborted) {
      changed = false;
      try {
        const report = await delivery.deliver(undefined, signal);
        if (attempts > 0) log.info("delivery.engine-back", { attempts });
        attempts = 0;
        remarks.note(report);
        const seen = JSON.stringify(report);
        if (seen !== before) onReport?.(report);
        before = seen;
      } catch (error) {
        // Stopped, not failed: the next start goes on from what is there.
        if (signal.aborted) return;
        if (!(error instanceof SallyportError) || !error.code.startsWith("E_ENGINE_")) throw error;
        if (attempts === 0) log.warn("delivery.engine-away", { code: error.code, reason: error.message });
        attempts++;
      }
      if (attempts > 0) {
        // A folder that keeps changing must not defeat the waits for an engine that is away.
        await pause(Math.min(firstWaitMs * 2 ** (attempts - 1), longestWaitMs), false);
        continue;
      }
      const rest = Math.min(restMs, intervalMs);
      await pause(rest, false);
      if (!changed) await pause(intervalMs - rest, true);
    }
  } finally {
    stopListening();
  }
}

/** Says each thing that is wrong once, and once more when it no longer is. */
export class RemarkLog {
  readonly #log: Log;
  #known = new Map<string, LogFields>();

  constructor(log: Log) {
    this.#log = log;
  }

  note(report: DeliveryReport): void {
    const now = new Map(remarksOf(report).map((fields) => [JSON.stringify(fields), fields]));
    for (const [key, fields] of now) {
      if (this.#known.has(key)) continue;
      const { fault, ...rest } = fields;
      this.#log[fault === true ? "warn" : "info"](
        report.kind === "swarm" ? "delivery.remark" : "delivery.container",
        rest,
      );
    }
    for (const [key, { fault: _fault, ...rest }] of this.#known) {
      if (!now.has(key)) this.#log.info("delivery.remark-cleared", rest);
    }
    this.#known = now;
  }
}

function remarksOf(report: DeliveryReport): readonly LogFields[] {
  if (report.kind === "swarm") {
    return report.final.remarks.map((remark) => ({ ...remark, fault: isFault(remark) }));
  }
  return [
    ...report.faults.map((reason) => ({ kind: "blocked", reason, fault: true })),
    ...report.containers
      .filter(({ state }) => state !== "current")
      .map((one) => ({ ...one, fault: isContainerFault(one) })),
  ];
}

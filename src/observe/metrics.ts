/**
 * The metrics registry of one process. Each role's metrics (names, labels, help) are declared in a file of this folder,
 * `<role>-metrics.ts`, and nowhere else; labels never hold user-typed text, so their number stays bounded.
 * @module
 */
import { Gauge, Registry } from "prom-client";

export type { Registry } from "prom-client";

/** A registry with the few process metrics that an operator looks at first. */
export function createRegistry(version: string): Registry {
  const registry = new Registry();
  new Gauge({
    name: "sallyport_build_info",
    help: "1, labelled with the running version.",
    labelNames: ["version"],
    registers: [registry],
  }).set({ version }, 1);
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Resident memory in bytes.",
    registers: [registry],
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  const startedAt = Date.now() / 1000 - process.uptime();
  new Gauge({
    name: "process_start_time_seconds",
    help: "Start of the process, in seconds since the epoch.",
    registers: [registry],
    collect() {
      this.set(startedAt);
    },
  });
  return registry;
}

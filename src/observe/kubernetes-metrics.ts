/**
 * Metrics of the resource sources: how often a cluster had to be asked again, and how old what we serve may be.
 * The label `resource` is a kind's plural, never an object's name.
 * @module
 */
import { Counter, Gauge } from "prom-client";
import type { Registry } from "prom-client";

/** What the metrics need to know of a cache whenever they are read. */
interface ObservedCache {
  /** Milliseconds since the contents were last confirmed; 0 while they are. */
  staleMilliseconds(): number;
  /** Milliseconds since the epoch of the last confirmation, `undefined` before the first. */
  lastSync(): number | undefined;
  /** Objects and files that are not served as they are. */
  faults(): number;
}

export type RelistReason = "first" | "expired" | "failed" | "protocol";
export type WatchRestartReason = "ended" | "silent" | "failed";

export interface KubernetesMetrics {
  relisted(resource: string, reason: RelistReason): void;
  watchRestarted(resource: string, reason: WatchRestartReason): void;
  /** Shows a cache until the returned function is called. */
  observe(resource: string, cache: ObservedCache): () => void;
}

/** Declares the metrics in `registry`; once per registry. */
export function createKubernetesMetrics(registry: Registry): KubernetesMetrics {
  const caches = new Map<string, Set<ObservedCache>>();
  const relists = new Counter({
    name: "sallyport_kubernetes_relists_total",
    help: "Complete reads of a kind from the API server, by reason (first, expired, failed, protocol).",
    labelNames: ["resource", "reason"],
    registers: [registry],
  });
  const restarts = new Counter({
    name: "sallyport_kubernetes_watch_restarts_total",
    help: "Watches opened again: ended by the server, silent for too long, or failed.",
    labelNames: ["resource", "reason"],
    registers: [registry],
  });
  const gauge = (name: string, help: string, combine: (of: readonly ObservedCache[]) => number | undefined) =>
    new Gauge({
      name,
      help,
      labelNames: ["resource"],
      registers: [registry],
      collect() {
        this.reset();
        for (const [resource, set] of caches) {
          const value = combine([...set]);
          if (value !== undefined) this.set({ resource }, value);
        }
      },
    });
  gauge(
    "sallyport_kubernetes_staleness_seconds",
    "Seconds since the source last confirmed what is served; 0 while it is in sync. The oldest of the kind.",
    (of) => Math.max(...of.map((cache) => cache.staleMilliseconds())) / 1000,
  );
  gauge(
    "sallyport_kubernetes_last_sync_timestamp_seconds",
    "When the source last confirmed what is served, in seconds since the epoch. The oldest of the kind.",
    (of) => {
      const times = of.map((cache) => cache.lastSync());
      return times.includes(undefined) ? undefined : Math.min(...times.map((time) => time ?? 0)) / 1000;
    },
  );
  gauge(
    "sallyport_kubernetes_faults",
    "Objects and files that are refused right now; their last good version is served.",
    (of) => of.reduce((sum, cache) => sum + cache.faults(), 0),
  );
  return {
    relisted: (resource, reason) => relists.inc({ resource, reason }),
    watchRestarted: (resource, reason) => restarts.inc({ resource, reason }),
    observe(resource, cache) {
      const set = caches.get(resource) ?? new Set();
      caches.set(resource, set.add(cache));
      return () => {
        set.delete(cache);
        if (set.size === 0 && caches.get(resource) === set) caches.delete(resource);
      };
    },
  };
}

/**
 * Metrics of the admission webhook.
 * @module
 */
import { Gauge, Histogram } from "prom-client";
import type { Registry } from "./metrics.ts";

export interface AdmissionMetrics {
  /** @param outcome `allowed`, the code of a refusal, or `http-<status>`. */
  reviewed(webhook: string, outcome: string, seconds: number): void;
}

export interface AdmissionReadings {
  /** End of the serving certificate, milliseconds since the epoch. */
  certificateNotAfter(): number;
  connections(): number;
}

export function createAdmissionMetrics(registry: Registry, readings: AdmissionReadings): AdmissionMetrics {
  const registers = [registry];
  const reviews = new Histogram({
    name: "sallyport_admission_review_seconds",
    help: "Time from a request's head to its answer, by webhook and outcome.",
    labelNames: ["webhook", "outcome"],
    buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10],
    registers,
  });
  new Gauge({
    name: "sallyport_admission_certificate_expiry_timestamp_seconds",
    help: "End of the serving certificate, in seconds since the epoch.",
    registers,
    collect() {
      this.set(readings.certificateNotAfter() / 1000);
    },
  });
  new Gauge({
    name: "sallyport_admission_connections",
    help: "Open connections.",
    registers,
    collect() {
      this.set(readings.connections());
    },
  });
  return { reviewed: (webhook, outcome, seconds) => reviews.observe({ webhook, outcome }, seconds) };
}

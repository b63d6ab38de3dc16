/**
 * Metrics of the directory login. No label holds a person's name.
 * @module
 */
import { Gauge, Histogram } from "prom-client";
import type { Registry } from "./metrics.ts";

export interface LoginMetrics {
  /** One request was answered after `seconds`; `outcome` is `session` or what the person was told. */
  answered(operation: "login" | "refresh", outcome: string, seconds: number): void;
  /** The mounted certificate, keys and account were read and are usable, at a time in milliseconds since 1970. */
  filesRead(at: number): void;
}

export function createLoginMetrics(registry: Registry): LoginMetrics {
  const registers = [registry];
  const answers = new Histogram({
    name: "sallyport_login_duration_seconds",
    help: "Time that a login or refresh took, the directory's part included, by outcome.",
    labelNames: ["operation", "outcome"],
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
    registers,
  });
  const filesRead = new Gauge({
    name: "sallyport_login_files_read_timestamp_seconds",
    help: "When certificate, session keys and account were last read and usable.",
    registers,
  });
  return {
    answered: (operation, outcome, seconds) => answers.observe({ operation, outcome }, seconds),
    filesRead: (at) => filesRead.set(at / 1000),
  };
}

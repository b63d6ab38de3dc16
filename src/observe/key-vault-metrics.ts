/**
 * Metrics of reading from Azure Key Vault.
 * @module
 */
import { Histogram } from "prom-client";
import type { Registry } from "./metrics.ts";

export interface KeyVaultMetrics {
  /** @param outcome `value`, `missing`, `refused` or the name of a failure. */
  readEnded(outcome: string, seconds: number): void;
}

export function createKeyVaultMetrics(registry: Registry): KeyVaultMetrics {
  const reads = new Histogram({
    name: "sallyport_key_vault_read_seconds",
    help: "Time that reading a secret took, retries among it, by outcome: value, missing, refused, or what failed.",
    labelNames: ["outcome"],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
    registers: [registry],
  });
  return { readEnded: (outcome, seconds) => reads.observe({ outcome }, seconds) };
}

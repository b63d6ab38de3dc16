/**
 * Metrics of the authenticator: the names of ack-ram-authenticator, so that existing dashboards go on, and our own.
 * @module
 */
import { Counter, Gauge, Histogram } from "prom-client";
import type { Registry } from "./metrics.ts";

/** Label values of the latency histogram, spelt as dashboards know them. */
export type AuthenticationResult =
  | "malformed_request"
  | "invalid_token"
  | "sts_error"
  | "sts_throttling"
  | "uknown_user"
  | "success";

export interface AuthenticatorMetrics {
  /** One review was answered after `seconds`. */
  reviewed(result: AuthenticationResult, seconds: number): void;
  /** A bearer token that is none of ours. */
  foreignToken(): void;
  /** Where a verified identity came from. */
  identityLookup(source: "cached" | "shared" | "asked" | "held"): void;
  /** STS was called; `status` is known for errors. */
  stsAnswered(outcome: string, status: number | undefined): void;
  mappingsLoaded(backend: string, count: number): void;
  mappingReloadFailed(backend: string): void;
  configMapWatchFailed(): void;
}

export function createAuthenticatorMetrics(registry: Registry): AuthenticatorMetrics {
  const registers = [registry];
  const latency = new Histogram({
    name: "ack_ram_authenticator_authenticate_latency_seconds",
    help: "Time that an authentication took, by result.",
    labelNames: ["result"],
    buckets: [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });
  const configMapWatchFailures = new Counter({
    name: "ack_ram_authenticator_configmap_watch_failures_total",
    help: "Watches of the mapping ConfigMap that failed.",
    registers,
  });
  const stsConnectionFailures = new Counter({
    name: "ack_ram_authenticator_sts_connection_failures_total",
    help: "Calls to STS that got no answer.",
    registers,
  });
  const stsResponses = new Counter({
    name: "ack_ram_authenticator_sts_responses_total",
    help: "Answers of STS by HTTP status.",
    labelNames: ["ResponseCode"],
    registers,
  });
  const foreign = new Counter({
    name: "sallyport_authenticator_foreign_tokens_total",
    help: "Bearer tokens that belong to no verifier.",
    registers,
  });
  const lookups = new Counter({
    name: "sallyport_authenticator_identity_lookups_total",
    help: "Tokens of ours by where their identity came from: cache, a call already running, a new call, or held back.",
    labelNames: ["source"],
    registers,
  });
  const stsCalls = new Counter({
    name: "sallyport_authenticator_sts_calls_total",
    help: "Calls to STS by outcome.",
    labelNames: ["outcome"],
    registers,
  });
  const mappings = new Gauge({
    name: "sallyport_authenticator_mappings",
    help: "Mappings in force, by backend.",
    labelNames: ["backend"],
    registers,
  });
  const reloadFailures = new Counter({
    name: "sallyport_authenticator_mapping_reload_failures_total",
    help: "Reloads that kept the last good mappings, by backend.",
    labelNames: ["backend"],
    registers,
  });
  return {
    reviewed: (result, seconds) => latency.observe({ result }, seconds),
    foreignToken: () => foreign.inc(),
    identityLookup: (source) => lookups.inc({ source }),
    stsAnswered(outcome, status) {
      stsCalls.inc({ outcome });
      if (outcome === "unreachable") stsConnectionFailures.inc();
      else stsResponses.inc({ ResponseCode: String(status ?? (outcome === "identity" ? 200 : "other")) });
    },
    mappingsLoaded: (backend, count) => mappings.set({ backend }, count),
    mappingReloadFailed: (backend) => reloadFailures.inc({ backend }),
    configMapWatchFailed: () => configMapWatchFailures.inc(),
  };
}

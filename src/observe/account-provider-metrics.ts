/**
 * Metrics of the account provider.
 * @module
 */
import { Counter, Gauge, Histogram } from "prom-client";
import type { Registry } from "./metrics.ts";

/** How a credential request ended. */
export type CredentialRequestOutcome =
  | "answered"
  | "no-name"
  | "impossible-name"
  | "secret-missing"
  | "secret-invalid"
  | "secret-refused"
  | "secret-unavailable"
  | "input-refused"
  | "client-refused"
  | "not-found";

export interface AccountProviderMetrics {
  requestEnded(outcome: CredentialRequestOutcome, seconds: number): void;
  clientRefused(reason: string): void;
  /** A Key Vault plugin input that was refused before anything was asked. */
  inputRefused(reason: string): void;
  /** The keys of a served secret that make it unusable, or that are suspicious. */
  accountProblems(
    secret: string,
    problems: readonly { readonly key: string; readonly problem: string }[],
  ): void;
  certificateRotated(): void;
  hostFilesFailed(): void;
}

/** Values read when metrics are asked for. */
export interface AccountProviderReadings {
  /** Milliseconds since the epoch; 0: never. */
  storeConfirmedAt(): number;
  /** The same for each configured account, and for all Key Vault plugin inputs together under `plugin-input`. */
  accountsConfirmedAt(): readonly (readonly [account: string, confirmedAt: number])[];
  /** End of the server certificate, milliseconds since the epoch. */
  serverCertificateNotAfter(): number;
  connections(): number;
}

export function createAccountProviderMetrics(
  registry: Registry,
  readings: AccountProviderReadings,
): AccountProviderMetrics {
  const registers = [registry];
  const requests = new Histogram({
    name: "sallyport_account_provider_request_seconds",
    help: "Time from a request's head to its answer, by outcome.",
    labelNames: ["outcome"],
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1],
    registers,
  });
  const refusals = new Counter({
    name: "sallyport_account_provider_client_refusals_total",
    help: "Requests refused because of the client's certificate, by reason.",
    labelNames: ["reason"],
    registers,
  });
  const problems = new Gauge({
    name: "sallyport_account_provider_secret_problem",
    help: "1 for each key of a served secret with a problem; absent when there is none.",
    labelNames: ["secret", "key", "problem"],
    registers,
  });
  const rotations = new Counter({
    name: "sallyport_account_provider_certificate_rotations_total",
    help: "Certificates put to use after the first ones.",
    registers,
  });
  const hostFailures = new Counter({
    name: "sallyport_account_provider_host_file_failures_total",
    help: "Times that the host's files or root store could not be brought up to date.",
    registers,
  });
  new Gauge({
    name: "sallyport_account_provider_store_confirmed_timestamp_seconds",
    help: "When the secret store last confirmed what is served, in seconds since the epoch; 0: never.",
    registers,
    collect() {
      this.set(readings.storeConfirmedAt() / 1000);
    },
  });
  const inputRefusals = new Counter({
    name: "sallyport_account_provider_input_refusals_total",
    help: "Key Vault plugin inputs refused before anything was asked, by reason.",
    labelNames: ["reason"],
    registers,
  });
  new Gauge({
    name: "sallyport_account_provider_account_confirmed_timestamp_seconds",
    help: "When its store last confirmed an account, in seconds since the epoch; 0: never. plugin-input: the oldest of all Key Vault plugin inputs.",
    labelNames: ["account"],
    registers,
    collect() {
      this.reset();
      for (const [account, confirmedAt] of readings.accountsConfirmedAt())
        this.set({ account }, confirmedAt / 1000);
    },
  });
  new Gauge({
    name: "sallyport_account_provider_certificate_expiry_timestamp_seconds",
    help: "End of the server certificate, in seconds since the epoch.",
    registers,
    collect() {
      this.set(readings.serverCertificateNotAfter() / 1000);
    },
  });
  new Gauge({
    name: "sallyport_account_provider_connections",
    help: "Open connections.",
    registers,
    collect() {
      this.set(readings.connections());
    },
  });
  const shown = new Map<string, readonly { readonly key: string; readonly problem: string }[]>();
  return {
    requestEnded: (outcome, seconds) => requests.observe({ outcome }, seconds),
    clientRefused: (reason) => refusals.inc({ reason }),
    inputRefused: (reason) => inputRefusals.inc({ reason }),
    accountProblems(secret, found) {
      for (const { key, problem } of shown.get(secret) ?? []) problems.remove({ secret, key, problem });
      for (const { key, problem } of found) problems.set({ secret, key, problem }, 1);
      if (found.length === 0) shown.delete(secret);
      else shown.set(secret, found);
    },
    certificateRotated: () => rotations.inc(),
    hostFilesFailed: () => hostFailures.inc(),
  };
}

/**
 * The admission service: webhook and operations listeners, certificate, readiness and drain, from given ports.
 * @module
 */
import { randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Clock } from "../clock.ts";
import { createAdmissionMetrics } from "../observe/admission-metrics.ts";
import type { Log } from "../observe/log.ts";
import type { Registry } from "../observe/metrics.ts";
import { checkClientCertificate } from "../server/client-certificate.ts";
import { listen, type ListenAddress } from "../server/listener.ts";
import { createOperations, type Readiness } from "../server/operations.ts";
import { createAdmitter, type AdmitterOptions } from "./admitter.ts";
import type { CachedSpecs } from "./cached-specs.ts";
import type { AccessReviewer } from "./ports.ts";
import type { FollowedCertificate, ServingCertificate } from "./serving-certificate.ts";
import { createWebhook } from "./webhook.ts";

export interface AdmissionOptions extends AdmitterOptions {
  readonly addresses: readonly ListenAddress[];
  readonly operationsAddresses: readonly ListenAddress[];
  /** PEM of the authorities whose clients may call; absent: everybody may. */
  readonly clientAuthoritiesPem: string | undefined;
  /** Common names of those clients; empty: any of them. */
  readonly clientNames: readonly string[];
  readonly enforceLint: boolean;
  readonly drainMs: number;
  /** How long requests are still taken after the stop was asked for, so that the API server can turn away first. */
  readonly lingerMs: number;
  readonly version: string;
}

export interface AdmissionDependencies {
  readonly specs: CachedSpecs;
  readonly access: AccessReviewer;
  readonly certificate: FollowedCertificate;
  readonly registry: Registry;
  readonly log: Log;
  readonly clock: Clock;
}

export interface RunningAdmission {
  readonly port: number;
  readonly addresses: readonly string[];
  readonly operationsAddresses: readonly string[];
  stop(): Promise<void>;
}

/** @throws {SallyportError} `E_LISTEN_FAILED`. The caller closes what it gave in. */
export async function startAdmission(
  options: AdmissionOptions,
  dependencies: AdmissionDependencies,
): Promise<RunningAdmission> {
  const { access, certificate, clock, log, registry, specs } = dependencies;
  const admitter = createAdmitter({ specs, access, randomUuid: randomUUID }, options);
  let connections = (): number => 0;
  let stopping = false;
  const metrics = createAdmissionMetrics(registry, {
    certificateNotAfter: () => certificate.current().notAfter,
    connections: () => connections(),
  });
  const materialOf = ({ identity }: ServingCertificate) => ({
    identities: [identity],
    ...(options.clientAuthoritiesPem === undefined
      ? {}
      : { clientAuthoritiesPem: options.clientAuthoritiesPem }),
  });
  const handler = createWebhook({
    admitter,
    version: options.version,
    enforceLint: options.enforceLint,
    refuseCaller: (request) => refusalOf(request, options, clock.now()),
    log,
    metrics,
  });
  const listener = await listen({
    name: "admission",
    addresses: options.addresses,
    handler: (request, response) => {
      // While stopping, every answer ends its connection: the API server moves to another replica by itself, and no
      // connection has to be cut at a moment when a request may be on its way.
      if (stopping) response.setHeader("connection", "close");
      handler(request, response);
    },
    tls: materialOf(certificate.current()),
    // An API server keeps one idle connection a webhook for 90 s: a shorter time here would cut requests under way.
    limits: { requestMs: 35_000, keepAliveMs: 120_000 },
    log,
  });
  connections = () => listener.connections();
  certificate.onChange((next) => listener.replaceTls(materialOf(next)));
  const operations = createOperations({
    log,
    registry,
    checks: [
      { name: "credential specs", check: () => specsReady(specs) },
      { name: "certificate", check: () => certificate.readiness() },
      { name: "running", check: () => (stopping ? { ready: false, reason: "stopping" } : { ready: true }) },
    ],
  });
  const operationsListener = await listen({
    name: "operations",
    addresses: options.operationsAddresses,
    handler: await operations.handler(),
    log,
  }).catch(async (error: unknown) => {
    await listener.close(0);
    throw error;
  });
  return {
    port: listener.port,
    addresses: listener.addresses,
    operationsAddresses: operationsListener.addresses,
    async stop() {
      stopping = true;
      log.info("service.draining", {});
      if (options.lingerMs > 0) await new Promise<void>((resolve) => setTimeout(resolve, options.lingerMs));
      await listener.close(options.drainMs);
      await operationsListener.close(1_000);
      log.info("service.stopped", {});
    },
  };
}

function refusalOf(request: IncomingMessage, options: AdmissionOptions, now: number): string | undefined {
  if (options.clientAuthoritiesPem === undefined) return undefined;
  const check = checkClientCertificate(
    request.socket,
    now,
    ({ commonName }) => options.clientNames.length === 0 || options.clientNames.includes(commonName),
  );
  return check.accepted ? undefined : check.reason;
}

function specsReady(specs: CachedSpecs): Readiness {
  const status = specs.status();
  if (status.state === "synced") return { ready: true };
  const reason = status.reason ?? "the first list is not there yet";
  if (status.state === "stale") return { ready: true, note: reason };
  // The Role of windows-gmsa grants neither list nor watch: each spec is then asked for when it is needed.
  if (reason.includes("(403)")) return { ready: true, note: `without a cache: ${reason}` };
  return { ready: false, reason };
}

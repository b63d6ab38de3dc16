/**
 * The authenticator as a whole: verifier and mapper of RAM identities behind one TLS listener, its certificate, its
 * mappings, and its operations endpoints. Everything that is not a matter of configuration arrives as a part.
 * @module
 */
import { systemClock, type Clock } from "../clock.ts";
import { configError } from "../errors.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import type { AuthenticatorMetrics } from "../observe/authenticator-metrics.ts";
import type { Log } from "../observe/log.ts";
import { readAuthoritiesFile } from "../pki/authorities-file.ts";
import type { Registry } from "../observe/metrics.ts";
import { listen, type Listener, type TlsMaterial } from "../server/listener.ts";
import { createOperations, type ReadinessCheck } from "../server/operations.ts";
import { version } from "../version.ts";
import type { MappingBackend } from "./mapping/backend.ts";
import { createConfigMapBackend } from "./mapping/config-map-backend.ts";
import { createCrdBackend, type MappingReporter } from "./mapping/crd-backend.ts";
import { createDynamicFileBackend, createMountedFileBackend } from "./mapping/file-backends.ts";
import { createRamMapper } from "./mapping/ram-mapper.ts";
import { createStsClient } from "./ram/sts-client.ts";
import { createRamVerifier, ramVerifierDefaults } from "./ram/verifier.ts";
import { createReviewApplication } from "./review-application.ts";
import { createAuthority, createReviewer, type Authority } from "./review.ts";
import { openServerCertificate } from "./server-certificate.ts";
import { readMountedMappings, type AuthenticatorSettings } from "./settings.ts";

export interface AuthenticatorParts {
  /** Where ConfigMap and RAMIdentityMappings come from; absent when no backend needs one. */
  readonly source?: ResourceSource;
  /** Writes what was understood of a mapping to its status and an event. */
  readonly reporter?: MappingReporter;
  /** The configuration file, for the MountedFile backend; absent: the mappings of the settings stand as they are. */
  readonly configPath?: string;
  /** Login by other means than RAM. */
  readonly authorities?: readonly Authority[];
  readonly registry: Registry;
  /** Declared in the registry. */
  readonly metrics: AuthenticatorMetrics;
  readonly log: Log;
  readonly clock?: Clock;
  readonly stsUserAgent?: string;
}

export interface RunningAuthenticator {
  readonly port: number;
  readonly addresses: readonly string[];
  readonly operationsAddresses: readonly string[];
  /** PEM of what the API server has to trust. */
  readonly trustPem: string;
  stop(drainMs: number): Promise<void>;
}

/** @throws {SallyportError} `E_LISTEN_FAILED`, `E_AUTHENTICATOR_STATE`, `E_CONFIG_INVALID`; nothing runs then. */
export async function startAuthenticator(
  settings: AuthenticatorSettings,
  parts: AuthenticatorParts,
): Promise<RunningAuthenticator> {
  const { log, metrics } = parts;
  const clock = parts.clock ?? systemClock;
  const undo: (() => Promise<unknown> | void)[] = [];
  const stop = async (): Promise<void> => {
    for (const step of undo.toReversed()) await step();
  };
  try {
    const certificate = await openServerCertificate(settings.stateDir, settings, { clock, log });
    undo.push(() => certificate.close());
    const clientAuthoritiesPem = await authoritiesOf("clientCAFile", settings.clientCAFile);
    const stsAuthoritiesPem = await authoritiesOf("stsCAFile", settings.stsCAFile);

    const backends = await openBackends(settings, { ...parts, clock }, metrics);
    undo.push(() => Promise.all(backends.map((backend) => backend.close())));
    const sts = createStsClient({
      origin: settings.stsOrigin,
      clusterId: settings.clusterId,
      userAgent: parts.stsUserAgent ?? `sallyport/${version}`,
      timeoutMs: settings.stsTimeoutMs,
      maxIdleConnections: 64,
      proxyEnvironment: process.env,
      ...(stsAuthoritiesPem === undefined ? {} : { authoritiesPem: stsAuthoritiesPem }),
    });
    undo.push(() => sts.close());
    const ram = createAuthority(
      createRamVerifier({ sts, clock, log, metrics }, { ...ramVerifierDefaults, ...settings }),
      createRamMapper(backends, settings),
    );
    const reviewer = createReviewer([ram, ...(parts.authorities ?? [])], { clock, log, metrics });

    const checks: readonly ReadinessCheck[] = [
      { name: "certificate", check: () => certificate.readiness() },
      ...backends.map((backend) => ({ name: `mappings ${backend.mode}`, check: () => backend.readiness() })),
    ];
    const operations = createOperations({ log, registry: parts.registry, checks });
    const operationsHandler = await operations.handler();
    let operationsListener: Listener | undefined;
    if (settings.operations !== undefined) {
      const listener = await listen({
        name: "operations",
        addresses: [settings.operations],
        handler: operationsHandler,
        log,
      });
      operationsListener = listener;
      undo.push(() => listener.close(0));
    }

    const application = createReviewApplication({
      reviewer,
      requireClientCertificate: clientAuthoritiesPem !== undefined,
      clock,
      log,
      metrics,
    });
    const reviews = await application.handler();
    const tlsOf = (material: TlsMaterial): TlsMaterial => ({
      ...material,
      minVersion: settings.tlsMinimum,
      ...(clientAuthoritiesPem === undefined ? {} : { clientAuthoritiesPem }),
    });
    const listener = await listen({
      name: "authenticator",
      addresses: [settings.listen],
      // Health and metrics are here too, as scrapers of ack-ram-authenticator expect.
      handler: (request, response) =>
        (request.url ?? "").startsWith("/authenticate")
          ? reviews(request, response)
          : operationsHandler(request, response),
      tls: tlsOf(certificate.current()),
      limits: { connections: settings.maxConnections, keepAliveMs: 300_000 },
      log,
    });
    certificate.onChange((material) => listener.replaceTls(tlsOf(material)));
    return {
      port: listener.port,
      addresses: listener.addresses,
      operationsAddresses: operationsListener?.addresses ?? [],
      trustPem: certificate.trustPem,
      async stop(drainMs) {
        await listener.close(drainMs);
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Opens the mapping backends in the configured order. */
export async function openBackends(
  settings: AuthenticatorSettings,
  parts: Pick<AuthenticatorParts, "source" | "reporter" | "configPath" | "log"> & { readonly clock: Clock },
  metrics: AuthenticatorMetrics,
): Promise<readonly MappingBackend[]> {
  const deps = { clock: parts.clock, log: parts.log, metrics };
  const { wildcards } = settings;
  const needSource = (): ResourceSource => {
    if (parts.source !== undefined) return parts.source;
    throw configError([
      {
        setting: "backendMode",
        problem: "ACKConfigMap and CRD need a cluster (kubeconfig) or a manifest folder",
      },
    ]);
  };
  const backends: MappingBackend[] = [];
  for (const mode of settings.backends) {
    const options = { wildcards, names: settings.names[mode] };
    const files = { ...options, intervalMs: 500 };
    switch (mode) {
      case "MountedFile":
        backends.push(
          await createMountedFileBackend(deps, {
            ...files,
            path: parts.configPath,
            initial: settings.mounted,
            read: (text) => readMountedMappings(text, parts.configPath ?? "", { wildcards }),
          }),
        );
        break;
      case "DynamicFile":
        backends.push(
          await createDynamicFileBackend(deps, { ...files, path: settings.dynamicFilePath ?? "" }),
        );
        break;
      case "ACKConfigMap":
        backends.push(createConfigMapBackend(needSource(), deps, options));
        break;
      case "CRD":
        backends.push(
          createCrdBackend(
            needSource(),
            parts.reporter === undefined ? deps : { ...deps, reporter: parts.reporter },
            options,
          ),
        );
        break;
    }
  }
  return backends;
}

/** The authorities of a setting that may be left out. Throws `E_CONFIG_INVALID`. */
export async function authoritiesOf(setting: string, path: string | undefined): Promise<string | undefined> {
  if (path === undefined || path === "") return undefined;
  const read = await readAuthoritiesFile(path);
  if (!read.ok) throw configError([{ setting, problem: read.problem }]);
  return read.pem;
}

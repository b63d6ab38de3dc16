/**
 * `admission run`: composes the service from its settings and serves until it is told to stop.
 * @module
 */
import { systemClock } from "../clock.ts";
import { configError } from "../errors.ts";
import type { ClusterClient } from "../kubernetes/cluster-client.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import { createKubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import { createLog, type Log } from "../observe/log.ts";
import { createRegistry, type Registry } from "../observe/metrics.ts";
import { readAuthoritiesFile } from "../pki/authorities-file.ts";
import { aborted, untilShutdown } from "../server/shutdown.ts";
import { version } from "../version.ts";
import { createAccessReviewer } from "./access-review.ts";
import { startAdmission } from "./admission.ts";
import { createCachedSpecs } from "./cached-specs.ts";
import { createManifestAccess } from "./manifest-access.ts";
import type { AccessReviewer } from "./ports.ts";
import { createSelfManagedCertificate } from "./self-managed-certificate.ts";
import { followMountedCertificate, type FollowedCertificate } from "./serving-certificate.ts";
import type { AdmissionSettings } from "./settings.ts";

/** @returns the exit code. @throws {SallyportError} when the service cannot start. */
export function runAdmission(settings: AdmissionSettings): Promise<number> {
  return untilShutdown((stopping) => serve(settings, stopping));
}

async function serve(settings: AdmissionSettings, stopping: AbortSignal): Promise<number> {
  const log = createLog({ level: settings.logLevel }).with({ role: "admission" });
  for (const setting of settings.unused) log.warn("admission.setting-unused", { setting });
  if (settings.clientCaFile === undefined) {
    log.warn("admission.any-caller", {
      reason: "whoever reaches the port can have the contents of specs: let the API server alone reach it",
    });
  }
  const registry = createRegistry(version);
  const clientAuthoritiesPem = await readClientAuthorities(settings.clientCaFile);
  const world = await openWorld(settings, registry, log);
  const { source, access } = world;
  const specs = createCachedSpecs(source, systemClock, settings.cacheSpecs);
  let certificate: FollowedCertificate | undefined;
  try {
    certificate = await followCertificate(settings, world, log, stopping);
    const running = await startAdmission(
      {
        ...settings,
        addresses: [settings.address],
        operationsAddresses: [settings.operationsAddress],
        clientAuthoritiesPem,
        version,
      },
      { specs, access, certificate, registry, log, clock: systemClock },
    );
    await aborted(stopping);
    await running.stop();
    return 0;
  } catch (error) {
    // Told to stop while it waited for the API server.
    if (stopping.aborted && certificate === undefined) return 0;
    throw error;
  } finally {
    await certificate?.close();
    await specs.close();
    await source.close();
  }
}

async function followCertificate(
  { certificate }: AdmissionSettings,
  { source, cluster }: World,
  log: Log,
  signal: AbortSignal,
): Promise<FollowedCertificate> {
  if (certificate.kind === "mounted")
    return await followMountedCertificate({ ...certificate, clock: systemClock, log });
  const namespace = cluster?.client.config.namespace;
  if (cluster === undefined || namespace === undefined) {
    throw configError([
      { setting: "--ca-secret", problem: "needs the namespace of a pod or of a kubeconfig's context" },
    ]);
  }
  const { caSecret, service } = certificate;
  return await createSelfManagedCertificate(
    {
      secret: { namespace, name: caSecret },
      configurations: {
        mutating: certificate.mutatingConfigurations,
        validating: certificate.validatingConfigurations,
      },
      dnsNames: [`${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`],
      authorityLifetimeMs: certificate.caLifetimeMs,
      leafLifetimeMs: certificate.certificateLifetimeMs,
    },
    { source, client: cluster.client, clock: systemClock, log },
    signal,
  );
}

async function readClientAuthorities(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined;
  const read = await readAuthoritiesFile(file);
  if (!read.ok) throw configError([{ setting: "--client-ca", problem: read.problem }]);
  return read.pem;
}

interface World {
  readonly source: ResourceSource;
  readonly access: AccessReviewer;
  /** Absent with a folder of manifests. */
  readonly cluster?: { readonly client: ClusterClient };
}

/** Where specs and access decisions come from. */
export async function openWorld(
  settings: Pick<AdmissionSettings, "source" | "accessCacheMs">,
  registry: Registry,
  log: Log,
): Promise<World> {
  const deps = { clock: systemClock, log, metrics: createKubernetesMetrics(registry) };
  if (settings.source.kind === "manifests") {
    const { createManifestFolderSource } = await import("../kubernetes/manifest-folder-source.ts");
    const source = createManifestFolderSource(settings.source.folder, deps);
    const access = createManifestAccess(source);
    await access.synced();
    return { source, access };
  }
  const [{ loadClusterConfig }, { createClusterClient }, { createClusterSource }] = await Promise.all([
    import("../kubernetes/cluster-config.ts"),
    import("../kubernetes/cluster-client.ts"),
    import("../kubernetes/cluster-source.ts"),
  ]);
  const config = await loadClusterConfig({ kubeconfig: settings.source.kubeconfig, clock: systemClock });
  const client = createClusterClient(config, log);
  return {
    source: createClusterSource(client, deps),
    access: createAccessReviewer(client, { clock: systemClock, cacheMs: settings.accessCacheMs }),
    cluster: { client },
  };
}

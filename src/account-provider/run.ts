/**
 * `account-provider run`: composes store, certificates and service from the settings and serves until it is told to stop.
 * @module
 */
import { systemClock } from "../clock.ts";
import { createManifestFolderSource } from "../kubernetes/manifest-folder-source.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import { createKubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import { createLog, type Log } from "../observe/log.ts";
import { createRegistry, type Registry } from "../observe/metrics.ts";
import { aborted, untilShutdown } from "../server/shutdown.ts";
import { version } from "../version.ts";
import type { WindowsHost } from "../windows-host/windows-host.ts";
import { startAccountProvider } from "./account-provider.ts";
import { openMountedCertificates } from "./mounted-certificates.ts";
import type { ProviderCertificates } from "./provider-certificates.ts";
import { createSelfManagedCertificates } from "./self-managed-certificates.ts";
import { openStores } from "./open-stores.ts";
import type { AccountProviderSettings } from "./settings.ts";

/** @returns the exit code. @throws {SallyportError} when the provider cannot start. */
export function runAccountProvider(
  settings: AccountProviderSettings,
  windows: WindowsHost | undefined,
): Promise<number> {
  return untilShutdown((stopping) => serve(settings, windows, stopping));
}

async function serve(
  settings: AccountProviderSettings,
  windows: WindowsHost | undefined,
  stopping: AbortSignal,
): Promise<number> {
  const log = createLog({ level: settings.logLevel }).with({
    role: "account-provider",
    namespace: settings.namespace,
  });
  const registry = createRegistry(version);
  const [source, certificates] = await Promise.all([
    openSource(settings, registry, log),
    openCertificates(settings, log),
  ]);
  const stores = await openStores(settings, source, { clock: systemClock, log, registry });
  try {
    const provider = await startAccountProvider(
      settings,
      {
        store: stores.store,
        keyVaultInputs: stores.keyVaultInputs,
        certificates,
        windows,
        registry,
        log,
      },
      stopping,
    );
    await aborted(stopping);
    await provider.stop();
    return 0;
  } catch (error) {
    if (stopping.aborted) return 0;
    throw error;
  } finally {
    await stores.close();
    await source?.close();
  }
}

async function openSource(
  settings: AccountProviderSettings,
  registry: Registry,
  log: Log,
): Promise<ResourceSource | undefined> {
  if (settings.source.kind === "none") return undefined;
  const deps = { clock: systemClock, log, metrics: createKubernetesMetrics(registry) };
  if (settings.source.kind === "manifests") return createManifestFolderSource(settings.source.folder, deps);
  // Not loaded where a folder is read.
  const [{ loadClusterConfig }, { createClusterClient }, { createClusterSource }] = await Promise.all([
    import("../kubernetes/cluster-config.ts"),
    import("../kubernetes/cluster-client.ts"),
    import("../kubernetes/cluster-source.ts"),
  ]);
  const config = await loadClusterConfig({ kubeconfig: settings.source.kubeconfig, clock: systemClock });
  return createClusterSource(createClusterClient(config, log), deps, { silenceMs: settings.watchSilenceMs });
}

async function openCertificates(
  settings: AccountProviderSettings,
  log: Log,
): Promise<ProviderCertificates | undefined> {
  const { legacyPlugin, leafLifetimeMs, mutualTls, namespace, tlsDirectory } = settings;
  if (!mutualTls) return undefined;
  return tlsDirectory === undefined
    ? await createSelfManagedCertificates({
        namespace,
        leafLifetimeMs,
        legacyPlugin,
        clock: systemClock,
        log,
      })
    : await openMountedCertificates({ folder: tlsDirectory, legacyPlugin, clock: systemClock, log });
}

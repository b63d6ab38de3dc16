/**
 * The GMSACredentialSpecs of a cluster, read once.
 * @module
 */
import { systemClock } from "../clock.ts";
import { createClusterClient } from "../kubernetes/cluster-client.ts";
import { kubeconfigOfPerson, loadClusterConfig } from "../kubernetes/cluster-config.ts";
import { createClusterSource } from "../kubernetes/cluster-source.ts";
import { gmsaCredentialSpecKind } from "../kubernetes/kinds.ts";
import { createKubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import { createLog } from "../observe/log.ts";
import { createRegistry } from "../observe/metrics.ts";
import { version } from "../version.ts";
import type { ClusterSpecs } from "./credspec-lint.ts";

const patienceMs = 30_000;

/** Rejects when the cluster cannot be read within half a minute. */
export const clusterSpecs: ClusterSpecs = async (kubeconfig) => {
  const log = createLog({ level: "warn" });
  const config = await loadClusterConfig({ kubeconfig: kubeconfigOfPerson(kubeconfig), clock: systemClock });
  const metrics = createKubernetesMetrics(createRegistry(version));
  const source = createClusterSource(createClusterClient(config, log), { clock: systemClock, log, metrics });
  try {
    const specs = source.watch({ kind: gmsaCredentialSpecKind });
    await specs.synced(AbortSignal.timeout(patienceMs));
    return specs.list().map((resource) => ({ name: resource.metadata.name, resource }));
  } finally {
    await source.close();
  }
};

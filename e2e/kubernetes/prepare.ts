/**
 * Makes the Kubernetes bed ready: its programs, and a cluster that suites share.
 * @module
 */
import type { BedContext, PreparedBed } from "../bed.ts";
import { obtainAssets } from "./assets.ts";
import { requireOpenssl } from "./certificates.ts";
import { offerSharedCluster } from "./shared-cluster.ts";

/** Each suite has a control plane of its own, or takes a namespace of the shared one. */
export const sideBySide = true;

/** Minutes of waiting for whatever goes wrong, and of an API server that is away. */
export const longSuites = ["chaos", "installed-provider"];

export async function prepare(context: BedContext): Promise<PreparedBed> {
  await requireOpenssl();
  const assets = await obtainAssets(context);
  // Also for the shared cluster, which is started in this process.
  process.env["SALLYPORT_E2E_KUBERNETES_ASSETS"] = assets;
  const shared = await offerSharedCluster(context.runDirectory, assets);
  return {
    environment: { SALLYPORT_E2E_KUBERNETES_ASSETS: assets, ...shared.environment },
    close: shared.close,
  };
}

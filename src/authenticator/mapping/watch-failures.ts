/**
 * Counts failed watches of ConfigMaps under the name that dashboards of ack-ram-authenticator know, besides the metrics
 * that every resource source has.
 * @module
 */
import type { AuthenticatorMetrics } from "../../observe/authenticator-metrics.ts";
import type { KubernetesMetrics } from "../../observe/kubernetes-metrics.ts";
import { configMapKind } from "../../kubernetes/kinds.ts";

export function countingWatchFailures(
  kubernetes: KubernetesMetrics,
  authenticator: Pick<AuthenticatorMetrics, "configMapWatchFailed">,
): KubernetesMetrics {
  return {
    ...kubernetes,
    watchRestarted(resource, reason) {
      kubernetes.watchRestarted(resource, reason);
      // A watch that the API server ends after its time is no failure.
      if (resource === configMapKind.plural && reason !== "ended") authenticator.configMapWatchFailed();
    },
  };
}

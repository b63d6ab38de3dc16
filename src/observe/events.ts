/**
 * The name of every log event, so that an alert rule written for one release still matches in the next.
 * Add a block per role; keep it in alphabetical order.
 * @module
 */
export type LogEvent = KubernetesEvent | ServiceEvent;

/** Reading Kubernetes objects, from a cluster or from a folder of manifests. */
type KubernetesEvent =
  | "kubernetes.credential-stale"
  | "kubernetes.listener-failed"
  | "kubernetes.object-accepted"
  | "kubernetes.object-refused"
  | "kubernetes.relist"
  | "kubernetes.stale"
  | "kubernetes.synced"
  | "kubernetes.tls-unverified"
  | "kubernetes.watch-restarted"
  | "manifests.fault"
  | "manifests.fault-cleared"
  | "manifests.notifications-unavailable";

/** Life of any service. */
type ServiceEvent =
  | "service.connection-evicted"
  | "service.drain-timed-out"
  | "service.draining"
  | "service.listening"
  | "service.ready"
  | "service.request"
  | "service.request-failed"
  | "service.stopped"
  | "service.tls-replaced";

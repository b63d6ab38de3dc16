/**
 * The name of every log event, so that an alert rule written for one release still matches in the next.
 * Add a block per role; keep it in alphabetical order.
 * @module
 */
export type LogEvent = ServiceEvent;

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

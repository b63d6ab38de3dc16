/**
 * What a cluster asks of a service, on an address of its own: `/livez` and `/healthz` (the process answers), `/readyz`
 * (every check passes; one line each, as kube-apiserver does) and `/metrics` (Prometheus text).
 * @module
 */
import type { Registry } from "../observe/metrics.ts";
import type { Log } from "../observe/log.ts";
import { createApplication, type Application } from "./application.ts";

/** One condition of being ready. */
export interface ReadinessCheck {
  readonly name: string;
  check(): Readiness;
}

export type Readiness =
  /** `note`: something an operator should see although the service works, such as stale data. */
  { readonly ready: true; readonly note?: string } | { readonly ready: false; readonly reason: string };

export interface OperationsOptions {
  readonly log: Log;
  readonly registry: Registry;
  readonly checks: readonly ReadinessCheck[];
}

export function createOperations(options: OperationsOptions): Application {
  const application = createApplication({ log: options.log });
  const alive = (): string => "ok\n";
  application.routes.get("/healthz", alive);
  application.routes.get("/livez", alive);
  application.routes.get("/readyz", (_request, reply) => {
    const lines = options.checks.map((check) => ({ name: check.name, result: check.check() }));
    const ready = lines.every((line) => line.result.ready);
    const text = lines.map(({ name, result }) => {
      if (!result.ready) return `[-] ${name}: ${result.reason}\n`;
      return result.note === undefined ? `[+] ${name}\n` : `[!] ${name}: ${result.note}\n`;
    });
    void reply.code(ready ? 200 : 503).type("text/plain; charset=utf-8");
    return `${text.join("")}${ready ? "ready" : "not ready"}\n`;
  });
  application.routes.get("/metrics", async (_request, reply) => {
    void reply.type(options.registry.contentType);
    return await options.registry.metrics();
  });
  return application;
}

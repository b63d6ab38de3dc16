import assert from "node:assert/strict";
import { test } from "node:test";
import { createAuthenticatorMetrics } from "../../observe/authenticator-metrics.ts";
import { createKubernetesMetrics } from "../../observe/kubernetes-metrics.ts";
import { createRegistry } from "../../observe/metrics.ts";
import { countingWatchFailures } from "./watch-failures.ts";

test("only failed watches of ConfigMaps are counted under the old name, and all under the new one", async () => {
  const registry = createRegistry("test");
  const metrics = countingWatchFailures(
    createKubernetesMetrics(registry),
    createAuthenticatorMetrics(registry),
  );

  metrics.watchRestarted("configmaps", "failed");
  metrics.watchRestarted("configmaps", "silent");
  metrics.watchRestarted("configmaps", "ended");
  metrics.watchRestarted("secrets", "failed");

  const text = await registry.metrics();
  assert.match(text, /^ack_ram_authenticator_configmap_watch_failures_total 2$/m);
  assert.match(text, /watch_restarts_total\{resource="configmaps",reason="ended"\} 1/);
});

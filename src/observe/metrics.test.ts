/**
 * The registry of a process, and the rules that every role's metrics follow.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createAccountProviderMetrics } from "./account-provider-metrics.ts";
import { createRegistry } from "./metrics.ts";

test("a registry tells the running version, resident memory and the start of the process", async () => {
  const text = await createRegistry("1.2.3").metrics();

  assert.match(text, /^sallyport_build_info\{version="1\.2\.3"\} 1$/m);
  const resident = Number(/^process_resident_memory_bytes (\d+)$/m.exec(text)?.[1]);
  assert.ok(resident > 10_000_000 && resident < 10_000_000_000, String(resident));
  const start = Number(/^process_start_time_seconds ([\d.]+)$/m.exec(text)?.[1]);
  assert.ok(Math.abs(start - (Date.now() / 1000 - process.uptime())) < 1, String(start));
});

test("two registries of one process know nothing of each other", async () => {
  const [one, other] = [createRegistry("1"), createRegistry("2")];

  assert.doesNotMatch(await one.metrics(), /version="2"/);
  assert.doesNotMatch(await other.metrics(), /version="1"/);
});

function accountProvider() {
  const registry = createRegistry("1");
  const readings = { confirmedAt: 0, notAfter: 0, open: 0 };
  const metrics = createAccountProviderMetrics(registry, {
    storeConfirmedAt: () => readings.confirmedAt,
    accountsConfirmedAt: () => [["web-creds", readings.confirmedAt]],
    serverCertificateNotAfter: () => readings.notAfter,
    connections: () => readings.open,
  });
  return { registry, readings, metrics };
}

test("readings are taken when metrics are asked for, in seconds", async () => {
  const { registry, readings } = accountProvider();
  assert.match(await registry.metrics(), /^sallyport_account_provider_store_confirmed_timestamp_seconds 0$/m);

  Object.assign(readings, { confirmedAt: 1_500, notAfter: 2_000, open: 3 });
  const text = await registry.metrics();

  assert.match(text, /^sallyport_account_provider_store_confirmed_timestamp_seconds 1\.5$/m);
  assert.match(text, /^sallyport_account_provider_certificate_expiry_timestamp_seconds 2$/m);
  assert.match(text, /^sallyport_account_provider_connections 3$/m);
});

test("requests, refusals, rotations and failures are counted", async () => {
  const { registry, metrics } = accountProvider();

  metrics.requestEnded("answered", 0.0007);
  metrics.requestEnded("answered", 2);
  metrics.clientRefused("expired");
  metrics.certificateRotated();
  metrics.hostFilesFailed();
  const text = await registry.metrics();

  assert.match(text, /^sallyport_account_provider_request_seconds_count\{outcome="answered"\} 2$/m);
  assert.match(text, /_request_seconds_bucket\{le="0\.001",outcome="answered"\} 1$/m);
  assert.match(text, /^sallyport_account_provider_client_refusals_total\{reason="expired"\} 1$/m);
  assert.match(text, /^sallyport_account_provider_certificate_rotations_total 1$/m);
  assert.match(text, /^sallyport_account_provider_host_file_failures_total 1$/m);
});

test("a problem of a secret is shown as long as it lasts, and only for its own secret", async () => {
  const { registry, metrics } = accountProvider();
  const shown = async (): Promise<readonly string[]> =>
    (await registry.metrics()).split("\n").filter((line) => line.includes("secret_problem{"));
  const line = (secret: string, key: string, problem: string): string =>
    `sallyport_account_provider_secret_problem{secret="${secret}",key="${key}",problem="${problem}"} 1`;

  metrics.accountProblems("a", [{ key: "password", problem: "missing" }]);
  metrics.accountProblems("b", [{ key: "username", problem: "empty" }]);
  assert.deepEqual(await shown(), [line("a", "password", "missing"), line("b", "username", "empty")]);

  metrics.accountProblems("a", [{ key: "password", problem: "empty" }]);
  assert.deepEqual((await shown()).toSorted(), [
    line("a", "password", "empty"),
    line("b", "username", "empty"),
  ]);

  metrics.accountProblems("a", []);
  metrics.accountProblems("b", []);
  assert.deepEqual(await shown(), []);
});

test("names and help follow the rules: our prefix, a unit, a sentence, no label that a user could fill", async () => {
  const { registry } = accountProvider();

  for (const metric of await registry.getMetricsAsJSON()) {
    assert.match(metric.name, /^(sallyport_[a-z_]+|process_[a-z_]+)$/);
    assert.match(metric.help, /^[A-Z0-9].*\.$/, metric.name);
    if (String(metric.type) === "counter") assert.match(metric.name, /_total$/);
  }
});

/**
 * The account provider in a cluster, from the first start to the day the
 * network plays dead: it needs one secret, gets no other, and never loses it.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { TestContext } from "node:test";

import { TcpProxy } from "../../tcp-proxy.ts";
import type { MountedServiceAccount } from "../cluster.ts";
import { startCluster } from "../control-plane.ts";
import type { ControlPlane } from "../control-plane.ts";
import { auditSecrets } from "./audit-log.ts";
import {
  accountSecret,
  changePassword,
  foreign,
  installAccount,
  served,
  serviceAccount,
} from "./least-privilege.ts";
import { ProviderProcess } from "./provider-process.ts";

/** How long a new value may take to arrive while all is well, in milliseconds. */
const promptly = 1_000;
/** How long it may take to find a way back to the API server once there is one. */
const afterOutage = 30_000;
/** How long the API server may be silent before the provider asks whether the watch still lives. */
const watchSilence = 4_000;
/** Twice that, for a question that is asked on a connection that is just as dead, and some more for the way back. */
const noticesSilence = 2 * watchSilence + 7_000;

const audit = auditSecrets(
  mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "audit-")),
);

let cluster: ControlPlane;
before(async () => {
  cluster = await startCluster({ controllers: false, apiServerFlags: audit.apiServerFlags });
});
after(() => cluster.stop());

/** A provider with the chart's rights, and the pieces a test does things to. */
async function install(
  t: TestContext,
  flags: readonly string[] = [],
): Promise<{
  readonly namespace: string;
  readonly provider: ProviderProcess;
  readonly mount: MountedServiceAccount;
  readonly proxy: TcpProxy;
}> {
  const namespace = await installAccount(t, cluster, "first");
  const proxy = await TcpProxy.listen(Number(new URL(cluster.server).port));
  t.after(() => proxy.close());
  const server = `https://127.0.0.1:${String(proxy.port)}`;
  const mount = await cluster.mountServiceAccount(namespace, serviceAccount, { server });
  const provider = ProviderProcess.start(t, cluster, {
    kubeconfig: mount.kubeconfig,
    namespace,
    secret: served,
    flags,
  });
  await provider.published();
  return { namespace, provider, mount, proxy };
}

test("it starts with a Role that names one secret, and answers the plugin", async (t) => {
  const { provider } = await install(t);

  assert.match(readFileSync(join(provider.hostDirectory, "port.txt"), "latin1"), /^\d+$/u);
  assert.deepEqual(await provider.ask(), {
    status: 200,
    body: '{"username":"ccg-impersonator","password":"first","domainName":"contoso.example"}',
  });
  assert.equal((await provider.operations("/readyz")).status, 200);
  assert.match((await provider.operations("/metrics")).body, /^sallyport_account_provider_/mu);
});

test("it serves an edited secret within a second, and none once that is deleted", async (t) => {
  const { namespace, provider } = await install(t);

  for (const [present, wanted] of [
    ["first", "second"],
    ["second", "third"],
  ] as const) {
    await changePassword(cluster, namespace, wanted);
    await provider.untilPassword(wanted, present, promptly);
  }

  await cluster.kubectl(["delete", "secret", served, "-n", namespace]);
  await provider.untilPassword("404", "third", promptly);
  await cluster.apply([accountSecret(served, "fourth")], { namespace });
  await provider.untilPassword("fourth", "404", promptly);
});

test("it asks for nothing but its own secret, and is refused every other", async (t) => {
  const { namespace, provider, mount } = await install(t);
  const username = `system:serviceaccount:${namespace}:${serviceAccount}`;

  assert.deepEqual(await provider.ask(foreign), { status: 404, body: "" });
  const requests = audit.requestsOf(username);
  assert.ok(requests.length > 0);
  for (const { objectRef, requestURI, responseStatus } of requests) {
    assert.equal(responseStatus?.code, 200, requestURI);
    assert.equal(objectRef?.name, served, requestURI);
  }

  const api = cluster.clientWithToken(mount.token());
  const secrets = `/api/v1/namespaces/${namespace}/secrets`;
  for (const path of [`${secrets}/${foreign}`, secrets, `${secrets}?watch=1`, "/api/v1/secrets"]) {
    assert.equal((await api.request("GET", path)).status, 403, path);
  }
});

test("told to serve a secret outside its Role, it says that it is refused and publishes no port", async (t) => {
  const namespace = await installAccount(t, cluster, "first");
  const { kubeconfig } = await cluster.mountServiceAccount(namespace, serviceAccount);
  const provider = ProviderProcess.start(t, cluster, { kubeconfig, namespace, secret: foreign });

  const { status } = await provider.untilReadiness(/forbidden|refused|403/iu, 10_000);

  assert.equal(status, 503);
  assert.ok(!readdirSync(provider.hostDirectory).includes("port.txt"));
  const username = `system:serviceaccount:${namespace}:${serviceAccount}`;
  assert.deepEqual(
    new Set(audit.requestsOf(username).map(({ responseStatus }) => responseStatus?.code)),
    new Set([403]),
  );
});

test("it serves the last good secret while the API server is away, and catches up afterwards", async (t) => {
  const { namespace, provider } = await install(t);

  // The other tests need it, too, whatever happens here.
  t.after(() => cluster.startApiServer());
  await cluster.stopApiServer();
  await provider.untilReadiness(/stale/u, afterOutage);
  assert.equal(await provider.password(), "first");
  await cluster.startApiServer();
  await changePassword(cluster, namespace, "second");

  await provider.untilPassword("second", "first", afterOutage);
  const { body } = await provider.untilReadiness(/^\[\+\] source$/mu, afterOutage);
  assert.doesNotMatch(body, /stale/u);
  // And the new watch is as quick as the first.
  await changePassword(cluster, namespace, "third");
  await provider.untilPassword("third", "second", promptly);
});

test("it goes on with a rotated service-account token once the old one is refused", async (t) => {
  const { namespace, provider, mount, proxy } = await install(t);

  await mount.rotate();
  proxy.cut();
  await changePassword(cluster, namespace, "second");

  await provider.untilPassword("second", "first", afterOutage);
});

test("it notices a watch that died without a word", async (t) => {
  const { namespace, provider, proxy } = await install(t, [`--watch-silence=${String(watchSilence)}ms`]);
  // The watch is open and carries events.
  await changePassword(cluster, namespace, "second");
  await provider.untilPassword("second", "first", promptly);

  proxy.freeze();
  await changePassword(cluster, namespace, "third");

  const took = await provider.untilPassword("third", "second", noticesSilence);
  t.diagnostic(`noticed after ${(took / 1000).toFixed(1)} s`);
});

test("it stops cleanly: exit code 0, and nothing left on the host", async (t) => {
  const { provider } = await install(t);

  assert.equal(await provider.stop(), 0);

  assert.ok(!existsSync(provider.hostDirectory));
});

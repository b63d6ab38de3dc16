/**
 * The bed itself: a control plane of a test's own, restarted, flagged, broken,
 * and gone without a trace.
 * @module
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { spawnGuarded } from "../../guarded-process.ts";
import { TcpProxy } from "../../tcp-proxy.ts";
import { ApiClient } from "../api-client.ts";
import { administrator } from "../cluster.ts";
import { startCluster } from "../control-plane.ts";
import type { ControlPlane } from "../control-plane.ts";
import { isAlive, until } from "./process-state.ts";

function refuses(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(false);
    });
    socket.once("error", () => {
      resolve(true);
    });
  });
}

describe("a control plane of its own", () => {
  let cluster: ControlPlane;
  before(async () => {
    cluster = await startCluster({ controllers: false, apiServerFlags: ["--anonymous-auth=false"] });
  });
  after(() => cluster.stop());

  test("takes flags for the API server", async (t) => {
    const nobody = new ApiClient({ server: cluster.server, authority: cluster.authority });
    t.after(() => nobody.close());

    // Without the flag anyone may ask for the version.
    assert.equal((await nobody.request("GET", "/version")).status, 401);
  });

  test("keeps its port and its objects over a restart of the API server", async () => {
    const path = "/api/v1/namespaces/default/configmaps";
    await cluster.admin.expect("POST", path, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "kept" },
    });

    await cluster.stopApiServer();
    assert.ok(await refuses(Number(new URL(cluster.server).port)));
    await cluster.startApiServer();

    assert.equal((await cluster.admin.expect("GET", `${path}/kept`)).metadata.name, "kept");
  });

  test("a frozen connection carries nothing and stays open, a new one works", async (t) => {
    const proxy = await TcpProxy.listen(Number(new URL(cluster.server).port));
    t.after(() => proxy.close());
    const kubeconfig = await cluster.kubeconfig(administrator, {
      server: `https://127.0.0.1:${String(proxy.port)}`,
    });
    const watching = cluster.kubectl(["get", "configmaps", "--watch", "--request-timeout=2s"], {
      kubeconfig,
    });
    await until(() => proxy.connections > 0);
    await sleep(500);

    proxy.freeze();
    await cluster.kubectl(["create", "configmap", "unseen"]);

    assert.equal(proxy.connections, 1);
    assert.doesNotMatch((await watching).stdout, /unseen/u);
    assert.match((await cluster.kubectl(["get", "configmaps"], { kubeconfig })).stdout, /unseen/u);
  });
});

test("a cluster that cannot start says what its programs said, and leaves nothing", async () => {
  await assert.rejects(
    startCluster({ apiServerFlags: ["--no-such-flag"] }),
    /kube-apiserver ended by itself[^]*unknown flag: --no-such-flag/u,
  );
});

test("nothing runs or listens after stop", async () => {
  const cluster = await startCluster();
  const pids = cluster.processIds;
  assert.equal(pids.length, 3);

  await cluster.stop();

  assert.deepEqual(pids.filter(isAlive), []);
  assert.ok(await refuses(Number(new URL(cluster.server).port)));
});

test("nothing runs after the process that started a cluster was killed", async () => {
  const owner = spawnGuarded(process.execPath, [join(import.meta.dirname, "abandon-cluster.ts")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said = await new Promise<string>((resolve) =>
    owner.stdout?.once("data", (data: Buffer) => {
      resolve(String(data));
    }),
  );
  const pids = JSON.parse(said) as number[];
  assert.ok(pids.length === 3 && pids.every(isAlive));

  owner.kill("SIGKILL");
  await until(() => !pids.some(isAlive));
});

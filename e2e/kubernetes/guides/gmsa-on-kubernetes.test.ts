/**
 * The installation guide, followed from nothing to a pod with its gMSA's credential spec, and back: its own commands, the
 * charts' pods run on nodes of the bed, and the API server reaches the webhook through its Service.
 * @module
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { runCommand } from "../../guarded-process.ts";
import { ServiceAddress } from "../admission/service-address.ts";
import type { KubernetesObject } from "../api-client.ts";
import { NodeAgent } from "../charts/node-agent.ts";
import { startCluster, type ControlPlane } from "../control-plane.ts";
import { commandsOf, Reader } from "./guide.ts";

const program = join(import.meta.dirname, "../../../src/main.ts");
const password = "imp€rsonation";

let cluster: ControlPlane;
let agent: NodeAgent;
let reader: Reader;
let windowsRoot: string;
let service: ServiceAddress | undefined;
const following = new AbortController();

before(async () => {
  cluster = await startCluster();
  agent = await NodeAgent.start(cluster, { services: true });
  windowsRoot = await agent.addNode("windows-1", "windows");
  reader = await Reader.at(cluster);
});
after(async () => {
  following.abort();
  await agent?.stop();
  await service?.close();
  await cluster?.stop();
});

/** What kube-proxy does for the webhook's Service. */
async function followService(): Promise<void> {
  while (!following.signal.aborted) {
    const found = await cluster.admin.request("GET", "/api/v1/namespaces/gmsa-webhook/services/gmsa-webhook");
    if (found.status === 200) {
      service ??= await ServiceAddress.listen(found.body.spec.clusterIP as string, 443);
      const pods = await cluster.admin.expect("GET", "/api/v1/namespaces/gmsa-webhook/pods");
      service.endpoints = (pods.items as readonly KubernetesObject[])
        .filter(({ status }) => status.containerStatuses?.[0]?.ready === true)
        .map(({ status }) => ({ host: status.podIP as string, port: 8443 }));
    }
    await sleep(100, undefined, { signal: following.signal }).catch(() => undefined);
  }
}

test("the guide leads from nothing to a pod that holds its credential spec, and back", async (t) => {
  const blocks = commandsOf("gmsa-on-kubernetes.md");
  assert.equal(blocks.length, 7, "the guide has other blocks than this test knows");
  const [onceInACluster, account, values, look, pod, takeAway, takeAwayRest] = blocks as readonly [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  t.after(() => {
    if (!t.passed) t.diagnostic(agent.log);
  });
  const proxy = followService();

  await reader.run(onceInACluster);
  writeFileSync(join(reader.folder, "password.txt"), password);
  await reader.run(account);
  await reader.run(values);
  const looked = await reader.run(look);
  assert.match(looked.stdout, /1 credential spec, no findings/u);
  assert.match(looked.stdout, /^yes$/mu);
  const admitted = await reader.run(pod);
  assert.match(admitted.stdout, /"MachineAccountName":"webapp01"/u);
  assert.match(admitted.stdout, /"PluginInput":"contoso-web:webapp-creds"/u);

  // What the plugin asks on the node, it gets.
  const host = join(windowsRoot, "var/lib/rancher/gmsa/contoso-web");
  const probe = await runCommand(process.execPath, [
    program,
    ...["account-provider", "probe", "webapp-creds", "--namespace=contoso-web", `--host-dir=${host}`],
  ]);
  assert.equal(probe.code, 0, probe.stdout + probe.stderr);
  assert.match(probe.stdout, /ccg-webapp, contoso\.example, a password of 13 characters/u);
  assert.doesNotMatch(agent.log + probe.stdout + looked.stdout, new RegExp(password, "u"));

  // A pod that may not use the spec is refused by the same webhook.
  const refused = await cluster.kubectl(["apply", "--filename", "-"], {
    allowFailure: true,
    stdin: JSON.stringify({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "stranger", namespace: "contoso-web" },
      spec: {
        serviceAccountName: "default",
        securityContext: { windowsOptions: { gmsaCredentialSpecName: "webapp01" } },
        containers: [{ name: "app", image: "example.invalid/app:1" }],
      },
    }),
  });
  assert.match(refused.stderr, /is not authorized to `use` GMSA cred spec "webapp01"/u);

  await reader.run(takeAway);
  // The clean-up ran on the node, with its files.
  const left = await runCommand("find", [windowsRoot, "-type", "f"]);
  assert.equal(left.stdout, "");
  // The plugin cannot be taken off a node that is no Windows.
  await agent.removeNode("windows-1");
  await reader.run(takeAwayRest);
  following.abort();
  await proxy;
});

/**
 * The guide to logging in with RAM, followed from a cluster without it to `kubectl auth whoami`: the chart's pods run on a
 * control-plane node of the bed, its script changes that node's manifest, and the API server starts with the flags it wrote.
 * STS is simulated.
 * @module
 */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";

import { assumeRole } from "../../../src/authenticator/ram/credentials/assume-role.ts";
import { noCache } from "../../../src/authenticator/ram/credentials/credential-cache.ts";
import { startStsSimulator } from "../../../src/authenticator/ram/sts-simulator.ts";
import { systemClock } from "../../../src/clock.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { Secret } from "../../../src/secret.ts";
import { NodeAgent } from "../charts/node-agent.ts";
import { startCluster } from "../control-plane.ts";
import { commandsOf, Reader } from "./guide.ts";

const kubeadmManifest = join(import.meta.dirname, "../../../test/fixtures/kube-apiserver-manifest.txt");

const alice = {
  accessKeyId: "LTAIexampleAlice",
  accessKeySecret: new Secret("secret of alice"),
  arn: "acs:ram::1234567890123456:user/alice",
  userId: "200000000000000001",
};
/** The role that the example maps. */
const developers = { arn: "acs:ram::1234567890123456:role/developers", roleId: "300000000000000001" };

test("the guide leads from a cluster that knows nobody to a person with a role of RAM", async (t) => {
  const blocks = commandsOf("ram-login.md");
  assert.equal(blocks.length, 5, "the guide has other blocks than this test knows");
  const [install, configure, map, logIn, verify] = blocks as readonly [
    string,
    string,
    string,
    string,
    string,
  ];
  const sts = await startStsSimulator({
    accessKeys: [alice],
    roles: [developers],
    clock: systemClock,
    log: silentLog,
  });
  t.after(() => sts.stop());
  const cluster = await startCluster();
  t.after(() => cluster.stop());
  const agent = await NodeAgent.start(cluster, { services: true });
  t.after(() => agent.stop());
  t.after(() => {
    if (!t.passed) t.diagnostic(agent.log);
  });
  const node = await agent.addNode("control-plane-1", "linux", {
    labels: { "node-role.kubernetes.io/control-plane": "" },
  });
  const stsCAFile = join(cluster.directory, "sts-ca.pem");
  writeFileSync(stsCAFile, sts.authoritiesPem);
  const reader = await Reader.at(cluster, {
    helmFlags: {
      authenticator: [`--set=config.server.stsEndpoint=${sts.origin},config.server.stsCAFile=${stsCAFile}`],
    },
    environment: { ALIBABA_CLOUD_ECS_METADATA_DISABLED: "true" },
  });

  await reader.run(install);

  // The node's own folders instead of this machine's.
  const etc = join(node, "etc/kubernetes");
  mkdirSync(join(etc, "manifests"), { recursive: true });
  const manifest = join(etc, "manifests/kube-apiserver.yaml");
  copyFileSync(kubeadmManifest, manifest);
  const kubeconfig = join(etc, "ack-ram-authenticator/kubeconfig.yaml");
  const onNode = `--manifest ${manifest} --kubeconfig ${kubeconfig} --backups ${join(etc, "backups")}`;
  // Copied to the node, as the guide says.
  copyFileSync(
    join(reader.folder, "deploy/authenticator/configure-api-server.sh"),
    join(reader.folder, "configure-api-server.sh"),
  );
  await reader.run(configure.replace("configure-api-server.sh", `$& ${onNode}`));
  const pod = parse(readFileSync(manifest, "utf8")) as {
    readonly spec: { readonly containers: readonly { readonly command: readonly string[] }[] };
  };
  const written = (pod.spec.containers[0]?.command ?? []).filter((word) =>
    word.startsWith("--authentication-token-webhook"),
  );
  assert.equal(written.length, 2);
  await cluster.restartApiServer(written);

  await reader.run(map);
  const session = await assumeRole(
    { accessKeyId: alice.accessKeyId, accessKeySecret: alice.accessKeySecret },
    { roleArn: developers.arn, sessionName: "alice" },
    {
      environment: {},
      home: cluster.directory,
      clock: systemClock,
      cache: noCache,
      stsEndpoint: sts.origin,
      stsAuthoritiesPem: sts.authoritiesPem,
    },
  );
  const person = await Reader.at(cluster, {
    environment: {
      ALIBABA_CLOUD_ACCESS_KEY_ID: session.accessKeyId,
      ALIBABA_CLOUD_ACCESS_KEY_SECRET: session.accessKeySecret.reveal(),
      ALIBABA_CLOUD_SECURITY_TOKEN: session.securityToken?.reveal() ?? "",
      ALIBABA_CLOUD_ECS_METADATA_DISABLED: "true",
    },
  });
  const seen = await person.run(logIn);

  assert.match(seen.stdout, /dev:alice/u);
  assert.match(seen.stdout, /contoso-developers/u);

  const home = join(person.folder, ".kube");
  mkdirSync(home, { recursive: true });
  copyFileSync(join(person.folder, "kubeconfig"), join(home, "config"));
  const verified = await person.run(verify);
  assert.match(verified.stdout, /Backend: CRD/u);
  assert.match(verified.stdout, /Username: dev:alice/u);
});

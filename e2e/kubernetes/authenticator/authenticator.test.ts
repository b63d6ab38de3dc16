/**
 * Logging in to a cluster with Alibaba Cloud RAM, as people do it: kubectl runs `sallyport token`, kube-apiserver asks
 * the authenticator, and that asks STS, which is the one thing here that is simulated.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { startStsSimulator } from "../../../src/authenticator/ram/sts-simulator.ts";
import type { SimulatedAccessKey, StsSimulator } from "../../../src/authenticator/ram/sts-simulator.ts";
import { mintToken } from "../../../src/authenticator/ram/token.ts";
import { systemClock } from "../../../src/clock.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { Secret } from "../../../src/secret.ts";
import type { CommandResult } from "../../guarded-process.ts";
import { startCluster } from "../control-plane.ts";
import type { ControlPlane } from "../control-plane.ts";
import { AuthenticatorHost, clusterId, program } from "./authenticator-process.ts";

const account = "1234567890123456";
const deploy = join(import.meta.dirname, "../../../deploy/authenticator");
/** How long a changed mapping may take to count, in milliseconds. */
const promptly = 1_000;

const user = (name: string, userId: string): SimulatedAccessKey => ({
  accessKeyId: `LTAIexample${name}`,
  accessKeySecret: new Secret(`secret of ${name}`),
  arn: `acs:ram::${account}:user/${name}`,
  userId,
});
const alice = user("Alice", "200000000000000001");
const stranger = user("Stranger", "200000000000000002");
const developers = { arn: `acs:ram::${account}:role/dev-team`, roleId: "300000000000000001" };

let sts: StsSimulator;
let host: AuthenticatorHost;
let cluster: ControlPlane;
let stsCAFile: string;
/** What the deployed authenticator may do, and no more. */
let kubeconfig: string;

const server = (): Readonly<Record<string, unknown>> => ({
  backendMode: ["MountedFile", "CRD", "ACKConfigMap"],
  wildcardMappings: true,
  stsEndpoint: sts.origin,
  stsCAFile,
  mapUsers: [{ userARN: alice.arn, username: "alice", groups: ["contoso-developers"] }],
});

before(async () => {
  sts = await startStsSimulator({
    accessKeys: [alice, stranger],
    roles: [developers],
    clock: systemClock,
    log: silentLog,
  });
  stsCAFile = join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? "/tmp", `sts-ca-${process.pid}.pem`);
  writeFileSync(stsCAFile, sts.authoritiesPem);
  host = await AuthenticatorHost.prepare(server());
  cluster = await startCluster({
    apiServerFlags: [
      `--authentication-token-webhook-config-file=${host.webhookKubeconfig}`,
      "--authentication-token-webhook-version=v1",
    ],
  });
  await cluster.apply(readFileSync(join(deploy, "ramidentitymapping-crd.yaml"), "utf8"));
  await cluster.waitFor(
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ramidentitymappings.ramauthenticator.k8s.alibabacloud",
    (crd) =>
      crd?.status?.conditions?.some(
        (c: { type: string; status: string }) => c.type === "Established" && c.status === "True",
      ),
  );
  await cluster.apply(readFileSync(join(deploy, "authenticator.yaml"), "utf8"));
  await cluster.apply(readFileSync(join(deploy, "example-binding.yaml"), "utf8"));
  kubeconfig = await cluster.kubeconfig({
    serviceAccount: "ack-ram-authenticator",
    namespace: "kube-system",
  });
  await host.start(kubeconfig);
});

after(async () => {
  await host?.stop();
  await cluster?.stop();
  await sts?.stop();
});

/** A kubeconfig whose user is the exec plugin with this access key. */
function kubeconfigWithPlugin(key: SimulatedAccessKey, args: readonly string[] = []): string {
  const file = join(host.directory, `kubeconfig-${key.accessKeyId}-${args.length}`);
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "c",
          cluster: {
            server: cluster.server,
            "certificate-authority-data": Buffer.from(cluster.authority).toString("base64"),
          },
        },
      ],
      users: [
        {
          name: "u",
          user: {
            exec: {
              apiVersion: "client.authentication.k8s.io/v1",
              command: process.execPath,
              args: [program, "token", "--cluster-id", clusterId, ...args],
              env: [
                { name: "ALIBABA_CLOUD_ACCESS_KEY_ID", value: key.accessKeyId },
                { name: "ALIBABA_CLOUD_ACCESS_KEY_SECRET", value: key.accessKeySecret.reveal() },
                { name: "SALLYPORT_CACHE_DIR", value: join(host.directory, "cache") },
              ],
              interactiveMode: "Never",
              provideClusterInfo: false,
            },
          },
        },
      ],
      contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
      "current-context": "x",
    }),
    { mode: 0o600 },
  );
  return file;
}

function whoami(file: string): Promise<CommandResult> {
  return cluster.kubectl(["auth", "whoami", "-o", "json"], { kubeconfig: file, allowFailure: true });
}

interface UserInfo {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

function userInfo(result: CommandResult): UserInfo {
  assert.equal(result.code, 0, result.stderr);
  return (JSON.parse(result.stdout) as { status: { userInfo: UserInfo } }).status.userInfo;
}

let minted = 0;
/** A token that no other call has had, since the API server remembers tokens: each is made for an earlier second. */
function freshToken(
  key: SimulatedAccessKey | { accessKeyId: string; secret: string; token: string },
  at = Date.now() - (minted += 1) * 1000,
): string {
  const signing =
    "secret" in key
      ? { accessKeyId: key.accessKeyId, accessKeySecret: key.secret, securityToken: key.token }
      : { accessKeyId: key.accessKeyId, accessKeySecret: key.accessKeySecret.reveal() };
  return mintToken(clusterId, signing, at, "sallyport/e2e").token;
}

/** Who the API server says a token belongs to: a user name, or the HTTP status. */
async function nameOf(token: string): Promise<string> {
  const client = cluster.clientWithToken(token);
  const { status, body } = await client.request(
    "POST",
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" },
    "application/json",
    60_000,
  );
  client.close();
  return status === 201 ? (body.status.userInfo.username as string) : String(status);
}

/** Asks with new tokens until the API server says that name; resolves to how many milliseconds that took. */
async function until(
  key: Parameters<typeof freshToken>[0],
  wanted: string,
  withinMs: number,
): Promise<number> {
  const began = performance.now();
  for (;;) {
    const name = await nameOf(freshToken(key));
    const passed = performance.now() - began;
    if (name === wanted) return passed;
    assert.ok(
      passed < withinMs,
      `it still says ${name} after ${passed.toFixed(0)} ms\n${host.log.slice(-2000)}`,
    );
    await sleep(20);
  }
}

function mapping(name: string, spec: Readonly<Record<string, unknown>>): readonly object[] {
  return [
    {
      apiVersion: "ramauthenticator.k8s.alibabacloud/v1alpha1",
      kind: "RAMIdentityMapping",
      metadata: { name },
      spec,
    },
  ];
}

async function session(name: string): Promise<{ accessKeyId: string; secret: string; token: string }> {
  const { assumeRole } = await import("../../../src/authenticator/ram/credentials/assume-role.ts");
  const { noCache } = await import("../../../src/authenticator/ram/credentials/credential-cache.ts");
  const credentials = await assumeRole(
    { accessKeyId: alice.accessKeyId, accessKeySecret: alice.accessKeySecret },
    { roleArn: developers.arn, sessionName: name },
    {
      environment: {},
      home: host.directory,
      clock: systemClock,
      cache: noCache,
      stsEndpoint: sts.origin,
      stsAuthoritiesPem: sts.authoritiesPem,
    },
  );
  return {
    accessKeyId: credentials.accessKeyId,
    secret: credentials.accessKeySecret.reveal(),
    token: credentials.securityToken?.reveal() ?? "",
  };
}

test("kubectl with the exec plugin is the mapped user, with groups and extra", async () => {
  const info = userInfo(await whoami(kubeconfigWithPlugin(alice)));

  assert.equal(info.username, "alice");
  assert.equal(info.uid, `ack-ram-authenticator:${account}:${alice.userId}`);
  assert.deepEqual([...info.groups].sort(), ["contoso-developers", "system:authenticated"]);
  assert.deepEqual(info.extra["arn"], [alice.arn]);
  assert.deepEqual(info.extra["canonicalArn"], [alice.arn]);
  assert.deepEqual(info.extra["accessKeyId"], [alice.accessKeyId]);
});

test("the binding of her group lets her look, and do nothing else", async () => {
  const file = kubeconfigWithPlugin(alice);
  assert.equal((await cluster.kubectl(["get", "pods", "-A"], { kubeconfig: file })).code, 0);
  const refused = await cluster.kubectl(["create", "namespace", "hers"], {
    kubeconfig: file,
    allowFailure: true,
  });
  assert.match(refused.stderr, /User "alice" cannot create resource "namespaces"/);
});

test("an ARN without a mapping and a tampered token are told 401", async () => {
  const unmapped = await whoami(kubeconfigWithPlugin(stranger));
  assert.notEqual(unmapped.code, 0);
  assert.match(unmapped.stderr, /Unauthorized|must be logged in/);

  const good = freshToken(alice);
  const text = Buffer.from(good.slice("k8s-ack-v2.".length), "base64").toString();
  const tampered = text.replace(
    /Signature=([0-9a-f])/,
    (_all, first: string) => `Signature=${first === "0" ? "1" : "0"}`,
  );
  assert.equal(await nameOf(good), "alice");
  assert.equal(await nameOf(`k8s-ack-v2.${Buffer.from(tampered).toString("base64")}`), "401");
  assert.equal(await nameOf("k8s-ack-v2.nonsense"), "401");
});

test("a service account's tokens and the administrator's certificate go on working beside it", async () => {
  const name = await nameOf(await cluster.token("kube-system", "ack-ram-authenticator"));
  assert.equal(name, "system:serviceaccount:kube-system:ack-ram-authenticator");
});

test("a mapping applied with kubectl counts within a second, and its status says what was understood", async (t) => {
  await cluster.apply(mapping("stranger", { arn: stranger.arn, username: "known", groups: ["g"] }));
  t.diagnostic(`counted after ${(await until(stranger, "known", promptly)).toFixed(0)} ms`);

  const object = await cluster.waitFor(
    "/apis/ramauthenticator.k8s.alibabacloud/v1alpha1/ramidentitymappings/stranger",
    (each) => each?.status?.canonicalARN === stranger.arn,
  );
  assert.equal(object.status.conditions[0].reason, "Synced");
  const events = await cluster.kubectl(["get", "events", "-n", "default", "-o", "json"]);
  assert.match(events.stdout, /Identity synced successfully/);

  await cluster.kubectl(["delete", "ramidentitymapping", "stranger"]);
  await until(stranger, "401", promptly);
});

test("a mapping that cannot be used maps nobody, and its author is told why", async () => {
  await cluster.apply(mapping("bad", { arn: stranger.arn, username: "x", groups: ["system:masters"] }));

  const object = await cluster.waitFor(
    "/apis/ramauthenticator.k8s.alibabacloud/v1alpha1/ramidentitymappings/bad",
    (each) => each?.status?.conditions?.[0]?.reason === "Refused",
  );
  assert.match(object.status.conditions[0].message, /"system:masters" is reserved/);
  assert.equal(await nameOf(freshToken(stranger)), "401");
  await cluster.kubectl(["delete", "ramidentitymapping", "bad"]);
});

test("narrowing a wildcard takes the old grant away within a second", async (t) => {
  const caller = await session("alice@corp");
  const wide = { arn: `acs:ram::${account}:role/dev-*`, username: "dev-{{SessionName}}" };
  await cluster.apply(mapping("dev", wide));
  await until(caller, "dev-alice-corp", promptly);

  await cluster.apply(mapping("dev", { ...wide, arn: `acs:ram::${account}:role/other-team` }));
  t.diagnostic(`taken away after ${(await until(caller, "401", promptly)).toFixed(0)} ms`);
  await cluster.kubectl(["delete", "ramidentitymapping", "dev"]);
});

test("two mappings of one ARN: the older counts, and a warning says so", async () => {
  await cluster.apply(mapping("first", { arn: stranger.arn, username: "first" }));
  await until(stranger, "first", promptly);
  await sleep(1_100);
  await cluster.apply(mapping("a-second", { arn: stranger.arn, username: "second" }));

  await cluster.waitFor(
    "/apis/ramauthenticator.k8s.alibabacloud/v1alpha1/ramidentitymappings/a-second",
    (each) => each?.status?.conditions?.[0]?.reason === "Conflict",
  );
  assert.equal(await nameOf(freshToken(stranger)), "first");
  await cluster.kubectl(["delete", "ramidentitymapping", "first"]);
  await until(stranger, "second", promptly);
  await cluster.kubectl(["delete", "ramidentitymapping", "a-second"]);
});

test("`add user` writes the ConfigMap, and the mapping counts", async () => {
  await cluster.kubectl(["-n", "kube-system", "create", "configmap", "alibabacloud-auth"]);
  const add = [
    "authenticator",
    "add",
    "user",
    `--userarn=${stranger.arn}`,
    "--username=added",
    "--groups=g1,g2",
    `--kubeconfig=${await cluster.kubeconfig()}`,
    "--prompt=false",
  ];
  await host.sallyport(add);
  await until(stranger, "added", promptly);

  await assert.rejects(host.sallyport(add), /is mapped already/);
  await cluster.kubectl(["-n", "kube-system", "delete", "configmap", "alibabacloud-auth"]);
  await until(stranger, "401", promptly);
});

test("`verify` says whose token it is and which mapping it gets", async () => {
  const { stdout } = await host.sallyport([
    "authenticator",
    "verify",
    `--config=${host.config}`,
    `--kubeconfig=${await cluster.kubeconfig()}`,
    "-t",
    freshToken(alice),
    "-o",
    "json",
  ]);
  const facts = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(facts["ARN"], alice.arn);
  assert.deepEqual(facts["Mapping"], {
    Backend: "MountedFile",
    Entry: "server.mapUsers[0]",
    Username: "alice",
    Groups: ["contoso-developers"],
  });
});

test("a role is assumed by the plugin, whose temporary credentials are kept", async () => {
  await cluster.apply(mapping("role", { arn: developers.arn, username: "dev:{{SessionNameRaw}}" }));
  const file = kubeconfigWithPlugin(alice, [
    `--role=${developers.arn}`,
    "--session-name=alice@corp",
    `--sts-endpoint=${sts.origin}`,
    `--sts-ca-file=${stsCAFile}`,
  ]);
  const callsSoFar = sts.calls()["AssumeRole"] ?? 0;

  assert.equal(userInfo(await whoami(file)).username, "dev:alice@corp");
  assert.equal(userInfo(await whoami(file)).username, "dev:alice@corp");
  assert.equal(sts.calls()["AssumeRole"], callsSoFar + 1);
  await cluster.kubectl(["delete", "ramidentitymapping", "role"]);
});

test("a rotated certificate and a restarted authenticator need no change at the API server", async () => {
  const old = await host.servedFingerprint();
  rmSync(join(host.state, "cert.pem"));
  rmSync(join(host.state, "key.pem"));
  assert.match(await host.init(), /^Made cert\.pem[\s\S]*Kept .*kubeconfig\.yaml/);
  for (const deadline = Date.now() + 10_000; (await host.servedFingerprint()) === old; await sleep(50)) {
    assert.ok(Date.now() < deadline, "the new certificate is not served");
  }
  assert.equal(await nameOf(freshToken(alice)), "alice");

  assert.equal(await host.stop(), 0);
  await host.start(kubeconfig);
  assert.equal(await nameOf(freshToken(alice)), "alice");
});

test("while STS hangs, throttles and fails, known users go on, others wait, and nothing needs a restart", async (t) => {
  // Two API servers in a row ask for the same token: the second answer comes from the authenticator's memory.
  // Of this second, which no earlier test has used: it has to last longer than the API server takes to start.
  const known = freshToken(alice, Date.now());
  assert.equal(await nameOf(known), "alice");
  await cluster.restartApiServer();

  for (const fault of [
    { fault: "hang" },
    { fault: "throttling" },
    { fault: "server-error", status: 500 },
  ] as const) {
    sts.setFault(fault);
    assert.equal(await nameOf(known), "alice", fault.fault);
    const waiting = nameOf(freshToken(alice, Date.now()));
    const tooEarly = await Promise.race([waiting, sleep(2_000, "waits")]);
    assert.equal(tooEarly, "waits", `${fault.fault}: a new token was decided without STS`);
    sts.setFault({ fault: "none" });
    const began = performance.now();
    assert.equal(await waiting, "alice", `${fault.fault}: the API server did not ask again`);
    t.diagnostic(`${fault.fault}: decided ${(performance.now() - began).toFixed(0)} ms after STS came back`);
  }
});

/**
 * Everything at once against a real API server: pods, reviews and credential requests go on while every component is
 * killed and started again in turn, certificates rotate, tokens are taken back and a password changes. What fails must be
 * explained by a component that was down; what must never happen (a refused pod admitted, a stranger let in, a password
 * that was never set) must not happen even then. `SALLYPORT_CHAOS_SECONDS` makes it longer or shorter.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { startStsSimulator, type SimulatedAccessKey } from "../../../src/authenticator/ram/sts-simulator.ts";
import { mintToken } from "../../../src/authenticator/ram/token.ts";
import { systemClock } from "../../../src/clock.ts";
import { canonicalJson } from "../../../src/credential-spec/canonical-json.ts";
import { nodeOf } from "../../../src/credential-spec/json.ts";
import { renderUseGrant } from "../../../src/credential-spec/render/kubernetes.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { createAuthority } from "../../../src/pki/authority.ts";
import { Secret } from "../../../src/secret.ts";
import { sampleSpec } from "../../../test/samples/credential-spec.ts";
import {
  changePassword,
  installAccount,
  served,
  serviceAccount,
} from "../account-provider/least-privilege.ts";
import { ProviderProcess } from "../account-provider/provider-process.ts";
import { AdmissionProcess, SecretVolume } from "../admission/admission-process.ts";
import { ServiceAddress } from "../admission/service-address.ts";
import {
  installWebhookRights,
  issueApiServerIdentity,
  registrationFor,
} from "../admission/webhook-registration.ts";
import type { ApiResponse } from "../api-client.ts";
import { AuthenticatorHost, clusterId } from "../authenticator/authenticator-process.ts";
import { startCluster } from "../control-plane.ts";
import { OutageLedger, type Component } from "./outage-ledger.ts";

const seconds = Number(process.env["SALLYPORT_CHAOS_SECONDS"] ?? 300);
const deploy = join(import.meta.dirname, "../../../deploy");
const contents = canonicalJson(nodeOf(sampleSpec()));
const named = { securityContext: { windowsOptions: { gmsaCredentialSpecName: "webapp01" } } };
const mayNotUse = /is not authorized to `use` GMSA cred spec "webapp01"/;

const key = (name: string, userId: string): SimulatedAccessKey => ({
  accessKeyId: `LTAIexample${name}`,
  accessKeySecret: new Secret(`secret of ${name}`),
  arn: `acs:ram::1234567890123456:user/${name}`,
  userId,
});
const alice = key("Alice", "200000000000000001");
const stranger = key("Stranger", "200000000000000002");

test(
  `${seconds} s of pods, logins and credential requests, with every component killed in turn`,
  { timeout: (seconds + 180) * 1_000 },
  async (t) => {
    const directory = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "chaos-"));
    mkdirSync(join(directory, "logs"));
    const clock = systemClock;
    const authority = await createAuthority({
      commonName: "chaos",
      keyType: "ec-p256",
      lifetimeMs: 24 * 3_600_000,
      clock,
    });

    // What the API server is started with: whom it asks about tokens, and who it is towards webhooks.
    const sts = await startStsSimulator({ accessKeys: [alice, stranger], roles: [], clock, log: silentLog });
    t.after(() => sts.stop());
    const stsCAFile = join(directory, "sts-ca.pem");
    writeFileSync(stsCAFile, sts.authoritiesPem);
    const host = await AuthenticatorHost.prepare({
      backendMode: ["MountedFile"],
      stsEndpoint: sts.origin,
      stsCAFile,
      mapUsers: [{ userARN: alice.arn, username: "alice", groups: ["contoso-developers"] }],
    });
    const identity = await issueApiServerIdentity(authority, directory);
    const cluster = await startCluster({
      apiServerFlags: [
        ...identity.apiServerFlags,
        `--authentication-token-webhook-config-file=${host.webhookKubeconfig}`,
        "--authentication-token-webhook-version=v1",
      ],
    });
    t.after(() => cluster.stop());

    // The authenticator.
    await cluster.apply(readFileSync(join(deploy, "authenticator/ramidentitymapping-crd.yaml"), "utf8"));
    await cluster.apply(readFileSync(join(deploy, "authenticator/authenticator.yaml"), "utf8"));
    const authenticatorKubeconfig = await cluster.kubeconfig({
      serviceAccount: "ack-ram-authenticator",
      namespace: "kube-system",
    });
    await host.start(authenticatorKubeconfig);
    t.after(() => host.stop());

    // The webhook.
    const webhookKubeconfig = await installWebhookRights(cluster);
    const volume = new SecretVolume(join(directory, "tls"), authority);
    await volume.rotate();
    const startWebhook = (): Promise<AdmissionProcess> =>
      AdmissionProcess.start({
        kubeconfig: webhookKubeconfig,
        volume,
        directory: join(directory, "logs"),
        flags: identity.webhookFlags,
      });
    const service = await ServiceAddress.listen();
    t.after(() => service.close());
    let webhook = await startWebhook();
    t.after(() => webhook.stop());
    service.endpoints = [webhook.port];
    await cluster.apply(registrationFor(service.port, authority));

    // The account provider, with certificates that live for seconds.
    const passwords = ["before-all"];
    const account = await installAccount(t, cluster, "before-all");
    const mounted = await cluster.mountServiceAccount(account, serviceAccount);
    const startProvider = (): ProviderProcess =>
      ProviderProcess.start(t, cluster, {
        kubeconfig: mounted.kubeconfig,
        namespace: account,
        secret: served,
        flags: ["--leaf-lifetime=20s"],
      });
    let provider = startProvider();
    await provider.published();

    // Who may use the spec, and who may not.
    const [granted, bare] = [await cluster.namespace(t), await cluster.namespace(t)];
    for (const namespace of [granted, bare]) {
      await cluster.waitFor(
        `/api/v1/namespaces/${namespace}/serviceaccounts/default`,
        (found) => found !== undefined,
      );
    }
    await cluster.apply(
      renderUseGrant(
        { name: "webapp01", spec: nodeOf(sampleSpec()) },
        { namespace: granted, serviceAccount: "default" },
      ).text,
    );
    const createPod = (namespace: string): Promise<ApiResponse> =>
      cluster.admin.request("POST", `/api/v1/namespaces/${namespace}/pods?dryRun=All`, {
        apiVersion: "v1",
        kind: "Pod",
        metadata: { name: "web" },
        spec: { containers: [{ name: "app", image: "example.invalid/app:1" }], ...named },
      });
    let minted = 0;
    const whoIs = async (person: SimulatedAccessKey): Promise<string> => {
      minted += 1;
      // The API server remembers tokens: each is made for another second.
      const { token } = mintToken(
        clusterId,
        { accessKeyId: person.accessKeyId, accessKeySecret: person.accessKeySecret.reveal() },
        Date.now() - (minted % 600) * 1000,
        "sallyport/e2e",
      );
      const client = cluster.clientWithToken(token);
      try {
        const { status, body } = await client.request(
          "POST",
          "/apis/authentication.k8s.io/v1/selfsubjectreviews",
          { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" },
          "application/json",
          60_000,
        );
        return status === 201 ? (body.status.userInfo.username as string) : String(status);
      } finally {
        client.close();
      }
    };

    const breaches: string[] = [];
    const requests: Readonly<
      Record<
        string,
        { readonly needs: readonly Component[]; readonly attempt: () => Promise<string | undefined> }
      >
    > = {
      "pod that may": {
        needs: ["API server", "webhook"],
        async attempt() {
          const { status, body } = await createPod(granted);
          if (status !== 201) return `${status} ${String(body.message)}`;
          const inlined = body.spec.securityContext.windowsOptions.gmsaCredentialSpec as string;
          if (inlined !== contents) breaches.push(`a pod was admitted with the contents ${inlined}`);
          return undefined;
        },
      },
      "pod that may not": {
        needs: ["API server", "webhook"],
        async attempt() {
          const { status, body } = await createPod(bare);
          if (status < 300) breaches.push("a pod was admitted whose account may not use its spec");
          return status === 403 && mayNotUse.test(String(body.message))
            ? undefined
            : `${status} ${String(body.message)}`;
        },
      },
      "alice logs in": {
        needs: ["API server", "authenticator"],
        async attempt() {
          const name = await whoIs(alice);
          return name === "alice" ? undefined : name;
        },
      },
      "a stranger logs in": {
        needs: ["API server", "authenticator"],
        async attempt() {
          const name = await whoIs(stranger);
          if (!/^[45]\d\d$/.test(name)) breaches.push(`a stranger was let in as ${name}`);
          return name === "401" ? undefined : name;
        },
      },
      // It answers from memory: that the API server is away explains nothing.
      "credential request": {
        needs: ["account provider"],
        async attempt() {
          const password = await provider.password();
          if (!passwords.includes(password)) return password;
          return undefined;
        },
      },
    };

    const enforced = Date.now() + 20_000;
    while ((await createPod(bare)).status !== 403 || (await createPod(granted)).status !== 201) {
      assert.ok(Date.now() < enforced, "the webhook or the grant never acts");
      await sleep(50);
    }
    assert.equal(await whoIs(alice), "alice");

    const ledger = new OutageLedger();
    const run = { on: true };
    const until = performance.now() + seconds * 1_000;
    const pending = new Set<Promise<void>>();
    const loads = Object.entries(requests).map(async ([what, { needs, attempt }]) => {
      while (run.on) {
        const made = ledger.request(what, needs, attempt).finally(() => pending.delete(made));
        pending.add(made);
        await sleep(400);
      }
    });
    const rotations = (async () => {
      for (let round = 1; run.on; round++) {
        await sleep(7_000);
        await volume.rotate();
        const password = `password-${round}`;
        passwords.push(password);
        // The API server may be away just now: then the password stays.
        await changePassword(cluster, account, password).catch(() => passwords.pop());
        if (round % 4 === 0) await mounted.rotate().catch(() => undefined);
      }
    })();
    const kills: readonly (() => Promise<void>)[] = [
      () =>
        ledger.during("webhook", async () => {
          await webhook.kill();
          webhook = await startWebhook();
          service.endpoints = [webhook.port];
        }),
      () =>
        ledger.during("account provider", async () => {
          await provider.kill();
          provider = startProvider();
          await provider.answering();
        }),
      () =>
        ledger.during("authenticator", async () => {
          await host.kill();
          await host.start(authenticatorKubeconfig);
        }),
      () =>
        ledger.during("API server", async () => {
          await cluster.stopApiServer();
          await sleep(2_000);
          await cluster.startApiServer();
        }),
    ];
    let rounds = 0;
    while (performance.now() < until) {
      for (const kill of kills) {
        await sleep(5_000);
        await kill();
      }
      rounds += 1;
    }
    await sleep(3_000);
    run.on = false;
    await Promise.all([...loads, rotations]);
    await Promise.all(pending);

    const told = Object.keys(requests)
      .map((what) => `${what}: ${ledger.failures.filter((failure) => failure.what === what).length} failed`)
      .join(", ");
    t.diagnostic(`${rounds} rounds, ${ledger.succeeded} requests went well; ${told}`);
    assert.deepEqual(breaches, []);
    assert.deepEqual(ledger.unexplained(), []);
    assert.ok(rounds >= Math.floor(seconds / 60), `only ${rounds} rounds`);
    assert.ok(ledger.succeeded > seconds * 5, `only ${ledger.succeeded} requests went well`);

    // And nothing is wrong afterwards.
    await changePassword(cluster, account, "after-all");
    passwords.splice(0, passwords.length, "after-all");
    await provider.untilReadiness(/^(?!.*\[[-!]\])/s, 10_000);
    await sleep(1_000);
    for (const [what, { attempt }] of Object.entries(requests)) {
      for (let time = 0; time < 20; time++) assert.equal(await attempt(), undefined, what);
    }
    assert.deepEqual(breaches, []);
    assert.deepEqual(
      readdirSync(provider.hostDirectory).filter((name) => !["port.txt", "ssl", "lock"].includes(name)),
      [],
    );
  },
);

/**
 * The account provider as the chart runs it: its arguments, its service account, its Role; one secret and no other, an
 * edit within a second, a minute without an API server, a rotated token, and what NOTES says to do next.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { ProviderProcess } from "../account-provider/provider-process.ts";
import { accountSecret } from "../account-provider/least-privilege.ts";
import type { MountedServiceAccount } from "../cluster.ts";
import { chartPath, definitionsOf } from "../charts/chart.ts";
import { startCluster, type ControlPlane } from "../control-plane.ts";

const minuteMs = 60_000;
const release = "web";
const secret = `${release}-creds`;

let cluster: ControlPlane;
before(async () => {
  cluster = await startCluster();
  await cluster.apply(definitionsOf("gmsa-webhook"));
});
after(() => cluster?.stop());

interface Installed {
  readonly namespace: string;
  readonly provider: ProviderProcess;
  readonly mount: MountedServiceAccount;
}

/** Installs the chart and starts what its DaemonSet's container would run, on this machine instead of a Windows host. */
async function install(t: TestContext): Promise<Installed> {
  const namespace = await cluster.namespace(t);
  await cluster.helm4([
    "install",
    release,
    chartPath("gmsa-account-provider"),
    "--namespace",
    namespace,
    "--set=operations.port=0",
  ]);
  t.after(() => cluster.helm4(["uninstall", release, "--namespace", namespace, "--no-hooks"]));
  await cluster.apply([accountSecret(secret, "first"), accountSecret("payroll-creds", "not-yours")], {
    namespace,
  });
  const daemonSet = await cluster.admin.expect(
    "GET",
    `/apis/apps/v1/namespaces/${namespace}/daemonsets/${release}`,
  );
  const { containers, serviceAccountName } = daemonSet.spec.template.spec;
  const args = containers[0].args as readonly string[];
  // The process helper gives these itself: another folder and another port of this machine.
  const own = /^--(host-dir|operations-address|namespace|secret|log-level)=|^account-provider$|^run$/u;
  const mount = await cluster.mountServiceAccount(namespace, serviceAccountName as string);
  const provider = ProviderProcess.start(t, cluster, {
    kubeconfig: mount.kubeconfig,
    namespace: valueOf(args, "--namespace"),
    secret: valueOf(args, "--secret"),
    flags: args.filter((argument) => !own.test(argument)),
  });
  await provider.published();
  return { namespace, provider, mount };
}

function valueOf(args: readonly string[], flag: string): string {
  return args.find((argument) => argument.startsWith(`${flag}=`))?.slice(flag.length + 1) ?? "";
}

async function changePassword(namespace: string, password: string): Promise<void> {
  await cluster.admin.expect(
    "PATCH",
    `/api/v1/namespaces/${namespace}/secrets/${secret}`,
    { stringData: { password } },
    "application/merge-patch+json",
  );
}

test("with the chart's service account it reads its secret, and can neither read another, nor list, nor write", async (t) => {
  const { namespace, provider, mount } = await install(t);

  assert.equal(await provider.password(), "first");

  const api = cluster.clientWithToken(mount.token());
  const secrets = `/api/v1/namespaces/${namespace}/secrets`;
  assert.equal((await api.request("GET", `${secrets}/${secret}`)).status, 200);
  const attempts: readonly (readonly [method: string, path: string, body?: object])[] = [
    ["GET", `${secrets}/payroll-creds`],
    ["GET", secrets],
    ["GET", `${secrets}?watch=1`],
    ["GET", "/api/v1/secrets"],
    ["POST", secrets, accountSecret("new", "x") as object],
    ["PATCH", `${secrets}/${secret}`, {}],
    ["PUT", `${secrets}/${secret}`, accountSecret(secret, "x") as object],
    ["DELETE", `${secrets}/${secret}`],
    ["GET", `/api/v1/namespaces/${namespace}/configmaps`],
    ["GET", `/api/v1/namespaces/${namespace}/pods`],
  ];
  for (const [method, path, body] of attempts) {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    assert.equal((await api.request(method, path, body, type)).status, 403, `${method} ${path}`);
  }
});

test("it serves an edited secret in under a second", async (t) => {
  const { namespace, provider } = await install(t);

  for (const [before_, wanted] of [
    ["first", "second"],
    ["second", "third"],
  ] as const) {
    await changePassword(namespace, wanted);
    await provider.untilPassword(wanted, before_, 1_000);
  }
});

test("it survives a minute without an API server, its restart, and a rotated token", async (t) => {
  const { namespace, provider, mount } = await install(t);
  t.after(() => cluster.startApiServer());

  await cluster.stopApiServer();
  const end = Date.now() + minuteMs;
  while (Date.now() < end) {
    assert.equal(await provider.password(), "first");
    await sleep(500);
  }
  await cluster.startApiServer();
  await changePassword(namespace, "second");
  await provider.untilPassword("second", "first", 30_000);

  await mount.rotate();
  await cluster.restartApiServer();
  await changePassword(namespace, "third");
  await provider.untilPassword("third", "second", 30_000);
  assert.equal((await provider.operations("/readyz")).status, 200);
});

test("the chart's credential specs can be used by the service accounts that the values name, and by no other", async (t) => {
  const namespace = await cluster.namespace(t);
  const specs = [
    {
      name: "webapp01",
      domain: {
        dnsName: "contoso.example",
        netbiosName: "CONTOSO",
        sid: "S-1-5-21-2126449477-2524075714-3094792973",
        guid: "244818ae-87ac-4fcd-92ec-e79e5252348a",
      },
      serviceAccounts: [{ namespace, name: "app" }],
    },
  ];
  await cluster.helm4([
    "install",
    release,
    chartPath("gmsa-account-provider"),
    "--namespace",
    namespace,
    `--set-json=credentialSpecs=${JSON.stringify(specs)}`,
  ]);
  t.after(() => cluster.helm4(["uninstall", release, "--namespace", namespace, "--no-hooks"]));

  const spec = await cluster.admin.expect("GET", "/apis/windows.k8s.io/v1/gmsacredentialspecs/webapp01");
  assert.deepEqual(spec.credspec.ActiveDirectoryConfig.HostAccountConfig, {
    PluginGUID: "{e4781092-f116-4b79-b55e-28eb6a224e26}",
    PluginInput: `${namespace}:${secret}`,
    PortableCcgVersion: "1",
  });
  const mayUse = async (account: string, where: string): Promise<boolean> => {
    const review = await cluster.admin.expect("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SubjectAccessReview",
      spec: {
        user: `system:serviceaccount:${where}:${account}`,
        resourceAttributes: {
          namespace: where,
          verb: "use",
          group: "windows.k8s.io",
          resource: "gmsacredentialspecs",
          name: "webapp01",
        },
      },
    });
    return review.status.allowed as boolean;
  };
  for (let attempt = 0; attempt < 50 && !(await mayUse("app", namespace)); attempt++) await sleep(50);
  assert.deepEqual(
    [await mayUse("app", namespace), await mayUse("other", namespace), await mayUse("app", "default")],
    [true, false, false],
  );
  const linted = await cluster.kubectl(["get", "gmsacredentialspec", "webapp01", "--output=json"]);
  assert.match(linted.stdout, /CONTOSO/u);
});

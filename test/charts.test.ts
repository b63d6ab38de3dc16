/**
 * The charts' declared values: each has a sentence, a default or a reason to have none, and an example that shows something
 * else. What Helm and an API server say is `e2e/kubernetes/charts`.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse, stringify } from "yaml";
import { chartFiles, charts, leavesOf, schemaOf } from "../scripts/charts/chart-files.ts";
import { readAccountsFile } from "../src/account-provider/accounts-file.ts";
import { readConfigFile } from "../src/authenticator/settings.ts";

const files = chartFiles();

for (const chart of charts) {
  const leaves = leavesOf(schemaOf(chart));

  test(`${chart.name}: every value has a sentence, and another value as an example`, () => {
    assert.ok(leaves.length > 20);
    for (const { path, schema } of leaves) {
      const name = path.join(".");
      assert.match(schema.description ?? "", /\.$/, name);
      if (schema.deprecated === true) continue;
      assert.notEqual(schema.example, undefined, name);
      assert.notDeepEqual(schema.example, schema.otherwise, name);
    }
  });

  test(`${chart.name}: the defaults and every example are what the schema accepts`, () => {
    for (const [path, text] of files) {
      if (!path.startsWith(`charts/${chart.name}/`) || !path.endsWith("values.yaml")) continue;
      const result = chart.values.safeParse(parse(text));
      assert.ok(result.success, `${path}: ${JSON.stringify(result.error?.issues)}`);
    }
  });

  test(`${chart.name}: an unknown value and one of the wrong form are refused`, () => {
    assert.ok(!chart.values.safeParse({ imag: {} }).success);
    assert.ok(!chart.values.safeParse({ image: { repository: 1 } }).success);
    assert.ok(!chart.values.safeParse({ image: { tagg: "1" } }).success);
  });
}

test("values of the charts that came before are still accepted", () => {
  const before: readonly (readonly [string, object])[] = [
    [
      "gmsa-account-provider",
      {
        global: {
          cattle: { systemDefaultRegistry: "" },
          kubectl: { repository: "rancher/kubectl", tag: "v1.24.17", pullPolicy: "IfNotPresent" },
          imagePullSecrets: [],
        },
        nameOverride: "",
        namespaceOverride: "",
        image: {
          repository: "rancher/gmsa-account-provider",
          tag: "v0.2.0",
          imagePullPolicy: "IfNotPresent",
        },
        certificates: {
          certManager: {
            enabled: true,
            version: "",
            caCert: { duration: "87600h0m0s", renewBefore: "360h0m0s", privateKey: { algorithm: "RSA" } },
            clientCert: { usages: ["client auth"], dnsNames: ["localhost"] },
            serverCert: { usages: ["server auth"], dnsNames: ["https://localhost", "localhost"] },
          },
          caSecretName: "ca-cert",
          clientSecretName: "ccg-dll-cert",
          serverSecretName: "account-provider-cert",
        },
        nodeSelector: {},
        affinity: {},
        tolerations: [],
        securityContext: { windowsOptions: { hostProcess: true, runAsUserName: "NT AUTHORITY\\SYSTEM" } },
      },
    ],
    [
      "gmsa-plugin-installer",
      {
        image: { repository: "rancher/ccg-plugin-installer", tag: "v0.2.0", imagePullPolicy: "IfNotPresent" },
        pause: { image: { repository: "pause" }, command: ["ping -t localhost > NULL"] },
      },
    ],
    [
      "gmsa-webhook",
      {
        certificates: {
          certManager: { enabled: true, version: "v1.16.2" },
          caBundle: "",
          secretName: "gmsa-server-cert",
          certReload: { enabled: true },
        },
        credential: {
          enabled: false,
          domainJoinConfig: {
            dnsName: "",
            dnsTreeName: "",
            guid: "",
            machineAccountName: "",
            netBiosName: "",
            sid: "",
          },
          hostAccountConfig: {},
        },
        containerPort: "443",
        setPodOs: true,
        affinity: {},
        nodeSelector: {},
        tolerations: [],
        global: { systemDefaultRegistry: "" },
        podDisruptionBudget: { enabled: false, minAvailable: 1 },
        podSecurityContext: {},
        securityContext: {},
        viewerRole: false,
        replicaCount: 2,
        qps: 30,
        burst: 50,
        randomHostname: false,
      },
    ],
  ];
  for (const [name, values] of before) {
    const result = charts.find((chart) => chart.name === name)?.values.safeParse(values);
    assert.ok(result?.success, `${name}: ${JSON.stringify(result?.error?.issues)}`);
  }
});

test("the authenticator's example configuration is one that it reads", () => {
  const example = parse(files.get("charts/authenticator/ci/config-values.yaml") ?? "") as { config: object };
  const read = readConfigFile(JSON.stringify(example.config), "config.json");

  assert.ok(read.ok);
  assert.deepEqual(read.faults, []);
});

for (const file of ["accounts", "azureKeyVault.pluginInput", "azureKeyVault.vaultSuffixes"]) {
  test(`the accounts file of ci/${file}-values.yaml is one that the account provider takes`, () => {
    const path = `charts/gmsa-account-provider/ci/${file}-values.yaml`;
    const { accounts, azureKeyVault } = parse(files.get(path) ?? "") as Record<string, unknown>;
    const read = readAccountsFile(
      stringify({ accounts: accounts ?? [], azureKeyVault: azureKeyVault ?? {} }),
    );

    assert.deepEqual(read.faults, []);
  });
}

test("every chart has the version of the program", () => {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
    readonly version: string;
  };
  for (const { name } of charts) {
    const chart = parse(
      readFileSync(new URL(`../charts/${name}/Chart.yaml`, import.meta.url), "utf8"),
    ) as Record<string, unknown>;
    assert.deepEqual([chart["name"], chart["version"], chart["appVersion"]], [name, version, version]);
  }
});

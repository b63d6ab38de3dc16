import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { ConfigFault } from "../errors.ts";
import type { Accounts } from "./accounts-file.ts";
import { checkNamespace, checkSettings, type AccountProviderSettings, type RawSettings } from "./settings.ts";

const complete: RawSettings = {
  namespace: "contoso",
  manifests: "/manifests",
  inCluster: false,
  secrets: ["web-creds"],
  allSecrets: false,
  legacyPlugin: true,
  disableMtls: false,
  skipArtifacts: false,
  port: "0",
  operationsAddress: undefined,
  leafLifetimeMs: undefined,
  drainMs: undefined,
  logLevel: "info",
};

const keyVault = { useByMs: 300_000 };
const vaultAccounts: Accounts = {
  places: [
    {
      name: "a",
      source: "azureKeyVault",
      address: { vaultHost: "contoso.vault.azure.net", vaultSuffix: "vault.azure.net", name: "a" },
      identity: { type: "systemAssigned" },
    },
  ],
  keyVault,
};
const clusterAccounts: Accounts = {
  places: [{ name: "b", source: "kubernetes", secret: "b-creds" }],
  keyVault,
};

function check(changes: Partial<RawSettings>): {
  settings: AccountProviderSettings;
  faults: readonly ConfigFault[];
} {
  const faults: ConfigFault[] = [];
  const settings = checkSettings({ ...complete, ...changes }, faults);
  return { settings, faults };
}

suite("a namespace", () => {
  for (const namespace of [
    "a",
    "0",
    "ab",
    "a1",
    "1a",
    "a-b",
    "a--b",
    "a".repeat(63),
    `a${"-".repeat(61)}b`,
  ]) {
    test(`may be ${namespace.length > 12 ? `${namespace.length} characters such as ${namespace.slice(0, 4)}` : namespace}`, () => {
      const faults: ConfigFault[] = [];
      checkNamespace(namespace, faults);
      assert.deepEqual(faults, []);
    });
  }
  for (const namespace of [
    "",
    "-",
    "-a",
    "a-",
    "A",
    "a.b",
    "a_b",
    "a b",
    "a/b",
    "..",
    "\u00E4",
    "a\n",
    "a".repeat(64),
  ]) {
    test(`may not be ${JSON.stringify(namespace.slice(0, 8))} of ${namespace.length} characters`, () => {
      const faults: ConfigFault[] = [];
      checkNamespace(namespace, faults);
      assert.equal(faults[0]?.setting, "--namespace");
    });
  }
});

suite("the settings", () => {
  test("have defaults that need no decision", () => {
    const { settings, faults } = check({});

    assert.deepEqual(faults, []);
    assert.equal(settings.hostDirectory, "/var/lib/rancher/gmsa/contoso");
    assert.equal(settings.leafLifetimeMs, 86_400_000);
    assert.equal(settings.mutualTls, true);
    assert.equal(settings.writeHostFiles, true);
    assert.deepEqual(settings.operationsAddress, { host: "127.0.0.1", port: 0 });
  });

  for (const [what, changes, setting] of [
    ["no secret is named", { secrets: [] }, "--secret"],
    ["a secret's name is impossible", { secrets: ["Not/One"] }, "--secret"],
    ["one secret and all of them are asked for", { allSecrets: true }, "--all-secrets"],
    ["folder and cluster are both given", { kubeconfig: "/k" }, "--manifests"],
    ["there is nothing to read from", { manifests: undefined }, "--kubeconfig"],
    ["an accounts file and a secret are given", { accounts: vaultAccounts }, "--accounts"],
    [
      "an accounts file needs a cluster and there is none",
      { accounts: clusterAccounts, secrets: [], manifests: undefined },
      "--kubeconfig",
    ],
    ["no client could have a certificate", { skipArtifacts: true }, "--skip-artifacts"],
    ["certificates are given and not wanted", { disableMtls: true, tlsDirectory: "/tls" }, "--disable-mtls"],
    ["the port is no number", { port: "http" }, "--port"],
    ["the port is too large", { port: "65536" }, "--port"],
    ["certificates would live longer than a day", { leafLifetimeMs: 86_400_001 }, "--leaf-lifetime"],
    ["certificates would not live at all", { leafLifetimeMs: 0 }, "--leaf-lifetime"],
    ["the log level is none", { logLevel: "loud" }, "--log-level"],
  ] as const satisfies readonly (readonly [string, Partial<RawSettings>, string])[]) {
    test(`are refused when ${what}`, () => {
      const { faults } = check(changes);

      assert.deepEqual(
        faults.map((fault) => fault.setting),
        [setting],
      );
    });
  }

  test("name all their faults at once", () => {
    const { faults } = check({ namespace: "A", secrets: [], manifests: undefined, port: "x", logLevel: "y" });

    assert.equal(faults.length, 5);
  });

  test("need no source of Secrets when no account is one, and serve the accounts by name", () => {
    const { settings, faults } = check({ accounts: vaultAccounts, secrets: [], manifests: undefined });

    assert.deepEqual(faults, []);
    assert.deepEqual(settings.source, { kind: "none" });
    assert.deepEqual(settings.secrets, ["a"]);
  });

  test("do not ask for what an accounts file with faults may have said", () => {
    const { faults } = check({ accounts: "faulty", secrets: [] });

    assert.deepEqual(faults, []);
  });

  test("read the cluster from inside it when nothing else is said", () => {
    const { settings, faults } = check({ manifests: undefined, inCluster: true });

    assert.deepEqual(faults, []);
    assert.deepEqual(settings.source, { kind: "cluster" });
  });
});

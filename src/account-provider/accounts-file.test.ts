import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import { stringify } from "yaml";
import { z } from "zod";
import { accountsFileSchema, readAccountsFile } from "./accounts-file.ts";

const id = "11111111-2222-4333-8444-555555555555";
const whole = `
accounts:
  - {name: web, source: kubernetes}
  - {name: batch, source: folder, folder: /manifests, secret: batch-creds}
  - name: payroll
    source: azureKeyVault
    secretUri: https://Contoso.vault.azure.net/secrets/payroll
    identity: {type: managedIdentity, objectId: ${id.toUpperCase()}}
azureKeyVault:
  useBy: 10m
  proxy: http://proxy.contoso.example:3128
  pluginInput:
    vaults: [contoso.vault.azure.net]
    identities:
      - ${id}
      - objectId: 22222222-2222-4333-8444-555555555555
        identity: {type: workloadIdentity, clientId: ${id}, tenantId: ${id}, tokenFile: /token}
`;

test("an accounts file says where each account is kept, and which plugin inputs are answered", () => {
  const { accounts, faults } = readAccountsFile(whole);

  assert.deepEqual(faults, []);
  assert.deepEqual(accounts?.places, [
    { name: "web", source: "kubernetes", secret: "web" },
    { name: "batch", source: "folder", folder: "/manifests", secret: "batch-creds" },
    {
      name: "payroll",
      source: "azureKeyVault",
      address: { vaultHost: "contoso.vault.azure.net", vaultSuffix: "vault.azure.net", name: "payroll" },
      identity: { type: "managedIdentity", objectId: id },
      authorityHost: undefined,
    },
  ]);
  assert.equal(accounts.keyVault.useByMs, 600_000);
  assert.equal(accounts.keyVault.proxy, "http://proxy.contoso.example:3128");
  assert.deepEqual([...(accounts.keyVault.pluginInput?.vaults ?? [])], ["contoso.vault.azure.net"]);
  assert.deepEqual(accounts.keyVault.pluginInput?.identities.get(id)?.identity, {
    type: "managedIdentity",
    objectId: id,
  });
});

test("plugin input is off when nothing is said about it", () => {
  const { accounts } = readAccountsFile("accounts: [{name: web, source: kubernetes}]");

  assert.equal(accounts?.keyVault.pluginInput, undefined);
  assert.equal(accounts?.keyVault.useByMs, 300_000);
});

test("a vault of a suffix that the file names is accepted", () => {
  const text = `
accounts:
  - name: a
    source: azureKeyVault
    secretUri: https://contoso.vault.local.example/secrets/a
    identity: {type: systemAssigned}
azureKeyVault: {vaultSuffixes: [vault.local.example]}`;

  assert.deepEqual(readAccountsFile(text).faults, []);
  assert.equal(readAccountsFile(text.replace("[vault.local.example]", "[]")).faults.length, 1);
});

suite("an accounts file is refused, with the place of the fault, when", () => {
  const vaultAccount = (rest: string): string => `accounts: [{name: a, source: azureKeyVault, ${rest}}]`;
  const system = "identity: {type: systemAssigned}";
  for (const [what, text, settings] of [
    ["it is empty", "", ["--accounts accounts"]],
    ["it is no YAML", "accounts: [", ["--accounts"]],
    ["it is a list", "- a", ["--accounts"]],
    ["a key is misspelt", "account: []", ["--accounts", "--accounts accounts"]],
    ["a source is unknown", "accounts: [{name: a, source: vault}]", ["--accounts accounts.0.source"]],
    ["a name is impossible", "accounts: [{name: A/b, source: kubernetes}]", ["--accounts accounts.0.name"]],
    [
      "a name is there twice",
      "accounts: [{name: a, source: kubernetes}, {name: a, source: folder, folder: /f}]",
      ["--accounts accounts.1.name"],
    ],
    ["a folder is missing", "accounts: [{name: a, source: folder}]", ["--accounts accounts.0.folder"]],
    [
      "a URI leads elsewhere",
      vaultAccount(`secretUri: "https://contoso.vault.azure.net.evil.test/secrets/a", ${system}`),
      ["--accounts accounts.0.secretUri"],
    ],
    [
      "an identity is missing",
      vaultAccount("secretUri: https://contoso.vault.azure.net/secrets/a"),
      ["--accounts accounts.0.identity"],
    ],
    [
      "a managed identity has no id",
      vaultAccount("secretUri: https://contoso.vault.azure.net/secrets/a, identity: {type: managedIdentity}"),
      ["--accounts accounts.0.identity"],
    ],
    [
      "a managed identity has two ids",
      vaultAccount(
        `secretUri: https://contoso.vault.azure.net/secrets/a, identity: {type: managedIdentity, objectId: ${id}, clientId: ${id}}`,
      ),
      ["--accounts accounts.0.identity"],
    ],
    [
      "a duration is none",
      "accounts: [{name: a, source: kubernetes}]\nazureKeyVault: {useBy: soon}",
      ["--accounts azureKeyVault.useBy"],
    ],
    [
      "a duration is too short",
      "accounts: [{name: a, source: kubernetes}]\nazureKeyVault: {useBy: 5s}",
      ["--accounts azureKeyVault.useBy"],
    ],
    [
      "a proxy has a password",
      'accounts: [{name: a, source: kubernetes}]\nazureKeyVault: {proxy: "http://u:p@proxy:3128"}',
      ["--accounts azureKeyVault.proxy"],
    ],
    ...["http://proxy:99999", "http://proxy:0", "http://[1:2]:80"].map(
      (proxy) =>
        [
          `a proxy is ${proxy}`,
          `accounts: [{name: a, source: kubernetes}]\nazureKeyVault: {proxy: "${proxy}"}`,
          ["--accounts azureKeyVault.proxy"],
        ] as const,
    ),
    [
      "an authority has an impossible port",
      vaultAccount(
        `secretUri: https://contoso.vault.azure.net/secrets/a, ${system}, authorityHost: "https://login.example:99999"`,
      ),
      ["--accounts accounts.0.authorityHost"],
    ],
    [
      "an object id is there twice, in whatever form",
      `azureKeyVault: {pluginInput: {vaults: [contoso.vault.azure.net], identities: [${id}, {objectId: ${id.toUpperCase()}, ${system}}]}}`,
      ["--accounts azureKeyVault.pluginInput.identities.1"],
    ],
    [
      "plugin input is for no vault and no identity",
      "azureKeyVault: {pluginInput: {vaults: [], identities: []}}",
      ["--accounts azureKeyVault.pluginInput.vaults", "--accounts azureKeyVault.pluginInput.identities"],
    ],
    [
      "a vault is a pattern",
      `azureKeyVault: {pluginInput: {vaults: ["*.vault.azure.net"], identities: [${id}]}}`,
      ["--accounts azureKeyVault.pluginInput.vaults.0"],
    ],
    [
      "a vault is of no known cloud",
      `azureKeyVault: {pluginInput: {vaults: [vault.evil.test], identities: [${id}]}}`,
      ["--accounts azureKeyVault.pluginInput.vaults.0"],
    ],
  ] as const) {
    test(what, () => {
      const { accounts, faults } = readAccountsFile(text);

      assert.equal(accounts, undefined);
      assert.deepEqual(
        faults.map(({ setting }) => setting),
        settings,
      );
    });
  }

  for (const text of ["- a", "hunter2", "3"]) {
    test(`it is ${JSON.stringify(text)}, no mapping, in words that are not the parser's`, () => {
      const { faults } = readAccountsFile(text);

      assert.deepEqual(faults, [
        { setting: "--accounts", problem: "is not a mapping with accounts and azureKeyVault" },
      ]);
    });
  }

  test("several things are wrong: all are told", () => {
    const { faults } = readAccountsFile(
      "accounts: [{name: A, source: kubernetes}, {name: b, source: folder}]\nazureKeyVault: {useBy: soon}",
    );

    assert.equal(faults.length, 3);
  });

  test("a fault of YAML, without repeating the text", () => {
    const { faults } = readAccountsFile("accounts: *hunter2\n  x: [");

    assert.doesNotMatch(JSON.stringify(faults), /hunter2/);
  });
});

test("the schema has a JSON schema for the chart's values", () => {
  const schema = z.toJSONSchema(accountsFileSchema, { io: "input" });

  assert.equal(schema.type, "object");
  assert.deepEqual(Object.keys(schema.properties ?? {}), ["accounts", "azureKeyVault"]);
});

test("whatever the file holds, there are accounts or faults and never an exception", () => {
  const piece = fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      fc.string(),
      fc.integer(),
      fc.constantFrom("kubernetes", "azureKeyVault", "folder", id, "managedIdentity", null),
      fc.array(tie("value")),
      fc.dictionary(
        fc.constantFrom(
          "accounts",
          "name",
          "source",
          "identity",
          "type",
          "azureKeyVault",
          "pluginInput",
          "vaults",
        ),
        tie("value"),
      ),
    ),
  })).value;
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        piece.map((value) => stringify(value)),
      ),
      (text) => {
        const { accounts, faults } = readAccountsFile(text);

        assert.equal(accounts === undefined, faults.length > 0);
      },
    ),
  );
});

/**
 * A credential spec of Microsoft's Key Vault plugin, from the COM call to the vault: its class id, our DLL as `plugin
 * install` puts it there, the account provider as a process, and the Azure simulator in place of Azure.
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { installPlugin } from "../../../src/plugin-host/install-plugin.ts";
import { startSimulatedAzure, type SimulatedAzure } from "../../azure/simulated-azure.ts";
import type { GuardedProcess } from "../../guarded-process.ts";
import { callPlugin, readCauses, resultOf, type CallOptions, type PluginCall } from "../plugin-calls.ts";
import { installOptions, pluginHostOf } from "../plugin-host.ts";
import { startAccountsProvider } from "../provider-process.ts";
import { keyVaultClassId, Wine } from "../wine.ts";

const vault = "contoso.vault.azure.net";
const unlisted = "fabrikam.vault.azure.net";
const objectId = "5f0c7a52-3a86-4c8b-9d3e-3a0f5b1c2d01";
/** May read every vault of the simulator, too; the accounts file does not know it. */
const strangerId = "5f0c7a52-3a86-4c8b-9d3e-3a0f5b1c2d02";
const firstVersion = "0123456789abcdef0123456789abcdef";
const password = 'Größe:\\"密码": €😀\\:';
const firstPassword = "before:the\\rotation";
const succeeded = "00000000";

const account = (secret: string): Strings => ({
  username: "ccg-webapp",
  password: secret,
  domainName: "contoso.example",
});
const colonForm = (secret: string): string => `contoso.example\\ccg-webapp:${secret}`;

const content = {
  identities: [objectId, strangerId].map((id) => ({ objectId: id, clientId: id.replace("5f0c", "c0c0") })),
  vaults: [
    {
      host: vault,
      readers: [objectId, strangerId],
      secrets: [
        { name: "colons", value: colonForm(password) },
        { name: "json", value: JSON.stringify(account(password)) },
        { name: "rotating", value: colonForm(firstPassword), version: firstVersion },
        { name: "account", value: colonForm(firstPassword) },
        { name: "leaving", value: colonForm(password) },
        { name: "disabled", value: colonForm(password), enabled: false },
      ],
    },
    { host: unlisted, readers: [objectId, strangerId], secrets: [{ name: "colons", value: colonForm("x") }] },
    { host: "noright.vault.azure.net", readers: [], secrets: [{ name: "colons", value: colonForm("x") }] },
  ],
};

interface Strings {
  readonly username: string | null | undefined;
  readonly password: string | null | undefined;
  readonly domainName: string | null | undefined;
}

function stringsOf(call: PluginCall | undefined): Strings {
  return { username: call?.username, password: call?.password, domainName: call?.domainName };
}

function input(secret: string, { host = vault, id = objectId } = {}): string {
  return `ObjectId=${id};SecretUri=https://${host}/secrets/${secret}`;
}

describe("Key Vault plugin input, by the class id of Microsoft's plugin", () => {
  const running = new AsyncDisposableStack();
  const refused = resultOf(readCauses().get("key_vault_unavailable") ?? 0);
  let wine: Wine;
  let azure: SimulatedAzure;
  let provider: GuardedProcess;

  before(async () => {
    const folder = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "key-vault-"));
    wine = await Wine.start();
    running.defer(() => wine.close());
    await installPlugin(pluginHostOf(wine), installOptions({ answerKeyVaultPlugin: true }));
    await wine.pointSurrogateAtWine();
    azure = await startSimulatedAzure(content, folder);
    running.defer(() => azure.close());
    const accounts = join(folder, "accounts.yaml");
    writeFileSync(
      accounts,
      `accounts:
  - name: vaulted
    source: azureKeyVault
    secretUri: https://${vault}/secrets/account
    identity: {type: managedIdentity, objectId: ${objectId}}
azureKeyVault:
  useBy: 30s
  proxy: ${azure.proxy}
  pluginInput:
    vaults: [${vault}, noright.vault.azure.net]
    identities: [${objectId}]
`,
    );
    const { environment } = azure;
    const lifetime = {
      after: (end: () => Promise<unknown>) => running.defer(async () => void (await end())),
    };
    provider = await startAccountsProvider(lifetime, wine, folder, "vaults", { accounts, environment });
  });
  after(() => running.disposeAsync());

  const call = async (inputs: readonly string[], options: CallOptions = {}): Promise<readonly PluginCall[]> =>
    (await callPlugin(wine, inputs, { classId: keyVaultClassId, ...options })).calls;

  for (const surrogate of [false, true]) {
    test(`gives the three strings exactly, ${surrogate ? "through dllhost" : "in process"}`, async () => {
      const inputs: readonly (readonly [string, Strings])[] = [
        [input("colons"), account(password)],
        [input("json"), account(password)],
        [`SECRETURI=https://${vault}/secrets/colons;x=y;objectid=${objectId}`, account(password)],
        [input(`rotating/${firstVersion}`), account(firstPassword)],
        ["vaults:vaulted", account(firstPassword)],
      ];

      const calls = await call(
        inputs.map(([text]) => text),
        { surrogate },
      );

      assert.deepEqual(
        calls.map((each) => [each.result, stringsOf(each)]),
        inputs.map(([, strings]) => [succeeded, strings]),
      );
    });
  }

  test("is refused for a vault and an identity that are not listed, and Azure is not asked", async () => {
    const inputs = [
      input("colons", { host: unlisted }),
      input("colons", { id: strangerId }),
      input("colons", { host: `${vault}.fabrikam.example` }),
      input("colons", { host: `${vault}:8443` }),
      input("../keys/colons"),
    ];
    const soFar = [azure.simulator.requests.length, azure.tunnels.length];

    for (const surrogate of [false, true]) {
      assert.deepEqual(
        (await call(inputs, { surrogate })).map((each) => [each.result, stringsOf(each)]),
        inputs.map(() => [refused, { username: null, password: null, domainName: null }]),
      );
    }

    assert.deepEqual([azure.simulator.requests.length, azure.tunnels.length], soFar);
    assert.deepEqual([...new Set(azure.tunnels)], [`${vault}:443`]);
  });

  test("is refused for a secret that is disabled, not there, or not for this identity, which the vault says", async () => {
    const calls = await call([
      input("disabled"),
      input("nowhere"),
      input("colons", { host: "noright.vault.azure.net" }),
    ]);

    assert.deepEqual(
      calls.map(({ result }) => result),
      [refused, refused, refused],
    );
    const asked = azure.simulator.requests.map(({ host, path }) => `${host}${path.replace(/\/$/u, "")}`);
    for (const secret of [`${vault}/secrets/disabled`, "noright.vault.azure.net/secrets/colons"])
      assert.ok(asked.includes(secret), secret);
  });

  test("follows the vault: a rotated secret is served, one disabled since is refused, and no call fails on the way", async () => {
    const inputs = [input("rotating"), "vaults:vaulted", input("leaving"), input(`rotating/${firstVersion}`)];
    const shown = async (): Promise<readonly (string | null)[]> =>
      (await call(inputs)).map(({ result, password: secret }) => (result === succeeded ? secret : result));
    const old = [firstPassword, firstPassword, password, firstPassword];
    const expected = [password, password, refused, firstPassword];
    assert.deepEqual(await shown(), old);

    azure.simulator.setSecret(vault, "rotating", colonForm(password));
    azure.simulator.setSecret(vault, "account", colonForm(password));
    azure.simulator.setEnabled(vault, "leaving", false);

    // Read again after 22.5 to 25.5 s of the 30 that a secret may be used.
    const until = Date.now() + 32_000;
    let last = await shown();
    while (Date.now() < until && !expected.every((each, index) => last[index] === each)) {
      last.forEach((each, index) =>
        assert.ok([old[index], expected[index]].includes(each ?? ""), each ?? ""),
      );
      await sleep(500);
      last = await shown();
    }
    assert.deepEqual(last, expected);
  });

  test("is told in the provider's log, without a value or a token", () => {
    const log = readFileSync(provider.logFile, "utf8");
    const requested = log
      .split("\n")
      .filter((line) => line.includes('"credentials.requested"'))
      .map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);

    const outcomes = new Set(requested.map(({ outcome, reason }) => [outcome, reason].join(" ").trim()));
    for (const told of [
      "answered",
      "input-refused a vault that is not allowed",
      "input-refused an identity that is not allowed",
    ])
      assert.ok(outcomes.has(told), [...outcomes].join(", "));
    assert.ok(requested.some(({ secret }) => secret === `${vault}/secrets/colons`));
    for (const value of ["Größe", firstPassword, "before:the", "Bearer", "eyJ"])
      assert.equal(log.includes(value), false, value);
  });
});

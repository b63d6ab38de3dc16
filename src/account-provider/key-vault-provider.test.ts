/**
 * The account provider with accounts in Key Vault and with Key Vault plugin input, against the Azure simulator.
 * @module
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { before, suite, test, type TestContext } from "node:test";
import { eventually } from "../../test/contracts/eventually.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { askOperations } from "../../test/running-account-provider.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { startAzureSimulator, type AzureSimulator } from "../azure-simulator/azure-simulator.ts";
import { systemClock, type Clock } from "../clock.ts";
import { createLog, silentLog } from "../observe/log.ts";
import { createRegistry } from "../observe/metrics.ts";
import { createAuthority } from "../pki/authority.ts";
import { startAccountProvider, type RunningAccountProvider } from "./account-provider.ts";
import { readAccountsFile } from "./accounts-file.ts";
import { cleanUpHost, cleanUpKeyVaultDirectory } from "./cleanup.ts";
import { openStores } from "./open-stores.ts";
import { requestAsPlugin, type PluginRequestResult } from "./plugin-request.ts";
import { createSelfManagedCertificates } from "./self-managed-certificates.ts";

const vault = "contoso.vault.azure.net";
const password = "Größe:\\密码";

before(() => import("../secret-store/azure-key-vault/azure-sdk.ts"));

interface World {
  readonly simulator: AzureSimulator;
  readonly provider: RunningAccountProvider;
  readonly objectId: string;
  /** Log lines so far. */
  readonly log: string[];
  readonly host: string;
  readonly ask: (object: string) => Promise<PluginRequestResult>;
  /** `ask` for a Key Vault secret. */
  readonly askVault: (secretUri: string, objectId?: string) => Promise<PluginRequestResult>;
  readonly operations: (path: string) => Promise<string>;
}

interface Changes {
  readonly pluginInput?: boolean;
  readonly clock?: Clock;
  readonly namespace?: string;
  readonly host?: string;
  readonly simulator?: AzureSimulator;
}

async function open(t: TestContext, changes: Changes = {}): Promise<World> {
  const { clock = systemClock, namespace = "contoso", pluginInput = true } = changes;
  const [objectId, clientId] = [randomUUID(), randomUUID()];
  const simulator = await startAzureSimulator({
    content: {
      identities: [{ objectId, clientId }],
      vaults: [vault, "other.vault.azure.net"].map((host) => ({
        host,
        readers: [objectId],
        secrets: [{ name: "web", value: `contoso.example\\ccg:${password}` }],
      })),
    },
  });
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "manifests"));
  writeFileSync(
    join(folder, "manifests/secret.yaml"),
    "apiVersion: v1\nkind: Secret\nmetadata: {name: local-creds, namespace: contoso}\nstringData: {username: local, password: l0cal, domainName: contoso.example}\n",
  );
  const { accounts, faults } = readAccountsFile(`
accounts:
  - {name: local, source: folder, folder: ${join(folder, "manifests")}, secret: local-creds}
  - name: vaulted
    source: azureKeyVault
    secretUri: https://${vault}/secrets/web
    identity: {type: managedIdentity, objectId: ${objectId}}
azureKeyVault:
  useBy: 30s
  ${pluginInput ? `pluginInput: {vaults: [${vault}], identities: [${objectId}]}` : ""}`);
  assert.deepEqual(faults, []);
  const log: string[] = [];
  const settings = {
    namespace,
    source: { kind: "none" },
    secrets: ["local", "vaulted"],
    accounts,
    hostDirectory: join(changes.host ?? folder, namespace),
    legacyPlugin: false,
    mutualTls: true,
    writeHostFiles: true,
    port: 0,
    operationsAddress: { host: "127.0.0.1", port: 0 },
    leafLifetimeMs: 3_600_000,
    drainMs: 500,
    watchSilenceMs: 75_000,
    logLevel: "debug",
  } as const;
  const registry = createRegistry("test");
  const deps = {
    clock,
    log: createLog({ level: "debug", sink: { write: (line) => void log.push(line) } }),
    registry,
  };
  const stores = await openStores(settings, undefined, {
    ...deps,
    azure: { certificateAuthority: simulator.certificateAuthority, dial: simulator.dial },
  });
  t.after(async () => {
    await stores.close();
    await simulator.close();
  });
  const provider = await startAccountProvider(
    settings,
    {
      ...deps,
      store: stores.store,
      keyVaultInputs: stores.keyVaultInputs,
      certificates: await createSelfManagedCertificates({
        namespace,
        leafLifetimeMs: 3_600_000,
        legacyPlugin: false,
        clock: systemClock,
        log: silentLog,
      }),
      windows: undefined,
    },
    AbortSignal.timeout(20_000),
  );
  t.after(() => provider.stop());
  const ask = (object: string): Promise<PluginRequestResult> =>
    requestAsPlugin({ directory: provider.hostDirectory, object, identity: "plugin" });
  return {
    simulator,
    provider,
    objectId,
    log,
    host: changes.host ?? folder,
    ask,
    askVault: (secretUri, as = objectId) =>
      requestAsPlugin({
        directory: provider.keyVaultDirectory ?? provider.hostDirectory,
        object: `ObjectId=${as};SecretUri=${secretUri}`,
        identity: "plugin",
      }),
    operations: async (path) => (await askOperations(provider, path)).body,
  };
}

function audit(log: readonly string[]): Readonly<Record<string, unknown>> {
  const line = log.findLast((each) => each.includes('"credentials.requested"'));
  return JSON.parse(line ?? "{}") as Readonly<Record<string, unknown>>;
}

const uri = `https://${vault}/secrets/web`;

suite("accounts in different places are answered alike", () => {
  test("from a folder and from Key Vault, and the audit tells which, as whom, in which version and how fast", async (t) => {
    const { ask, log } = await open(t);

    const local = await ask("local");
    const fromFolder = audit(log);
    const vaulted = await ask("vaulted");
    const fromVault = audit(log);

    assert.equal(local.ok && local.account.password.reveal(), "l0cal");
    assert.equal(vaulted.ok && vaulted.account.password.reveal(), password);
    assert.deepEqual(
      [fromFolder["secret"], fromFolder["store"], fromFolder["outcome"]],
      ["contoso/local", "folder", "answered"],
    );
    assert.deepEqual(
      [fromVault["secret"], fromVault["store"], fromVault["outcome"]],
      ["contoso/vaulted", "azure-key-vault", "answered"],
    );
    assert.match(String(fromVault["version"]), /^[0-9a-f]{32}$/);
    assert.ok(Number(fromVault["ms"]) > 0);
  });

  test("and neither value nor token is in the log or the metrics", async (t) => {
    const { ask, askVault, log, operations, simulator } = await open(t);
    await ask("vaulted");
    await askVault(uri);
    simulator.setSecret(vault, "broken", "hunter2");
    await askVault(`https://${vault}/secrets/broken`);

    const text = [...log, await operations("/metrics"), await operations("/readyz")].join("\n");

    assert.doesNotMatch(text, /Größe|密码|l0cal|hunter2|simulated\.|Bearer/);
  });
});

suite("Key Vault plugin input", () => {
  test("is answered from the reserved directory, beside the namespace's", async (t) => {
    const { askVault, host, log, objectId, provider } = await open(t);

    const result = await askVault(uri);

    assert.equal(result.ok && result.account.password.reveal(), password);
    assert.equal(provider.keyVaultDirectory?.path, join(host, "_azure-key-vault"));
    assert.equal(readFileSync(join(host, "_azure-key-vault/port.txt"), "utf8"), String(provider.port));
    const { identity, secret, store } = audit(log);
    assert.deepEqual([identity, secret, store], [objectId, `${vault}/secrets/web`, "azure-key-vault"]);
  });

  test("is answered from memory the second time", async (t) => {
    const { askVault, simulator } = await open(t);
    await askVault(uri);
    const asked = simulator.requests.length;

    assert.equal((await askVault(uri)).ok, true);

    assert.equal(simulator.requests.length, asked);
  });

  test("asked for by many at once costs one reading, and each gets its own", async (t) => {
    const { askVault, simulator } = await open(t);
    for (let index = 0; index < 8; index++)
      simulator.setSecret(vault, `many-${index}`, `contoso.example\\u:p${index}`);
    const asked = simulator.count("vault");

    const results = await Promise.all(
      Array.from({ length: 32 }, (_, index) => askVault(`https://${vault}/secrets/many-${index % 8}`)),
    );

    assert.deepEqual(
      results.map((result) => result.ok && result.account.password.reveal()),
      Array.from({ length: 32 }, (_, index) => `p${index % 8}`),
    );
    // Each secret: one request that is told to bring a token, and one with it.
    assert.equal(simulator.count("vault") - asked, 16);
  });

  const refused: readonly (readonly [string, string, string])[] = [
    ["another vault", "https://other.vault.azure.net/secrets/web", "a vault that is not allowed"],
    ["a suffix trick", `https://${vault}.evil.test/secrets/web`, "not a vault of a known cloud"],
    ["user information", `https://${vault}@evil.test/secrets/web`, "with user information"],
    ["a port", `https://${vault}:8443/secrets/web`, "with a port"],
    ["an IP address", "https://169.254.169.254/metadata", "with an IP address"],
    ["another scheme", `http://${vault}/secrets/web`, "not https"],
    ["encoded dots", `https://${vault}/secrets/%2e%2e`, "with percent-encoding"],
    ["a query", `${uri}?x=1`, "with a query"],
    ["a fragment", `${uri}#x`, "with a fragment"],
    ["keys instead of secrets", `https://${vault}/keys/web`, "not the path of a secret"],
  ];
  for (const [what, secretUri, reason] of refused) {
    test(`with ${what} is refused before any request leaves, and the reason is told inside only`, async (t) => {
      const { askVault, log, operations, simulator } = await open(t);
      const asked = simulator.requests.length;

      const result = await askVault(secretUri);

      assert.equal(!result.ok && result.broken, "account");
      assert.equal(simulator.requests.length, asked);
      const { outcome, reason: told, status } = audit(log);
      assert.deepEqual([status, outcome, told], [404, "input-refused", reason]);
      assert.ok(
        (await operations("/metrics")).includes(
          `sallyport_account_provider_input_refusals_total{reason="${reason}"} 1`,
        ),
      );
    });
  }

  test("as another identity is refused before any request leaves", async (t) => {
    const { askVault, log, simulator } = await open(t);
    const asked = simulator.requests.length;

    const result = await askVault(uri, randomUUID());

    assert.equal(result.ok, false);
    assert.equal(audit(log)["reason"], "an identity that is not allowed");
    assert.equal(simulator.requests.length, asked);
  });

  test("without an identity never gets the one of the call before", async (t) => {
    const { ask, askVault, log } = await open(t);
    assert.equal((await askVault(uri)).ok, true);

    const result = await ask(`SecretUri=${uri}`);

    assert.equal(result.ok, false);
    assert.equal(audit(log)["reason"], "without an ObjectId");
  });

  test("is refused, and has no directory, where nobody switched it on", async (t) => {
    const { askVault, host, log } = await open(t, { pluginInput: false });

    const result = await askVault(uri);

    assert.equal(result.ok, false);
    assert.equal(audit(log)["reason"], "switched off");
    assert.equal(existsSync(join(host, "_azure-key-vault")), false);
  });

  test("for a secret that is not there is asked again only after a while", async (t) => {
    const clock = new FakeClock(Date.now());
    const { askVault, log, simulator } = await open(t, { clock });
    const none = `https://${vault}/secrets/none`;

    assert.equal((await askVault(none)).ok, false);
    assert.equal(audit(log)["outcome"], "secret-missing");
    const asked = simulator.requests.length;
    assert.equal((await askVault(none)).ok, false);
    assert.equal(simulator.requests.length, asked);
    simulator.setSecret(vault, "none", "contoso.example\\u:here");
    await clock.advance(6_000);

    assert.equal((await askVault(none)).ok, true);
  });
});

test("names that are not in the vault are forgotten, and a working one stays whoever asks for what", async (t) => {
  const clock = new FakeClock(Date.now());
  const { askVault, simulator } = await open(t, { clock });
  assert.equal((await askVault(uri)).ok, true);
  for (let index = 0; index < 80; index++)
    assert.equal((await askVault(`https://${vault}/secrets/none-${index}`)).ok, false);
  const reads = simulator.count("vault");
  await clock.advance(10_000);
  for (let second = 0; second < 10; second++) await clock.advance(1_000);

  assert.equal((await askVault(uri)).ok, true);
  assert.equal(simulator.count("vault"), reads);
});

suite("while the vault is down", () => {
  test("for ten minutes, the last good value is answered, and /readyz and the metrics tell its age", async (t) => {
    const clock = new FakeClock(Date.now());
    const { ask, askVault, operations, simulator } = await open(t, { clock });
    assert.equal((await askVault(uri)).ok, true);

    simulator.fail({ service: "vault", fault: { kind: "reset" } });
    for (let minute = 0; minute < 10; minute++) {
      await clock.advance(60_000);
      const [named, input] = [await ask("vaulted"), await askVault(uri)];
      assert.equal(named.ok && named.account.password.reveal(), password);
      assert.equal(input.ok && input.account.password.reveal(), password);
    }

    const ready = await operations("/readyz");
    assert.match(
      ready,
      /^\[!\] source: stale for (?:59\d|60\d) s, the last good state is served: The vault cannot be asked/m,
    );
    assert.match(ready, /^\[!\] secret contoso\/vaulted: stale for (?:59\d|60\d) s/m);
    assert.match(ready, /^\[!\] key vault plugin input: stale for (?:59\d|60\d) s/m);
    assert.match(ready, /^\[\+\] secret contoso\/local$/m);
    assert.match(ready, /^ready$/m);
    const metrics = await operations("/metrics");
    for (const account of ["vaulted", "plugin-input"]) {
      const shown = new RegExp(
        `^sallyport_account_provider_account_confirmed_timestamp_seconds\\{account="${account}"\\} (.+)$`,
        "m",
      ).exec(metrics)?.[1];
      const age = clock.now() / 1000 - Number(shown);
      assert.ok(age >= 590 && age < 620, `${account}: ${age} s`);
    }
    assert.match(metrics, /^sallyport_key_vault_read_seconds_count\{outcome="vault-unavailable"\} [1-9]/m);

    simulator.heal();
    simulator.setSecret(vault, "web", "contoso.example\\ccg:new");
    let now: PluginRequestResult | undefined;
    for (
      let tries = 0;
      tries < 100 && !(now?.ok === true && now.account.password.reveal() === "new");
      tries++
    ) {
      await clock.advance(1_000);
      now = await ask("vaulted");
    }
    assert.equal(now?.ok === true && now.account.password.reveal(), "new");
    assert.match(await operations("/readyz"), /^\[\+\] secret contoso\/vaulted$/m);
  });

  for (const [what, change, reason] of [
    ["disabled", (simulator: AzureSimulator) => simulator.setEnabled(vault, "web", false), /is disabled/],
    ["deleted", (simulator: AzureSimulator) => simulator.deleteSecret(vault, "web"), /is not there/],
    [
      "taken away from the identity",
      (simulator: AzureSimulator, objectId: string) => simulator.setReader(vault, objectId, false),
      /may not be read by our identity/,
    ],
  ] as const) {
    test(`no more, and the secret ${what}, it is refused with the first answer`, async (t) => {
      const clock = new FakeClock(Date.now());
      const { ask, objectId, operations, simulator } = await open(t, { clock });
      simulator.fail({ service: "vault", fault: { kind: "reset" } });
      await clock.advance(120_000);
      assert.equal((await ask("vaulted")).ok, true);

      change(simulator, objectId);
      simulator.heal();
      let refused = false;
      for (let tries = 0; tries < 100 && !refused; tries++) {
        await clock.advance(1_000);
        refused = !(await ask("vaulted")).ok;
      }

      assert.equal(refused, true);
      assert.match(
        await operations("/readyz"),
        new RegExp(`\\[-\\] secret contoso/vaulted: ${reason.source}`),
      );
    });
  }
});

suite("the reserved directory", () => {
  test("belongs to one provider of a host: a second one says so and leaves it alone", async (t) => {
    const first = await open(t);

    await assert.rejects(open(t, { host: first.host, namespace: "fabrikam" }), {
      code: "E_KEY_VAULT_DIRECTORY_TAKEN",
      message: /belongs to the account provider of contoso/,
    });

    assert.equal((await first.askVault(uri)).ok, true);
    assert.equal(existsSync(join(first.host, "fabrikam")), false);
  });

  test("is taken over by a successor of the same namespace, and the predecessor leaves it alone", async (t) => {
    const first = await open(t);
    const second = await open(t, { host: first.host });

    await first.provider.stop();

    assert.equal((await second.askVault(uri)).ok, true);
  });

  test("is taken over from a provider that died", async (t) => {
    const host = temporaryFolder(t);
    const server = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    mkdirSync(join(host, "_azure-key-vault"));
    writeFileSync(join(host, "_azure-key-vault/port.txt"), String(port));
    writeFileSync(join(host, "_azure-key-vault/owner.txt"), "fabrikam");

    const { askVault } = await open(t, { host });

    assert.equal((await askVault(uri)).ok, true);
    assert.equal(readFileSync(join(host, "_azure-key-vault/owner.txt"), "utf8"), "contoso");
  });

  const stale: readonly (readonly [string, (t: TestContext) => Promise<string>])[] = [
    ["a port that is none", () => Promise.resolve("99999")],
    [
      "a port that another program has now",
      async (t) => {
        const server = createServer(
          (socket) => void socket.end("220 ready\r\n").on("error", () => undefined),
        );
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
        t.after(() => server.close());
        return String((server.address() as AddressInfo).port);
      },
    ],
    [
      "a port that a provider of somebody else has now",
      async (t) => String((await open(t, { namespace: "elsewhere" })).provider.port),
    ],
  ];
  for (const [what, portOf] of stale) {
    test(`is taken over from a provider that died and left ${what}`, async (t) => {
      const host = temporaryFolder(t);
      const directory = join(host, "_azure-key-vault");
      const { certificatePem } = await createAuthority({
        commonName: "fabrikam's",
        keyType: "ec-p256",
        lifetimeMs: 3_600_000,
        clock: systemClock,
      });
      mkdirSync(join(directory, "ssl/ca"), { recursive: true });
      writeFileSync(join(directory, "ssl/ca/ca.crt"), certificatePem);
      writeFileSync(join(directory, "port.txt"), await portOf(t));
      writeFileSync(join(directory, "owner.txt"), "fabrikam");

      const { askVault } = await open(t, { host });

      assert.equal((await askVault(uri)).ok, true);
    });
  }

  test("whose owner.txt names no namespace is not taken from a running provider, and nothing of the file is told", async (t) => {
    const first = await open(t);
    writeFileSync(join(first.host, "_azure-key-vault/owner.txt"), "contoso\nError: all is lost");

    await assert.rejects(open(t, { host: first.host, namespace: "fabrikam" }), {
      code: "E_KEY_VAULT_DIRECTORY_TAKEN",
      message: /belongs to the account provider of an unknown namespace, which is running\.$/,
    });
  });

  test("is gone after a stop", async (t) => {
    const { host, provider } = await open(t);

    await provider.stop();

    assert.equal(existsSync(join(host, "_azure-key-vault")), false);
    assert.equal(existsSync(join(host, "contoso")), false);
  });

  test("is removed by cleanup, unless another namespace's provider uses it", async (t) => {
    const { askVault, host } = await open(t);

    const ofAnother = await cleanUpKeyVaultDirectory(
      join(host, "fabrikam"),
      "fabrikam",
      undefined,
      silentLog,
    );
    assert.deepEqual(ofAnother, []);
    assert.equal((await askVault(uri)).ok, true);
    const own = await cleanUpKeyVaultDirectory(join(host, "contoso"), "contoso", undefined, silentLog);

    assert.deepEqual(own, [{ path: join(host, "_azure-key-vault"), found: true, left: [] }]);
    assert.equal(existsSync(join(host, "_azure-key-vault")), false);
    assert.equal((await cleanUpHost(join(host, "contoso"), undefined, silentLog)).found, true);
  });
});

test("a provider starts although its vault is away, and serves the other accounts", async (t) => {
  const clock = new FakeClock(Date.now());
  const simulator = await startAzureSimulator({ content: { identities: [], vaults: [] } });
  t.after(() => simulator.close());
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "manifests"));
  writeFileSync(
    join(folder, "manifests/secret.yaml"),
    "apiVersion: v1\nkind: Secret\nmetadata: {name: local, namespace: contoso}\nstringData: {username: local, password: l0cal, domainName: contoso.example}\n",
  );
  const { accounts } = readAccountsFile(`
accounts:
  - {name: local, source: folder, folder: ${join(folder, "manifests")}}
  - {name: vaulted, source: azureKeyVault, secretUri: "${uri}", identity: {type: systemAssigned}}`);
  const stores = await openStores(
    { namespace: "contoso", source: { kind: "none" }, secrets: ["local", "vaulted"], accounts },
    undefined,
    {
      clock,
      log: silentLog,
      registry: createRegistry("test"),
      azure: { certificateAuthority: simulator.certificateAuthority, dial: simulator.dial },
    },
  );
  t.after(() => stores.close());
  let ready = false;
  void stores.store.ready(new AbortController().signal).then(() => (ready = true));

  await eventually("it is ready", () => ready, clock, 500);

  assert.equal(stores.store.find("local").outcome, "found");
  assert.equal(stores.store.find("vaulted").outcome, "unavailable");
});

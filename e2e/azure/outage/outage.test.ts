/**
 * A vault that is away for 20 s on the real clock, while the account provider is asked all the time.
 * @module
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startAccountProvider } from "../../../src/account-provider/account-provider.ts";
import { readAccountsFile } from "../../../src/account-provider/accounts-file.ts";
import { openStores } from "../../../src/account-provider/open-stores.ts";
import { requestAsPlugin } from "../../../src/account-provider/plugin-request.ts";
import { createSelfManagedCertificates } from "../../../src/account-provider/self-managed-certificates.ts";
import { startAzureSimulator } from "../../../src/azure-simulator/azure-simulator.ts";
import { delay, systemClock } from "../../../src/clock.ts";
import { silentLog } from "../../../src/observe/log.ts";
import { createRegistry } from "../../../src/observe/metrics.ts";
import { askOperations } from "../../../test/running-account-provider.ts";

const vault = "contoso.vault.azure.net";

test("a vault is away for 20 s: every request is answered with the last good value, its age is told, the new one follows", async (t) => {
  const objectId = randomUUID();
  const simulator = await startAzureSimulator({
    content: {
      identities: [{ objectId, clientId: randomUUID() }],
      vaults: [
        { host: vault, readers: [objectId], secrets: [{ name: "web", value: "contoso.example\\ccg:old" }] },
      ],
    },
  });
  t.after(() => simulator.close());
  const { accounts } = readAccountsFile(`
accounts:
  - name: web
    source: azureKeyVault
    secretUri: https://${vault}/secrets/web
    identity: {type: managedIdentity, objectId: ${objectId}}
azureKeyVault: {useBy: 30s}`);
  const folder = await mkdtemp(join(tmpdir(), "sallyport-outage-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const settings = {
    namespace: "contoso",
    source: { kind: "none" },
    secrets: ["web"],
    accounts,
    hostDirectory: join(folder, "contoso"),
    legacyPlugin: false,
    mutualTls: true,
    writeHostFiles: true,
    port: 0,
    operationsAddress: { host: "127.0.0.1", port: 0 },
    leafLifetimeMs: 3_600_000,
    drainMs: 500,
    watchSilenceMs: 75_000,
    logLevel: "silent",
  } as const;
  const deps = { clock: systemClock, log: silentLog, registry: createRegistry("e2e") };
  const stores = await openStores(settings, undefined, {
    ...deps,
    azure: { certificateAuthority: simulator.certificateAuthority, dial: simulator.dial },
  });
  t.after(() => stores.close());
  const provider = await startAccountProvider(
    settings,
    {
      ...deps,
      store: stores.store,
      windows: undefined,
      certificates: await createSelfManagedCertificates({
        namespace: "contoso",
        leafLifetimeMs: 3_600_000,
        legacyPlugin: false,
        clock: systemClock,
        log: silentLog,
      }),
    },
    AbortSignal.timeout(20_000),
  );
  t.after(() => provider.stop());
  const answers: string[] = [];
  const askUntil = async (end: number, enough: (password: string) => boolean): Promise<void> => {
    while (Date.now() < end) {
      const directory = provider.hostDirectory;
      const result = await requestAsPlugin({ directory, object: "web", identity: "plugin" });
      assert.equal(result.ok, true, JSON.stringify(result.links));
      const password = result.ok ? result.account.password.reveal() : "";
      answers.push(password);
      if (enough(password)) return;
      await delay(systemClock, 100);
    }
  };
  // The first value is read again after 22 to 26 s: that falls into the outage.
  await askUntil(Date.now() + 15_000, () => false);

  simulator.fail({ service: "vault", fault: { kind: "reset" } });
  simulator.setSecret(vault, "web", "contoso.example\\ccg:new");
  await askUntil(Date.now() + 20_000, () => false);
  const { body: ready } = await askOperations(provider, "/readyz");
  const { body: metrics } = await askOperations(provider, "/metrics");
  const askedAt = Date.now() / 1000;
  simulator.heal();
  await askUntil(Date.now() + 60_000, (password) => password === "new");

  assert.match(ready, /^\[!\] secret contoso\/web: stale for 3\d s, the last good state is served: /m);
  assert.match(ready, /^ready$/m);
  const shown =
    /^sallyport_account_provider_account_confirmed_timestamp_seconds\{account="web"\} (.+)$/m.exec(metrics);
  const age = askedAt - Number(shown?.[1]);
  assert.ok(age > 30 && age < 60, `${age} s`);
  assert.equal(answers.at(-1), "new");
  assert.ok(answers.slice(0, -1).every((password) => password === "old"));
  assert.ok(answers.length > 100, `${answers.length} answers`);
});

/**
 * Azure Key Vault as a store of accounts, against the simulator: the contract.
 * @module
 */
import { randomUUID } from "node:crypto";
import { secretStoreContract, type AccountValues } from "../../../test/contracts/secret-store-contract.ts";
import { FakeClock } from "../../../test/fakes/fake-clock.ts";
import { startAzureSimulator, type AzureFault } from "../../azure-simulator/azure-simulator.ts";
import { silentLog } from "../../observe/log.ts";
import { createKeyVaultSecretStore } from "./key-vault-store.ts";
import { readSecretUri } from "./secret-uri.ts";

const vault = "contoso.vault.azure.net";

secretStoreContract("Azure Key Vault", async () => {
  // Loaded before, so that the test's clock does not run meanwhile.
  await import("./azure-sdk.ts");
  // MSAL remembers tokens of managed identities for the whole process.
  const [objectId, clientId] = [randomUUID(), randomUUID()];
  const simulator = await startAzureSimulator({
    content: {
      identities: [{ objectId, clientId }],
      vaults: [{ host: vault, readers: [objectId], secrets: [] }],
    },
  });
  const clock = new FakeClock();
  const text = ({ domainName, username, password }: AccountValues): string =>
    `${domainName}\\${username}:${password}`;
  const faults: Readonly<Record<string, AzureFault>> = {
    throttled: { kind: "status", status: 429, headers: { "retry-after": "5" } },
    down: { kind: "reset" },
    slow: { kind: "hang" },
  };
  return {
    kind: "azure-key-vault",
    clock,
    open: (names) =>
      createKeyVaultSecretStore(
        names.map((name) => {
          const read = readSecretUri(`https://${vault}/secrets/${name}`);
          if (!read.ok) throw new Error(read.problem);
          const identity = { type: "managedIdentity", objectId } as const;
          return { name, address: read.address, identity, useByMs: 30_000 };
        }),
        {
          clock,
          log: silentLog,
          random: () => 0.5,
          network: { certificateAuthority: simulator.certificateAuthority, dial: simulator.dial },
        },
      ),
    put(name, values) {
      simulator.setSecret(vault, name, text(values));
      return Promise.resolve();
    },
    putMalformed(name, { username, password }) {
      simulator.setSecret(vault, name, `${username}:${password.replaceAll("\\", "")}`);
      return Promise.resolve();
    },
    remove: (name) => Promise.resolve(simulator.deleteSecret(vault, name)),
    fail(how) {
      const fault = faults[how];
      if (fault === undefined) simulator.setReader(vault, objectId, false);
      else simulator.fail({ service: "vault", fault });
      return Promise.resolve();
    },
    heal() {
      simulator.heal();
      simulator.setReader(vault, objectId, true);
      return Promise.resolve();
    },
    requests: () => simulator.requests.length,
    dispose: () => simulator.close(),
  };
});

/**
 * From the settings to the stores that answer: Secrets of one source, or the places that an accounts file names. What reads
 * Key Vault is loaded only where something is kept in it.
 * @module
 */
import type { Clock } from "../clock.ts";
import { createManifestFolderSource } from "../kubernetes/manifest-folder-source.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import { createKeyVaultMetrics } from "../observe/key-vault-metrics.ts";
import type { Log } from "../observe/log.ts";
import type { Registry } from "../observe/metrics.ts";
import type { AzureNetwork } from "../secret-store/azure-key-vault/azure-transport.ts";
import type { KeyVaultDeps } from "../secret-store/azure-key-vault/key-vault-store.ts";
import { createCombinedSecretStore, type PlacedAccount } from "../secret-store/combined-secret-store.ts";
import { createKubernetesSecretStore } from "../secret-store/kubernetes-secret-store.ts";
import type { SecretStore } from "../secret-store/secret-store.ts";
import type { AccountPlace, Accounts } from "./accounts-file.ts";
import type { KeyVaultInputs } from "./key-vault-inputs.ts";
import type { AccountProviderSettings } from "./settings.ts";

export interface StoreDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly registry: Registry;
  /** How Azure is reached; without it, as the accounts file says. */
  readonly azure?: AzureNetwork;
}

export interface OpenStores {
  readonly store: SecretStore;
  readonly keyVaultInputs: KeyVaultInputs | undefined;
  /** Closes the stores and the folders opened for them. */
  close(): Promise<void>;
}

/** @param source where Kubernetes Secrets are; `undefined` only when no account is one. */
export async function openStores(
  settings: Pick<AccountProviderSettings, "namespace" | "secrets" | "source" | "accounts">,
  source: ResourceSource | undefined,
  deps: StoreDeps,
): Promise<OpenStores> {
  const { accounts, namespace, secrets } = settings;
  const kind = settings.source.kind === "manifests" ? "folder" : "kubernetes";
  if (accounts === undefined) {
    if (source === undefined) throw new Error("there is no source of Secrets");
    const store = createKubernetesSecretStore(source, { namespace, names: secrets, kind });
    return { store, keyVaultInputs: undefined, close: () => store.close() };
  }
  const placed: PlacedAccount[] = [];
  const folders: ResourceSource[] = [];
  const place = (store: SecretStore, those: readonly { name: string; secret?: string }[]): void => {
    for (const { name, secret } of those)
      placed.push({ name, store, ...(secret === undefined ? {} : { nameInStore: secret }) });
  };
  const inCluster = accounts.places.filter((each) => each.source === "kubernetes");
  if (inCluster.length > 0 && source !== undefined) {
    const names = inCluster.map(({ secret }) => secret);
    place(createKubernetesSecretStore(source, { namespace, names, kind }), inCluster);
  }
  const inFolders = Map.groupBy(
    accounts.places.filter((each) => each.source === "folder"),
    ({ folder }) => folder,
  );
  for (const [path, those] of inFolders) {
    const folder = createManifestFolderSource(path, { clock: deps.clock, log: deps.log });
    folders.push(folder);
    const names = those.map(({ secret }) => secret);
    place(createKubernetesSecretStore(folder, { namespace, names, kind: "folder" }), those);
  }
  const keyVault = await openKeyVault(accounts, deps);
  if (keyVault !== undefined) place(keyVault.store, keyVault.accounts);
  const store = createCombinedSecretStore(placed);
  return {
    store,
    keyVaultInputs: keyVault?.inputs,
    async close() {
      await store.close();
      await Promise.all(folders.map((folder) => folder.close()));
    },
  };
}

type KeyVaultPlace = Extract<AccountPlace, { source: "azureKeyVault" }>;

async function openKeyVault(
  { places, keyVault }: Accounts,
  deps: StoreDeps,
): Promise<
  | {
      readonly store: SecretStore;
      readonly accounts: readonly KeyVaultPlace[];
      readonly inputs?: KeyVaultInputs;
    }
  | undefined
> {
  const accounts = places.filter((each) => each.source === "azureKeyVault");
  const { pluginInput, proxy, useByMs } = keyVault;
  if (accounts.length === 0 && pluginInput === undefined) return undefined;
  const { createKeyVaultSecretStore, watchKeyVaultSecret } =
    await import("../secret-store/azure-key-vault/key-vault-store.ts");
  const { KeyVaultInputs: Inputs } = await import("./key-vault-inputs.ts");
  const vaultDeps: KeyVaultDeps = {
    clock: deps.clock,
    log: deps.log,
    metrics: createKeyVaultMetrics(deps.registry),
    network: deps.azure ?? (proxy === undefined ? {} : { proxy }),
  };
  const store = createKeyVaultSecretStore(
    accounts.map((account) => ({ ...account, useByMs })),
    vaultDeps,
  );
  if (pluginInput === undefined) return { store, accounts };
  const inputs = new Inputs({
    ...pluginInput,
    watch: (address, { identity, authorityHost }) =>
      watchKeyVaultSecret({ address, identity, authorityHost, useByMs }, vaultDeps),
    clock: deps.clock,
    log: deps.log,
  });
  return { store, accounts, inputs };
}

/**
 * The account provider under `sallyport up`: one for each namespace that a credential spec's plugin input names. Where the
 * manifests hold a simulated Azure, the provider of its namespace also reads from that Key Vault.
 * @module
 */
import { join } from "node:path";
import { startAccountProvider, type RunningAccountProvider } from "../account-provider/account-provider.ts";
import { readAccountsFile, type Accounts } from "../account-provider/accounts-file.ts";
import { openStores, type OpenStores } from "../account-provider/open-stores.ts";
import { requestAsPlugin, type PluginRequestResult } from "../account-provider/plugin-request.ts";
import { createSelfManagedCertificates } from "../account-provider/self-managed-certificates.ts";
import { longestLeafLifetimeMs, type AccountProviderSettings } from "../account-provider/settings.ts";
import { startAzureSimulator, type AzureSimulator } from "../azure-simulator/azure-simulator.ts";
import { readAzureContent, type AzureContent } from "../azure-simulator/content.ts";
import type { Chain, ChainLink } from "../chain.ts";
import { keyVaultObject, readKeyVaultInput } from "../credential-spec/key-vault-input.ts";
import { configError } from "../errors.ts";
import { gmsaCredentialSpecKind, secretKind } from "../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceSource } from "../kubernetes/resource-source.ts";
import { createRegistry } from "../observe/metrics.ts";
import type { ImpersonationAccount } from "../secret-store/secret-store.ts";
import { version } from "../version.ts";
import type { Role, RoleContext } from "./role.ts";

/** An impersonation account that a credential spec asks for. */
interface AccountInUse {
  readonly credentialSpec: string;
  readonly namespace: string;
  readonly object: string;
}

/** A credential spec written for Microsoft's Key Vault plugin. */
interface VaultInUse {
  readonly credentialSpec: string;
  readonly object: string;
}

/** Label of the Secret with the simulator's content (`azure.yaml`) and the accounts kept in it (`accounts.yaml`). */
const simulatedAzureLabel = "sallyport.dev/simulated-azure";

interface SimulatedAzure {
  readonly namespace: string;
  readonly content: AzureContent;
  readonly accounts: Accounts;
}

/** A provider with what was opened for it. */
interface Provider {
  readonly running: RunningAccountProvider;
  readonly stores: OpenStores;
}

export const accountProviderRole: Role = {
  name: "account provider",
  async start(context) {
    const { source, signal } = context;
    const { accounts, vaults } = await accountsInUse(source, signal);
    const azure = await simulatedAzure(source, signal);
    if (accounts.length === 0 && azure === undefined) return undefined;
    const simulator = azure === undefined ? undefined : await startAzureSimulator({ content: azure.content });
    const providers = new Map<string, Provider>();
    const stop = async (): Promise<void> => {
      for (const { running, stores } of providers.values()) {
        await running.stop();
        await stores.close();
      }
      await simulator?.close();
    };
    try {
      const namespaces = new Set(accounts.map(({ namespace }) => namespace));
      if (azure !== undefined) namespaces.add(azure.namespace);
      for (const namespace of namespaces) {
        const names = accounts.filter((one) => one.namespace === namespace).map(({ object }) => object);
        const own = azure?.namespace === namespace ? azure : undefined;
        providers.set(
          namespace,
          await startProvider(context, namespace, [...new Set(names)], own, simulator),
        );
      }
    } catch (error) {
      await stop();
      throw error;
    }
    return {
      listens: [
        ...[...providers].flatMap(([namespace, { running }]) => [
          { what: `account provider of ${namespace} (mutual TLS)`, where: running.addresses.join(", ") },
          { what: `  its /readyz and /metrics`, where: running.operationsAddresses.join(", ") },
          { what: `  its host directory`, where: running.hostDirectory.path },
          ...(running.keyVaultDirectory === undefined
            ? []
            : [{ what: `  for Key Vault plugin input`, where: running.keyVaultDirectory.path }]),
        ]),
        ...(simulator === undefined
          ? []
          : [
              { what: "Azure simulator: Key Vault (no Azure)", where: simulator.addresses.vaults },
              { what: "  its metadata service", where: simulator.addresses.metadata },
            ]),
      ],
      async check() {
        const answers = new Map<string, ImpersonationAccount>();
        const chains = await Promise.all(
          accounts.map((account) => checkAccount(account, providers.get(account.namespace), answers)),
        );
        const provider = providers.get(azure?.namespace ?? "");
        if (azure === undefined || provider === undefined) return chains;
        const inVault = azure.accounts.places.filter((place) => place.source === "azureKeyVault");
        const input = azure.accounts.keyVault.pluginInput === undefined ? [] : vaults;
        return [
          ...chains,
          ...(await Promise.all([
            ...inVault.map(({ name }) => checkVaultAccount(azure.namespace, name, provider, answers)),
            ...input.map((vault) => checkVaultInput(vault, provider, answers)),
          ])),
        ];
      },
      stop,
    };
  },
};

async function startProvider(
  { source, stateFolder, log, clock, signal }: RoleContext,
  namespace: string,
  names: readonly string[],
  azure: SimulatedAzure | undefined,
  simulator: AzureSimulator | undefined,
): Promise<Provider> {
  const roleLog = log.with({ role: "account-provider", namespace });
  const registry = createRegistry(version);
  const secrets = names.map((name) => ({ source: "kubernetes", name, secret: name }) as const);
  const accounts = azure && { ...azure.accounts, places: [...secrets, ...azure.accounts.places] };
  const settings: AccountProviderSettings = {
    namespace,
    source: { kind: "manifests", folder: source.describe() },
    secrets: accounts?.places.map(({ name }) => name) ?? names,
    accounts,
    hostDirectory: join(stateFolder, namespace),
    legacyPlugin: true,
    mutualTls: true,
    writeHostFiles: true,
    port: 0,
    operationsAddress: { host: "127.0.0.1", port: 0 },
    leafLifetimeMs: longestLeafLifetimeMs,
    drainMs: 5_000,
    watchSilenceMs: 75_000,
    logLevel: "info",
  };
  const [stores, certificates] = await Promise.all([
    openStores(settings, source, {
      clock,
      log: roleLog,
      registry,
      ...(simulator === undefined
        ? {}
        : { azure: { certificateAuthority: simulator.certificateAuthority, dial: simulator.dial } }),
    }),
    createSelfManagedCertificates({
      namespace,
      leafLifetimeMs: longestLeafLifetimeMs,
      legacyPlugin: true,
      clock,
      log: roleLog,
    }),
  ]);
  try {
    const { store, keyVaultInputs } = stores;
    const parts = { store, keyVaultInputs, certificates, windows: undefined, registry, log: roleLog, clock };
    return { running: await startAccountProvider(settings, parts, signal), stores };
  } catch (error) {
    await stores.close();
    throw error;
  }
}

async function checkAccount(
  account: AccountInUse,
  provider: Provider | undefined,
  answers: Map<string, ImpersonationAccount>,
): Promise<Chain> {
  const { credentialSpec, namespace, object } = account;
  if (provider === undefined) throw new Error(`no account provider for ${namespace}`);
  const directory = provider.running.hostDirectory;
  const result = await requestAsPlugin({ directory, object, identity: "plugin" });
  if (result.ok) answers.set(object, result.account);
  return {
    name: `A container becomes ${credentialSpec}`,
    links: [
      { link: "credential spec", holds: true, detail: `${credentialSpec} asks for ${namespace}:${object}` },
      ...result.links,
    ],
  };
}

async function checkVaultAccount(
  namespace: string,
  name: string,
  { running }: Provider,
  answers: ReadonlyMap<string, ImpersonationAccount>,
): Promise<Chain> {
  const directory = running.hostDirectory;
  const result = await requestAsPlugin({ directory, object: name, identity: "plugin" });
  return {
    name: "The same request answered from Key Vault (simulated Azure)",
    links: [
      { link: "plugin input", holds: true, detail: `${namespace}:${name}, an account of the accounts file` },
      ...result.links.slice(-2),
      ...comparison(result, answers),
    ],
  };
}

async function checkVaultInput(
  { credentialSpec, object }: VaultInUse,
  { running }: Provider,
  answers: ReadonlyMap<string, ImpersonationAccount>,
): Promise<Chain> {
  const directory = running.keyVaultDirectory ?? running.hostDirectory;
  const result = await requestAsPlugin({ directory, object, identity: "plugin" });
  return {
    name: "A credential spec for Microsoft's Key Vault plugin (simulated Azure)",
    links: [
      { link: "credential spec", holds: true, detail: `${credentialSpec} asks for ${object.slice(0, 24)}…` },
      ...result.links,
      ...comparison(result, answers),
    ],
  };
}

/** Does the vault say what the manifest folder says? */
function comparison(
  result: PluginRequestResult,
  answers: ReadonlyMap<string, ImpersonationAccount>,
): readonly ChainLink[] {
  if (!result.ok || answers.size === 0) return [];
  const { account } = result;
  const same = [...answers].find(
    ([, other]) =>
      other.username === account.username &&
      other.domainName === account.domainName &&
      other.password.equals(account.password),
  );
  return [
    same === undefined
      ? {
          link: "same account",
          holds: false,
          detail: "no account of the manifest folder is the same",
          remedy: "compare simulated-azure.yaml with the Secrets beside it",
        }
      : { link: "same account", holds: true, detail: `as ${same[0]} of the manifest folder` },
  ];
}

/** Reads every credential spec that uses a portable identity by a plugin input that the account provider answers. */
async function accountsInUse(
  source: ResourceSource,
  signal: AbortSignal,
): Promise<{ readonly accounts: readonly AccountInUse[]; readonly vaults: readonly VaultInUse[] }> {
  const specs = source.watch({ kind: gmsaCredentialSpecKind });
  try {
    await specs.synced(signal);
    const inputs = specs.list().map((object) => ({
      credentialSpec: object.metadata.name,
      input: pluginInputOf(object) ?? "",
    }));
    return {
      accounts: inputs.flatMap(({ credentialSpec, input }) => {
        const match = /^([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})$/.exec(input);
        const [, namespace, name] = match ?? [];
        if (namespace === undefined || name === undefined) return [];
        return [{ credentialSpec, namespace, object: name }];
      }),
      vaults: inputs.flatMap(({ credentialSpec, input }) => {
        const read = readKeyVaultInput(input);
        return read.ok ? [{ credentialSpec, object: keyVaultObject(read) }] : [];
      }),
    };
  } finally {
    await specs.close();
  }
}

async function simulatedAzure(
  source: ResourceSource,
  signal: AbortSignal,
): Promise<SimulatedAzure | undefined> {
  const secrets = source.watch({ kind: secretKind });
  try {
    await secrets.synced(signal);
    const labelled = secrets
      .list()
      .find((object) => object.metadata.labels?.[simulatedAzureLabel] === "true");
    if (labelled === undefined) return undefined;
    const data = labelled["data"] as Readonly<Record<string, unknown>> | undefined;
    const text = (key: string): string => {
      const encoded = data?.[key];
      return typeof encoded === "string" ? Buffer.from(encoded, "base64").toString("utf8") : "";
    };
    const content = readAzureContent(text("azure.yaml"));
    if (!content.ok)
      throw configError(content.problems.map((problem) => ({ setting: "simulated Azure", problem })));
    const { accounts, faults } = readAccountsFile(text("accounts.yaml"));
    if (accounts === undefined) throw configError(faults);
    return { namespace: labelled.metadata.namespace ?? "default", content: content.content, accounts };
  } finally {
    await secrets.close();
  }
}

function pluginInputOf(object: KubernetesObject): string | undefined {
  let value: unknown = object;
  for (const field of ["credspec", "ActiveDirectoryConfig", "HostAccountConfig", "PluginInput"]) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Readonly<Record<string, unknown>>)[field];
  }
  return typeof value === "string" ? value : undefined;
}

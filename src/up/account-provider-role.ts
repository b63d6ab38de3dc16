/**
 * The account provider under `sallyport up`: one for each namespace that a credential spec's plugin input names.
 * @module
 */
import { join } from "node:path";
import { startAccountProvider, type RunningAccountProvider } from "../account-provider/account-provider.ts";
import { requestAsPlugin } from "../account-provider/plugin-request.ts";
import { createSelfManagedCertificates } from "../account-provider/self-managed-certificates.ts";
import { longestLeafLifetimeMs } from "../account-provider/settings.ts";
import type { Chain } from "../chain.ts";
import { gmsaCredentialSpecKind } from "../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceSource } from "../kubernetes/resource-source.ts";
import { createRegistry } from "../observe/metrics.ts";
import { createKubernetesSecretStore } from "../secret-store/kubernetes-secret-store.ts";
import { version } from "../version.ts";
import type { Role } from "./role.ts";

/** An impersonation account that a credential spec asks for. */
interface AccountInUse {
  readonly credentialSpec: string;
  readonly namespace: string;
  readonly object: string;
}

export const accountProviderRole: Role = {
  name: "account provider",
  async start({ source, stateFolder, log, clock, signal }) {
    const inUse = await accountsInUse(source, signal);
    if (inUse.length === 0) return undefined;
    const providers = new Map<string, RunningAccountProvider>();
    try {
      for (const namespace of new Set(inUse.map((account) => account.namespace))) {
        const names = inUse
          .filter((account) => account.namespace === namespace)
          .map((account) => account.object);
        const roleLog = log.with({ role: "account-provider", namespace });
        const provider = await startAccountProvider(
          {
            namespace,
            source: { kind: "manifests", folder: source.describe() },
            secrets: [...new Set(names)],
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
          },
          {
            store: createKubernetesSecretStore(source, { namespace, names: [...new Set(names)] }),
            certificates: await createSelfManagedCertificates({
              namespace,
              leafLifetimeMs: longestLeafLifetimeMs,
              legacyPlugin: true,
              clock,
              log: roleLog,
            }),
            windows: undefined,
            registry: createRegistry(version),
            log: roleLog,
            clock,
          },
          signal,
        );
        providers.set(namespace, provider);
      }
    } catch (error) {
      for (const provider of providers.values()) await provider.stop();
      throw error;
    }
    return {
      listens: [...providers].flatMap(([namespace, provider]) => [
        { what: `account provider of ${namespace} (mutual TLS)`, where: provider.addresses.join(", ") },
        { what: `  its /readyz and /metrics`, where: provider.operationsAddresses.join(", ") },
        { what: `  its host directory`, where: provider.hostDirectory.path },
      ]),
      check: () => Promise.all(inUse.map((account) => checkAccount(account, providers))),
      async stop() {
        for (const provider of providers.values()) await provider.stop();
      },
    };
  },
};

async function checkAccount(
  account: AccountInUse,
  providers: ReadonlyMap<string, RunningAccountProvider>,
): Promise<Chain> {
  const { credentialSpec, namespace, object } = account;
  const provider = providers.get(namespace);
  if (provider === undefined) throw new Error(`no account provider for ${namespace}`);
  const result = await requestAsPlugin({ directory: provider.hostDirectory, object, identity: "plugin" });
  return {
    name: `A container becomes ${credentialSpec}`,
    links: [
      { link: "credential spec", holds: true, detail: `${credentialSpec} asks for ${namespace}:${object}` },
      ...result.links,
    ],
  };
}

/** Reads every credential spec that uses a portable identity by a plugin input of the form `<namespace>:<name>`. */
async function accountsInUse(source: ResourceSource, signal: AbortSignal): Promise<readonly AccountInUse[]> {
  const specs = source.watch({ kind: gmsaCredentialSpecKind });
  try {
    await specs.synced(signal);
    return specs.list().flatMap((object) => {
      const match = /^([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})$/.exec(pluginInputOf(object) ?? "");
      const [, namespace, name] = match ?? [];
      if (namespace === undefined || name === undefined) return [];
      return [{ credentialSpec: object.metadata.name, namespace, object: name }];
    });
  } finally {
    await specs.close();
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

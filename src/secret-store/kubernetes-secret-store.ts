/**
 * Impersonation accounts kept as Kubernetes Secrets, in a cluster or in a manifest folder: the resource source decides.
 * @module
 */
import { secretKind } from "../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceCache, ResourceSource } from "../kubernetes/resource-source.ts";
import { accountFromSecret } from "./account-from-secret.ts";
import { worstStatus } from "./combined-secret-store.ts";
import type { AccountOutcome, SecretStore, StoreKind, StoreStatus } from "./secret-store.ts";

/** A Secret reduced to what the store needs: the values that are no account's never stay in memory. */
interface NamedAccount {
  readonly name: string;
  readonly outcome: AccountOutcome;
  readonly version: string | undefined;
}

export interface KubernetesSecretStoreOptions {
  readonly namespace: string;
  /** The Secrets to serve, each watched by name; `"all"`: every one of the namespace. */
  readonly names: readonly string[] | "all";
  /** What kind of source this is, for the audit log. Default `kubernetes`. */
  readonly kind?: Extract<StoreKind, "kubernetes" | "folder">;
}

export function createKubernetesSecretStore(
  source: ResourceSource,
  options: KubernetesSecretStoreOptions,
): SecretStore {
  const { namespace, names } = options;
  const selectors = names === "all" ? [undefined] : [...new Set(names)];
  const caches = new Map<string | undefined, ResourceCache<NamedAccount>>(
    selectors.map((name) => [
      name,
      source.watch<NamedAccount>({
        kind: secretKind,
        namespace,
        ...(name === undefined ? {} : { name }),
        parse: (object) => ({ ok: true, value: readSecret(object) }),
      }),
    ]),
  );
  const cacheOf = (name: string): ResourceCache<NamedAccount> | undefined =>
    caches.get(names === "all" ? undefined : name);

  return {
    find(name) {
      const cache = cacheOf(name);
      const found = cache?.get(name);
      if (found !== undefined) return found.outcome;
      const status = cache?.status();
      // Before the first read nobody knows whether it is there.
      return status?.state === "syncing"
        ? { outcome: "unavailable", reason: status.reason ?? "it was not read yet" }
        : { outcome: "missing" };
    },
    origin(name) {
      const cache = cacheOf(name);
      if (cache === undefined) return undefined;
      const [found, { state, since }] = [cache.get(name), cache.status()];
      return {
        store: options.kind ?? "kubernetes",
        ...(found?.version === undefined ? {} : { version: found.version }),
        confirmedAt: state === "syncing" ? 0 : since,
      };
    },
    status: () => worstStatus([...caches.values()].map(statusOfCache)),
    statusOf(name) {
      const cache = cacheOf(name);
      return cache === undefined ? undefined : statusOfCache(cache);
    },
    async ready(signal) {
      await Promise.all([...caches.values()].map((cache) => cache.synced(signal)));
    },
    onChange(listener) {
      const stops = [...caches.values()].map((cache) =>
        cache.onChange((change) => listener(change.object.name)),
      );
      return () => {
        for (const stop of stops) stop();
      };
    },
    describe() {
      const what = names === "all" ? "every secret" : names.length === 1 ? "secret" : "secrets";
      const which =
        names === "all" ? `of ${namespace}` : names.map((name) => `${namespace}/${name}`).join(", ");
      return `${what} ${which} from ${source.describe()}`;
    },
    async close() {
      await Promise.all([...caches.values()].map((cache) => cache.close()));
    },
  };
}

function statusOfCache(cache: ResourceCache<NamedAccount>): StoreStatus {
  const { state, since, reason } = cache.status();
  return {
    state,
    confirmedAt: state === "syncing" ? 0 : since,
    ...(reason === undefined ? {} : { reason }),
  };
}

function readSecret(object: KubernetesObject): NamedAccount {
  const data = object["data"];
  const values =
    typeof data === "object" && data !== null ? (data as Readonly<Record<string, unknown>>) : undefined;
  const texts =
    values === undefined
      ? undefined
      : Object.fromEntries(
          Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
        );
  const { name, resourceVersion } = object.metadata;
  return { name, version: resourceVersion, outcome: accountFromSecret(texts) };
}

/**
 * Impersonation accounts kept as Kubernetes Secrets, in a cluster or in a manifest folder: the resource source decides.
 * @module
 */
import { secretKind } from "../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceCache, ResourceSource } from "../kubernetes/resource-source.ts";
import { accountFromSecret } from "./account-from-secret.ts";
import type { AccountOutcome, SecretStore } from "./secret-store.ts";

/** A Secret reduced to what the store needs: the values that are no account's never stay in memory. */
interface NamedAccount {
  readonly name: string;
  readonly outcome: AccountOutcome;
}

export interface KubernetesSecretStoreOptions {
  readonly namespace: string;
  /** The Secrets to serve, each watched by name; `"all"`: every one of the namespace. */
  readonly names: readonly string[] | "all";
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
    find: (name) => cacheOf(name)?.get(name)?.outcome ?? { outcome: "missing" },
    status() {
      const statuses = [...caches.values()].map((cache) => cache.status());
      const worst =
        statuses.find((status) => status.state === "syncing") ??
        statuses.find((status) => status.state === "stale");
      const confirmedAt = Math.min(
        ...statuses.map((status) => (status.state === "syncing" ? 0 : status.since)),
      );
      if (worst === undefined) return { state: "synced", confirmedAt };
      return {
        state: worst.state,
        confirmedAt,
        ...(worst.reason === undefined ? {} : { reason: worst.reason }),
      };
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
  return { name: object.metadata.name, outcome: accountFromSecret(texts) };
}

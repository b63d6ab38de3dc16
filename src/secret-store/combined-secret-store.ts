/**
 * Several stores as one, for a provider whose accounts are kept in different places.
 * @module
 */
import type { SecretStore, StoreStatus } from "./secret-store.ts";

/** One account of the whole, and where it is really kept. */
export interface PlacedAccount {
  readonly name: string;
  readonly store: SecretStore;
  /** Its name in that store; default: the same. */
  readonly nameInStore?: string;
}

export function createCombinedSecretStore(accounts: readonly PlacedAccount[]): SecretStore {
  const places = new Map(accounts.map((account) => [account.name, account]));
  const stores = [...new Set(accounts.map(({ store }) => store))];
  const nameIn = ({ name, nameInStore }: PlacedAccount): string => nameInStore ?? name;
  return {
    find(name) {
      const place = places.get(name);
      return place === undefined ? { outcome: "missing" } : place.store.find(nameIn(place));
    },
    origin(name) {
      const place = places.get(name);
      return place?.store.origin(nameIn(place));
    },
    status: () => worstStatus(stores.map((store) => store.status())),
    statusOf(name) {
      const place = places.get(name);
      return place?.store.statusOf(nameIn(place));
    },
    async ready(signal) {
      await Promise.all(stores.map((store) => store.ready(signal)));
    },
    onChange(listener) {
      const stops = stores.map((store) =>
        store.onChange((changed) => {
          for (const place of accounts)
            if (place.store === store && nameIn(place) === changed) listener(place.name);
        }),
      );
      return () => {
        for (const stop of stops) stop();
      };
    },
    describe: () => stores.map((store) => store.describe()).join("; "),
    async close() {
      await Promise.all(stores.map((store) => store.close()));
    },
  };
}

/** Of several, the one that an operator has to know about: what was never read, then what is oldest. */
export function worstStatus(statuses: readonly StoreStatus[]): StoreStatus {
  const oldest = statuses.toSorted((one, other) => one.confirmedAt - other.confirmedAt);
  return (
    oldest.find(({ state }) => state === "syncing") ??
    oldest.find(({ state }) => state === "stale") ??
    oldest[0] ?? { state: "synced", confirmedAt: 0 }
  );
}

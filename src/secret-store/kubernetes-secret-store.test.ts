/**
 * Kubernetes Secrets as accounts: the contract, from a cluster and from a folder of manifests.
 * @module
 */
import { mkdir, mkdtemp, rename, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { secretStoreContract, type AccountValues } from "../../test/contracts/secret-store-contract.ts";
import { configOf, startFakeApiServer, type ServerFault } from "../../test/fakes/fake-api-server.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { createClusterClient } from "../kubernetes/cluster-client.ts";
import { createClusterSource } from "../kubernetes/cluster-source.ts";
import { secretKind } from "../kubernetes/kinds.ts";
import { createManifestFolderSource } from "../kubernetes/manifest-folder-source.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import { silentLog } from "../observe/log.ts";
import { Secret } from "../secret.ts";
import { createKubernetesSecretStore } from "./kubernetes-secret-store.ts";
import type { SecretStore } from "./secret-store.ts";

const namespace = "contoso";

function encoded(values: Readonly<Partial<AccountValues>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString("base64")]),
  );
}

/** The store with its source: closing one closes both. */
function opened(
  source: ResourceSource,
  names: readonly string[],
  kind: "kubernetes" | "folder",
): SecretStore {
  const store = createKubernetesSecretStore(source, { namespace, names, kind });
  return {
    ...store,
    async close() {
      await store.close();
      await source.close();
    },
  };
}

secretStoreContract("Kubernetes Secret", async () => {
  const server = await startFakeApiServer();
  const clock = new FakeClock();
  const put = (name: string, data: Readonly<Record<string, string>>): Promise<void> =>
    Promise.resolve(server.put(secretKind, { metadata: { name, namespace }, data }));
  const faults: Readonly<Record<string, ServerFault>> = {
    forbidden: { kind: "status", status: 403 },
    throttled: { kind: "status", status: 429, headers: { "retry-after": "5" } },
    down: { kind: "reset" },
    slow: { kind: "hang" },
  };
  return {
    kind: "kubernetes",
    clock,
    open(names) {
      const client = createClusterClient(
        configOf(server, { credentials: () => Promise.resolve({ token: new Secret("good") }) }),
        silentLog,
        clock,
      );
      return opened(createClusterSource(client, { clock, log: silentLog }), names, "kubernetes");
    },
    put: (name, values) => put(name, encoded(values)),
    putMalformed: (name, { password, username }) => put(name, encoded({ password, username })),
    remove: (name) => Promise.resolve(server.delete(secretKind, name, namespace)),
    fail(how) {
      const fault = faults[how];
      if (fault !== undefined) server.fail({ fault });
      return Promise.resolve(server.endWatches("reset"));
    },
    heal: () => Promise.resolve(server.heal()),
    requests: () => server.requests.length,
    dispose: () => server.stop(),
  };
});

secretStoreContract("manifest folder", async () => {
  const parent = await mkdtemp(join(tmpdir(), "sallyport-store-"));
  const [folder, away] = [join(parent, "here"), join(parent, "away")];
  await mkdir(folder);
  let current = folder;
  const clock = new FakeClock();
  const put = (name: string, data: Readonly<Record<string, string>>): Promise<void> =>
    writeFile(
      join(current, `${name}.json`),
      JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: { name, namespace }, data }),
    );
  return {
    kind: "folder",
    clock,
    open: (names) => opened(createManifestFolderSource(folder, { clock, log: silentLog }), names, "folder"),
    put: (name, values) => put(name, encoded(values)),
    putMalformed: (name, { password, username }) => put(name, encoded({ password, username })),
    remove: (name) => unlink(join(current, `${name}.json`)),
    // A folder cannot be slow or say no: it can be read or it cannot.
    fail: async () => {
      await rename(folder, away);
      current = away;
    },
    heal: async () => {
      await rename(away, folder);
      current = folder;
    },
    dispose: () => rm(parent, { recursive: true }),
  };
});

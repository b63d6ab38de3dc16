/**
 * One cluster for all suites of a run that change nothing about it: started by
 * the runner when the first of them asks, over a socket in the run's folder.
 * @module
 */
import { createServer, request } from "node:http";
import { join } from "node:path";

import { Cluster } from "./cluster.ts";
import type { ClusterFacts } from "./cluster.ts";
import { startCluster } from "./control-plane.ts";
import type { ControlPlane } from "./control-plane.ts";

const socketVariable = "SALLYPORT_E2E_SHARED_CLUSTER";

/**
 * The cluster every suite may use, with controllers and no flags of its own. A
 * test takes a namespace in it and leaves the rest alone; `close` the handle
 * after the suite. Suites that change flags or restart things start their own.
 */
export async function sharedCluster(): Promise<Cluster> {
  const answered = await new Promise<{ readonly status: number; readonly text: string }>(
    (resolve, reject) => {
      request({ socketPath: process.env[socketVariable], path: "/" }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.once("end", () => {
          resolve({ status: response.statusCode ?? 0, text });
        });
      })
        .once("error", reject)
        .end();
    },
  );
  if (answered.status !== 200) throw new Error(answered.text);
  return new Cluster(JSON.parse(answered.text) as ClusterFacts);
}

interface OfferedCluster {
  readonly environment: Readonly<Record<string, string>>;
  readonly close: () => Promise<void>;
}

const offers = new Map<string, { readonly offered: Promise<OfferedCluster>; holders: number }>();

/**
 * The runner's end: starts the cluster at the first question, stops it with `close`. One for all beds of a run that offer
 * it: the last `close` counts.
 */
export async function offerSharedCluster(runDirectory: string, assets: string): Promise<OfferedCluster> {
  const offer = offers.get(runDirectory) ?? { offered: listen(runDirectory, assets), holders: 0 };
  offers.set(runDirectory, offer);
  offer.holders += 1;
  const { environment, close } = await offer.offered;
  return {
    environment,
    close: async () => {
      offer.holders -= 1;
      if (offer.holders > 0) return;
      offers.delete(runDirectory);
      await close();
    },
  };
}

async function listen(runDirectory: string, assets: string): Promise<OfferedCluster> {
  let cluster: Promise<ControlPlane> | undefined;
  const server = createServer((_, response) => {
    cluster ??= startCluster();
    void answer(cluster, assets).then(({ status, text }) => response.writeHead(status).end(text));
  });
  const socket = join(runDirectory, "shared-cluster.sock");
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socket, resolve);
  });
  return {
    environment: { [socketVariable]: socket },
    close: async () => {
      server.closeAllConnections();
      server.close();
      // One that never started has already said so to whoever asked.
      await (await cluster?.catch(() => undefined))?.stop();
    },
  };
}

/** Where the cluster is, or why there is none. */
async function answer(
  cluster: Promise<ControlPlane>,
  assets: string,
): Promise<{ readonly status: number; readonly text: string }> {
  try {
    const { directory, server } = await cluster;
    return { status: 200, text: JSON.stringify({ directory, assets, server } satisfies ClusterFacts) };
  } catch (cause) {
    return { status: 500, text: (cause as Error).message };
  }
}

/**
 * Starts a cluster, prints its process ids and never stops it: what a crashed
 * suite looks like.
 * @module
 */
import { startCluster } from "../control-plane.ts";

const cluster = await startCluster();
process.stdout.write(JSON.stringify(cluster.processIds));
setInterval(() => undefined, 60_000);

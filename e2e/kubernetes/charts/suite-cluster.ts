/**
 * One cluster for all files of this suite, which run in one process, test after test. It is not the one that suites share:
 * definitions come and go here, and the API server is stopped.
 * @module
 */
import { startCluster } from "../control-plane.ts";
import type { ControlPlane } from "../control-plane.ts";

let started: Promise<ControlPlane> | undefined;

/** Starts it at the first call; whoever calls it stops it after its tests, the last one ends it. */
export function suiteCluster(): Promise<ControlPlane> {
  started ??= startCluster();
  return started;
}

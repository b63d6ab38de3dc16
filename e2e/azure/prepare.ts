/**
 * The Azure bed: the simulator stands in for Azure, so there is nothing to obtain. What it shows needs real time.
 * @module
 */
import type { PreparedBed } from "../bed.ts";

/** It is all waiting. */
export const longSuites = ["outage"];

export function prepare(): Promise<PreparedBed> {
  return Promise.resolve({ environment: {}, close: () => Promise.resolve() });
}

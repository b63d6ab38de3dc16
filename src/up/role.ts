/**
 * What `sallyport up` asks of a role so that it can run beside the others on one machine.
 * @module
 */
import type { Chain } from "../chain.ts";
import type { Clock } from "../clock.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import type { Log } from "../observe/log.ts";

export interface RoleContext {
  /** The manifest folder, watched. */
  readonly source: ResourceSource;
  /** A folder of this role's own for its state, made with mode 0700. */
  readonly stateFolder: string;
  readonly log: Log;
  readonly clock: Clock;
  /** Aborted when everything shall stop. */
  readonly signal: AbortSignal;
}

export interface RunningRole {
  /** What listens where, for the person who started it. */
  readonly listens: readonly { readonly what: string; readonly where: string }[];
  /** Makes the role's main job happen once, as its real caller would, and says which links hold. */
  check(): Promise<readonly Chain[]>;
  stop(): Promise<void>;
}

export interface Role {
  readonly name: string;
  /** `undefined` when the manifests hold nothing for this role. */
  start(context: RoleContext): Promise<RunningRole | undefined>;
}

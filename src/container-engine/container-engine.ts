/**
 * The port to a container engine: what delivery of credential specs reads from one and changes in it. Every value here was
 * checked at the border; texts that come from the engine are data, never trusted.
 * @module
 */

export interface EngineState {
  /** For the audit log: the Swarm's cluster id, or the engine's own. */
  readonly id: string;
  /**
   * `manager`: configs and services can be read and changed. `none`: an engine by itself. `worker` and `unusable` (locked,
   * joining, in error) can do neither.
   */
  readonly swarm: "manager" | "worker" | "none" | "unusable";
  /** Swarm's own word for its state on this node: `active`, `inactive`, `pending`, `locked`, `error`. */
  readonly swarmState: string;
}

export interface EngineConfig {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly data: Uint8Array;
  /** Milliseconds since the epoch, by the manager's clock. */
  readonly createdAt: number;
}

/** A service's own settings, whole and unaltered, numbers as the engine wrote them. */
export type ServiceSettings = Readonly<Record<string, unknown>>;

export interface ConfigReference {
  readonly id: string;
  readonly name: string;
}

/** What a service says about credential specs. */
export interface ServiceIdentity {
  /** The config that is its credential spec. */
  readonly config: ConfigReference | undefined;
  /** `file://…` or `registry://…`, where it has such a one. */
  readonly elsewhere: string | undefined;
  /** Ids of all configs that it refers to, files included. */
  readonly configIds: readonly string[];
}

export interface EngineService {
  readonly id: string;
  /** Swarm's version of the object: an update of another version is refused. */
  readonly version: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly settings: ServiceSettings;
  readonly identity: ServiceIdentity;
  /** Whether its tasks are containers; plugins and attachments have no credential spec. */
  readonly runsContainers: boolean;
  readonly constraints: readonly string[];
  /** Configs of the settings that Swarm goes back to when the update that is under way fails. */
  readonly fallbackConfigIds: readonly string[];
  /** When Swarm last began to roll the service back, if that was its last update; milliseconds since the epoch. */
  readonly rolledBackAt: number | undefined;
}

/** A container of the engine itself, with the words of its credential spec. */
export interface EngineContainer {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly running: boolean;
  /** The values of its `credentialspec=` options in order; the engine takes the last. */
  readonly credentialSpecs: readonly string[];
}

/** How the engine answered a change. */
export type Change<T = undefined> =
  | { readonly done: true; readonly value: T }
  /** What the change was planned on is no longer so: look again. */
  | { readonly done: false; readonly conflict: true; readonly reason: string }
  | { readonly done: false; readonly conflict: false; readonly reason: string };

/**
 * Every method rejects with `E_ENGINE_UNREACHABLE`, `E_ENGINE_TLS`, `E_ENGINE_TIMEOUT`, `E_ENGINE_ANSWER`,
 * `E_ENGINE_REFUSED` or `E_ENGINE_VERSION` ({@link import("../errors.ts").SallyportError}), or with the signal's reason.
 */
export interface ContainerEngine {
  /** Where it listens, for people. */
  readonly label: string;
  state(signal?: AbortSignal): Promise<EngineState>;
  /** Configs with this label, and those of these names; each once. */
  configs(label: string, names: readonly string[], signal?: AbortSignal): Promise<readonly EngineConfig[]>;
  services(signal?: AbortSignal): Promise<readonly EngineService[]>;
  /** Ids of the configs that tasks refer to which run, or are still to run. */
  configsOfTasks(signal?: AbortSignal): Promise<ReadonlySet<string>>;
  containers(signal?: AbortSignal): Promise<readonly EngineContainer[]>;
  /** The id of the new config. */
  createConfig(
    config: {
      readonly name: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly data: string;
    },
    signal?: AbortSignal,
  ): Promise<Change<string>>;
  /** Makes the config the service's credential spec and leaves everything else as it is. */
  pointService(service: EngineService, config: ConfigReference, signal?: AbortSignal): Promise<Change>;
  removeConfig(id: string, signal?: AbortSignal): Promise<Change>;
  /**
   * Calls back when a service, a config or a container was made, changed or removed. Resolves when the engine tells no more
   * (it is away, or the connection broke), and with the signal.
   */
  followChanges(onChange: () => void, signal: AbortSignal): Promise<void>;
}

/**
 * Mappings in files: MountedFile is the `server` section of the configuration itself, DynamicFile a JSON file of its own.
 * Both are followed; a new version that cannot be read leaves the last good one in force.
 * @module
 */
import type { Clock } from "../../clock.ts";
import type { ConfigFault } from "../../errors.ts";
import type { AuthenticatorMetrics } from "../../observe/authenticator-metrics.ts";
import type { Log } from "../../observe/log.ts";
import type { Readiness } from "../../server/operations.ts";
import { isObject } from "../ram/strict-json.ts";
import type { MappingBackend } from "./backend.ts";
import { followFile, type FileState } from "./followed-file.ts";
import { MappingIndex } from "./mapping-index.ts";
import { mappingSections, readSection, type MappingSet } from "./mapping-set.ts";
import type { NamePolicy } from "./reserved-names.ts";

export interface BackendDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: AuthenticatorMetrics;
}

export interface BackendOptions {
  readonly wildcards: boolean;
  readonly names: NamePolicy;
}

export interface FileBackendOptions extends BackendOptions {
  readonly path: string;
  /** Milliseconds between two looks at the file. */
  readonly intervalMs: number;
}

/** What a reader of a file's text makes of it. */
export type ReadSet =
  | { readonly ok: true; readonly set: MappingSet; readonly faults: readonly ConfigFault[] }
  | { readonly ok: false; readonly problem: string };

/**
 * @param initial the mappings of the configuration that the server was started with; they were checked as a whole.
 * @param read reads the configuration file's text again, all of it.
 */
export async function createMountedFileBackend(
  deps: BackendDeps,
  options: Omit<FileBackendOptions, "path"> & {
    /** Absent: there is no file to follow. */
    readonly path: string | undefined;
    readonly initial: MappingSet;
    readonly read: (text: string) => ReadSet;
  },
): Promise<MappingBackend> {
  const state = createFileState("MountedFile", deps, options);
  state.use(options.initial, []);
  if (options.path === undefined) return state.backend(() => undefined);
  const stop = await followFile(options.path, { ...options, clock: deps.clock }, (file) => {
    // The configuration was read a moment ago: that it is gone now is no reason to forget it.
    if (file.state !== "present") state.keep(problemOf(file));
    else {
      const read = options.read(file.text);
      const fault = read.ok ? read.faults[0] : undefined;
      if (!read.ok) state.keep(read.problem);
      else if (fault !== undefined) state.keep(`${fault.setting}: ${fault.problem}`);
      else state.use(read.set, []);
    }
  });
  return state.backend(stop);
}

/** A JSON file with mapRoles, mapUsers and mapAccounts. That it is not there means that there are none. */
export async function createDynamicFileBackend(
  deps: BackendDeps,
  options: FileBackendOptions,
): Promise<MappingBackend> {
  const state = createFileState("DynamicFile", deps, options);
  const stop = await followFile(options.path, { ...options, clock: deps.clock }, (file) => {
    if (file.state === "absent") {
      state.use({ mappings: [], accounts: [] }, []);
      return;
    }
    const read = file.state === "present" ? readDynamicFile(file.text, options) : undefined;
    if (read === undefined || !read.ok) state.keep(read?.problem ?? problemOf(file));
    else state.use(read.set, read.faults);
  });
  return state.backend(stop);
}

/** Reads a dynamic file: any other shape than an object of lists is refused as a whole. */
export function readDynamicFile(text: string, options: { readonly wildcards: boolean }): ReadSet {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, problem: "it is not JSON" };
  }
  if (!isObject(value)) return { ok: false, problem: "it is not a JSON object" };
  return readSections(value, "", options);
}

/** Reads the three sections of an object whose names may be in any case. */
export function readSections(
  value: Readonly<Record<string, unknown>>,
  prefix: string,
  options: { readonly wildcards: boolean },
): ReadSet {
  const byName = new Map(Object.entries(value).map(([name, section]) => [name.toLowerCase(), section]));
  const read = mappingSections.map((section) =>
    readSection(section, byName.get(section.toLowerCase()), { at: prefix + section, ...options }),
  );
  const unusable = read.find((section) => !section.usable)?.faults[0];
  if (unusable !== undefined) return { ok: false, problem: `${unusable.setting}: ${unusable.problem}` };
  return {
    ok: true,
    set: {
      mappings: read.flatMap((section) => section.mappings),
      accounts: read.flatMap((section) => section.accounts),
    },
    faults: read.flatMap((section) => section.faults),
  };
}

function createFileState(
  mode: "MountedFile" | "DynamicFile",
  deps: BackendDeps,
  options: BackendOptions,
): {
  use(set: MappingSet, faults: readonly ConfigFault[]): void;
  keep(problem: string): void;
  backend(stop: () => void): MappingBackend;
} {
  const index = new MappingIndex();
  let readiness: Readiness = { ready: true };
  return {
    use(set, faults) {
      const conflicts = index.replace(set.mappings, set.accounts);
      for (const { winner, loser } of conflicts) {
        deps.log.warn("authenticator.mapping-conflict", {
          backend: mode,
          arn: winner.arn.text,
          counts: winner.entry,
          ignored: loser.entry,
        });
      }
      for (const { setting, problem } of faults) {
        deps.log.warn("authenticator.mapping-refused", { backend: mode, entry: setting, problem });
      }
      const [first] = faults;
      readiness =
        first === undefined
          ? { ready: true }
          : {
              ready: true,
              note: `${faults.length} entries left out, first ${first.setting}: ${first.problem}`,
            };
      deps.metrics.mappingsLoaded(mode, index.size);
      deps.log.info("authenticator.mappings-loaded", { backend: mode, mappings: index.size });
    },
    keep(problem) {
      readiness = { ready: true, note: `the last good mappings are in force: ${problem}` };
      deps.metrics.mappingReloadFailed(mode);
      deps.log.warn("authenticator.mappings-kept", { backend: mode, problem });
    },
    backend: (stop) => ({
      mode,
      index,
      names: options.names,
      readiness: () => readiness,
      close() {
        stop();
        return Promise.resolve();
      },
    }),
  };
}

function problemOf(file: FileState): string {
  if (file.state === "unreadable") return file.problem;
  return file.state === "absent" ? "the file is gone" : "";
}

/**
 * Mappings in the ConfigMap `alibabacloud-auth` of `kube-system`: mapRoles, mapUsers and mapAccounts, each a YAML text. A
 * section that cannot be read keeps its last good version, so that a slip in one of them locks nobody out.
 * @module
 */
import { parse } from "yaml";
import { reasonOf } from "../../errors.ts";
import { configMapKind } from "../../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceSource } from "../../kubernetes/resource-source.ts";
import { isObject } from "../ram/strict-json.ts";
import type { MappingBackend } from "./backend.ts";
import type { BackendDeps, BackendOptions } from "./file-backends.ts";
import { MappingIndex } from "./mapping-index.ts";
import {
  mappingSections,
  readSection,
  type MappingSection,
  type MappingSet,
  type ReadSection,
} from "./mapping-set.ts";

export const mappingConfigMap = { namespace: "kube-system", name: "alibabacloud-auth" } as const;

const mode = "ACKConfigMap";

export function createConfigMapBackend(
  source: ResourceSource,
  deps: BackendDeps,
  options: BackendOptions,
): MappingBackend {
  const index = new MappingIndex();
  const lastGood = new Map<MappingSection, MappingSet>();
  let notes: readonly string[] = [];

  function use(object: KubernetesObject | undefined): void {
    const data = isObject(object?.["data"]) ? object["data"] : {};
    const problems: string[] = [];
    for (const section of mappingSections) {
      const read = readText(section, data[section], options);
      for (const { setting, problem } of read.faults) {
        problems.push(`${setting}: ${problem}`);
        deps.log.warn("authenticator.mapping-refused", { backend: mode, entry: setting, problem });
      }
      if (read.usable) lastGood.set(section, read);
      else {
        deps.metrics.mappingReloadFailed(mode);
        deps.log.warn("authenticator.mappings-kept", { backend: mode, section });
      }
    }
    notes = problems;
    const sets = [...lastGood.values()];
    const conflicts = index.replace(
      sets.flatMap((set) => set.mappings),
      sets.flatMap((set) => set.accounts),
    );
    for (const { winner, loser } of conflicts) {
      deps.log.warn("authenticator.mapping-conflict", {
        backend: mode,
        arn: winner.arn.text,
        counts: winner.entry,
        ignored: loser.entry,
      });
    }
    deps.metrics.mappingsLoaded(mode, index.size);
    deps.log.info("authenticator.mappings-loaded", { backend: mode, mappings: index.size });
  }

  const cache = source.watch({ kind: configMapKind, ...mappingConfigMap });
  cache.onChange((change) => use(change.type === "deleted" ? undefined : change.object));
  const present = cache.get(mappingConfigMap.name);
  if (present !== undefined) use(present);

  return {
    mode,
    index,
    names: options.names,
    readiness() {
      const status = cache.status();
      if (status.state === "syncing") return { ready: false, reason: status.reason ?? "not read yet" };
      const note = [...(status.reason === undefined ? [] : [status.reason]), ...notes][0];
      return note === undefined ? { ready: true } : { ready: true, note };
    },
    close: () => cache.close(),
  };
}

function readText(section: MappingSection, text: unknown, options: BackendOptions): ReadSection {
  const at = `${mappingConfigMap.name} ${section}`;
  const unusable = (problem: string): ReadSection => ({
    mappings: [],
    accounts: [],
    faults: [{ setting: at, problem }],
    usable: false,
  });
  if (text !== undefined && typeof text !== "string") return unusable("it is not a text");
  let value: unknown;
  try {
    value = parse(text ?? "", { maxAliasCount: 0 });
  } catch (error) {
    return unusable(`it is not YAML: ${reasonOf(error).split("\n")[0] ?? ""}`);
  }
  return readSection(section, value, { at, wildcards: options.wildcards });
}

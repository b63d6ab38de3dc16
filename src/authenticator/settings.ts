/**
 * The authenticator's configuration: one file in YAML, JSON or TOML, with the keys of ack-ram-authenticator and our own,
 * and the command line, which wins. Key names are compared without regard to case; an unknown one is a fault that names
 * the nearest known one. All faults are reported at once.
 * @module
 */
import { extname } from "node:path";
import { parse as parseToml } from "smol-toml";
import { parse as parseYaml } from "yaml";
import { longestTimerMs } from "../clock.ts";
import { reasonOf, type ConfigFault } from "../errors.ts";
import { backendAliases, backendModes, type BackendMode } from "./mapping/backend.ts";
import { readSection, mappingSections, type MappingSet } from "./mapping/mapping-set.ts";
import { readSections, type ReadSet } from "./mapping/file-backends.ts";
import type { NamePolicy } from "./mapping/reserved-names.ts";
import { endpointOfRegion, endpointOfSetting } from "./ram/sts-endpoint.ts";
import { isObject } from "./ram/strict-json.ts";
import { clusterIdPattern } from "./ram/token.ts";
import { ramVerifierDefaults } from "./ram/verifier.ts";

/** Values of a configuration file and of the command line, before they are checked together. */
export interface RawSettings {
  readonly clusterID?: string;
  readonly defaultRole?: string;
  readonly port?: number;
  readonly hostname?: string;
  readonly address?: string;
  readonly bind?: string;
  readonly region?: string;
  readonly stateDir?: string;
  readonly generateKubeconfig?: string;
  readonly kubeconfigPregenerated?: boolean;
  readonly kubeconfig?: string;
  readonly master?: string;
  readonly backendMode?: readonly string[];
  readonly scrubbedAccounts?: readonly string[];
  readonly dynamicFilePath?: string;
  readonly acceptV1Tokens?: boolean;
  readonly wildcardMappings?: boolean;
  readonly extraTokenParameters?: readonly string[];
  readonly stsEndpoint?: string;
  readonly stsCAFile?: string;
  readonly stsTimeoutMs?: number;
  readonly stsRate?: number;
  readonly accessKeyRate?: number;
  readonly identityCacheMs?: number;
  readonly maxTokenLength?: number;
  readonly operationsAddress?: string;
  readonly tlsMinimum?: string;
  readonly clientCAFile?: string;
  readonly maxConnections?: number;
  /** Names that a backend may hand out although they are reserved: `CRD=system:masters`. */
  readonly allowReservedNames?: readonly string[];
  /** Further prefixes that a backend may not hand out: `CRD=prod:`. */
  readonly reservedPrefixes?: readonly string[];
}

/** The checked configuration. */
export interface AuthenticatorSettings {
  readonly clusterId: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** Names in the certificate and in the webhook's kubeconfig. */
  readonly hostname: string;
  readonly address: string;
  readonly stateDir: string;
  /** Where the webhook's kubeconfig is written; `undefined` when it is made by somebody else. */
  readonly generateKubeconfig: string | undefined;
  readonly stsOrigin: string;
  readonly stsCAFile: string | undefined;
  readonly stsTimeoutMs: number;
  readonly backends: readonly BackendMode[];
  readonly names: Readonly<Record<BackendMode, NamePolicy>>;
  readonly wildcards: boolean;
  readonly scrubbedAccounts: readonly string[];
  readonly dynamicFilePath: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly master: string | undefined;
  readonly mounted: MappingSet;
  readonly acceptV1: boolean;
  readonly extraParameters: readonly string[];
  readonly maxTokenLength: number;
  readonly identityTtlMs: number;
  readonly stsRate: { readonly rate: number; readonly burst: number };
  readonly accessKeyRate: { readonly rate: number; readonly burst: number };
  readonly operations: { readonly host: string; readonly port: number } | undefined;
  readonly tlsMinimum: "TLSv1.2" | "TLSv1.3";
  readonly clientCAFile: string | undefined;
  readonly maxConnections: number;
}

export interface ConfigFile {
  readonly settings: RawSettings;
  /** The `server` section, with the mappings. */
  readonly server: Readonly<Record<string, unknown>>;
}

export type ReadConfig =
  | { readonly ok: true; readonly config: ConfigFile; readonly faults: readonly ConfigFault[] }
  | { readonly ok: false; readonly problem: string };

/** Forms that a key's value can have. */
export type ValueForm = "text" | "flag" | "count" | "texts" | "duration";

/** How a value of each form is read. */
type Reader = (value: unknown) => { readonly value: unknown } | { readonly problem: string };

const readers: Readonly<Record<ValueForm, Reader>> = {
  text: (value) => (typeof value === "string" ? { value } : { problem: "it is not a text" }),
  flag: (value) => (typeof value === "boolean" ? { value } : { problem: "it is neither true nor false" }),
  count: (value) =>
    typeof value === "number" && Number.isFinite(value) && value > 0
      ? { value }
      : { problem: "it is not a number above 0" },
  texts: (value) => {
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    const strings = list.map((each) => (Number.isSafeInteger(each) ? String(each) : each));
    return strings.every((each) => typeof each === "string")
      ? { value: strings }
      : { problem: "it is not a list of texts" };
  },
  duration: (value) => {
    const match = typeof value === "string" ? /^(\d{1,9})(ms|s|m|h)$/.exec(value) : null;
    const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match?.[2] ?? ""];
    if (unit === undefined) return { problem: "it is not a duration such as 3s or 10m" };
    const milliseconds = Number(match?.[1]) * unit;
    // Node's timers would ring at once.
    return milliseconds > longestTimerMs ? { problem: "it is longer than 596h" } : { value: milliseconds };
  },
};

const topKeys: Readonly<Record<string, ValueForm>> = { clusterID: "text", defaultRole: "text" };

/** Keys of the `server` section, the field that each one fills, and its form. */
const serverKeys: Readonly<Record<string, readonly [field: keyof RawSettings, ValueForm]>> = {
  port: ["port", "count"],
  hostname: ["hostname", "text"],
  address: ["address", "text"],
  bind: ["bind", "text"],
  region: ["region", "text"],
  stateDir: ["stateDir", "text"],
  generateKubeconfig: ["generateKubeconfig", "text"],
  kubeconfigPregenerated: ["kubeconfigPregenerated", "flag"],
  kubeconfig: ["kubeconfig", "text"],
  master: ["master", "text"],
  backendMode: ["backendMode", "texts"],
  scrubbedAccounts: ["scrubbedAccounts", "texts"],
  dynamicFilePath: ["dynamicFilePath", "text"],
  acceptV1Tokens: ["acceptV1Tokens", "flag"],
  wildcardMappings: ["wildcardMappings", "flag"],
  extraTokenParameters: ["extraTokenParameters", "texts"],
  stsEndpoint: ["stsEndpoint", "text"],
  stsCAFile: ["stsCAFile", "text"],
  stsTimeout: ["stsTimeoutMs", "duration"],
  stsRate: ["stsRate", "count"],
  accessKeyRate: ["accessKeyRate", "count"],
  identityCache: ["identityCacheMs", "duration"],
  maxTokenLength: ["maxTokenLength", "count"],
  operationsAddress: ["operationsAddress", "text"],
  tlsMinimum: ["tlsMinimum", "text"],
  clientCAFile: ["clientCAFile", "text"],
  maxConnections: ["maxConnections", "count"],
  allowReservedNames: ["allowReservedNames", "texts"],
  reservedPrefixes: ["reservedPrefixes", "texts"],
};

/** Known, and without effect in every version: accepted so that old files start. */
const ignoredTopKeys = ["featureGates", "logFormat"];

/** Keys of the configuration file and the forms of their values; the mappings stand beside them in `server`. */
export function authenticatorConfigurationKeys(): {
  readonly top: Readonly<Record<string, ValueForm>>;
  readonly server: Readonly<Record<string, ValueForm>>;
} {
  return {
    top: topKeys,
    server: Object.fromEntries(Object.entries(serverKeys).map(([name, [, form]]) => [name, form])),
  };
}

/** @param path only for its extension, which tells the format; without a known one it is YAML. */
export function readConfigFile(content: string, path: string): ReadConfig {
  let value: unknown;
  try {
    value = parserOf(path)(content);
  } catch (error) {
    return { ok: false, problem: reasonOf(error).split("\n")[0] ?? "it cannot be parsed" };
  }
  if (value === null || value === undefined) value = {};
  if (!isObject(value)) return { ok: false, problem: "it does not hold settings" };

  const faults: ConfigFault[] = [];
  const settings: Record<string, unknown> = {};
  let server: Readonly<Record<string, unknown>> = {};
  const knownTop = [...Object.keys(topKeys), ...ignoredTopKeys, "server"];
  for (const [name, each] of Object.entries(value)) {
    const known = nameIn(knownTop, name);
    if (known === undefined) faults.push(unknownKey(name, knownTop, ""));
    else if (known === "server" && (isObject(each) || each === null)) server = each ?? {};
    else if (known === "server") faults.push({ setting: name, problem: "it does not hold settings" });
    else read(known, topKeys[known], known, each, faults, settings);
  }
  const knownServer = [...Object.keys(serverKeys), ...mappingSections];
  for (const [name, each] of Object.entries(server)) {
    const known = nameIn(knownServer, name);
    if (known === undefined) faults.push(unknownKey(name, knownServer, "server."));
    const key = known === undefined ? undefined : serverKeys[known];
    if (key !== undefined) read(`server.${known}`, key[1], key[0], each, faults, settings);
  }
  return { ok: true, config: { settings, server }, faults };
}

/** Reads the mappings of a configuration file again, for the MountedFile backend. */
export function readMountedMappings(
  content: string,
  path: string,
  options: { readonly wildcards: boolean },
): ReadSet {
  const file = readConfigFile(content, path);
  if (!file.ok) return file;
  const [fault] = file.faults;
  if (fault !== undefined) return { ok: false, problem: `${fault.setting}: ${fault.problem}` };
  return readSections(file.config.server, "server.", options);
}

/** Checks everything together. The settings mean something only when there are no faults. */
export function checkSettings(
  file: ConfigFile,
  commandLine: RawSettings,
): { readonly settings: AuthenticatorSettings; readonly faults: readonly ConfigFault[] } {
  const faults: ConfigFault[] = [];
  const given = Object.fromEntries(Object.entries(commandLine).filter(([, value]) => value !== undefined));
  const raw: RawSettings = { ...file.settings, ...given };

  const clusterId = raw.clusterID ?? "";
  if (clusterId === "")
    faults.push({ setting: "clusterID", problem: "it is required (or -i, --cluster-id)" });
  else if (!clusterIdPattern.test(clusterId)) {
    faults.push({ setting: "clusterID", problem: `"${clusterId}" is not the form of a cluster id` });
  }

  const backends = backendsOf(raw.backendMode ?? ["MountedFile"], faults);
  if (backends.includes("DynamicFile") && raw.dynamicFilePath === undefined) {
    faults.push({ setting: "dynamicFilePath", problem: "the backend DynamicFile needs it" });
  }
  const wildcards = raw.wildcardMappings ?? false;
  const sections = mappingSections.map((section) => {
    const name = nameIn(Object.keys(file.server), section) ?? section;
    return readSection(section, file.server[name], { at: `server.${section}`, wildcards });
  });
  faults.push(...sections.flatMap((section) => section.faults));

  for (const accountId of raw.scrubbedAccounts ?? []) {
    if (!/^[0-9]{1,20}$/.test(accountId)) {
      faults.push({ setting: "scrubbedAccounts", problem: `"${accountId}" is not an account id` });
    }
  }
  for (const name of raw.extraTokenParameters ?? []) {
    if (!/^[a-z0-9_.-]{1,64}$/i.test(name) || /^(?:ackclusterid|action|version|x-acs-.*)$/i.test(name)) {
      faults.push({ setting: "extraTokenParameters", problem: `"${name}" cannot be passed on to STS` });
    }
  }
  const endpoint =
    raw.stsEndpoint === undefined || raw.stsEndpoint === ""
      ? endpointOfRegion(raw.region ?? "")
      : endpointOfSetting(raw.stsEndpoint);
  if (!endpoint.ok) faults.push(endpoint.fault);
  const tlsMinimum = raw.tlsMinimum ?? "1.2";
  if (tlsMinimum !== "1.2" && tlsMinimum !== "1.3") {
    faults.push({ setting: "tlsMinimum", problem: `"${tlsMinimum}" is neither 1.2 nor 1.3` });
  }
  const port = raw.port ?? 21_362;
  if (!Number.isInteger(port) || port > 65_535)
    faults.push({ setting: "port", problem: `${port} is no port` });
  const maxTokenLength = raw.maxTokenLength ?? ramVerifierDefaults.maxTokenLength;
  if (maxTokenLength < 4096 || maxTokenLength > 65_536) {
    faults.push({ setting: "maxTokenLength", problem: "it is not between 4096 and 65536" });
  }
  const address = raw.address ?? "127.0.0.1";

  return {
    settings: {
      clusterId,
      listen: { host: raw.bind ?? address, port },
      hostname: raw.hostname ?? "localhost",
      address,
      stateDir: raw.stateDir ?? "/var/ack-ram-authenticator",
      generateKubeconfig:
        raw.kubeconfigPregenerated === true
          ? undefined
          : (raw.generateKubeconfig ?? "/etc/kubernetes/ack-ram-authenticator/kubeconfig.yaml"),
      stsOrigin: endpoint.ok ? endpoint.origin : "",
      stsCAFile: raw.stsCAFile,
      stsTimeoutMs: raw.stsTimeoutMs ?? 3_000,
      backends,
      names: namePolicies(raw, faults),
      wildcards,
      scrubbedAccounts: raw.scrubbedAccounts ?? [],
      dynamicFilePath: raw.dynamicFilePath,
      kubeconfig: raw.kubeconfig,
      master: raw.master,
      mounted: {
        mappings: sections.flatMap((section) => section.mappings),
        accounts: sections.flatMap((section) => section.accounts),
      },
      acceptV1: raw.acceptV1Tokens ?? false,
      extraParameters: raw.extraTokenParameters ?? [],
      maxTokenLength,
      identityTtlMs: raw.identityCacheMs ?? ramVerifierDefaults.identityTtlMs,
      stsRate: rateOf(raw.stsRate, ramVerifierDefaults.stsRate),
      accessKeyRate: rateOf(raw.accessKeyRate, ramVerifierDefaults.accessKeyRate),
      operations: operationsOf(raw.operationsAddress ?? "127.0.0.1:21363", faults),
      tlsMinimum: tlsMinimum === "1.3" ? "TLSv1.3" : "TLSv1.2",
      clientCAFile: raw.clientCAFile,
      maxConnections: raw.maxConnections ?? 12_000,
    },
    faults,
  };
}

/** A rate keeps the proportion that its default has between rate and burst. */
function rateOf(
  rate: number | undefined,
  defaults: { readonly rate: number; readonly burst: number },
): { readonly rate: number; readonly burst: number } {
  if (rate === undefined) return defaults;
  return { rate, burst: Math.max(1, (rate * defaults.burst) / defaults.rate) };
}

function operationsOf(
  address: string,
  faults: ConfigFault[],
): { readonly host: string; readonly port: number } | undefined {
  if (address === "") return undefined;
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) {
    faults.push({ setting: "operationsAddress", problem: `"${address}" is not ADDRESS:PORT` });
    return undefined;
  }
  return { host, port };
}

function backendsOf(names: readonly string[], faults: ConfigFault[]): readonly BackendMode[] {
  const modes: BackendMode[] = [];
  for (const name of names.flatMap((each) => each.split(","))) {
    const known =
      backendModes.find((mode) => mode.toLowerCase() === name.toLowerCase()) ??
      Object.entries(backendAliases).find(([alias]) => alias.toLowerCase() === name.toLowerCase())?.[1];
    if (known === undefined) {
      faults.push({ setting: "backendMode", problem: `backend-mode "${name}" is not a valid mode` });
    } else if (modes.includes(known)) {
      faults.push({ setting: "backendMode", problem: `backend-mode "${names.join(",")}" has duplicates` });
    } else modes.push(known);
  }
  if (names.length === 0) {
    faults.push({ setting: "backendMode", problem: "at least one backend-mode must be specified" });
  }
  return modes;
}

/** `system:` is reserved everywhere; `system:masters` stays possible from the file that only the host's owner writes. */
function namePolicies(raw: RawSettings, faults: ConfigFault[]): Readonly<Record<BackendMode, NamePolicy>> {
  const policies: Record<BackendMode, { reservedPrefixes: string[]; allowed: string[] }> = {
    MountedFile: { reservedPrefixes: ["system:"], allowed: ["system:masters"] },
    DynamicFile: { reservedPrefixes: ["system:"], allowed: [] },
    ACKConfigMap: { reservedPrefixes: ["system:"], allowed: [] },
    CRD: { reservedPrefixes: ["system:"], allowed: [] },
  };
  for (const [setting, entries, list] of [
    ["allowReservedNames", raw.allowReservedNames ?? [], "allowed"],
    ["reservedPrefixes", raw.reservedPrefixes ?? [], "reservedPrefixes"],
  ] as const) {
    for (const entry of entries) {
      const [mode = "", ...rest] = entry.split("=");
      const [known] = backendsOf([mode], []);
      if (known === undefined || rest.join("=") === "") {
        faults.push({ setting, problem: `"${entry}" is not BACKEND=NAME, such as CRD=system:masters` });
      } else policies[known][list].push(rest.join("="));
    }
  }
  return policies;
}

function parserOf(path: string): (content: string) => unknown {
  const extension = extname(path).toLowerCase();
  if (extension === ".json") return (content) => JSON.parse(content) as unknown;
  if (extension === ".toml") return (content) => parseToml(content);
  return (content) => parseYaml(content, { maxAliasCount: 0 }) as unknown;
}

function read(
  setting: string,
  form: ValueForm | undefined,
  field: string,
  value: unknown,
  faults: ConfigFault[],
  settings: Record<string, unknown>,
): void {
  if (form === undefined || value === null) return;
  const result = readers[form](value);
  if ("problem" in result) faults.push({ setting, problem: result.problem });
  else if (Object.hasOwn(settings, field)) faults.push({ setting, problem: "it stands in the file twice" });
  else settings[field] = result.value;
}

function nameIn(known: readonly string[], name: string): string | undefined {
  return known.find((each) => each.toLowerCase() === name.toLowerCase());
}

function unknownKey(name: string, known: readonly string[], prefix: string): ConfigFault {
  const lower = name.toLowerCase();
  const nearest = known
    .map((each) => ({ each, distance: editDistance(lower, each.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)[0];
  const hint =
    nearest !== undefined && nearest.distance <= Math.max(3, lower.length / 2)
      ? `; the nearest is ${prefix}${nearest.each}`
      : "";
  return { setting: `${prefix}${name}`, problem: `there is no such key${hint}` };
}

/** Levenshtein distance of two short texts. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const substitution = (previous[column - 1] ?? 0) + Number(a[row - 1] !== b[column - 1]);
      current.push(Math.min((previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length] ?? 0;
}

/**
 * The flags that the authenticator's commands share, and the settings that they make with the configuration file.
 * @module
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { InvalidArgumentError, Option, type Command } from "commander";
import {
  checkSettings,
  readConfigFile,
  type AuthenticatorSettings,
  type ConfigFile,
  type RawSettings,
} from "../authenticator/settings.ts";
import { systemClock } from "../clock.ts";
import { configError, reasonOf, type ConfigFault } from "../errors.ts";
import { createClusterClient, type ClusterClient } from "../kubernetes/cluster-client.ts";
import { loadClusterConfig } from "../kubernetes/cluster-config.ts";
import { createClusterSource } from "../kubernetes/cluster-source.ts";
import { createManifestFolderSource } from "../kubernetes/manifest-folder-source.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import type { createKubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import type { Log, LogLevel } from "../observe/log.ts";
import { durationMs, throwIfFaulty } from "./command-line.ts";

/** Flags of every sub-command; `undefined` where the user gave none, so that the file's value counts. */
export interface CommonFlags {
  readonly clusterId?: string;
  readonly config?: string;
  readonly region?: string;
  readonly stsEndpoint?: string;
  readonly stsCaFile?: string;
  readonly acceptV1Tokens?: boolean;
  readonly backendMode?: readonly string[];
  readonly kubeconfig?: string;
  readonly master?: string;
  readonly manifests?: string;
}

export interface ServerFlags extends CommonFlags {
  readonly port?: string;
  readonly bind?: string;
  readonly address?: string;
  readonly hostname?: string;
  readonly stateDir?: string;
  readonly generateKubeconfig?: string;
  readonly kubeconfigPregenerated?: boolean;
  readonly wildcardMappings?: boolean;
  readonly operationsAddress?: string;
  readonly tlsMinimum?: string;
  readonly clientCaFile?: string;
  readonly stsTimeout?: string;
  readonly stsRate?: string;
  readonly accessKeyRate?: string;
  readonly identityCache?: string;
  readonly loginConfig?: string;
  readonly maxConnections?: string;
  readonly allowReservedName?: readonly string[];
  readonly drain: string;
  readonly logLevel: LogLevel;
}

export function withCommonFlags(command: Command): Command {
  return command
    .option("-i, --cluster-id <id>", "id of the cluster")
    .option("-c, --config <file>", "configuration file: YAML, JSON or TOML")
    .addOption(new Option("--region <id>", "region of STS; without it the public endpoint").env("STS_REGION"))
    .option("--sts-endpoint <host:port>", "STS of a private cloud or for tests")
    .option("--sts-ca-file <file>", "authorities to trust for STS (PEM)")
    .option("--accept-v1-tokens [boolean]", "also accept tokens of the first generation", asBoolean)
    .option("--backend-mode <modes...>", "MountedFile, DynamicFile, ACKConfigMap, CRD, in this order")
    .option("--kubeconfig <file>", "cluster to read mappings from; in a pod, its own service account")
    .option("--master <url>", "API server to use instead of the kubeconfig's")
    .option(
      "--manifests <folder>",
      "read mappings from a folder of Kubernetes manifests instead of a cluster",
    );
}

/** commander gives `true` for a bare switch and text for `--switch=false`. */
export function asBoolean(text: string | boolean): boolean {
  if (typeof text === "boolean") return text;
  if (["true", "1", "yes", ""].includes(text.toLowerCase())) return true;
  if (["false", "0", "no"].includes(text.toLowerCase())) return false;
  throw new InvalidArgumentError("It is neither true nor false.");
}

/** Settings of file and command line together. Throws all faults at once. */
export async function settingsOf(
  flags: { readonly config?: string },
  raw: RawSettings,
  faults: readonly ConfigFault[],
): Promise<{ readonly settings: AuthenticatorSettings }> {
  let file: ConfigFile = { settings: {}, server: {} };
  const found: ConfigFault[] = [...faults];
  if (flags.config !== undefined) {
    const text = await readFile(flags.config, "utf8").catch((error: unknown) => {
      throw configError([{ setting: "--config", problem: `it cannot be read (${reasonOf(error)})` }]);
    });
    const read = readConfigFile(text, flags.config);
    if (!read.ok) throw configError([{ setting: flags.config, problem: read.problem }]);
    found.push(...read.faults);
    file = read.config;
  }
  const checked = checkSettings(file, raw);
  throwIfFaulty([...found, ...checked.faults]);
  return { settings: checked.settings };
}

export function rawOf(flags: Partial<ServerFlags>, faults: ConfigFault[]): RawSettings {
  return {
    ...given("clusterID", flags.clusterId),
    ...given("region", flags.region),
    ...given("stsEndpoint", flags.stsEndpoint),
    ...given("stsCAFile", flags.stsCaFile),
    ...given("acceptV1Tokens", flags.acceptV1Tokens),
    ...given("backendMode", flags.backendMode),
    ...given("kubeconfig", flags.kubeconfig),
    ...given("master", flags.master),
    ...given("port", numberOf("--port", flags.port, faults)),
    ...given("bind", flags.bind),
    ...given("address", flags.address),
    ...given("hostname", flags.hostname),
    ...given("stateDir", flags.stateDir),
    ...given("generateKubeconfig", flags.generateKubeconfig),
    ...given("kubeconfigPregenerated", flags.kubeconfigPregenerated),
    ...given("wildcardMappings", flags.wildcardMappings),
    ...given("operationsAddress", flags.operationsAddress),
    ...given("tlsMinimum", flags.tlsMinimum),
    ...given("clientCAFile", flags.clientCaFile),
    ...given("stsTimeoutMs", durationOf("--sts-timeout", flags.stsTimeout, faults)),
    ...given("identityCacheMs", durationOf("--identity-cache", flags.identityCache, faults)),
    ...given("stsRate", numberOf("--sts-rate", flags.stsRate, faults)),
    ...given("accessKeyRate", numberOf("--access-key-rate", flags.accessKeyRate, faults)),
    ...given("maxConnections", numberOf("--max-connections", flags.maxConnections, faults)),
    ...given("allowReservedNames", flags.allowReservedName),
  };
}

export function given<Name extends keyof RawSettings>(
  name: Name,
  value: RawSettings[Name] | undefined,
): RawSettings {
  return value === undefined ? {} : { [name]: value };
}

export function numberOf(
  setting: string,
  text: string | undefined,
  faults: ConfigFault[],
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^[0-9]+(?:\.[0-9]+)?$/.test(text)) return value;
  faults.push({ setting, problem: `"${text}" is not a number` });
  return undefined;
}

function durationOf(setting: string, text: string | undefined, faults: ConfigFault[]): number | undefined {
  return text === undefined ? undefined : durationMs(setting, text, faults);
}

/** The source of ConfigMaps and RAMIdentityMappings; nothing when no backend needs one. */
export async function openSource(
  settings: AuthenticatorSettings,
  manifests: string | undefined,
  log: Log,
  metrics: ReturnType<typeof createKubernetesMetrics> | undefined,
): Promise<{ readonly source: ResourceSource; readonly client?: ClusterClient } | undefined> {
  if (!settings.backends.some((mode) => mode === "CRD" || mode === "ACKConfigMap")) return undefined;
  const deps = { clock: systemClock, log, ...(metrics === undefined ? {} : { metrics }) };
  if (manifests !== undefined) return { source: createManifestFolderSource(resolve(manifests), deps) };
  const config = await loadClusterConfig({ kubeconfig: settings.kubeconfig, clock: systemClock });
  const { master } = settings;
  const client = createClusterClient(
    master === undefined || master === "" ? config : { ...config, server: master.replace(/\/+$/, "") },
    log,
  );
  return { source: createClusterSource(client, deps), client };
}

/**
 * The webhook's settings: the environment variables of windows-gmsa's webhook, with their defaults and parsing, and the
 * ones that it lacks.
 * @module
 */
import type { ConfigFault } from "../errors.ts";
import { logLevels, type LogLevel } from "../observe/log.ts";
import type { ListenAddress } from "../server/listener.ts";
import { defaultAuthorityLifetimeMs, defaultLeafLifetimeMs } from "./certificate-lifetimes.ts";

/** As they come from the environment and the command line. */
export interface RawSettings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly certificateFile: string | undefined;
  readonly keyFile: string | undefined;
  /** The Secret of self-managed authorities; undefined: the certificate is mounted. */
  readonly caSecret?: string | undefined;
  readonly mutatingConfigurations?: readonly string[] | undefined;
  readonly validatingConfigurations?: readonly string[] | undefined;
  readonly service?: string | undefined;
  readonly caLifetimeMs?: number | undefined;
  readonly certificateLifetimeMs?: number | undefined;
  readonly host: string;
  readonly port: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly manifests: string | undefined;
  readonly clientCaFile: string | undefined;
  readonly anyCaller: boolean;
  readonly clientNames: readonly string[];
  readonly randomHostname: boolean | undefined;
  readonly authoriseExpansion: boolean;
  readonly missingContents: "deny" | "warn";
  readonly enforceLint: boolean;
  readonly cacheSpecs: boolean;
  readonly accessCacheMs: number | undefined;
  readonly operationsAddress: ListenAddress | undefined;
  readonly drainMs: number | undefined;
  readonly lingerMs: number | undefined;
  readonly logLevel: string | undefined;
}

/** Where the serving certificate comes from. */
export type CertificateSettings =
  | { readonly kind: "mounted"; readonly certificateFile: string; readonly keyFile: string }
  | {
      readonly kind: "self-managed";
      /** In the namespace that the webhook runs in. */
      readonly caSecret: string;
      readonly mutatingConfigurations: readonly string[];
      readonly validatingConfigurations: readonly string[];
      readonly service: string;
      readonly caLifetimeMs: number;
      readonly certificateLifetimeMs: number;
    };

export interface AdmissionSettings {
  readonly certificate: CertificateSettings;
  readonly address: ListenAddress;
  readonly operationsAddress: ListenAddress;
  readonly source:
    | { readonly kind: "cluster"; readonly kubeconfig: string | undefined }
    | { readonly kind: "manifests"; readonly folder: string };
  /** Absent: everybody may call. */
  readonly clientCaFile: string | undefined;
  readonly clientNames: readonly string[];
  readonly randomHostname: boolean;
  readonly authoriseExpansion: boolean;
  readonly missingContents: "deny" | "warn";
  readonly enforceLint: boolean;
  readonly cacheSpecs: boolean;
  readonly accessCacheMs: number;
  readonly drainMs: number;
  readonly lingerMs: number;
  readonly logLevel: LogLevel;
  /** Settings that are understood and do nothing here. */
  readonly unused: readonly string[];
}

/** Go's `strconv.ParseBool`. */
const goBooleans: Readonly<Record<string, boolean>> = {
  ...Object.fromEntries(["1", "t", "T", "TRUE", "true", "True"].map((word) => [word, true])),
  ...Object.fromEntries(["0", "f", "F", "FALSE", "false", "False"].map((word) => [word, false])),
};

/** windows-gmsa's levels, in ours. */
const levels: Readonly<Record<string, LogLevel>> = {
  panic: "error",
  fatal: "error",
  warning: "warn",
  trace: "debug",
};

export const longestAccessCacheMs = 10_000;

/** Adds every fault to `faults`; the result counts only when there is none. */
export function checkSettings(raw: RawSettings, faults: ConfigFault[]): AdmissionSettings {
  const { environment } = raw;
  const fault = (setting: string, problem: string): void => void faults.push({ setting, problem });
  const certificate = certificateOf(raw, fault);
  if (raw.manifests !== undefined && raw.kubeconfig !== undefined)
    fault("--manifests", "excludes --kubeconfig");
  if (raw.clientCaFile === undefined && !raw.anyCaller) {
    fault(
      "--client-ca",
      "is missing: name the authority of the API server's client certificate, or say --any-caller",
    );
  }
  if (raw.clientCaFile !== undefined && raw.anyCaller) fault("--any-caller", "excludes --client-ca");
  const accessCacheMs = raw.accessCacheMs ?? 0;
  if (accessCacheMs > longestAccessCacheMs) fault("--access-cache-ttl", "is longer than 10s");
  const levelText = raw.logLevel ?? environment["LOG_LEVEL"] ?? "info";
  const logLevel = levels[levelText] ?? logLevels.find((level) => level === levelText);
  if (logLevel === undefined)
    fault("LOG_LEVEL, --log-level", `"${levelText}" is none of ${logLevels.join(", ")}`);
  return {
    certificate,
    address: { host: raw.host, port: portOf(raw, fault) },
    operationsAddress: raw.operationsAddress ?? { host: "::", port: 9443 },
    source:
      raw.manifests === undefined
        ? { kind: "cluster", kubeconfig: raw.kubeconfig }
        : { kind: "manifests", folder: raw.manifests },
    clientCaFile: raw.clientCaFile,
    clientNames: raw.clientNames,
    randomHostname: raw.randomHostname ?? randomHostnameOf(environment["RANDOM_HOSTNAME"], fault),
    authoriseExpansion: raw.authoriseExpansion,
    missingContents: raw.missingContents,
    enforceLint: raw.enforceLint,
    cacheSpecs: raw.cacheSpecs,
    accessCacheMs,
    drainMs: raw.drainMs ?? 0,
    lingerMs: raw.lingerMs ?? 0,
    logLevel: logLevel ?? "info",
    unused: ["QPS", "BURST"].filter((name) => environment[name] !== undefined),
  };
}

type Fault = (setting: string, problem: string) => void;

/** Name of the objects that `deploy/gmsa-webhook` makes. */
const deployedName = "gmsa-webhook";

function certificateOf(raw: RawSettings, fault: Fault): CertificateSettings {
  const certificateFile = raw.certificateFile ?? raw.environment["TLS_CRT"] ?? "";
  const keyFile = raw.keyFile ?? raw.environment["TLS_KEY"] ?? "";
  const { caSecret } = raw;
  if (caSecret === undefined) {
    if (certificateFile === "") {
      fault(
        "TLS_CRT, --tls-crt",
        "is missing: name the file of the serving certificate, or a Secret with --ca-secret",
      );
    }
    if (keyFile === "") fault("TLS_KEY, --tls-key", "is missing: name the file of its private key");
    return { kind: "mounted", certificateFile, keyFile };
  }
  if (certificateFile !== "" || keyFile !== "")
    fault("--ca-secret", "excludes TLS_CRT, TLS_KEY, --tls-crt and --tls-key");
  if (raw.manifests !== undefined) fault("--ca-secret", "needs a cluster: --manifests has none");
  const { caLifetimeMs = defaultAuthorityLifetimeMs, certificateLifetimeMs = defaultLeafLifetimeMs } = raw;
  const name = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
  const named = (setting: string, values: readonly string[]): void => {
    for (const value of values) if (!name.test(value)) fault(setting, `"${value}" is no name of an object`);
  };
  const {
    mutatingConfigurations = [deployedName],
    validatingConfigurations = [deployedName],
    service = deployedName,
  } = raw;
  named("--ca-secret", [caSecret]);
  named("--mutating-configuration", mutatingConfigurations);
  named("--validating-configuration", validatingConfigurations);
  named("--service", [service]);
  if (certificateLifetimeMs < shortestCertificateLifetimeMs)
    fault("--certificate-lifetime", "is shorter than 5s");
  if (caLifetimeMs < 3 * certificateLifetimeMs)
    fault("--ca-lifetime", "is shorter than three times --certificate-lifetime");
  return {
    kind: "self-managed",
    caSecret,
    mutatingConfigurations,
    validatingConfigurations,
    service,
    caLifetimeMs,
    certificateLifetimeMs,
  };
}

const shortestCertificateLifetimeMs = 5_000;

/** An environment value that is no port means the default there; a flag that is none is a fault. */
function portOf({ port, environment }: RawSettings, fault: Fault): number {
  const isPort = (text: string): boolean => /^\d{1,5}$/.test(text) && Number(text) <= 65_535;
  if (port !== undefined) {
    if (!isPort(port)) fault("--port", `"${port}" is no port`);
    return Number(port);
  }
  const text = environment["HTTPS_PORT"] ?? "443";
  return isPort(text) ? Number(text) : 443;
}

function randomHostnameOf(text: string | undefined, fault: Fault): boolean {
  if (text === undefined) return false;
  const value = Object.hasOwn(goBooleans, text) ? goBooleans[text] : undefined;
  if (value === undefined)
    fault(
      "RANDOM_HOSTNAME",
      `unable to parse environment variable RANDOM_HOSTNAME with value ${text} to bool`,
    );
  return value ?? false;
}

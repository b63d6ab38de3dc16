/**
 * Settings of the account provider: flags and environment variables as the provider that came before had them, plus
 * ours, checked together so that all faults are told at once.
 * @module
 */
import type { ConfigFault } from "../errors.ts";
import { logLevels, type LogLevel } from "../observe/log.ts";
import type { ListenAddress } from "../server/listener.ts";
import type { Accounts } from "./accounts-file.ts";
import { defaultHostDirectory, namespaceForm } from "./host-directory.ts";

export const defaultNamespace = "cattle-windows-gmsa-system";

/** Longest life of a leaf certificate. */
export const longestLeafLifetimeMs = 24 * 3_600_000;

/** Kubernetes object name: an RFC 1123 subdomain, at most 253 characters. */
const objectNameForm = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** Where Kubernetes Secrets are read from. */
export type SourceSetting =
  | { readonly kind: "cluster"; readonly kubeconfig?: string }
  | { readonly kind: "manifests"; readonly folder: string }
  /** No account is a Kubernetes Secret. */
  | { readonly kind: "none" };

export interface AccountProviderSettings {
  readonly namespace: string;
  readonly source: SourceSetting;
  /** Names of the accounts to serve. */
  readonly secrets: readonly string[] | "all";
  /** Where each of them is kept; absent: all are Secrets of `source`. */
  readonly accounts?: Accounts | undefined;
  readonly hostDirectory: string;
  /** Folder with `ca/`, `server/`, `client/` from somebody else; absent: certificates of our own. */
  readonly tlsDirectory?: string;
  /** Also serve the released Rancher plugin: an RSA client identity in `tls.pfx`. */
  readonly legacyPlugin: boolean;
  readonly mutualTls: boolean;
  readonly writeHostFiles: boolean;
  /** Port of the service; 0: any free one. */
  readonly port: number;
  readonly operationsAddress: ListenAddress;
  readonly leafLifetimeMs: number;
  readonly drainMs: number;
  /** How long the API server may say nothing before the watch is taken for dead, milliseconds. */
  readonly watchSilenceMs: number;
  readonly logLevel: LogLevel;
}

/** The settings as they come from flags and environment: already of the right type, not yet checked. */
export interface RawSettings {
  readonly namespace: string;
  readonly kubeconfig?: string | undefined;
  readonly manifests?: string | undefined;
  readonly inCluster: boolean;
  readonly secrets: readonly string[];
  readonly allSecrets: boolean;
  /** The accounts file as read; `"faulty"` when it had faults, which are told already. */
  readonly accounts?: Accounts | "faulty" | undefined;
  readonly hostDirectory?: string | undefined;
  readonly tlsDirectory?: string | undefined;
  readonly legacyPlugin: boolean;
  readonly disableMtls: boolean;
  readonly skipArtifacts: boolean;
  readonly port: string;
  readonly operationsAddress: ListenAddress | undefined;
  readonly leafLifetimeMs: number | undefined;
  readonly drainMs: number | undefined;
  readonly watchSilenceMs?: number | undefined;
  readonly logLevel: string;
}

/** Adds to `faults` when the text is no namespace. */
export function checkNamespace(namespace: string, faults: ConfigFault[]): void {
  if (!namespaceForm.test(namespace)) {
    faults.push({
      setting: "--namespace",
      problem: `"${namespace}" is not a namespace: 1 to 63 lower-case letters, digits and "-", beginning and ending with a letter or digit`,
    });
  }
}

/** @returns the checked settings; meaningless when `faults` is not empty afterwards. */
export function checkSettings(raw: RawSettings, faults: ConfigFault[]): AccountProviderSettings {
  checkNamespace(raw.namespace, faults);
  for (const name of raw.secrets) {
    if (!objectNameForm.test(name))
      faults.push({ setting: "--secret", problem: `"${name}" is not a name that a Secret can have` });
  }
  if (raw.allSecrets && raw.secrets.length > 0) {
    faults.push({ setting: "--all-secrets", problem: "contradicts --secret: give one of them" });
  }
  if (raw.accounts !== undefined && (raw.allSecrets || raw.secrets.length > 0)) {
    faults.push({
      setting: "--accounts",
      problem: "contradicts --secret and --all-secrets: name every account in the file",
    });
  }
  if (raw.accounts === undefined && !raw.allSecrets && raw.secrets.length === 0) {
    faults.push({
      setting: "--secret",
      problem:
        "is missing: name the Secret to serve (or say --all-secrets to serve every one of the namespace, or --accounts)",
    });
  }
  if (raw.manifests !== undefined && raw.kubeconfig !== undefined) {
    faults.push({
      setting: "--manifests",
      problem: "contradicts --kubeconfig (or KUBECONFIG): give one of them",
    });
  }
  const accounts = raw.accounts === "faulty" ? undefined : raw.accounts;
  const needsSource =
    raw.accounts === undefined || accounts?.places.some(({ source }) => source === "kubernetes") === true;
  if (needsSource && raw.manifests === undefined && raw.kubeconfig === undefined && !raw.inCluster) {
    faults.push({
      setting: "--kubeconfig",
      problem:
        "is missing: outside a cluster, say where secrets are read from with --kubeconfig (or KUBECONFIG) or --manifests",
    });
  }
  if (raw.skipArtifacts && raw.tlsDirectory === undefined && !raw.disableMtls) {
    faults.push({
      setting: "--skip-artifacts",
      problem:
        "leaves no client with a certificate: add --tls-dir (certificates of your own) or --disable-mtls",
    });
  }
  if (raw.disableMtls && raw.tlsDirectory !== undefined) {
    faults.push({ setting: "--disable-mtls", problem: "contradicts --tls-dir: give one of them" });
  }
  const port = Number(raw.port);
  if (!/^\d{1,5}$/.test(raw.port) || port > 65_535) {
    faults.push({ setting: "--port", problem: `"${raw.port}" is not a port from 0 to 65535` });
  }
  const leafLifetimeMs = raw.leafLifetimeMs ?? longestLeafLifetimeMs;
  if (leafLifetimeMs > longestLeafLifetimeMs || leafLifetimeMs < 1_000) {
    faults.push({ setting: "--leaf-lifetime", problem: "must be between 1s and 24h" });
  }
  const logLevel = logLevels.find((level) => level === raw.logLevel);
  if (logLevel === undefined) {
    faults.push({ setting: "--log-level", problem: `"${raw.logLevel}" is none of ${logLevels.join(", ")}` });
  }
  return {
    namespace: raw.namespace,
    source: !needsSource
      ? { kind: "none" }
      : raw.manifests !== undefined
        ? { kind: "manifests", folder: raw.manifests }
        : { kind: "cluster", ...(raw.kubeconfig === undefined ? {} : { kubeconfig: raw.kubeconfig }) },
    secrets: raw.allSecrets ? "all" : (accounts?.places.map(({ name }) => name) ?? raw.secrets),
    ...(accounts === undefined ? {} : { accounts }),
    hostDirectory: raw.hostDirectory ?? defaultHostDirectory(raw.namespace),
    ...(raw.tlsDirectory === undefined ? {} : { tlsDirectory: raw.tlsDirectory }),
    legacyPlugin: raw.legacyPlugin,
    mutualTls: !raw.disableMtls,
    writeHostFiles: !raw.skipArtifacts,
    port,
    operationsAddress: raw.operationsAddress ?? { host: "127.0.0.1", port: 0 },
    leafLifetimeMs,
    drainMs: raw.drainMs ?? 10_000,
    watchSilenceMs: raw.watchSilenceMs ?? 75_000,
    logLevel: logLevel ?? "info",
  };
}

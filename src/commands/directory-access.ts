/**
 * The settings that every command which asks a directory has in common: where it is, whom to trust, and the account that
 * asks, which comes from a mounted Secret, from a secret store or from the account provider.
 * @module
 */
import type { Command } from "commander";
import { requestAsPlugin } from "../account-provider/plugin-request.ts";
import { HostDirectory } from "../account-provider/host-directory.ts";
import { systemClock } from "../clock.ts";
import type { ControllerSource } from "../directory/controllers.ts";
import { Directory } from "../directory/directory.ts";
import { parseServerUrl } from "../directory/server-url.ts";
import type { GroupRules } from "../directory/groups.ts";
import { SallyportError, type ConfigFault } from "../errors.ts";
import { createManifestFolderSource } from "../kubernetes/manifest-folder-source.ts";
import { createKubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import { silentLog, type Log } from "../observe/log.ts";
import { createRegistry } from "../observe/metrics.ts";
import { readAuthoritiesFile } from "../pki/authorities-file.ts";
import { readAccountFolder } from "../secret-store/account-folder.ts";
import { createKubernetesSecretStore } from "../secret-store/kubernetes-secret-store.ts";
import {
  unusableBecause,
  type AccountOutcome,
  type ImpersonationAccount,
} from "../secret-store/secret-store.ts";
import { version } from "../version.ts";
import { durationMs, throwIfFaulty } from "./command-line.ts";

export interface AccessFlags {
  readonly domain?: string;
  readonly server?: readonly string[];
  readonly site?: string;
  readonly startTls?: boolean;
  readonly ca?: string;
  readonly certificateName?: string;
  readonly credentials?: string;
  readonly secret?: string;
  readonly manifests?: string;
  readonly provider?: string;
  readonly timeout: string;
}

/** Declares the settings on a command. */
export function withAccessOptions(command: Command): Command {
  return command
    .option("--domain <name>", "DNS name of the AD domain (default: the domain of the credentials)")
    .option(
      "--server <url...>",
      "domain controller: ldaps://HOST[:PORT], or ldap://HOST[:PORT] for StartTLS (repeatable; default: from DNS)",
    )
    .option("--site <name>", "AD site whose domain controllers come first, with DNS")
    .option("--start-tls", "StartTLS instead of LDAPS, with DNS", false)
    .option("--ca <file>", "authorities that sign the domain controllers' certificates, PEM")
    .option("--certificate-name <name>", "name in the certificate, where it is not the host of --server")
    .option(
      "--credentials <folder>",
      "the account that asks: a folder with the files username, password and domainName, such as a mounted Secret",
    )
    .option(
      "--secret <name>",
      "the account that asks: a Secret, NAMESPACE/NAME with --manifests, NAME with --provider",
    )
    .option("--manifests <folder>", "folder of Kubernetes manifests that holds the Secret")
    .option("--provider <folder>", "host directory of an account provider to ask over its mutual TLS")
    .option("--timeout <duration>", "for one operation, however many controllers it takes", "10s");
}

export interface DirectoryAccess {
  readonly directory: Directory;
  readonly domain: string;
  /** Name of the account that asks, as it is sent. */
  readonly reader: string;
  /** Reads the account again, for a password that has been changed meanwhile. */
  reload(): Promise<void>;
}

/** Opens the directory. Throws `E_CONFIG_INVALID` with every fault, or `E_DIRECTORY_CREDENTIALS`. */
export async function openDirectory(
  flags: AccessFlags,
  options: { readonly log?: Log; readonly groups?: Partial<GroupRules> } = {},
): Promise<DirectoryAccess> {
  const faults: ConfigFault[] = [];
  const servers = (flags.server ?? []).flatMap((text) => {
    const server = parseServerUrl(text);
    if (server === undefined)
      faults.push({
        setting: "--server",
        problem: `"${text}" is neither ldaps://HOST[:PORT] nor ldap://HOST[:PORT]`,
      });
    return server === undefined ? [] : [server];
  });
  const timeoutMs = durationMs("--timeout", flags.timeout, faults);
  const certificateAuthority = await readAuthorities(flags.ca, faults);
  const source = credentialsSource(flags, faults);
  throwIfFaulty(faults);
  if (source === undefined) throw new TypeError("no source of credentials, and no fault");
  let account = await source();
  const domain = (flags.domain ?? account.domainName).toLowerCase();
  const controllers: ControllerSource =
    servers.length > 0
      ? { from: "list", servers }
      : { from: "dns", domain, site: flags.site, security: flags.startTls === true ? "starttls" : "ldaps" };
  const reader = readerName(account);
  const directory = new Directory(
    {
      domain,
      controllers,
      trust: { certificateAuthority, certificateName: flags.certificateName },
      serviceAccount: { name: reader, password: () => account.password },
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(options.groups === undefined ? {} : { groups: options.groups }),
    },
    { log: options.log ?? silentLog },
  );
  return {
    directory,
    domain,
    reader,
    async reload() {
      account = await source();
    },
  };
}

/** A name without a domain is completed, because a bare one is ambiguous in a bind. */
function readerName(account: ImpersonationAccount): string {
  return /[=@\\]/.test(account.username) ? account.username : `${account.username}@${account.domainName}`;
}

async function readAuthorities(path: string | undefined, faults: ConfigFault[]): Promise<string | undefined> {
  if (path === undefined) return undefined;
  const read = await readAuthoritiesFile(path);
  if (read.ok) return read.pem;
  faults.push({ setting: "--ca", problem: read.problem });
  return undefined;
}

type CredentialsSource = () => Promise<ImpersonationAccount>;

function credentialsSource(flags: AccessFlags, faults: ConfigFault[]): CredentialsSource | undefined {
  const { credentials, secret, manifests, provider } = flags;
  const ways = [credentials, manifests, provider].filter((way) => way !== undefined).length;
  if (ways !== 1) {
    faults.push({
      setting: "--credentials, --manifests, --provider",
      problem:
        ways === 0
          ? "one of them must say where the account that asks comes from"
          : "only one of them can be given",
    });
    return undefined;
  }
  if (credentials !== undefined) return () => readAccountFolder(credentials);
  if (secret === undefined) {
    faults.push({ setting: "--secret", problem: "must name the account's Secret" });
    return undefined;
  }
  if (provider !== undefined) return () => fromProvider(provider, secret);
  const [namespace, name, rest] = secret.split("/");
  if (manifests === undefined || namespace === undefined || name === undefined || rest !== undefined) {
    faults.push({ setting: "--secret", problem: `"${secret}" is not NAMESPACE/NAME` });
    return undefined;
  }
  return () => fromManifests(manifests, namespace, name);
}

async function fromManifests(folder: string, namespace: string, name: string): Promise<ImpersonationAccount> {
  const source = createManifestFolderSource(folder, {
    log: silentLog,
    clock: systemClock,
    metrics: createKubernetesMetrics(createRegistry(version)),
  });
  const store = createKubernetesSecretStore(source, { namespace, names: [name], kind: "folder" });
  try {
    await store.ready(AbortSignal.timeout(10_000));
    return usable(store.find(name), store.describe());
  } finally {
    await store.close();
    await source.close();
  }
}

async function fromProvider(folder: string, object: string): Promise<ImpersonationAccount> {
  const result = await requestAsPlugin({
    directory: new HostDirectory(folder, undefined),
    object,
    identity: "plugin",
  });
  if (result.ok) return result.account;
  const broken = result.links.at(-1);
  throw new SallyportError("E_DIRECTORY_CREDENTIALS", {
    source: `account provider of ${folder}`,
    detail: `${broken?.link}: ${broken?.detail}`,
  });
}

function usable(outcome: AccountOutcome, source: string): ImpersonationAccount {
  if (outcome.outcome === "found") return outcome.account;
  throw new SallyportError("E_DIRECTORY_CREDENTIALS", { source, detail: `it ${unusableBecause(outcome)}` });
}

/**
 * `sallyport token`: the kubectl exec plugin. It runs at every `kubectl` call, so it imports only what it needs: the
 * common case, an access key, is signed without touching the network or any package.
 * @module
 */
import { writeSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../clock.ts";
import { SallyportError, configError } from "../errors.ts";
import { homeFolder } from "../home-folder.ts";
import { clusterIdPattern, mintToken, toSecondsUtc } from "../authenticator/ram/token.ts";
import type { CredentialCache } from "../authenticator/ram/credentials/credential-cache.ts";
import { findCredentials } from "../authenticator/ram/credentials/credential-chain.ts";
import type { CredentialContext } from "../authenticator/ram/credentials/context.ts";
import { version } from "../version.ts";

const help = `Usage: sallyport token -i CLUSTER-ID [OPTIONS]

Prints a token of Alibaba Cloud RAM for kubectl (an ExecCredential). Made offline, usable for 10 minutes.

  -i, --cluster-id ID        id of the cluster that the token is for
  -r, --role ARN             assume this role first [DEFAULT_ROLE]
  -s, --session-name NAME    name of the role's session (default: sallyport) [ALIBABA_CLOUD_ROLE_SESSION_NAME]
  -e, --external-id ID       external id that the role asks for
  -c, --config FILE          take clusterID and defaultRole from an authenticator's configuration file
      --profile NAME         profile of the credential files [ALIBABA_CLOUD_PROFILE]
      --profile-file FILE    CLI configuration to use instead of ~/.aliyun/config.json [ACK_RAM_TOOL_PROFILE_FILE]
      --region ID            region whose STS is asked for roles
      --sts-endpoint HOST    STS to ask for roles [ACK_RAM_TOOL_STS_ENDPOINT, ALIBABA_CLOUD_STS_ENDPOINT]
      --sts-ca-file FILE     authorities to trust for that STS (PEM)
      --api-version VERSION  v1 or v1beta1; default: what kubectl asks for, else v1beta1
      --token-only           print the token alone
      --no-cache             do not keep temporary credentials on disk
      --help                 print this

Credentials are looked for in this order: temporary ones in the environment, OIDC, an access key in the environment,
ALIBABA_CLOUD_CREDENTIALS_URI, ALIBABA_CLOUD_ECS_METADATA, ALIBABA_CLOUD_CREDENTIALS_FILE, ~/.aliyun/config.json,
~/.alibabacloud/credentials, the metadata service, ~/.acs/credentials. --profile and --profile-file pass the environment
over; a file named by the latter is the only place.
`;

const apiGroup = "client.authentication.k8s.io";

export async function run(args: readonly string[]): Promise<number> {
  const flags = parse(args);
  if (flags["help"] !== undefined) {
    process.stdout.write(help);
    return 0;
  }
  const environment = process.env;
  const apiVersion = apiVersionOf(flags["api-version"], environment["KUBERNETES_EXEC_INFO"]);
  const file = flags["config"] === undefined ? {} : await readConfig(flags["config"]);
  const clusterId = flags["cluster-id"] ?? file.clusterId ?? "";
  if (!clusterIdPattern.test(clusterId)) {
    const problem = clusterId === "" ? "it is missing" : `"${clusterId}" is not the form of a cluster id`;
    throw new SallyportError("E_RAM_CLUSTER_ID", { problem });
  }

  const context = await contextOf(flags, environment);
  const profile = flags["profile"];
  const { credentials: base } = await findCredentials(context, {
    ...(profile === undefined ? {} : { profile }),
    ...(flags["profile-file"] === undefined ? {} : { profileFile: flags["profile-file"] }),
  });
  const roleArn = flags["role"] ?? (environment["DEFAULT_ROLE"] || (file.defaultRole ?? ""));
  const externalId = flags["external-id"];
  const credentials =
    roleArn === ""
      ? base
      : await (
          await import("../authenticator/ram/credentials/assume-role.ts")
        ).assumeRole(base, { roleArn, ...(externalId === undefined ? {} : { externalId }) }, context);

  const { token, expiresAt } = mintToken(
    clusterId,
    {
      accessKeyId: credentials.accessKeyId,
      accessKeySecret: credentials.accessKeySecret.reveal(),
      ...(credentials.securityToken === undefined
        ? {}
        : { securityToken: credentials.securityToken.reveal() }),
    },
    context.clock.now(),
    `sallyport/${version} (${process.platform}/${process.arch})`,
  );
  if (flags["token-only"] !== undefined) {
    print(`${token}\n`);
    return 0;
  }
  const expirationTimestamp = toSecondsUtc(Math.min(expiresAt, credentials.expiresAt ?? expiresAt));
  print(
    `${JSON.stringify({
      kind: "ExecCredential",
      apiVersion: `${apiGroup}/${apiVersion}`,
      spec: { interactive: false },
      status: { expirationTimestamp, token },
    })}\n`,
  );
  return 0;
}

/** Node's own stream for standard output takes longer to open than the token takes to make. */
function print(text: string): void {
  try {
    writeSync(1, text);
  } catch {
    // A pipe that is full for the moment: the stream waits.
    process.stdout.write(text);
  }
}

/** Options that take a value, with their short forms and other names. */
const valueOptions: Readonly<Record<string, readonly string[]>> = {
  "cluster-id": ["-i"],
  role: ["-r"],
  "session-name": ["-s"],
  "external-id": ["-e"],
  config: ["-c"],
  profile: ["--profile-name"],
  "profile-file": [],
  region: ["--region-id"],
  "sts-endpoint": [],
  "sts-ca-file": [],
  "api-version": [],
};
/** `--cache` is accepted for kubeconfigs of ack-ram-authenticator: temporary credentials are kept anyway. */
const switches: Readonly<Record<string, readonly string[]>> = {
  "token-only": [],
  "no-cache": [],
  cache: [],
  help: ["-h"],
};

type Flags = Readonly<Record<string, string | undefined>>;

/** Reads `--name value`, `--name=value` and `-n value`. (`node:util` would take longer to load than all the rest.) */
function parse(args: readonly string[]): Flags {
  const flags: Record<string, string> = {};
  const nameOf = (options: typeof valueOptions, word: string): string | undefined =>
    Object.entries(options).find(([name, others]) => word === `--${name}` || others.includes(word))?.[0];
  for (let at = 0; at < args.length; at++) {
    const [, word = "", inline] = /^(--[^=]+|-.)=?(?:(?<==)([\s\S]*))?$/.exec(args[at] ?? "") ?? [];
    const name = nameOf(valueOptions, word);
    const value = inline ?? args[at + 1];
    if (name !== undefined && value !== undefined && flags[name] === undefined) {
      flags[name] = value;
      if (inline === undefined) at++;
    } else if (inline === undefined && nameOf(switches, word) !== undefined) {
      flags[nameOf(switches, word) ?? ""] = "yes";
    } else {
      const problem =
        name === undefined
          ? `there is no option ${JSON.stringify(args[at])}`
          : flags[name] === undefined
            ? `${word} needs a value`
            : `${word} is given twice`;
      throw configError([{ setting: "sallyport token", problem }]);
    }
  }
  return flags;
}

/** The version that the user asks for, else the one that kubectl says, which has to come back unchanged. */
function apiVersionOf(asked: string | undefined, execInfo: string | undefined): "v1" | "v1beta1" {
  if (asked !== undefined) {
    const bare = asked.replace(`${apiGroup}/`, "");
    if (bare === "v1" || bare === "v1beta1") return bare;
    throw configError([{ setting: "--api-version", problem: `"${asked}" is neither v1 nor v1beta1` }]);
  }
  try {
    const info = JSON.parse(execInfo ?? "{}") as { readonly apiVersion?: unknown } | null;
    return info?.apiVersion === `${apiGroup}/v1` ? "v1" : "v1beta1";
  } catch {
    return "v1beta1";
  }
}

async function contextOf(flags: Flags, environment: NodeJS.ProcessEnv): Promise<CredentialContext> {
  const home = environment["HOME"] || homeFolder();
  const stsEndpoint = flags["sts-endpoint"] ?? environment["ACK_RAM_TOOL_STS_ENDPOINT"];
  const region = flags["region"];
  const caFile = flags["sts-ca-file"] ?? environment["SALLYPORT_STS_CA_FILE"];
  return {
    environment,
    home,
    clock: systemClock,
    cache: cacheOf(
      flags["no-cache"] !== undefined,
      environment["SALLYPORT_CACHE_DIR"] || join(home, ".kube", "cache", "sallyport"),
    ),
    ...(stsEndpoint ? { stsEndpoint } : {}),
    ...(region === undefined ? {} : { region }),
    ...(flags["session-name"] === undefined ? {} : { sessionName: flags["session-name"] }),
    ...(caFile ? { stsAuthoritiesPem: await readText("--sts-ca-file", caFile) } : {}),
  };
}

/** Only temporary credentials are kept, so an access key does not pay for the cache. */
function cacheOf(off: boolean, directory: string): CredentialCache {
  return {
    async remember(key, marginMs, fetch) {
      if (off) return await fetch();
      const { createCredentialCache } = await import("../authenticator/ram/credentials/credential-cache.ts");
      const warn = (text: string): void => void process.stderr.write(`sallyport: ${text}\n`);
      return await createCredentialCache({ directory, clock: systemClock, warn }).remember(
        key,
        marginMs,
        fetch,
      );
    },
  };
}

async function readConfig(
  path: string,
): Promise<{ readonly clusterId?: string; readonly defaultRole?: string }> {
  const { readConfigFile } = await import("../authenticator/settings.ts");
  const file = readConfigFile(await readText("--config", path), path);
  if (!file.ok) throw configError([{ setting: path, problem: file.problem }]);
  const { clusterID, defaultRole } = file.config.settings;
  return {
    ...(clusterID === undefined ? {} : { clusterId: clusterID }),
    ...(defaultRole === undefined ? {} : { defaultRole }),
  };
}

async function readText(setting: string, path: string): Promise<string> {
  try {
    return await (await import("node:fs/promises")).readFile(path, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw configError([{ setting, problem: `it cannot be read (${reason})` }]);
  }
}

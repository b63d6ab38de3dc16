/**
 * `sallyport token`: the kubectl exec plugin. It runs at every `kubectl` call, so it imports only what it needs: the
 * common case, an access key, is signed without touching the network or any package.
 * @module
 */
import { homedir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { systemClock } from "../clock.ts";
import { SallyportError, configError } from "../errors.ts";
import { clusterIdPattern, mintToken, toSecondsUtc } from "../authenticator/ram/token.ts";
import { createCredentialCache, noCache } from "../authenticator/ram/credentials/credential-cache.ts";
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

Credentials are looked for in the environment, by OIDC, in ~/.aliyun/config.json, in ~/.alibabacloud/credentials, at the
metadata service and in ~/.acs/credentials, in this order.
`;

const apiGroup = "client.authentication.k8s.io";

export async function run(args: readonly string[]): Promise<number> {
  const flags = parse(args);
  if (flags.help === true) {
    process.stdout.write(help);
    return 0;
  }
  const environment = process.env;
  const apiVersion = apiVersionOf(flags["api-version"], environment["KUBERNETES_EXEC_INFO"]);
  const file = flags.config === undefined ? {} : await readConfig(flags.config);
  const clusterId = flags["cluster-id"] ?? file.clusterId ?? "";
  if (!clusterIdPattern.test(clusterId)) {
    const problem =
      clusterId === "" ? "The cluster id is missing." : `"${clusterId}" is not the form of a cluster id.`;
    throw new SallyportError("E_RAM_CLUSTER_ID", { problem });
  }

  const context = await contextOf(flags, environment);
  const profile = flags.profile ?? flags["profile-name"];
  const { credentials: base } = await findCredentials(context, {
    ...(profile === undefined ? {} : { profile }),
    ...(flags["profile-file"] === undefined ? {} : { profileFile: flags["profile-file"] }),
  });
  const roleArn = flags.role ?? (environment["DEFAULT_ROLE"] || (file.defaultRole ?? ""));
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
  if (flags["token-only"] === true) {
    process.stdout.write(`${token}\n`);
    return 0;
  }
  const expirationTimestamp = toSecondsUtc(Math.min(expiresAt, credentials.expiresAt ?? expiresAt));
  process.stdout.write(
    `${JSON.stringify({
      kind: "ExecCredential",
      apiVersion: `${apiGroup}/${apiVersion}`,
      spec: { interactive: false },
      status: { expirationTimestamp, token },
    })}\n`,
  );
  return 0;
}

type Flags = ReturnType<typeof parse>;

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        "cluster-id": { type: "string", short: "i" },
        role: { type: "string", short: "r" },
        "session-name": { type: "string", short: "s" },
        "external-id": { type: "string", short: "e" },
        config: { type: "string", short: "c" },
        profile: { type: "string" },
        "profile-name": { type: "string" },
        "profile-file": { type: "string" },
        region: { type: "string" },
        "region-id": { type: "string" },
        "sts-endpoint": { type: "string" },
        "sts-ca-file": { type: "string" },
        "api-version": { type: "string" },
        "token-only": { type: "boolean" },
        // Accepted for kubeconfigs of ack-ram-authenticator: credentials are kept anyway.
        cache: { type: "boolean" },
        "no-cache": { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    const problem = error instanceof Error ? (error.message.split("\n")[0] ?? "") : "";
    throw configError([{ setting: "sallyport token", problem }]);
  }
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
  const home = environment["HOME"] || homedir();
  const stsEndpoint = flags["sts-endpoint"] ?? environment["ACK_RAM_TOOL_STS_ENDPOINT"];
  const region = flags.region ?? flags["region-id"];
  const caFile = flags["sts-ca-file"] ?? environment["SALLYPORT_STS_CA_FILE"];
  const directory = environment["SALLYPORT_CACHE_DIR"] || join(home, ".kube", "cache", "sallyport");
  return {
    environment,
    home,
    clock: systemClock,
    cache:
      flags["no-cache"] === true
        ? noCache
        : createCredentialCache({
            directory,
            clock: systemClock,
            warn: (text) => process.stderr.write(`sallyport: ${text}\n`),
          }),
    ...(stsEndpoint ? { stsEndpoint } : {}),
    ...(region === undefined ? {} : { region }),
    ...(flags["session-name"] === undefined ? {} : { sessionName: flags["session-name"] }),
    ...(caFile ? { stsAuthoritiesPem: await readText("--sts-ca-file", caFile) } : {}),
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

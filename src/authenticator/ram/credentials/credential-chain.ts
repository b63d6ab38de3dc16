/**
 * Finds credentials of Alibaba Cloud where its tools look for them, in their order. A source that is not there is passed
 * over and remembered; one that is there and cannot be used ends the search with a sentence, because what comes after it
 * would be another identity than the user meant.
 * @module
 */
import { join } from "node:path";
import { SallyportError } from "../../../errors.ts";
import { Secret } from "../../../secret.ts";
import { firstOf, type CredentialContext } from "./context.ts";
import type { Credentials, Lookup } from "./credentials.ts";

const accessKeyIdNames = [
  "ALIBABA_CLOUD_ACCESS_KEY_ID",
  "ALICLOUD_ACCESS_KEY",
  "ALIBABACLOUD_ACCESS_KEY_ID",
  "ALICLOUD_ACCESS_KEY_ID",
  "ACCESS_KEY_ID",
  "ALIBABA_CLOUD_ACCESS_KEY_Id",
];
const accessKeySecretNames = [
  "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
  "ALICLOUD_SECRET_KEY",
  "ALIBABACLOUD_ACCESS_KEY_SECRET",
  "ALICLOUD_ACCESS_KEY_SECRET",
  "ACCESS_KEY_SECRET",
];
const securityTokenNames = [
  "ALIBABA_CLOUD_SECURITY_TOKEN",
  "ALICLOUD_ACCESS_KEY_STS_TOKEN",
  "ALIBABACLOUD_SECURITY_TOKEN",
  "ALICLOUD_SECURITY_TOKEN",
  "SECURITY_TOKEN",
];

export interface ChainOptions {
  /** A profile that the user named. */
  readonly profile?: string;
  /** A CLI configuration file that the user named; then the environment's keys are passed over. */
  readonly profileFile?: string;
}

interface Source {
  readonly name: string;
  look(): Promise<Lookup>;
}

export interface FoundCredentials {
  readonly credentials: Credentials;
  /** Which source had them. */
  readonly source: string;
}

/**
 * @throws {SallyportError} `E_RAM_NO_CREDENTIALS` with what was tried, `E_RAM_CREDENTIALS` for a source that cannot be
 * used, `E_RAM_CLOCK` when a service's clock is more than 5 minutes away from ours.
 */
export async function findCredentials(
  context: CredentialContext,
  options: ChainOptions = {},
): Promise<FoundCredentials> {
  const tried: string[] = [];
  for (const source of sourcesOf(context, options)) {
    const lookup = await source.look();
    if (lookup.found)
      return { credentials: checked(lookup.credentials, source.name, context), source: source.name };
    tried.push(`\n  ${tried.length + 1}. ${source.name}: ${lookup.why}`);
  }
  throw new SallyportError("E_RAM_NO_CREDENTIALS", { tried: tried.join("") });
}

function checked(credentials: Credentials, source: string, context: CredentialContext): Credentials {
  const { expiresAt } = credentials;
  if (expiresAt === undefined || expiresAt > context.clock.now()) return credentials;
  throw new SallyportError("E_RAM_CREDENTIALS", {
    source,
    problem: `they ended at ${new Date(expiresAt).toISOString()}`,
    advice: "Get new temporary credentials.",
  });
}

function* sourcesOf(context: CredentialContext, options: ChainOptions): Generator<Source> {
  const { environment, home } = context;
  const profile = options.profile ?? firstOf(environment, ["ALIBABA_CLOUD_PROFILE"]);
  const cliFile = options.profileFile ?? firstOf(environment, ["ACK_RAM_TOOL_PROFILE_FILE"]);
  // Whoever names a profile or a file means that one, not what happens to be in the environment.
  if (options.profile === undefined && cliFile === undefined) yield* environmentSources(context);
  const cliConfig = cliFile ?? join(home, ".aliyun", "config.json");
  yield {
    name: cliConfig,
    look: async () =>
      (await import("./credential-files.ts")).fromCliConfig(
        { path: cliConfig, profile: options.profile ?? profile, required: cliFile !== undefined },
        context,
      ),
  };
  if (cliFile !== undefined) return;
  const iniFile = join(home, ".alibabacloud", "credentials");
  yield {
    name: iniFile,
    look: async () =>
      (await import("./credential-files.ts")).fromIniFile(
        { path: iniFile, profile, required: false },
        context,
      ),
  };
  yield {
    name: "the metadata service",
    async look() {
      if (/^(?:true|1)$/i.test(environment["ALIBABA_CLOUD_ECS_METADATA_DISABLED"] ?? "")) {
        return { found: false, why: "it is switched off (ALIBABA_CLOUD_ECS_METADATA_DISABLED)" };
      }
      return await (await import("./metadata.ts")).credentialsOfInstance("", context);
    },
  };
  const acsFile = join(home, ".acs", "credentials");
  yield {
    name: acsFile,
    look: async () =>
      (await import("./credential-files.ts")).fromAcsFile({
        path: acsFile,
        profile: undefined,
        required: false,
      }),
  };
}

function* environmentSources(context: CredentialContext): Generator<Source> {
  const { environment } = context;
  const id = firstOf(environment, accessKeyIdNames);
  const secret = firstOf(environment, accessKeySecretNames);
  const token = firstOf(environment, securityTokenNames);
  const key =
    id === undefined || secret === undefined
      ? undefined
      : { accessKeyId: id, accessKeySecret: new Secret(secret) };
  const roleArn = environment["ALIBABA_CLOUD_ROLE_ARN"] || undefined;
  const providerArn = environment["ALIBABA_CLOUD_OIDC_PROVIDER_ARN"] || undefined;
  const tokenFile = environment["ALIBABA_CLOUD_OIDC_TOKEN_FILE"] || undefined;
  const notSet = (names: string): Lookup => ({ found: false, why: `${names} not set` });

  yield {
    name: "temporary credentials in the environment",
    look: () =>
      Promise.resolve<Lookup>(
        key === undefined || token === undefined
          ? notSet(`${accessKeyIdNames[0]}, ${accessKeySecretNames[0]} and ${securityTokenNames[0]} are`)
          : { found: true, credentials: { ...key, securityToken: new Secret(token) } },
      ),
  };
  yield {
    name: "OIDC in the environment",
    async look() {
      if (roleArn === undefined || providerArn === undefined || tokenFile === undefined) {
        return notSet("ALIBABA_CLOUD_ROLE_ARN, _OIDC_PROVIDER_ARN and _OIDC_TOKEN_FILE are");
      }
      const { assumeRoleWithOidc } = await import("./assume-role.ts");
      return {
        found: true,
        credentials: await assumeRoleWithOidc({ roleArn, providerArn, tokenFile }, context),
      };
    },
  };
  yield {
    name: "an access key in the environment",
    async look() {
      if (key === undefined) return notSet(`${accessKeyIdNames[0]} and ${accessKeySecretNames[0]} are`);
      if (roleArn === undefined) return { found: true, credentials: key };
      const { assumeRole } = await import("./assume-role.ts");
      return { found: true, credentials: await assumeRole(key, { roleArn }, context) };
    },
  };
  yield {
    name: "ALIBABA_CLOUD_CREDENTIALS_URI",
    async look() {
      const uri = environment["ALIBABA_CLOUD_CREDENTIALS_URI"] || undefined;
      if (uri === undefined) return { found: false, why: "it is not set" };
      return {
        found: true,
        credentials: await (await import("./metadata.ts")).credentialsFromUri(uri, context),
      };
    },
  };
  yield {
    name: "ALIBABA_CLOUD_ECS_METADATA",
    async look() {
      const role = environment["ALIBABA_CLOUD_ECS_METADATA"] || undefined;
      if (role === undefined) return { found: false, why: "it is not set" };
      return await (await import("./metadata.ts")).credentialsOfInstance(role, context);
    },
  };
  yield {
    name: "ALIBABA_CLOUD_CREDENTIALS_FILE",
    async look() {
      const path = environment["ALIBABA_CLOUD_CREDENTIALS_FILE"] || undefined;
      if (path === undefined) return { found: false, why: "it is not set" };
      const profile = environment["ALIBABA_CLOUD_PROFILE"] || undefined;
      return await (
        await import("./credential-files.ts")
      ).fromIniFile({ path, profile, required: true }, context);
    },
  };
}

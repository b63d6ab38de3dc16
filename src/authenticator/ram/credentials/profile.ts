/**
 * A profile as the files of Alibaba Cloud's tools describe one, whatever their format: the way to credentials, step by
 * step, where one profile may build on another. What needs the network is imported only when it is used.
 * @module
 */
import { execFile } from "node:child_process";
import { Secret } from "../../../secret.ts";
import { reasonOf } from "../../../errors.ts";
import type { CredentialContext } from "./context.ts";
import { unusable, type Credentials } from "./credentials.ts";

/** Field names are those of `~/.aliyun/config.json`; the INI file is brought to them. */
export type Profile = Readonly<Record<string, unknown>>;

export interface ProfileScope {
  /** How the profile is called in messages: `profile "dev" of ~/.aliyun/config.json`. */
  readonly source: string;
  /** Another profile of the same file. */
  find(name: string): Profile | undefined;
  /** Names on the way here, against circles. */
  readonly path: readonly string[];
}

/** Whether a profile was ever filled: what `aliyun configure` leaves when it is broken off holds no credentials. */
export function isEmptyProfile(profile: Profile): boolean {
  const mode = modeOf(profile);
  return mode === "" || (mode === "ak" && field(profile, "access_key_id") === "");
}

/** @throws {SallyportError} `E_RAM_CREDENTIALS` when the profile cannot be followed. */
export async function resolveProfile(
  profile: Profile,
  scope: ProfileScope,
  context: CredentialContext,
): Promise<Credentials> {
  const { source } = scope;
  const mode = modeOf(profile);
  const need = (name: string): string => {
    const value = field(profile, name);
    if (value !== "") return value;
    throw unusable(source, `${name} is missing`, "Run `aliyun configure` for this profile again.");
  };
  const accessKey = (): Credentials => ({
    accessKeyId: need("access_key_id"),
    accessKeySecret: new Secret(need("access_key_secret")),
    ...securityTokenOf(profile),
  });
  const role = async (base: Credentials): Promise<Credentials> => {
    const { assumeRole } = await import("./assume-role.ts");
    return await assumeRole(base, roleOf(profile, need("ram_role_arn")), context);
  };

  switch (mode) {
    case "ak": {
      const { securityToken: _none, ...key } = accessKey();
      return key;
    }
    case "ststoken":
      need("sts_token");
      return checkEnd(accessKey(), source, profile, context);
    case "ramrolearn":
      return await role(accessKey());
    case "ecsramrole":
      return await instanceRole(profile, context);
    case "ramrolearnwithrolename":
      return await role(await instanceRole(profile, context));
    case "chainableramrolearn":
      return await role(await sourceProfile(need("source_profile"), scope, context));
    case "external":
      return await external(need("process_command"), scope, context);
    case "credentialsuri": {
      const { credentialsFromUri } = await import("./metadata.ts");
      return await credentialsFromUri(need("credentials_uri"), context);
    }
    case "oidc": {
      const { assumeRoleWithOidc } = await import("./assume-role.ts");
      return await assumeRoleWithOidc(
        {
          ...roleOf(profile, need("ram_role_arn")),
          providerArn: need("oidc_provider_arn"),
          tokenFile: need("oidc_token_file"),
        },
        context,
      );
    }
    case "cloudsso":
    case "oauth":
      return signedIn(profile, scope, context, mode);
    default:
      throw unusable(
        source,
        `its mode ${JSON.stringify(field(profile, "mode"))} cannot be used here`,
        "Use a profile with an access key, a role, OIDC or a sign-in.",
      );
  }
}

/** What the interactive sign-ins leave behind counts until it ends; signing in again is the CLI's business. */
function signedIn(
  profile: Profile,
  scope: ProfileScope,
  context: CredentialContext,
  mode: string,
): Credentials {
  const name = scope.path.at(-1) ?? "default";
  const advice = `Sign in with \`aliyun configure --mode ${mode === "oauth" ? "OAuth" : "CloudSSO"} --profile ${name}\`, then try again.`;
  const [id, secret] = [field(profile, "access_key_id"), field(profile, "access_key_secret")];
  const expiresAt = Number(profile["sts_expiration"] ?? 0) * 1000;
  if (id === "" || secret === "") throw unusable(scope.source, "nobody has signed in", advice);
  if (!(expiresAt > context.clock.now())) throw unusable(scope.source, "the sign-in has ended", advice);
  return {
    accessKeyId: id,
    accessKeySecret: new Secret(secret),
    ...securityTokenOf(profile),
    expiresAt,
  };
}

async function sourceProfile(
  name: string,
  scope: ProfileScope,
  context: CredentialContext,
): Promise<Credentials> {
  const next = scope.find(name);
  const chain = [...scope.path, name];
  if (scope.path.includes(name)) {
    throw unusable(
      scope.source,
      `its source profiles go in a circle (${chain.join(" → ")})`,
      "Break the circle.",
    );
  }
  if (next === undefined) {
    throw unusable(scope.source, `its source profile "${name}" is not there`, "Correct source_profile.");
  }
  return await resolveProfile(
    next,
    { ...scope, path: chain, source: `${scope.source} → "${name}"` },
    context,
  );
}

async function instanceRole(profile: Profile, context: CredentialContext): Promise<Credentials> {
  const { credentialsOfInstance } = await import("./metadata.ts");
  const lookup = await credentialsOfInstance(field(profile, "ram_role_name"), context);
  if (lookup.found) return lookup.credentials;
  throw unusable(
    "the metadata service",
    lookup.why,
    "This profile works on an ECS instance with a RAM role.",
  );
}

/** Runs the command without a shell, as the CLI does, and reads the profile that it prints. */
async function external(
  command: string,
  scope: ProfileScope,
  context: CredentialContext,
): Promise<Credentials> {
  const [file = "", ...args] = command.trim().split(/\s+/);
  const printed = await new Promise<string>((resolve, reject) => {
    execFile(file, args, { timeout: 60_000, maxBuffer: 64 * 1024 }, (error, stdout) => {
      // The message of a failure repeats what the program printed, which may be a secret.
      if (error === null) resolve(stdout);
      else
        reject(
          new Error(
            error.killed === true ? "it took longer than a minute" : `it failed (${String(error.code)})`,
          ),
        );
    });
  }).catch((error: unknown) => {
    throw unusable(scope.source, `its process_command: ${reasonOf(error)}`, `Run \`${file}\` by hand.`);
  });
  let profile: unknown;
  try {
    profile = JSON.parse(printed);
  } catch {
    profile = undefined;
  }
  if (typeof profile !== "object" || profile === null || modeOf(profile as Profile) === "external") {
    throw unusable(
      scope.source,
      "its process_command printed no profile",
      'It has to print JSON such as {"mode":"StsToken","access_key_id":"…","access_key_secret":"…","sts_token":"…"}.',
    );
  }
  return await resolveProfile(
    profile as Profile,
    { ...scope, source: `${scope.source} (process_command)` },
    context,
  );
}

function checkEnd(
  credentials: Credentials,
  source: string,
  profile: Profile,
  context: CredentialContext,
): Credentials {
  const end = Number(profile["sts_expiration"] ?? 0) * 1000;
  if (end > 0 && end <= context.clock.now()) {
    throw unusable(
      source,
      `its temporary credentials ended at ${new Date(end).toISOString()}`,
      "Put new ones into the profile.",
    );
  }
  return end > 0 ? { ...credentials, expiresAt: end } : credentials;
}

function roleOf(
  profile: Profile,
  roleArn: string,
): {
  readonly roleArn: string;
  readonly sessionName?: string;
  readonly externalId?: string;
  readonly seconds?: number;
  readonly region?: string;
} {
  const [sessionName, externalId, region] = ["ram_session_name", "external_id", "sts_region"].map((name) =>
    field(profile, name),
  );
  const seconds = Number(profile["expired_seconds"] ?? 0);
  return {
    roleArn,
    ...(sessionName ? { sessionName } : {}),
    ...(externalId ? { externalId } : {}),
    ...(region ? { region } : {}),
    ...(seconds >= 900 ? { seconds } : {}),
  };
}

function securityTokenOf(profile: Profile): { readonly securityToken?: Secret } {
  const token = field(profile, "sts_token");
  return token === "" ? {} : { securityToken: new Secret(token) };
}

function modeOf(profile: Profile): string {
  return field(profile, "mode").toLowerCase();
}

function field(profile: Profile, name: string): string {
  const value = profile[name];
  return typeof value === "string" ? value.trim() : "";
}

/**
 * The credential files of Alibaba Cloud's tools: `~/.aliyun/config.json` of the CLI, the INI file
 * `~/.alibabacloud/credentials` of the SDKs, and `~/.acs/credentials` of the first ack-ram-authenticator.
 * @module
 */
import { readFile } from "node:fs/promises";
import { reasonOf } from "../../../errors.ts";
import { Secret } from "../../../secret.ts";
import type { CredentialContext } from "./context.ts";
import { unusable, type Lookup } from "./credentials.ts";
import { parseJson } from "./issued-credentials.ts";
import { isEmptyProfile, resolveProfile, type Profile } from "./profile.ts";

export interface FileQuery {
  readonly path: string;
  /** Profile or section; absent: the one that the file makes current. */
  readonly profile: string | undefined;
  /** Whether the user asked for this file: then it has to be there. */
  readonly required: boolean;
}

/** The CLI's file: `{"current": "default", "profiles": [{"name": "default", "mode": "AK", …}]}`. */
export async function fromCliConfig(query: FileQuery, context: CredentialContext): Promise<Lookup> {
  const text = await read(query);
  if (text === undefined) return absent("it is not there");
  const file = parseJson(text) as { readonly current?: unknown; readonly profiles?: unknown } | undefined;
  const profiles = Array.isArray(file?.profiles) ? (file.profiles as readonly unknown[]) : undefined;
  if (profiles === undefined) {
    throw unusable(query.path, "it is not JSON with profiles", "Run `aliyun configure` to write it anew.");
  }
  const find = (name: string): Profile | undefined =>
    profiles.find(
      (each): each is Profile =>
        typeof each === "object" && each !== null && (each as Profile)["name"] === name,
    );
  const name =
    query.profile ?? (typeof file?.current === "string" && file.current !== "" ? file.current : "default");
  return await useProfile(name, find, query, context);
}

/** The SDKs' file: sections with `type = access_key` and its like. */
export async function fromIniFile(query: FileQuery, context: CredentialContext): Promise<Lookup> {
  const text = await read(query);
  if (text === undefined) return absent("it is not there");
  const sections = parseIni(text);
  return await useProfile(
    query.profile ?? "default",
    (name) => asProfile(sections.get(name)),
    query,
    context,
  );
}

/** `{"AcsAccessKeyId": …, "AcsAccessKeySecret": …, "AcsAccessSecurityToken": …}`. */
export async function fromAcsFile(query: FileQuery): Promise<Lookup> {
  const text = await read(query);
  if (text === undefined) return absent("it is not there");
  const file = (parseJson(text) ?? {}) as Readonly<Record<string, unknown>>;
  const { AcsAccessKeyId: id, AcsAccessKeySecret: secret, AcsAccessSecurityToken: token } = file;
  if (typeof id !== "string" || typeof secret !== "string" || id === "" || secret === "") {
    throw unusable(
      query.path,
      "it is not JSON with AcsAccessKeyId and AcsAccessKeySecret",
      "Remove it, or write it again.",
    );
  }
  return {
    found: true,
    credentials: {
      accessKeyId: id,
      accessKeySecret: new Secret(secret),
      ...(typeof token === "string" && token !== "" ? { securityToken: new Secret(token) } : {}),
    },
  };
}

async function useProfile(
  name: string,
  find: (name: string) => Profile | undefined,
  query: FileQuery,
  context: CredentialContext,
): Promise<Lookup> {
  const profile = find(name);
  const source = `profile "${name}" of ${query.path}`;
  if (profile === undefined || isEmptyProfile(profile)) {
    const why = profile === undefined ? `it has no profile "${name}"` : `its profile "${name}" is empty`;
    if (query.profile === undefined) return absent(why);
    throw unusable(query.path, why, "Choose another profile, or set this one up with `aliyun configure`.");
  }
  return { found: true, credentials: await resolveProfile(profile, { source, find, path: [name] }, context) };
}

/** `undefined` when the file is not there and need not be. */
async function read(query: FileQuery): Promise<string | undefined> {
  try {
    return await readFile(query.path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (!query.required && (code === "ENOENT" || code === "ENOTDIR")) return undefined;
    throw unusable(
      query.path,
      code === "EACCES" ? "it may not be read by this user" : reasonOf(error),
      "Correct the path or the file's permissions.",
      error,
    );
  }
}

/** Sections of `key = value` lines; `#` and `;` begin comments. */
export function parseIni(text: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const sections = new Map<string, Map<string, string>>();
  let current: Map<string, string> | undefined;
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[([^\]]+)\]\s*$/.exec(line)?.[1]?.trim();
    const pair = /^\s*([A-Za-z0-9_.-]+)\s*=\s*(.*?)\s*$/.exec(line);
    if (section !== undefined) {
      current = sections.get(section) ?? new Map();
      sections.set(section, current);
    } else if (pair !== null) {
      current?.set((pair[1] ?? "").toLowerCase(), unquote(pair[2] ?? ""));
    }
  }
  return sections;
}

function unquote(value: string): string {
  return /^(["']).*\1$/.test(value) && value.length > 1 ? value.slice(1, -1) : value;
}

const iniModes: Readonly<Record<string, string>> = {
  access_key: "AK",
  sts: "StsToken",
  ram_role_arn: "RamRoleArn",
  oidc_role_arn: "OIDC",
  credentials_uri: "CredentialsURI",
  ecs_ram_role: "EcsRamRole",
  external: "External",
};

function asProfile(section: ReadonlyMap<string, string> | undefined): Profile | undefined {
  if (section === undefined) return undefined;
  const type = section.get("type") ?? "";
  const rename: Readonly<Record<string, string>> = {
    role_name: "ram_role_name",
    role_arn: "ram_role_arn",
    role_session_name: "ram_session_name",
    security_token: "sts_token",
  };
  return {
    ...Object.fromEntries([...section].map(([name, value]) => [rename[name] ?? name, value])),
    mode: iniModes[type] ?? type,
  };
}

function absent(why: string): Lookup {
  return { found: false, why };
}

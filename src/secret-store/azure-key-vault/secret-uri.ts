/**
 * The URI of a Key Vault secret, read strictly: what is not exactly a vault, a name and at most a version is refused with
 * the reason. A request is later built from the parts; the text itself is never sent anywhere.
 * @module
 */
import { isIP } from "node:net";

/** A cloud's DNS suffix of vaults and the authority that gives tokens for it (Azure docs, "National clouds"). */
export interface AzureCloud {
  readonly vaultSuffix: string;
  readonly authorityHost: string;
}

export const azureClouds: readonly AzureCloud[] = [
  { vaultSuffix: "vault.azure.net", authorityHost: "https://login.microsoftonline.com" },
  { vaultSuffix: "vault.azure.cn", authorityHost: "https://login.partner.microsoftonline.cn" },
  { vaultSuffix: "vault.usgovcloudapi.net", authorityHost: "https://login.microsoftonline.us" },
];

/** One secret, in lower case where Key Vault does not tell cases apart. */
export interface SecretAddress {
  /** `contoso.vault.azure.net`. */
  readonly vaultHost: string;
  /** `vault.azure.net`: the audience of tokens is `https://` and this. */
  readonly vaultSuffix: string;
  readonly name: string;
  /** Absent: the current version. */
  readonly version?: string;
}

export type SecretUriProblem =
  | "not printable ASCII"
  | "longer than 1024 characters"
  | "not https"
  | "with user information"
  | "with a port"
  | "with an IP address"
  | "with percent-encoding"
  | "with a query"
  | "with a fragment"
  | "not a vault of a known cloud"
  | "not a vault's name"
  | "not the path of a secret"
  | "not a secret's name"
  | "not a version";

export type ReadSecretUri =
  | { readonly ok: true; readonly address: SecretAddress }
  | { readonly ok: false; readonly problem: SecretUriProblem };

/** 3 to 24 letters, digits and single dashes, a letter first and no dash last (Azure docs, "Resource naming rules"). */
const vaultName = /^(?=.{3,24}$)[a-z](?:-?[a-z0-9])*$/;
/** 1 to 127 letters, digits and dashes (Key Vault docs, "Objects, identifiers, and versioning"). */
const secretName = /^[a-z0-9-]{1,127}$/;
const secretVersion = /^[a-f0-9]{32}$/;

/**
 * @param moreSuffixes suffixes beside those of {@link azureClouds}, such as an Azure Stack Hub's.
 * One `/` at the end is allowed, because the portal shows one.
 */
export function readSecretUri(text: string, moreSuffixes: readonly string[] = []): ReadSecretUri {
  const refuse = (problem: SecretUriProblem): ReadSecretUri => ({ ok: false, problem });
  if (!/^[\x21-\x7e]*$/.test(text) || text.includes("\\")) return refuse("not printable ASCII");
  if (text.length > 1024) return refuse("longer than 1024 characters");
  const [, scheme = "", authority = "", rest = ""] =
    /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(.*)$/i.exec(text) ?? [];
  if (scheme.toLowerCase() !== "https") return refuse("not https");
  if (authority.includes("@")) return refuse("with user information");
  if (text.includes("%")) return refuse("with percent-encoding");
  const host = authority.toLowerCase();
  if (isAddress(host)) return refuse("with an IP address");
  if (host.includes(":")) return refuse("with a port");
  if (rest.includes("#")) return refuse("with a fragment");
  if (rest.includes("?")) return refuse("with a query");
  const dot = host.indexOf(".");
  const [label, suffix] = dot < 0 ? [host, ""] : [host.slice(0, dot), host.slice(dot + 1)];
  if (![...azureClouds.map((cloud) => cloud.vaultSuffix), ...moreSuffixes].includes(suffix))
    return refuse("not a vault of a known cloud");
  if (!vaultName.test(label)) return refuse("not a vault's name");
  const parts = rest.toLowerCase().replace(/\/$/, "").split("/").slice(1);
  const [collection, name, version] = parts;
  if (collection !== "secrets" || name === undefined || parts.length > 3)
    return refuse("not the path of a secret");
  if (!secretName.test(name)) return refuse("not a secret's name");
  if (version !== undefined && !secretVersion.test(version)) return refuse("not a version");
  return {
    ok: true,
    address: { vaultHost: host, vaultSuffix: suffix, name, ...(version === undefined ? {} : { version }) },
  };
}

/** The one spelling of an address. */
export function secretUriOf({ vaultHost, name, version }: SecretAddress): string {
  return `https://${vaultHost}/secrets/${name}${version === undefined ? "" : `/${version}`}`;
}

/** Every spelling of an IP address that a resolver may know, the short and the numeric ones among them. */
function isAddress(host: string): boolean {
  if (host.startsWith("[")) return true;
  const bare = host.replace(/:\d*$/, "");
  return isIP(bare) !== 0 || /^(?:0x[0-9a-f]*|\d+)(?:\.(?:0x[0-9a-f]*|\d+))*\.?$/.test(bare);
}

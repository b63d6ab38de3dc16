/**
 * A credential spec as a value, in the words of the domain, and the document that Windows reads. `create` builds the first;
 * everything that only carries a document (render, deliver, the webhook) keeps it as JSON, unknown fields included.
 * @module
 */
import type { JsonNode } from "./json.ts";

/** The domain of the gMSA. All of these are the domain's own, never the account's. */
export interface DomainFacts {
  /** `S-1-5-21-a-b-c`. */
  readonly sid: string;
  /** objectGUID of the domain, hexadecimal 8-4-4-4-12 without braces. */
  readonly guid: string;
  /** Fully qualified name, `contoso.com`. */
  readonly dnsName: string;
  /** Fully qualified name of the forest's root domain. */
  readonly forestName: string;
  /** `CONTOSO`, at most 15 characters. */
  readonly netbiosName: string;
}

/** An account that the container may use. `scope` is the domain as a FQDN or a NetBIOS name. */
export interface ScopedAccount {
  readonly name: string;
  readonly scope: string;
}

/** How a host outside the domain gets at the gMSA's password: a CCG plugin and its input. */
export interface PortableIdentity {
  /** Class id of the plugin, `{8-4-4-4-12}` with braces. */
  readonly pluginGuid: string;
  /** Handed to the plugin as it is; its format is the plugin's. */
  readonly pluginInput: string;
}

export interface CredentialSpec {
  readonly domain: DomainFacts;
  /** sAMAccountName of the gMSA without `$`. */
  readonly accountName: string;
  /** Further accounts, one entry each, beside the two of the gMSA itself. */
  readonly additionalAccounts: readonly ScopedAccount[];
  readonly portableIdentity: PortableIdentity | undefined;
}

/** Kubernetes' limit on a spec inside a pod, and the one that every carrier keeps (bytes of UTF-8). */
export const largestDocument = 65_536;

/** The document of a spec: the field names and nesting of `New-CredentialSpec`. */
export function documentOf(spec: CredentialSpec): JsonNode {
  const { domain, accountName, portableIdentity } = spec;
  const accounts: readonly ScopedAccount[] = [
    { name: accountName, scope: domain.dnsName },
    { name: accountName, scope: domain.netbiosName },
    ...spec.additionalAccounts,
  ];
  return object({
    CmsPlugins: list([text("ActiveDirectory")]),
    DomainJoinConfig: object({
      Sid: text(domain.sid),
      MachineAccountName: text(accountName),
      Guid: text(domain.guid),
      DnsTreeName: text(domain.forestName),
      DnsName: text(domain.dnsName),
      NetBiosName: text(domain.netbiosName),
    }),
    ActiveDirectoryConfig: object({
      GroupManagedServiceAccounts: list(
        accounts.map((account) => object({ Name: text(account.name), Scope: text(account.scope) })),
      ),
      ...(portableIdentity === undefined
        ? {}
        : {
            HostAccountConfig: object({
              PortableCcgVersion: text("1"),
              PluginGUID: text(portableIdentity.pluginGuid),
              PluginInput: text(portableIdentity.pluginInput),
            }),
          }),
    }),
  });
}

function text(value: string): JsonNode {
  return { type: "string", value };
}

function list(items: readonly JsonNode[]): JsonNode {
  return { type: "array", items };
}

function object(members: Readonly<Record<string, JsonNode>>): JsonNode {
  return { type: "object", members: Object.entries(members).map(([key, value]) => ({ key, value })) };
}

/**
 * The accounts file (`account-provider run --accounts FILE`): where each account is kept, and which Key Vault plugin inputs
 * are answered. The chart's values have the same shape; their JSON schema is made from this one.
 * @module
 */
import { parseDocument } from "yaml";
import { z } from "zod";
import { problemOf } from "../document.ts";
import { reasonOf, type ConfigFault } from "../errors.ts";
import type { AzureIdentity } from "../secret-store/azure-key-vault/azure-identity.ts";
import { readSecretUri, type SecretAddress } from "../secret-store/azure-key-vault/secret-uri.ts";

const guid = z
  .string()
  .regex(/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i, "is not a GUID")
  .transform((text) => text.toLowerCase());

const objectName = z
  .string()
  .regex(
    /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
    "is not a name: lower-case letters, digits, - and .",
  );

const hostName = z
  .string()
  .regex(
    /^(?=.{1,253}$)[a-z][a-z0-9-]{1,22}[a-z0-9](\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){2,}$/,
    "is not the host name of a vault, such as contoso.vault.azure.net",
  );

const authorityHost = z
  .string()
  .regex(/^https:\/\/[a-z0-9.-]+(:\d{1,5})?\/?$/, "is not https://HOST")
  .refine(hasUsablePort, "has no port from 1 to 65535")
  .optional();

const identity = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("systemAssigned") }),
  z
    .strictObject({
      type: z.literal("managedIdentity"),
      /** The principal id, as inputs of Microsoft's plugin carry it. */
      objectId: guid.optional(),
      clientId: guid.optional(),
      resourceId: z
        .string()
        .regex(/^\/subscriptions\/[\x21-\x7e]{1,1000}$/i, "is not /subscriptions/…")
        .optional(),
    })
    .refine(
      ({ objectId, clientId, resourceId }) =>
        [objectId, clientId, resourceId].filter((id) => id !== undefined).length === 1,
      "needs exactly one of objectId, clientId and resourceId",
    ),
  z.strictObject({
    type: z.literal("workloadIdentity"),
    /** What is absent comes from AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE. */
    clientId: guid.optional(),
    tenantId: guid.optional(),
    tokenFile: z.string().min(1).optional(),
  }),
  /** AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH. */
  z.strictObject({ type: z.literal("environment") }),
]);

const account = z.discriminatedUnion("source", [
  z.strictObject({
    name: objectName,
    source: z.literal("kubernetes"),
    /** Name of the Secret in the provider's namespace; default: the account's. */
    secret: objectName.optional(),
  }),
  z.strictObject({
    name: objectName,
    source: z.literal("folder"),
    /** Folder of Kubernetes manifests, watched. */
    folder: z.string().min(1),
    secret: objectName.optional(),
  }),
  z.strictObject({
    name: objectName,
    source: z.literal("azureKeyVault"),
    /** `https://VAULT/secrets/NAME`, or with `/VERSION`. */
    secretUri: z.string(),
    identity,
    /** Default: the authority of the vault's cloud, or AZURE_AUTHORITY_HOST. */
    authorityHost,
  }),
]);

const allowedIdentity = z.union([
  guid,
  z.strictObject({
    objectId: guid,
    /** As whom to ask where the managed identity itself is not at hand, such as outside Azure. */
    identity,
    authorityHost,
  }),
]);

const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

export const accountsFileSchema = z
  .strictObject(
    {
      accounts: z.array(account).default([]),
      azureKeyVault: z
        .strictObject({
          /** Age from which a secret counts as stale; it is read again before. From 30s to 24h. */
          useBy: z
            .string()
            .regex(/^\d{1,5}[smh]$/, "is not a duration such as 90s, 5m or 1h")
            .default("5m"),
          /** `http://HOST:PORT` for vaults and authorities; the machine's identity endpoint is asked directly. */
          proxy: z
            .string()
            .regex(/^http:\/\/[A-Za-z0-9.[\]:-]+:\d{1,5}$/, "is not http://HOST:PORT")
            .refine(hasUsablePort, "is no host with a port from 1 to 65535")
            .optional(),
          /** DNS suffixes of vaults beside the public clouds', such as an Azure Stack Hub's. */
          vaultSuffixes: z
            .array(z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/, "is not a DNS suffix"))
            .default([]),
          /** Answers `ObjectId=…;SecretUri=…`, for these vaults and identities alone. Absent: such inputs are refused. */
          pluginInput: z
            .strictObject({
              vaults: z.array(hostName).min(1),
              identities: z.array(allowedIdentity).min(1),
            })
            .optional(),
        })
        .prefault({}),
    },
    {
      error: ({ code }) =>
        code === "invalid_type" ? "is not a mapping with accounts and azureKeyVault" : undefined,
    },
  )
  .superRefine(({ accounts, azureKeyVault }, context) => {
    const fault = (path: readonly (string | number)[], message: string): void =>
      context.addIssue({ code: "custom", path: [...path], message });
    const names = new Set<string>();
    accounts.forEach((each, index) => {
      if (names.has(each.name)) fault(["accounts", index, "name"], `"${each.name}" is there twice`);
      names.add(each.name);
      if (each.source !== "azureKeyVault") return;
      const read = readSecretUri(each.secretUri, azureKeyVault.vaultSuffixes);
      if (!read.ok) fault(["accounts", index, "secretUri"], `is refused: ${read.problem}`);
    });
    const useByMs = milliseconds(azureKeyVault.useBy);
    if (!Number.isNaN(useByMs) && (useByMs < 30_000 || useByMs > 24 * 3_600_000))
      fault(["azureKeyVault", "useBy"], "is not between 30s and 24h");
    for (const [index, host] of (azureKeyVault.pluginInput?.vaults ?? []).entries()) {
      const read = readSecretUri(`https://${host}/secrets/name`, azureKeyVault.vaultSuffixes);
      if (!read.ok) fault(["azureKeyVault", "pluginInput", "vaults", index], `is ${read.problem}`);
    }
    const objectIds = new Set<string>();
    for (const [index, each] of (azureKeyVault.pluginInput?.identities ?? []).entries()) {
      const objectId = typeof each === "string" ? each : each.objectId;
      if (objectIds.has(objectId))
        fault(["azureKeyVault", "pluginInput", "identities", index], `${objectId} is there twice`);
      objectIds.add(objectId);
    }
    if (accounts.length === 0 && azureKeyVault.pluginInput === undefined)
      fault(["accounts"], "names no account, and no plugin input is answered either");
  });

function hasUsablePort(url: string): boolean {
  return URL.canParse(url) && new URL(url).port !== "0";
}

function milliseconds(text: string): number {
  return Number(text.slice(0, -1)) * (units[text.slice(-1)] ?? Number.NaN);
}

export type AccountPlace =
  | { readonly source: "kubernetes"; readonly name: string; readonly secret: string }
  | { readonly source: "folder"; readonly name: string; readonly folder: string; readonly secret: string }
  | {
      readonly source: "azureKeyVault";
      readonly name: string;
      readonly address: SecretAddress;
      readonly identity: AzureIdentity;
      readonly authorityHost?: string | undefined;
    };

export interface AllowedIdentity {
  readonly identity: AzureIdentity;
  readonly authorityHost?: string | undefined;
}

/** The file as the provider uses it. */
export interface Accounts {
  readonly places: readonly AccountPlace[];
  readonly keyVault: {
    readonly useByMs: number;
    readonly proxy?: string | undefined;
    readonly pluginInput?:
      | {
          readonly vaults: ReadonlySet<string>;
          /** By object id. */
          readonly identities: ReadonlyMap<string, AllowedIdentity>;
        }
      | undefined;
  };
}

/** Reads the file's text. The accounts are there when there is no fault; every fault is named by its place. */
export function readAccountsFile(text: string): {
  readonly accounts: Accounts | undefined;
  readonly faults: readonly ConfigFault[];
} {
  let document: unknown;
  try {
    const parsed = parseDocument(text, { prettyErrors: false });
    const [error] = parsed.errors;
    // The parser's messages name what is wrong, not the text around it.
    if (error !== undefined) return faulty("--accounts", `is not YAML: ${error.code} at ${error.pos[0]}`);
    document = parsed.toJS({ maxAliasCount: 10 });
  } catch (thrown) {
    return faulty("--accounts", `cannot be read: ${reasonOf(thrown).split("\n")[0] ?? ""}`);
  }
  const result = accountsFileSchema.safeParse(document ?? {});
  if (!result.success) {
    const faults = result.error.issues.map((issue) => ({
      setting: issue.path.length === 0 ? "--accounts" : `--accounts ${issue.path.join(".")}`,
      problem: problemOf(issue),
    }));
    // One fault a place: the first is the one to correct.
    const first = new Map(faults.toReversed().map((fault) => [fault.setting, fault]));
    return {
      accounts: undefined,
      faults: [...new Set(faults.map(({ setting }) => setting))].flatMap(
        (setting) => first.get(setting) ?? [],
      ),
    };
  }
  return { accounts: accountsOf(result.data), faults: [] };
}

function faulty(
  setting: string,
  problem: string,
): { readonly accounts: undefined; readonly faults: readonly ConfigFault[] } {
  return { accounts: undefined, faults: [{ setting, problem }] };
}

function accountsOf({ accounts, azureKeyVault }: z.output<typeof accountsFileSchema>): Accounts {
  const { pluginInput, proxy, useBy, vaultSuffixes } = azureKeyVault;
  return {
    places: accounts.map((each): AccountPlace => {
      if (each.source !== "azureKeyVault") return { ...each, secret: each.secret ?? each.name };
      const read = readSecretUri(each.secretUri, vaultSuffixes);
      if (!read.ok) throw new Error(`an unchecked URI of ${each.name}`);
      const { name, source, identity: as, authorityHost: at } = each;
      return { name, source, address: read.address, identity: as, authorityHost: at };
    }),
    keyVault: {
      useByMs: milliseconds(useBy),
      proxy,
      pluginInput:
        pluginInput === undefined
          ? undefined
          : {
              vaults: new Set(pluginInput.vaults),
              identities: new Map(
                pluginInput.identities.map((each): [string, AllowedIdentity] =>
                  typeof each === "string"
                    ? [each, { identity: { type: "managedIdentity", objectId: each } }]
                    : [each.objectId, { identity: each.identity, authorityHost: each.authorityHost }],
                ),
              ),
            },
    },
  };
}

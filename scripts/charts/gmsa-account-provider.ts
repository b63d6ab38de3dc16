/**
 * Values of the chart `gmsa-account-provider`.
 * @module
 */
import { z } from "zod";
import { accountsFileSchema } from "../../src/account-provider/accounts-file.ts";
import { longestLeafLifetimeMs } from "../../src/account-provider/settings.ts";
import {
  anyList,
  anyObject,
  cleanupValues,
  commonValues,
  duration,
  flag,
  formerValue,
  goDuration,
  group,
  label,
  logLevel,
  networkPolicyValues,
  objectName,
  optionalValue,
  podValues,
  port,
  text,
  value,
  windowsValues,
} from "./values.ts";

const sid = z.string().regex(/^S-1-5-21(-[0-9]{1,10}){3}$/);
const guid = z.string().regex(/^\{?[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}?$/);
const dnsName = z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$/);

/** One GMSACredentialSpec; the facts are those of `sallyport credspec create`. */
const credentialSpec = z.strictObject({
  name: z.string().regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/),
  account: z.string().optional(),
  domain: z
    .strictObject({ dnsName, forestName: dnsName.optional(), netbiosName: z.string().max(15), sid, guid })
    .optional(),
  additionalAccounts: z.array(z.strictObject({ name: z.string(), scope: z.string() })).optional(),
  pluginGuid: guid.optional(),
  pluginInput: z.string().optional(),
  credspec: anyObject.optional(),
  serviceAccounts: z.array(z.strictObject({ namespace: z.string(), name: z.string() })).optional(),
  labels: anyObject.optional(),
  annotations: anyObject.optional(),
});

/** The accounts file is a ConfigMap of these values, so their forms are the file's own. */
const { accounts, azureKeyVault } = accountsFileSchema.shape;
const keyVault = azureKeyVault.unwrap().shape;

const vaultAccount = {
  name: "webapp-creds",
  source: "azureKeyVault" as const,
  secretUri: "https://contoso.vault.azure.net/secrets/webapp-creds",
  identity: { type: "managedIdentity" as const, objectId: "5f0c7a52-3a86-4c8b-9d3e-3a0f5b1c2d01" },
};

const contoso = {
  dnsName: "contoso.example",
  netbiosName: "CONTOSO",
  sid: "S-1-5-21-2126449477-2524075714-3094792973",
  guid: "244818ae-87ac-4fcd-92ec-e79e5252348a",
};

const inManagerMode = { certificates: { mode: "certManager" } };

interface Times {
  readonly duration: string;
  readonly renewBefore: string;
}
const leaf = {
  standard: { duration: "2160h", renewBefore: "360h" },
  other: { duration: "720h", renewBefore: "240h" },
};
/** cert-manager renews no leaf because its authority was renewed: the old one has to outlive all that it signed. */
const authority = {
  standard: { duration: "8760h", renewBefore: "" },
  other: { duration: "17520h", renewBefore: "2400h" },
  remark:
    " Empty: `2880h`, or half of a shorter life. Longer than the lives of the other two, which its predecessor signed.",
};

function certificate(
  what: string,
  times: { readonly standard: Times; readonly other: Times; readonly remark?: string },
): z.ZodType {
  return group(`${what} that cert-manager makes.`, {
    duration: value(goDuration, times.standard.duration, {
      about: "Its life.",
      example: times.other.duration,
      with: inManagerMode,
    }),
    renewBefore: value(z.union([goDuration, z.literal("")]), times.standard.renewBefore, {
      about: `When it is renewed before its end.${times.remark ?? ""}`,
      example: times.other.renewBefore,
      with: inManagerMode,
    }),
    privateKey: value(
      anyObject,
      { rotationPolicy: "Always", algorithm: "RSA", size: 3072, encoding: "PKCS8" },
      {
        about: "Its key. The released Rancher plugin needs RSA.",
        example: { rotationPolicy: "Always", algorithm: "RSA", size: 4096, encoding: "PKCS8" },
        with: inManagerMode,
      },
    ),
    usages: formerValue("Each certificate has the one usage it needs."),
    dnsNames: formerValue("Always `localhost`."),
  });
}

export const gmsaAccountProviderValues = z.strictObject({
  ...commonValues("sallyport/sallyport-windows"),
  secretName: value(objectName, "", {
    about:
      "Secret with the impersonation account: `username`, `password`, `domainName`; empty: `<release>-creds`. The only one that is read.",
    example: "webapp-creds",
  }),
  allSecrets: value(flag, false, {
    about: "Read every Secret of the namespace, as the provider before it did.",
    example: true,
  }),
  accounts: value(accounts.unwrap(), [], {
    about:
      "Instead of `secretName`: several accounts, or ones that are kept elsewhere, as [the accounts file](../how-to/azure-key-vault.md#the-accounts-file) lists them. Of Secrets only those named here are read.",
    example: [
      { name: "batch-creds", source: "kubernetes", secret: "batch" },
      { name: "legacy-creds", source: "folder", folder: "/etc/sallyport/manifests" },
      vaultAccount,
    ],
  }),
  azureKeyVault: group("Of the accounts file; used where `accounts` or `pluginInput` is set.", {
    useBy: value(keyVault.useBy.unwrap(), "5m", {
      about: "Age from which a secret of a vault counts as stale.",
      example: "10m",
      with: { accounts: [vaultAccount] },
    }),
    proxy: optionalValue(keyVault.proxy.unwrap(), {
      about: "Proxy for vaults and authorities.",
      example: "http://proxy.example:3128",
      with: { accounts: [vaultAccount] },
    }),
    vaultSuffixes: value(keyVault.vaultSuffixes.unwrap(), [], {
      about: "DNS suffixes of vaults beside the public clouds'.",
      example: ["vault.stack.example"],
      with: { accounts: [vaultAccount] },
    }),
    pluginInput: optionalValue(keyVault.pluginInput.unwrap(), {
      about:
        "Answers the plugin input of Microsoft's Key Vault plugin, for these `vaults` and `identities` alone.",
      example: {
        vaults: ["contoso.vault.azure.net"],
        identities: ["5f0c7a52-3a86-4c8b-9d3e-3a0f5b1c2d01"],
      },
    }),
  }),
  extraVolumes: value(anyList, [], {
    about: "More volumes of the pods, such as a projected token for a workload identity.",
    example: [{ name: "manifests", configMap: { name: "manifests", optional: true } }],
  }),
  extraVolumeMounts: value(anyList, [], {
    about: "More volume mounts of the container.",
    example: [{ name: "manifests", mountPath: "/etc/sallyport/manifests", readOnly: true }],
    with: { extraVolumes: [{ name: "manifests", configMap: { name: "manifests", optional: true } }] },
  }),
  pluginNamespace: value(label, "", {
    about:
      "First half of the plugin input and name of the host directory; empty: the namespace. Two releases of one namespace on the same nodes need two.",
    example: "contoso-web",
  }),
  refuseSharedHostDirectory: value(flag, true, {
    about:
      "Refuse to be installed while another release serves the same host directory on the same nodes. Helm lists the DaemonSets of all namespaces for that: false for whoever may not.",
    example: false,
  }),
  credentialSpecs: value(z.array(credentialSpec), [], {
    about:
      "GMSACredentialSpecs for this account, each with a ClusterRole that lets use it. `name`; `account` (default: the name), `domain.{dnsName, forestName, netbiosName, sid, guid}`, `additionalAccounts`; or all of it as `credspec`. `serviceAccounts`: who gets a RoleBinding. `pluginInput` (default: `<pluginNamespace>:<secretName>`), `pluginGuid`.",
    example: [
      {
        name: "webapp01",
        domain: contoso,
        serviceAccounts: [
          { namespace: "default", name: "default" },
          { namespace: "kube-public", name: "default" },
        ],
      },
      {
        name: "webapp02",
        account: "webapp02",
        domain: { ...contoso, forestName: "forest.example" },
        additionalAccounts: [{ name: "shared", scope: "CONTOSO" }],
        labels: { team: "web" },
      },
      { name: "webapp03", credspec: { CmsPlugins: ["ActiveDirectory"] } },
    ],
  }),
  certificates: group("Certificates of the service.", {
    mode: value(z.enum(["", "selfManaged", "certManager", "secret"]), "", {
      about:
        "`selfManaged`: of a day, in memory, nothing to install. `certManager`: made by cert-manager. `secret`: three Secrets of yours. Empty: what `certManager.enabled` says, else `selfManaged`.",
      example: "secret",
    }),
    leafLifetime: value(duration, `${longestLeafLifetimeMs / 3_600_000}h`, {
      about: "Life of self-managed certificates, at most a day.",
      example: "12h",
    }),
    certManager: group("For the mode `certManager`.", {
      enabled: optionalValue(flag, {
        about: "As the chart before it had it: true is the mode `certManager`, false the mode `secret`.",
        example: true,
      }),
      version: formerValue("The API is always cert-manager.io/v1."),
      caCert: certificate("The authority", authority),
      clientCert: certificate("The plugin's certificate", leaf),
      serverCert: certificate("The service's certificate", leaf),
    }),
    caSecretName: value(objectName, "", {
      about:
        "Secret of the authority. With the mode `secret` (empty: `ca-cert`) its `ca.crt` is mounted and nothing else; with `certManager` (empty: `<release>-ca`) nothing of it: cert-manager puts the authority into the other two, too.",
      example: "corporate-ca",
      with: { certificates: { mode: "secret" } },
    }),
    clientSecretName: value(objectName, "", {
      about: "Secret with the plugin's certificate. Empty: `ccg-dll-cert` or `<release>-client`.",
      example: "corporate-client",
      with: { certificates: { mode: "secret" } },
    }),
    serverSecretName: value(objectName, "", {
      about: "Secret with the service's certificate. Empty: `account-provider-cert` or `<release>-server`.",
      example: "corporate-server",
      with: { certificates: { mode: "secret" } },
    }),
  }),
  legacyPlugin: value(flag, true, {
    about: "Serve the released Rancher plugin, too (`ssl/client/tls.pfx`).",
    example: false,
  }),
  port: value(port, 0, { about: "Port of the service on loopback; 0: any free one.", example: 21_400 }),
  operations: group("Health and metrics.", {
    address: value(text, "127.0.0.1", { about: "Address to listen on.", example: "0.0.0.0" }),
    port: value(port, 0, {
      about: "Port; 0: one from 21400 to 29399 that is made from namespace and release.",
      example: 9402,
    }),
  }),
  drain: value(duration, "10s", { about: "How long requests may take to end at a stop.", example: "5s" }),
  logLevel: value(logLevel, "info", { about: "How much to log.", example: "debug" }),
  ...podValues({
    resources: { requests: { cpu: "10m", memory: "96Mi" }, limits: { memory: "256Mi" } },
    priorityClass: "system-node-critical",
  }),
  ...windowsValues(),
  networkPolicy: networkPolicyValues(),
  cleanup: cleanupValues("what the provider left on the hosts is removed"),
});

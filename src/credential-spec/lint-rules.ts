/**
 * Every rule that `credspec lint` knows: how grave it is, why a spec that breaks it will fail, and how to mend it.
 * Neither Docker nor hcsshim nor Kubernetes checks any of this; the container starts and the trust to the domain is missing.
 * @module
 */

export interface LintRule {
  /** `error`: it will not work. `warning`: it works in some places, or hides a mistake. */
  readonly severity: "error" | "warning";
  readonly consequence: string;
  readonly remedy: string;
}

export const lintRules = {
  "not-json": {
    severity: "error",
    consequence:
      "Windows cannot parse the spec, and the container starts without its identity or not at all.",
    remedy: "Correct the syntax at the place named; `sallyport credspec import` cleans up encodings.",
  },
  "not-a-spec": {
    severity: "error",
    consequence: "There is no credential spec in it for anyone to use.",
    remedy: "Give a credential spec, a GMSACredentialSpec resource, or a Docker config that holds one.",
  },
  "not-utf-8": {
    severity: "error",
    consequence: "kubectl, Docker and Windows read the spec as UTF-8 and see other characters, or refuse it.",
    remedy: "Save it as UTF-8; `sallyport credspec import` converts UTF-16 files.",
  },
  "byte-order-mark": {
    severity: "warning",
    consequence:
      "Some JSON parsers refuse a document that starts with a byte order mark, and Kubernetes' is one.",
    remedy: "Save it as UTF-8 without a byte order mark; `sallyport credspec import` does.",
  },
  "too-large": {
    severity: "error",
    consequence: "Kubernetes refuses a spec above 64 KiB, so pods that name it cannot be created.",
    remedy: "Remove accounts or fields that the container does not need.",
  },
  "duplicate-key": {
    severity: "error",
    consequence:
      "Parsers disagree on which of the two counts: what is authorised may not be what Windows uses.",
    remedy: "Keep one of them.",
  },
  "unknown-field": {
    severity: "warning",
    consequence: "The GMSACredentialSpec CRD drops fields outside its schema without a word.",
    remedy: "Remove the field, or correct its spelling (names are case-sensitive).",
  },
  "missing-field": {
    severity: "error",
    consequence: "The container starts, but its identity is not set up.",
    remedy: "Add the field; `sallyport credspec create` writes all of them.",
  },
  "wrong-type": {
    severity: "error",
    consequence:
      "The CRD and Windows both expect strings in these places and refuse or ignore anything else.",
    remedy: "Write the value as a JSON string in quotes (lists and objects where the schema has them).",
  },
  "empty-value": {
    severity: "error",
    consequence: "The container starts, but its identity is not set up.",
    remedy: "Fill in the value.",
  },
  "cms-plugin-missing": {
    severity: "error",
    consequence: "Without it Windows never asks Active Directory for the account.",
    remedy: 'Write "CmsPlugins": ["ActiveDirectory"].',
  },
  "sid-malformed": {
    severity: "error",
    consequence: "The secure channel to the domain cannot be set up.",
    remedy: "Use the domain's SID, S-1-5-21- and three numbers: `(Get-ADDomain).DomainSID.Value`.",
  },
  "sid-of-account": {
    severity: "error",
    consequence:
      "It is an account's SID; with it the secure channel to the domain fails though the container starts.",
    remedy: "Remove the last number (the account's RID): the field wants the domain's SID.",
  },
  "guid-malformed": {
    severity: "error",
    consequence: "The secure channel to the domain cannot be set up.",
    remedy:
      "Use the domain's objectGUID, hexadecimal 8-4-4-4-12 without braces: `(Get-ADDomain).ObjectGUID` (not the gMSA's).",
  },
  "plugin-guid-malformed": {
    severity: "error",
    consequence:
      "CCG cannot find the plugin (its event 3, or 4), so the host never gets the gMSA's password.",
    remedy: "Use the plugin's class id, hexadecimal 8-4-4-4-12 in braces.",
  },
  "plugin-input-malformed": {
    severity: "error",
    consequence:
      "The plugin named by PluginGUID refuses this input, so the host never gets the gMSA's password.",
    remedy: "Write the input in the plugin's own format.",
  },
  "plugin-input-secret": {
    severity: "warning",
    consequence:
      "This plugin takes a password as its input: everyone who can read the spec can read the password.",
    remedy: "Use a plugin that fetches the account from a secret store.",
  },
  "ccg-version": {
    severity: "error",
    consequence: "CCG knows only version 1 of portable identities.",
    remedy: 'Write "PortableCcgVersion": "1".',
  },
  "trailing-dollar": {
    severity: "error",
    consequence: "Windows appends the $ itself, and looks for an account that does not exist.",
    remedy: "Remove the $ at the end of the name.",
  },
  "account-name": {
    severity: "error",
    consequence: "A gMSA's sAMAccountName has at most 15 characters and the $; no longer name can exist.",
    remedy: "Use the sAMAccountName, not the display name or the DNS host name.",
  },
  "netbios-name": {
    severity: "error",
    consequence: "Windows looks for a domain by a name that it cannot have.",
    remedy: "Use the NetBIOS name, at most 15 characters without dots: `(Get-ADDomain).NetBIOSName`.",
  },
  "dns-name": {
    severity: "warning",
    consequence: "A single-label name is rarely a DNS name; domain controllers are then not found.",
    remedy: "Use the fully qualified name: `(Get-ADDomain).DNSRoot`, `(Get-ADForest).Name`.",
  },
  "scope-missing": {
    severity: "error",
    consequence:
      "Windows asks for the account by FQDN and by NetBIOS name; with one entry missing, some logons fail.",
    remedy: "List the gMSA twice: once with the domain's DNS name as Scope, once with its NetBIOS name.",
  },
  "scope-unknown": {
    severity: "warning",
    consequence:
      "The scope is neither of the domain's two names; it works only for an account of a trusted domain.",
    remedy: "Use the FQDN or the NetBIOS name of the account's domain.",
  },
  "duplicate-account": {
    severity: "warning",
    consequence: "The entry stands there twice, which usually means that its scope was meant to differ.",
    remedy: "Remove it, or correct its scope.",
  },
  "directory-disagrees": {
    severity: "error",
    consequence: "The container asks for a trust to a domain that is described wrongly, and gets none.",
    remedy: "Write what the directory says; `sallyport credspec create --from-directory` does.",
  },
  "unknown-account": {
    severity: "error",
    consequence: "Nobody can hand out the password of an account that the domain does not have.",
    remedy: "Correct the name (sAMAccountName without $), or create the gMSA.",
  },
  "domain-disagrees": {
    severity: "warning",
    consequence:
      "Two specs of one domain give it different SIDs or GUIDs: at least one holds an account's value.",
    remedy: "Compare both with `Get-ADDomain`.",
  },
  "resource-shape": {
    severity: "error",
    consequence: "The API server refuses the resource, or drops the misplaced part.",
    remedy: "A GMSACredentialSpec (windows.k8s.io/v1) has `credspec` at its top level, beside `metadata`.",
  },
} as const satisfies Readonly<Record<string, LintRule>>;

export type LintRuleId = keyof typeof lintRules;

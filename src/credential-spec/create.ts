/**
 * Builds a credential spec from facts about the domain and the account, wherever they come from: flags, questions, or a
 * directory (through {@link AccountDirectory}, which whoever can speak to a domain controller implements).
 * @module
 */
import type { Finding } from "./lint.ts";
import { lintCredentialSpec } from "./lint.ts";
import {
  documentOf,
  type CredentialSpec,
  type DomainFacts,
  type PortableIdentity,
  type ScopedAccount,
} from "./model.ts";
import type { JsonNode } from "./json.ts";

/** The port to a directory that knows the domain and the account. */
export interface AccountDirectory {
  /**
   * The account's sAMAccountName without `$` and the facts of its domain, or a sentence about why they cannot be had.
   * @param accountName as its user wrote it: sAMAccountName with or without `$`.
   */
  describe(
    accountName: string,
  ): Promise<
    | { readonly found: true; readonly accountName: string; readonly domain: DomainFacts }
    | { readonly found: false; readonly reason: string }
  >;
}

/** Everything that can be said on the command line; what is absent is asked for or read from the directory. */
export interface SpecDraft {
  readonly accountName?: string | undefined;
  readonly sid?: string | undefined;
  readonly guid?: string | undefined;
  readonly dnsName?: string | undefined;
  readonly forestName?: string | undefined;
  readonly netbiosName?: string | undefined;
  readonly additionalAccounts?: readonly ScopedAccount[] | undefined;
  readonly portableIdentity?: PortableIdentity | undefined;
}

export type DraftField = "accountName" | "sid" | "guid" | "dnsName" | "forestName" | "netbiosName";

export const draftFields: readonly DraftField[] = [
  "accountName",
  "dnsName",
  "netbiosName",
  "forestName",
  "sid",
  "guid",
];

/** What a draft still lacks, in the order in which to ask. */
export function missingFields(draft: SpecDraft): readonly DraftField[] {
  return draftFields.filter((field) => draft[field] === undefined || draft[field] === "");
}

export type Creation =
  | { readonly complete: true; readonly spec: JsonNode; readonly findings: readonly Finding[] }
  | { readonly complete: false; readonly missing: readonly DraftField[] };

/**
 * The document of a complete draft with what lint says about it. The trailing `$` of account names and the braces of the
 * domain's GUID are taken off, those of the plugin's put on: they are the same facts, written in another tool's way.
 */
export function createSpec(draft: SpecDraft): Creation {
  const { accountName, sid, guid, dnsName, forestName, netbiosName } = draft;
  const missing = missingFields(draft);
  if (!accountName || !sid || !guid || !dnsName || !forestName || !netbiosName)
    return { complete: false, missing };
  const portable = draft.portableIdentity;
  const spec: CredentialSpec = {
    accountName: withoutDollar(accountName),
    domain: { sid, guid: withoutBraces(guid), dnsName, forestName, netbiosName },
    additionalAccounts: (draft.additionalAccounts ?? []).map(({ name, scope }) => ({
      name: withoutDollar(name),
      scope,
    })),
    portableIdentity:
      portable === undefined
        ? undefined
        : { pluginGuid: `{${withoutBraces(portable.pluginGuid)}}`, pluginInput: portable.pluginInput },
  };
  const document = documentOf(spec);
  return { complete: true, spec: document, findings: lintCredentialSpec(document) };
}

/** A draft completed by a directory. What the draft says already stays, so that a flag can correct the directory. */
export function draftWithFacts(draft: SpecDraft, accountName: string, domain: DomainFacts): SpecDraft {
  const said = Object.fromEntries(
    Object.entries(draft).filter(([, value]) => value !== undefined && value !== ""),
  );
  return { ...domain, ...said, accountName };
}

function withoutDollar(name: string): string {
  return name.replace(/\$$/, "");
}

function withoutBraces(guid: string): string {
  return guid.replace(/^\{(.*)\}$/, "$1");
}

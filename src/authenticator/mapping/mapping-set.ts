/**
 * Reads the three sections that the configuration file, the dynamic file and the ConfigMap share: mapRoles, mapUsers and
 * mapAccounts. An entry that cannot be used is named and left out; the others count.
 * @module
 */
import type { ConfigFault } from "../../errors.ts";
import { readMapping, type Mapping } from "./mapping.ts";

export interface MappingSet {
  readonly mappings: readonly Mapping[];
  readonly accounts: readonly string[];
}

export const mappingSections = ["mapRoles", "mapUsers", "mapAccounts"] as const;
export type MappingSection = (typeof mappingSections)[number];

export interface ReadSection extends MappingSet {
  readonly faults: readonly ConfigFault[];
  /** Whether the section as a whole has the right shape. */
  readonly usable: boolean;
}

/**
 * @param value the parsed section; nothing at all is an empty section.
 * @param at how the section is called in messages, such as `server.mapRoles`.
 */
export function readSection(
  section: MappingSection,
  value: unknown,
  options: { readonly at: string; readonly wildcards: boolean },
): ReadSection {
  if (value === undefined || value === null) return { mappings: [], accounts: [], faults: [], usable: true };
  if (!Array.isArray(value)) {
    const faults = [{ setting: options.at, problem: "it is not a list" }];
    return { mappings: [], accounts: [], faults, usable: false };
  }
  const mappings: Mapping[] = [];
  const accounts: string[] = [];
  const faults: ConfigFault[] = [];
  for (const [index, entry] of (value as readonly unknown[]).entries()) {
    const setting = `${options.at}[${index}]`;
    if (section === "mapAccounts") {
      // YAML reads an account id without quotes as a number, which is exact for most of them only.
      const account = Number.isSafeInteger(entry) ? String(entry) : entry;
      if (typeof account === "string" && /^[0-9]{1,20}$/.test(account)) accounts.push(account);
      else faults.push({ setting, problem: "it is not an account id in quotes" });
      continue;
    }
    const read = readEntry(section, entry, { ...options, setting, index });
    if (typeof read === "string") faults.push({ setting, problem: read });
    else mappings.push(read);
  }
  return { mappings, accounts, faults, usable: true };
}

function readEntry(
  section: "mapRoles" | "mapUsers",
  entry: unknown,
  options: { readonly setting: string; readonly index: number; readonly wildcards: boolean },
): Mapping | string {
  if (typeof entry !== "object" || entry === null || Array.isArray(entry)) return "it is not a mapping";
  const kind = section === "mapRoles" ? "role" : "user";
  const known = [`${kind}arn`, "username", "groups", kind === "role" ? "roleid" : "userid"];
  const fields = new Map<string, unknown>();
  for (const [name, value] of Object.entries(entry)) {
    const lower = name.toLowerCase();
    if (!known.includes(lower)) return `${name} is not one of ${known.join(", ")}`;
    if (fields.has(lower)) return `${name} stands in it twice`;
    fields.set(lower, value);
  }
  const [arn = "", username = "", groups = "", pinnedId = ""] = known;
  const read = readMapping(
    {
      arn: fields.get(arn),
      username: fields.get(username),
      groups: fields.get(groups),
      pinnedId: fields.get(pinnedId),
    },
    {
      entry: options.setting,
      rank: `${section} ${String(options.index).padStart(8, "0")}`,
      wildcards: options.wildcards,
      kind,
    },
  );
  return read.ok ? read.mapping : read.problem;
}

/**
 * What a mapping is: one RAM identity, or a pattern of them, and the cluster user it becomes. All sources of mappings
 * bring theirs to this form.
 * @module
 */
import { parseMappingArn, type CanonicalArn } from "../ram/arns.ts";
import { faultOfTemplate } from "./template.ts";

export interface Mapping {
  /** The RAM identity; its name may be a pattern. */
  readonly arn: CanonicalArn;
  /** Whether the name has `*` or `?`. */
  readonly wildcard: boolean;
  /** Template of the username. */
  readonly username: string;
  /** Templates of the groups. */
  readonly groups: readonly string[];
  /** The one id of user or role that it is meant for; another identity of the same name is refused. */
  readonly pinnedId?: string;
  /** Where it stands, for the audit log: `mapRoles[2]`, `RAMIdentityMapping alice`. */
  readonly entry: string;
  /** Of two mappings of one ARN the one with the smaller rank counts. */
  readonly rank: string;
}

/** A mapping as its source spells it. */
export interface RawMapping {
  readonly arn: unknown;
  readonly username: unknown;
  readonly groups: unknown;
  readonly pinnedId: unknown;
}

export type ReadMapping =
  | { readonly ok: true; readonly mapping: Mapping }
  | { readonly ok: false; readonly problem: string };

export interface ReadMappingOptions {
  readonly entry: string;
  readonly rank: string;
  readonly wildcards: boolean;
  /** The kind that the source's section is for; absent: any. */
  readonly kind?: "user" | "role";
}

/** Checks one mapping. The problem is a sentence for its author. */
export function readMapping(raw: RawMapping, options: ReadMappingOptions): ReadMapping {
  if (typeof raw.arn !== "string" || raw.arn === "") return problem("it has no ARN");
  if (typeof raw.username !== "string" || raw.username === "") return problem("it has no username");
  const groups = raw.groups ?? [];
  if (!Array.isArray(groups) || !groups.every((group): group is string => typeof group === "string")) {
    return problem("its groups are not a list of names");
  }
  const { pinnedId } = raw;
  if (pinnedId !== undefined && pinnedId !== null && (typeof pinnedId !== "string" || pinnedId === "")) {
    return problem("its user id is not a text");
  }
  const parsed = parseMappingArn(raw.arn, { wildcards: options.wildcards });
  if (!parsed.ok) return problem(`of its ARN ${JSON.stringify(raw.arn.slice(0, 200))}, ${parsed.problem}`);
  const { arn } = parsed;
  if (options.kind === "role" && arn.kind !== "role") return problem(`${arn.text} is not a role`);
  if (options.kind === "user" && arn.kind === "role") return problem(`${arn.text} is not a user`);
  const wildcard = /[*?]/.test(arn.name);
  if (wildcard && typeof pinnedId === "string") return problem("a pattern cannot be pinned to one id");
  for (const template of [raw.username, ...groups]) {
    const fault = faultOfTemplate(template);
    if (fault !== undefined) return problem(fault);
  }
  return {
    ok: true,
    mapping: {
      arn,
      wildcard,
      username: raw.username,
      groups,
      ...(typeof pinnedId === "string" ? { pinnedId } : {}),
      entry: options.entry,
      rank: options.rank,
    },
  };
}

function problem(text: string): ReadMapping {
  return { ok: false, problem: text };
}

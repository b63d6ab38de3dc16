/**
 * The credential specs that are to be delivered, as a folder of manifests offers them: linted, in their canonical bytes, with
 * the name of the config that each becomes and the list of those who may use it.
 * @module
 */
import { canonicalJson } from "../credential-spec/canonical-json.ts";
import { memberOf, nodeOf } from "../credential-spec/json.ts";
import { lintCredentialSpec, textOf } from "../credential-spec/lint.ts";
import { hashOf } from "../credential-spec/render/rendering.ts";
import { configNameFor } from "../credential-spec/render/swarm.ts";
import type { KubernetesObject, ParsedResource, ResourceCache } from "../kubernetes/resource-source.ts";
import { parseUseList, useAnnotation, type UseList } from "./use-list.ts";

export interface OfferedSpec {
  /** The resource's name. */
  readonly name: string;
  /** The canonical form: the bytes that `credspec render` gives, too. */
  readonly contents: string;
  /** SHA-256 of the contents, hexadecimal. */
  readonly hash: string;
  /** Name of the config with these contents. */
  readonly config: string;
  readonly use: UseList;
  /** Why it must not be delivered as it stands; empty when it may be. */
  readonly problems: readonly string[];
  /** The gMSA and its domain, lower case: which spec a container's contents are a version of. */
  readonly account: string;
}

export interface Offer {
  readonly specs: readonly OfferedSpec[];
  /**
   * Why this may not be all that the folder offers, as sentences; empty when it is. What seems to be gone then may stand in
   * the part that cannot be read.
   */
  readonly gaps: readonly string[];
}

/** For a `ResourceSelector`: refuses nothing, so that a broken spec is known by its name and its versions stay. */
export function parseOfferedSpec(object: KubernetesObject): ParsedResource<OfferedSpec> {
  const { name, annotations } = object.metadata;
  const spec = nodeOf(object["credspec"] ?? null);
  const use = parseUseList(annotations?.[useAnnotation]);
  const faults = lintCredentialSpec(spec, { pointer: "/credspec" }).filter((one) => one.severity === "error");
  return {
    ok: true,
    value: {
      name,
      contents: canonicalJson(spec),
      hash: hashOf(spec),
      config: configNameFor({ name, spec }),
      use,
      problems: [...faults.map((one) => `${one.pointer} ${one.problem}`), ...(use.ok ? [] : [use.problem])],
      account: accountOf(spec),
    },
  };
}

/** What a cache of {@link parseOfferedSpec} holds now. */
export function readOffer(cache: ResourceCache<OfferedSpec>): Offer {
  const { state, reason } = cache.status();
  const faults = cache.faults().map(({ subject, problem }) => `${subject}: ${problem}`);
  const away = state === "synced" || faults.length > 0 ? [] : [reason ?? "nothing was read yet"];
  return { specs: cache.list(), gaps: [...faults, ...away] };
}

/** `account@domain` of a spec, lower case; the empty string where it names none. */
export function accountOf(spec: ReturnType<typeof nodeOf>): string {
  const domain = memberOf(spec, "DomainJoinConfig");
  const account = textOf(memberOf(domain, "MachineAccountName"));
  const dnsName = textOf(memberOf(domain, "DnsName"));
  return account === undefined || dnsName === undefined ? "" : `${account}@${dnsName}`.toLowerCase();
}

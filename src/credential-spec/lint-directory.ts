/**
 * A credential spec compared with what the directory says about its domain and its gMSA.
 * @module
 */
import type { AccountDirectory } from "./create.ts";
import { memberOf, pointerOf, type JsonNode } from "./json.ts";
import { finding, textOf, type Finding } from "./lint.ts";
import type { DomainFacts } from "./model.ts";

const fields: readonly (readonly [string, keyof DomainFacts])[] = [
  ["Sid", "sid"],
  ["Guid", "guid"],
  ["DnsTreeName", "forestName"],
  ["DnsName", "dnsName"],
  ["NetBiosName", "netbiosName"],
];

/** A spec that does not even name an account has findings of its own already. Rejects as the directory does. */
export async function lintAgainstDirectory(
  spec: JsonNode,
  pointer: string,
  directory: AccountDirectory,
): Promise<readonly Finding[]> {
  const domain = memberOf(spec, "DomainJoinConfig");
  const account = memberOf(domain, "MachineAccountName");
  const accountName = textOf(account);
  if (account === undefined || accountName === undefined || accountName === "") return [];
  const answer = await directory.describe(accountName);
  if (!answer.found) {
    const where = pointer + pointerOf(["DomainJoinConfig", "MachineAccountName"]);
    return [finding("unknown-account", where, answer.reason, account.at)];
  }
  return fields.flatMap(([name, fact]) => {
    const node = memberOf(domain, name);
    const written = textOf(node);
    const known = answer.domain[fact];
    if (written === undefined || written.toLowerCase() === known.toLowerCase()) return [];
    const where = pointer + pointerOf(["DomainJoinConfig", name]);
    return [finding("directory-disagrees", where, `the directory says ${known}`, node?.at)];
  });
}

/**
 * What Kubernetes accepts and Windows will not make work: told to whoever creates the pod, without refusing it.
 * @module
 */
import { memberOf, readJson } from "../credential-spec/json.ts";
import { goQuote } from "./go-quote.ts";
import type { GmsaEntry, GmsaPod } from "./pod.ts";

/** Accounts that use the gMSA when they go to the network, lower case. */
const accountsWithIdentity: ReadonlySet<string> = new Set([
  "system",
  "localsystem",
  "nt authority\\system",
  "nt authority\\localsystem",
  "network service",
  "networkservice",
  "nt authority\\network service",
  "nt authority\\networkservice",
]);

/** Warnings about a pod that is otherwise allowed. Pure. */
export function podWarnings(pod: GmsaPod): readonly string[] {
  const own = pod.entries.find((entry) => entry.kind === "pod");
  const containers = pod.entries.filter((entry) => entry.kind !== "pod");
  const warnings: string[] = [];
  if (!pod.entries.some(namesIdentity)) return warnings;

  for (const entry of containers) {
    if (!namesIdentity(entry) && !(own !== undefined && namesIdentity(own))) continue;
    if ((entry.hostProcess ?? own?.hostProcess) === true) warnings.push(hostProcessWarning(entry));
    const user = entry.runAsUserName ?? own?.runAsUserName;
    if (user !== undefined && !accountsWithIdentity.has(user.toLowerCase()))
      warnings.push(userWarning(entry, user));
  }
  if (own !== undefined && namesIdentity(own) && pod.inheriting.length > 0) {
    if (own.hostProcess === true) warnings.push(hostProcessWarning(own));
    if (own.runAsUserName !== undefined && !accountsWithIdentity.has(own.runAsUserName.toLowerCase())) {
      warnings.push(userWarning(own, own.runAsUserName));
    }
  }
  warnings.push(...hostnameWarnings(pod));
  return warnings;
}

/** A name without contents at a container hides the pod's contents from it. */
export function shadowWarning(entry: GmsaEntry, pod: GmsaPod): string {
  const hides =
    entry.kind !== "pod" && pod.entries.some((other) => other.kind === "pod" && (other.contents ?? "") !== "")
      ? " and hides the pod's own contents"
      : "";
  return `${entry.kind} ${goQuote(entry.resource)} names GMSA cred spec ${goQuote(entry.specName ?? "")} without its contents${hides}: it will run without the identity`;
}

function namesIdentity(entry: GmsaEntry): boolean {
  return entry.specName !== undefined || entry.contents !== undefined;
}

function hostProcessWarning(entry: GmsaEntry): string {
  return `${entry.kind} ${goQuote(entry.resource)} is a HostProcess container: it ignores its GMSA cred spec and runs as the host`;
}

function userWarning(entry: GmsaEntry, user: string): string {
  return `${entry.kind} ${goQuote(entry.resource)} runs as ${goQuote(user)}: only Local System and Network Service use the GMSA on the network`;
}

function hostnameWarnings(pod: GmsaPod): readonly string[] {
  if (pod.hostname === "") return [];
  const accounts = new Set(pod.entries.map((entry) => accountOf(entry.contents ?? "")));
  if (accounts.has(pod.hostname.toLowerCase())) {
    return [
      `the host name ${goQuote(pod.hostname)} is the name of the GMSA: that breaks its trust to the domain`,
    ];
  }
  if (!pod.replicated) return [];
  return [
    `all replicas get the host name ${goQuote(pod.hostname)}: under one GMSA that breaks their trust to the domain`,
  ];
}

function accountOf(contents: string): string | undefined {
  if (contents === "") return undefined;
  const reading = readJson(contents);
  if (!reading.ok) return undefined;
  const account = memberOf(memberOf(reading.value, "DomainJoinConfig"), "MachineAccountName");
  return account?.type === "string" ? account.value.toLowerCase().replace(/\$$/, "") : undefined;
}

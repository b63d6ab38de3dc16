/**
 * What will not work in a credential spec, found before Windows finds it: each finding says where, what, and by its rule
 * why it fails and how to mend it.
 * @module
 */
import { lintRules, type LintRule, type LintRuleId } from "./lint-rules.ts";
import { memberOf, pointerOf, type DuplicateKey, type JsonNode } from "./json.ts";
import { canonicalJson } from "./canonical-json.ts";
import { largestDocument } from "./model.ts";
import { pluginInputProblem } from "./plugin-input.ts";

export interface Finding extends LintRule {
  readonly rule: LintRuleId;
  /** JSON pointer (RFC 6901) from the root of what was read. */
  readonly pointer: string;
  /** Offset in the text, where there is a text. */
  readonly at: number | undefined;
  readonly problem: string;
}

export interface LintOptions {
  /** Where the spec stands in the whole document, `/credspec` in a resource. */
  readonly pointer?: string;
  readonly duplicates?: readonly DuplicateKey[];
}

/** Builds a finding of a rule. */
export function finding(rule: LintRuleId, pointer: string, problem: string, at?: number): Finding {
  return { rule, pointer, at, problem, ...lintRules[rule] };
}

/** All findings on one spec, in the order of the document's fields. Pure, never throws. */
export function lintCredentialSpec(spec: JsonNode, options: LintOptions = {}): readonly Finding[] {
  const linter = new Linter(options.pointer ?? "");
  for (const duplicate of options.duplicates ?? []) {
    linter.report("duplicate-key", duplicate.pointer, "the key stands twice in its object", duplicate.at);
  }
  linter.lint(spec);
  return linter.findings;
}

/** Whether any finding means that the spec will not work. */
export function hasErrors(findings: readonly Finding[]): boolean {
  return findings.some((one) => one.severity === "error");
}

/** The domain that a spec names, for {@link lintTogether}. */
export interface LintedSpec {
  readonly spec: JsonNode;
  /** Where it stands, as a reader will know it. */
  readonly label: string;
  readonly pointer: string;
}

/**
 * Findings that only several specs together show: a domain has one SID and one GUID, so two specs that disagree
 * hold at least one value that is not the domain's. The result has one list per spec, in the order given.
 */
export function lintTogether(specs: readonly LintedSpec[]): readonly (readonly Finding[])[] {
  const first = new Map<string, { readonly value: string; readonly label: string }>();
  return specs.map(({ spec, label, pointer }) => {
    const findings: Finding[] = [];
    const domain = memberOf(spec, "DomainJoinConfig");
    const dnsName = textOf(memberOf(domain, "DnsName"))?.toLowerCase();
    for (const field of ["Sid", "Guid"]) {
      const node = memberOf(domain, field);
      const value = textOf(node)?.toLowerCase();
      if (dnsName === undefined || value === undefined || node === undefined) continue;
      const known = first.get(`${field} ${dnsName}`);
      if (known === undefined) first.set(`${field} ${dnsName}`, { value, label });
      else if (known.value !== value) {
        const where = pointer + pointerOf(["DomainJoinConfig", field]);
        findings.push(
          finding("domain-disagrees", where, `${field} differs from the one in ${known.label}`, node.at),
        );
      }
    }
    return findings;
  });
}

const domainSid = /^S-1-5-21-\d{1,10}-\d{1,10}-\d{1,10}$/;
const accountSid = /^S-1-5-21(?:-\d{1,10}){4}$/;
const bareGuid = /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/;
const guidShape = /^[0-9a-zA-Z]{8}(?:-[0-9a-zA-Z]{4}){3}-[0-9a-zA-Z]{12}$/;
const zeroGuid = "00000000-0000-0000-0000-000000000000";

type Fields = Readonly<Record<string, JsonNode | undefined>>;

class Linter {
  readonly findings: Finding[] = [];
  readonly #base: string;

  constructor(base: string) {
    this.#base = base;
  }

  report(rule: LintRuleId, pointer: string, problem: string, at?: number): void {
    this.findings.push(finding(rule, pointer, problem, at));
  }

  lint(spec: JsonNode): void {
    if (spec.type !== "object") {
      this.#add("wrong-type", [], `the spec must be an object, not ${article(spec)}`, spec);
      return;
    }
    const size = Buffer.byteLength(canonicalJson(spec), "utf8");
    if (size > largestDocument) {
      this.#add("too-large", [], `the spec has ${size} bytes, ${size - largestDocument} too many`, spec);
    }
    const fields = this.#fields(spec, [], ["CmsPlugins", "DomainJoinConfig", "ActiveDirectoryConfig"], []);
    this.#cmsPlugins(fields["CmsPlugins"]);
    const names = this.#domainJoinConfig(fields["DomainJoinConfig"]);
    this.#activeDirectoryConfig(fields["ActiveDirectoryConfig"], names);
  }

  #cmsPlugins(node: JsonNode | undefined): void {
    if (node === undefined) return;
    if (node.type !== "array") {
      this.#add("wrong-type", ["CmsPlugins"], `must be a list of strings, not ${article(node)}`, node);
      return;
    }
    node.items.forEach((item, index) => this.#string(item, ["CmsPlugins", index]));
    if (!node.items.some((item) => textOf(item) === "ActiveDirectory")) {
      this.#add("cms-plugin-missing", ["CmsPlugins"], 'does not contain "ActiveDirectory"', node);
    }
  }

  #domainJoinConfig(node: JsonNode | undefined): DomainNames {
    if (node === undefined) return {};
    const required = ["Sid", "MachineAccountName", "Guid", "DnsTreeName", "DnsName", "NetBiosName"];
    const fields = this.#fields(node, ["DomainJoinConfig"], required, []);
    const read = (name: string): string | undefined => this.#string(fields[name], ["DomainJoinConfig", name]);
    const add = (rule: LintRuleId, name: string, problem: string): void =>
      this.#add(rule, ["DomainJoinConfig", name], problem, fields[name]);

    const sid = read("Sid");
    if (sid !== undefined && accountSid.test(sid))
      add("sid-of-account", "Sid", `${sid} is the SID of an account`);
    else if (sid !== undefined && !domainSid.test(sid))
      add("sid-malformed", "Sid", `${show(sid)} is no domain SID`);
    const account = read("MachineAccountName");
    if (account !== undefined)
      this.#accountName(account, ["DomainJoinConfig", "MachineAccountName"], fields["MachineAccountName"]);
    const guid = read("Guid");
    if (guid !== undefined && (!bareGuid.test(guid) || guid === zeroGuid))
      add("guid-malformed", "Guid", guidProblem(guid));
    const forest = read("DnsTreeName");
    if (forest !== undefined && !forest.includes("."))
      add("dns-name", "DnsTreeName", `${show(forest)} has no dot`);
    const dnsName = read("DnsName");
    if (dnsName !== undefined && !dnsName.includes("."))
      add("dns-name", "DnsName", `${show(dnsName)} has no dot`);
    const netbiosName = read("NetBiosName");
    if (netbiosName !== undefined && (netbiosName.length > 15 || netbiosName.includes("."))) {
      const problem = netbiosName.includes(".") ? "contains a dot" : `has ${netbiosName.length} characters`;
      add("netbios-name", "NetBiosName", `${show(netbiosName)} ${problem}`);
    }
    return { account, dnsName, netbiosName };
  }

  #activeDirectoryConfig(node: JsonNode | undefined, names: DomainNames): void {
    if (node === undefined) return;
    const path = ["ActiveDirectoryConfig"];
    const fields = this.#fields(node, path, ["GroupManagedServiceAccounts"], ["HostAccountConfig"]);
    this.#accounts(fields["GroupManagedServiceAccounts"], [...path, "GroupManagedServiceAccounts"], names);
    this.#hostAccountConfig(fields["HostAccountConfig"], [...path, "HostAccountConfig"]);
  }

  #accounts(node: JsonNode | undefined, path: readonly string[], names: DomainNames): void {
    if (node === undefined) return;
    if (node.type !== "array") {
      this.#add("wrong-type", path, `must be a list of {Name, Scope}, not ${article(node)}`, node);
      return;
    }
    if (node.items.length === 0) this.#add("empty-value", path, "lists no account", node);
    const scopes = [names.dnsName, names.netbiosName].filter((scope) => scope !== undefined);
    const listed = new Set<string>();
    node.items.forEach((item, index) => {
      const fields = this.#fields(item, [...path, index], ["Name", "Scope"], []);
      const name = this.#string(fields["Name"], [...path, index, "Name"]);
      const scope = this.#string(fields["Scope"], [...path, index, "Scope"]);
      if (name !== undefined) this.#accountName(name, [...path, index, "Name"], fields["Name"]);
      if (name === undefined || scope === undefined) return;
      const entry = `${name.replace(/\$$/, "")}\n${scope}`.toLowerCase();
      if (listed.has(entry))
        this.#add("duplicate-account", [...path, index], "repeats an earlier entry", item);
      listed.add(entry);
      if (scopes.length === 2 && !scopes.some((known) => sameName(known, scope))) {
        this.#add(
          "scope-unknown",
          [...path, index, "Scope"],
          `${show(scope)} is not ${scopes.map(show).join(" or ")}`,
          fields["Scope"],
        );
      }
    });
    if (names.account === undefined) return;
    const account = names.account.replace(/\$$/, "");
    for (const scope of scopes) {
      if (listed.has(`${account}\n${scope}`.toLowerCase())) continue;
      this.#add(
        "scope-missing",
        path,
        `has no entry for ${show(account)} with the scope ${show(scope)}`,
        node,
      );
    }
  }

  #hostAccountConfig(node: JsonNode | undefined, path: readonly string[]): void {
    if (node === undefined) return;
    const fields = this.#fields(node, path, ["PortableCcgVersion", "PluginGUID", "PluginInput"], []);
    const version = this.#string(fields["PortableCcgVersion"], [...path, "PortableCcgVersion"]);
    if (version !== undefined && version !== "1") {
      this.#add(
        "ccg-version",
        [...path, "PortableCcgVersion"],
        `is ${show(version)}`,
        fields["PortableCcgVersion"],
      );
    }
    const guid = this.#string(fields["PluginGUID"], [...path, "PluginGUID"]);
    const bare = guid === undefined ? undefined : /^\{(.*)\}$/.exec(guid)?.[1];
    const usable = bare !== undefined && bareGuid.test(bare) && bare !== zeroGuid;
    if (guid !== undefined && !usable) {
      const problem = bare === undefined ? `${show(guid)} is not in braces` : guidProblem(bare);
      this.#add("plugin-guid-malformed", [...path, "PluginGUID"], problem, fields["PluginGUID"]);
    }
    const input = this.#string(fields["PluginInput"], [...path, "PluginInput"]);
    if (input === undefined || bare === undefined) return;
    const problem = pluginInputProblem(bare, input);
    if (problem !== undefined)
      this.#add(problem.rule, [...path, "PluginInput"], problem.problem, fields["PluginInput"]);
  }

  #accountName(name: string, path: Path, node: JsonNode | undefined): void {
    const bare = name.replace(/\$$/, "");
    if (bare !== name) this.#add("trailing-dollar", path, "ends in $", node);
    if (bare.length > 15) this.#add("account-name", path, `has ${bare.length} characters`, node);
    else if (/["/\\[\]:;|=,+*?<>@\s]/.test(bare)) {
      this.#add(
        "account-name",
        path,
        `${show(bare)} holds a character that an account name cannot have`,
        node,
      );
    }
  }

  /** The known members of an object; reports what is missing, unknown, or no object at all. */
  #fields(node: JsonNode, path: Path, required: readonly string[], optional: readonly string[]): Fields {
    if (node.type !== "object") {
      this.#add("wrong-type", path, `must be an object, not ${article(node)}`, node);
      return {};
    }
    const known = [...required, ...optional];
    for (const { key, at } of node.members) {
      if (known.includes(key)) continue;
      const meant = known.find((name) => name.toLowerCase() === key.toLowerCase());
      const problem =
        meant === undefined ? "is no field of a credential spec" : `is misspelt, it should be ${meant}`;
      this.report("unknown-field", this.#base + pointerOf([...path, key]), problem, at);
    }
    for (const name of required) {
      if (memberOf(node, name) === undefined) this.#add("missing-field", [...path, name], "is missing", node);
    }
    return Object.fromEntries(known.map((name) => [name, memberOf(node, name)]));
  }

  /** A non-empty string; reports anything else that is there. */
  #string(node: JsonNode | undefined, path: Path): string | undefined {
    if (node === undefined) return undefined;
    if (node.type !== "string") {
      this.#add("wrong-type", path, `must be a string, not ${article(node)}`, node);
      return undefined;
    }
    if (node.value.trim() !== "") return node.value;
    this.#add("empty-value", path, "is empty", node);
    return undefined;
  }

  #add(rule: LintRuleId, path: Path, problem: string, node: JsonNode | undefined): void {
    this.report(rule, this.#base + pointerOf(path), problem, node?.at);
  }
}

type Path = readonly (string | number)[];

interface DomainNames {
  readonly account?: string | undefined;
  readonly dnsName?: string | undefined;
  readonly netbiosName?: string | undefined;
}

/** The text of a string node. */
export function textOf(node: JsonNode | undefined): string | undefined {
  return node?.type === "string" ? node.value : undefined;
}

function sameName(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function guidProblem(guid: string): string {
  if (guid === zeroGuid) return "is all zeros";
  if (/^\{.*\}$/.test(guid)) return `${show(guid)} has braces`;
  const letters = [...new Set(guid.toUpperCase().match(/[G-Z]/g) ?? [])].join(", ");
  if (guidShape.test(guid)) return `${show(guid)} is not hexadecimal (${letters})`;
  return `${show(guid)} is no GUID`;
}

function article(node: JsonNode): string {
  if (node.type === "null") return "null";
  return node.type === "array" ? "a list" : node.type === "object" ? "an object" : `a ${node.type}`;
}

/** A value of the spec in a message: quoted, and short. */
function show(value: string): string {
  return JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
}

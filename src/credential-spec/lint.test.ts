/**
 * Tests of every lint rule.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { sampleSpec } from "../../test/samples/credential-spec.ts";
import { nodeOf, readJson } from "./json.ts";
import { lintCredentialSpec, lintTogether } from "./lint.ts";
import { lintRules, type LintRuleId } from "./lint-rules.ts";

type Change = (spec: ReturnType<typeof sampleSpec> & Record<string, unknown>) => void;

function findingsAfter(change: Change): readonly string[] {
  const spec = sampleSpec() as ReturnType<typeof sampleSpec> & Record<string, unknown>;
  change(spec);
  return lintCredentialSpec(nodeOf(spec)).map(({ rule, pointer }) => `${rule} ${pointer}`);
}

test("a spec as New-CredentialSpec writes it has no findings", () => {
  assert.deepEqual(
    findingsAfter(() => undefined),
    [],
  );
});

test("a domain may lie in another tree than its forest's root", () => {
  assert.deepEqual(
    findingsAfter((spec) => (spec.DomainJoinConfig["DnsTreeName"] = "fabrikam.net")),
    [],
  );
});

const portable = (changes: Record<string, string>): Change => {
  return (spec) => {
    spec.ActiveDirectoryConfig.HostAccountConfig = {
      PortableCcgVersion: "1",
      PluginGUID: "{E4781092-F116-4B79-B55E-28EB6A224E26}",
      PluginInput: "gmsa:webapp01-creds",
      ...changes,
    };
  };
};

test("a portable identity for the Kubernetes secret plugin has no findings", () => {
  assert.deepEqual(findingsAfter(portable({})), []);
});

const join =
  (field: string, value: unknown): Change =>
  (spec) =>
    void ((spec.DomainJoinConfig as Record<string, unknown>)[field] = value);
const accounts =
  (...entries: Record<string, string>[]): Change =>
  (spec) =>
    void (spec.ActiveDirectoryConfig.GroupManagedServiceAccounts = entries);

const hostConfig = "/ActiveDirectoryConfig/HostAccountConfig";
const accountList = "/ActiveDirectoryConfig/GroupManagedServiceAccounts";

const faults: readonly (readonly [name: string, change: Change, findings: readonly string[]])[] = [
  [
    "the gMSA's SID",
    join("Sid", "S-1-5-21-2126449477-2524075714-3094792973-1104"),
    ["sid-of-account /DomainJoinConfig/Sid"],
  ],
  ["a SID of another kind", join("Sid", "S-1-5-32-544"), ["sid-malformed /DomainJoinConfig/Sid"]],
  [
    "a GUID in braces",
    join("Guid", "{244818ae-87ac-4fcd-92ec-e79e5252348a}"),
    ["guid-malformed /DomainJoinConfig/Guid"],
  ],
  [
    "a GUID of zeros",
    join("Guid", "00000000-0000-0000-0000-000000000000"),
    ["guid-malformed /DomainJoinConfig/Guid"],
  ],
  ["a number as a leaf", join("Guid", 1), ["wrong-type /DomainJoinConfig/Guid"]],
  ["an empty leaf", join("DnsTreeName", " "), ["empty-value /DomainJoinConfig/DnsTreeName"]],
  ["a null leaf", join("DnsTreeName", null), ["wrong-type /DomainJoinConfig/DnsTreeName"]],
  ["a forest name without dots", join("DnsTreeName", "contoso"), ["dns-name /DomainJoinConfig/DnsTreeName"]],
  ["an unknown field", join("ForestGuid", "x"), ["unknown-field /DomainJoinConfig/ForestGuid"]],
  [
    "the account's name with a dollar",
    join("MachineAccountName", "webapp01$"),
    ["trailing-dollar /DomainJoinConfig/MachineAccountName"],
  ],
  [
    "a listed name with a dollar",
    accounts({ Name: "webapp01$", Scope: "contoso.com" }, { Name: "webapp01", Scope: "CONTOSO" }),
    [`trailing-dollar ${accountList}/0/Name`],
  ],
  [
    "a NetBIOS name of 16 characters",
    (spec) => {
      join("NetBiosName", "CONTOSOCONTOSOCO")(spec);
      accounts(
        { Name: "webapp01", Scope: "contoso.com" },
        { Name: "webapp01", Scope: "CONTOSOCONTOSOCO" },
      )(spec);
    },
    ["netbios-name /DomainJoinConfig/NetBiosName"],
  ],
  ["no CMS plugin", (spec) => void (spec.CmsPlugins = []), ["cms-plugin-missing /CmsPlugins"]],
  ["no CmsPlugins", (spec) => void Reflect.deleteProperty(spec, "CmsPlugins"), ["missing-field /CmsPlugins"]],
  [
    "no DomainJoinConfig",
    (spec) => void Reflect.deleteProperty(spec, "DomainJoinConfig"),
    ["missing-field /DomainJoinConfig"],
  ],
  [
    "a section that is a list",
    (spec) => void (spec["DomainJoinConfig"] = [] as never),
    ["wrong-type /DomainJoinConfig"],
  ],
  [
    "no account",
    accounts(),
    [`empty-value ${accountList}`, `scope-missing ${accountList}`, `scope-missing ${accountList}`],
  ],
  [
    "only the FQDN's scope",
    accounts({ Name: "webapp01", Scope: "contoso.com" }),
    [`scope-missing ${accountList}`],
  ],
  [
    "an entry without scope",
    accounts(
      { Name: "webapp01", Scope: "contoso.com" },
      { Name: "webapp01", Scope: "CONTOSO" },
      { Name: "sql01" },
    ),
    [`missing-field ${accountList}/2/Scope`],
  ],
  [
    "another domain's account",
    accounts(
      { Name: "webapp01", Scope: "contoso.com" },
      { Name: "webapp01", Scope: "CONTOSO" },
      { Name: "sql01", Scope: "fabrikam.net" },
    ),
    [`scope-unknown ${accountList}/2/Scope`],
  ],
  [
    "an entry twice",
    accounts(
      { Name: "webapp01", Scope: "contoso.com" },
      { Name: "webapp01", Scope: "CONTOSO" },
      { Name: "WEBAPP01", Scope: "contoso" },
    ),
    [`duplicate-account ${accountList}/2`],
  ],
  [
    "an account name of 16 characters",
    (spec) => {
      join("MachineAccountName", "webapplication01")(spec);
      accounts(
        { Name: "webapplication01", Scope: "contoso.com" },
        { Name: "webapplication01", Scope: "CONTOSO" },
      )(spec);
    },
    [
      "account-name /DomainJoinConfig/MachineAccountName",
      `account-name ${accountList}/0/Name`,
      `account-name ${accountList}/1/Name`,
    ],
  ],
  [
    "a plugin GUID without braces",
    portable({ PluginGUID: "E4781092-F116-4B79-B55E-28EB6A224E26" }),
    [`plugin-guid-malformed ${hostConfig}/PluginGUID`],
  ],
  [
    "the sample GUID that is not hexadecimal",
    portable({ PluginGUID: "{GDMA0342-266A-4D1P-831J-20990E82944F}" }),
    [`plugin-guid-malformed ${hostConfig}/PluginGUID`],
  ],
  [
    "another CCG version",
    portable({ PortableCcgVersion: "2" }),
    [`ccg-version ${hostConfig}/PortableCcgVersion`],
  ],
  ["an empty plugin input", portable({ PluginInput: "" }), [`empty-value ${hostConfig}/PluginInput`]],
  [
    "an input that is not the plugin's",
    portable({ PluginInput: "only-a-name" }),
    [`plugin-input-malformed ${hostConfig}/PluginInput`],
  ],
  [
    "an Azure input without its vault",
    portable({ PluginGUID: "{CCC2A336-D7F3-4818-A213-272B7924213E}", PluginInput: "ObjectId=1" }),
    [`plugin-input-malformed ${hostConfig}/PluginInput`],
  ],
  [
    "a password as input",
    portable({ PluginGUID: "{CFCA0441-511D-4B2A-862E-20348A78760B}", PluginInput: "contoso:svc:Secret1" }),
    [`plugin-input-secret ${hostConfig}/PluginInput`],
  ],
  [
    "an object as plugin input",
    (spec) => {
      portable({})(spec);
      Object.assign(spec.ActiveDirectoryConfig.HostAccountConfig ?? {}, {
        PluginInput: { CredentialArn: "arn" },
      });
    },
    [`wrong-type ${hostConfig}/PluginInput`],
  ],
  [
    "half a portable identity",
    (spec) => void (spec.ActiveDirectoryConfig.HostAccountConfig = { PluginInput: "a:b" }),
    [`missing-field ${hostConfig}/PortableCcgVersion`, `missing-field ${hostConfig}/PluginGUID`],
  ],
  ["a misspelt section", (spec) => void (spec["domainJoinConfig"] = {}), ["unknown-field /domainJoinConfig"]],
  [
    "64 KiB and more",
    (spec) => void (spec["Padding"] = "x".repeat(66_000)),
    ["too-large ", "unknown-field /Padding"],
  ],
];

for (const [name, change, findings] of faults) {
  test(`lint finds ${name}`, () => {
    assert.deepEqual(findingsAfter(change), findings);
  });
}

test("the letters that are not hexadecimal are named", () => {
  const spec = sampleSpec();
  portable({ PluginGUID: "{GDMA0342-266A-4D1P-831J-20990E82944F}" })(spec as never);

  const [found] = lintCredentialSpec(nodeOf(spec));

  assert.match(found?.problem ?? "", /not hexadecimal \(G, M, P, J\)/);
});

test("a plugin input never appears in a finding", () => {
  const spec = sampleSpec();
  portable({ PluginGUID: "{CFCA0441-511D-4B2A-862E-20348A78760B}", PluginInput: "contoso:svc:Secret1" })(
    spec as never,
  );

  assert.ok(!JSON.stringify(lintCredentialSpec(nodeOf(spec))).includes("Secret1"));
});

test("a duplicate key is found at its place", () => {
  const text = JSON.stringify(sampleSpec()).replace('"Sid":', '"Sid":"S-1-5-21-1-2-3","Sid":');
  const reading = readJson(text);
  assert.ok(reading.ok);

  const findings = lintCredentialSpec(reading.value, { duplicates: reading.duplicates });

  assert.deepEqual(
    findings.map(({ rule, pointer, at }) => [rule, pointer, at]),
    [["duplicate-key", "/DomainJoinConfig/Sid", text.lastIndexOf('"Sid"')]],
  );
});

test("two specs that give one domain different SIDs are told apart", () => {
  const [one, other] = [sampleSpec(), sampleSpec()];
  other.DomainJoinConfig["Sid"] = "S-1-5-21-1-2-3";

  const findings = lintTogether([
    { spec: nodeOf(one), label: "a.json", pointer: "" },
    { spec: nodeOf(other), label: "b.yaml", pointer: "/credspec" },
  ]);

  assert.deepEqual(
    findings.map((list) => list.map(({ rule, pointer }) => `${rule} ${pointer}`)),
    [[], ["domain-disagrees /credspec/DomainJoinConfig/Sid"]],
  );
});

test("whatever the document, lint ends with findings of known rules", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      for (const { rule } of lintCredentialSpec(nodeOf({ ...sampleSpec(), DomainJoinConfig: value }))) {
        assert.ok((Object.keys(lintRules) as LintRuleId[]).includes(rule));
      }
    }),
  );
});

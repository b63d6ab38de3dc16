/**
 * Credential specs made from, and checked against, a real directory; what they should say is asked of Samba's own tools.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { runCommand, type CommandResult } from "../../guarded-process.ts";
import { domain, startDomainController, type DomainController } from "../domain-controller.ts";

const main = join(import.meta.dirname, "../../../src/main.ts");
const folder = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "cs-"));
let controller: DomainController;

interface Spec {
  readonly ActiveDirectoryConfig: {
    readonly GroupManagedServiceAccounts: readonly { readonly Name: string; readonly Scope: string }[];
  };
  readonly DomainJoinConfig: {
    Sid: string;
    Guid: string;
    readonly DnsName: string;
    readonly DnsTreeName: string;
    readonly NetBiosName: string;
    readonly MachineAccountName: string;
  };
}

before(async () => {
  controller = await startDomainController("127.0.88.4");
  const credentials = join(folder, "reader");
  mkdirSync(credentials);
  for (const [key, value] of Object.entries({
    username: "ccg-impersonator",
    password: "Imp3rson@te!",
    domainName: domain,
  })) {
    writeFileSync(join(credentials, key), value);
  }
});
after(() => controller.stop());

function credspec(...words: readonly string[]): Promise<CommandResult> {
  const access = [
    "--server",
    `ldaps://${controller.address}`,
    "--ca",
    controller.authorityFile,
    "--credentials",
    join(folder, "reader"),
  ];
  return runCommand(process.execPath, [main, "credspec", ...words, ...access]);
}

async function created(): Promise<Spec> {
  const result = await credspec("create", "--from-directory", "--account", "webapp01");
  assert.equal(result.code, 0, result.stderr);
  return JSON.parse(result.stdout) as Spec;
}

async function lint(spec: Spec): Promise<CommandResult> {
  const file = join(folder, "spec.json");
  writeFileSync(file, JSON.stringify(spec));
  return credspec("lint", "--directory", file);
}

/** An attribute of the domain itself, as Samba's own program prints it. */
async function domainAttribute(name: string): Promise<string> {
  const words = ["-b", "DC=contoso,DC=test", "-s", "base", "-H", `${controller.privateFolder}/sam.ldb`, name];
  const { stdout, stderr } = await controller.samba("ldbsearch", ...words);
  const found = new RegExp(`^${name}: (.*)$`, "m").exec(stdout)?.[1];
  assert.ok(found !== undefined, stdout + stderr);
  return found;
}

test("a spec made from the directory says of the domain what Samba says of it", async () => {
  const spec = await created();

  assert.deepEqual(spec.DomainJoinConfig, {
    Sid: await domainAttribute("objectSid"),
    MachineAccountName: "webapp01",
    Guid: await domainAttribute("objectGUID"),
    DnsTreeName: domain,
    DnsName: domain,
    NetBiosName: "CONTOSO",
  });
  assert.deepEqual(spec.ActiveDirectoryConfig.GroupManagedServiceAccounts, [
    { Name: "webapp01", Scope: domain },
    { Name: "webapp01", Scope: "CONTOSO" },
  ]);
});

test("a spec that was made so has no fault against the directory", async () => {
  const result = await lint(await created());

  assert.equal(result.code, 0, result.stdout + result.stderr);
});

for (const [what, member, value, attribute] of [
  ["the SID of another domain", "Sid", "S-1-5-21-1-2-3", "objectSid"],
  ["the GUID of something else", "Guid", "11111111-2222-3333-4444-555555555555", "objectGUID"],
] as const) {
  test(`${what} is found by asking the directory, which says the right one`, async () => {
    const spec = await created();
    spec.DomainJoinConfig[member] = value;

    const result = await lint(spec);

    assert.equal(result.code, 1, result.stdout + result.stderr);
    const right = await domainAttribute(attribute);
    assert.ok(
      result.stdout.includes(`/DomainJoinConfig/${member} the directory says ${right}`),
      result.stdout,
    );
  });
}

for (const account of ["nobody01", "alice"]) {
  test(`${account}, which is no gMSA, becomes no spec`, async () => {
    const result = await credspec("create", "--from-directory", "--account", account);

    assert.equal(result.code, 1, result.stdout);
    assert.match(result.stderr, new RegExp(`no group managed service account ${account}`));
  });
}

/**
 * The directory against a real domain controller: the suite that the simulator passes, and what only AD has.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { directoryContract } from "../../../test/directory-contract.ts";
import { Directory, type DirectoryOptions } from "../../../src/directory/directory.ts";
import { createServiceLookUp } from "../../../src/directory/service-records.ts";
import { Secret } from "../../../src/secret.ts";
import { authorityOf, domain, startDomainController, type DomainController } from "../domain-controller.ts";

let controller: DomainController;
const opened: Directory[] = [];

before(async () => {
  controller = await startDomainController();
});
after(async () => {
  for (const directory of opened) directory.close();
  await controller.stop();
});

function open(options: Partial<DirectoryOptions> = {}, security: "ldaps" | "starttls" = "ldaps"): Directory {
  const port = security === "ldaps" ? 636 : 389;
  const made = new Directory({
    domain,
    controllers: { from: "list", servers: [{ host: controller.address, port, security }] },
    trust: { certificateAuthority: authorityOf(controller) },
    serviceAccount: { name: `ccg-impersonator@${domain}`, password: new Secret("Imp3rson@te!") },
    refusalFloorMs: 0,
    ...options,
  });
  opened.push(made);
  return made;
}

directoryContract("Samba", () => ({
  directory: ({ strategy, reader } = {}) =>
    open({
      ...(strategy === undefined ? {} : { groups: { strategy } }),
      ...(reader === undefined
        ? {}
        : { serviceAccount: { name: reader[0], password: new Secret(reader[1]) } }),
    }),
}));

test("Samba: logon hours are told apart", async () => {
  const result = await open().authenticate("badhours1", new Secret("B4dHours-Pass!"));

  assert.equal(result.outcome === "refused" && result.reason, "logon-hours");
});

test("Samba: the same people log in over StartTLS", async () => {
  const result = await open({}, "starttls").authenticate("zoe", new Secret("Z0e-Pässwörd"));

  assert.equal(result.outcome, "authenticated");
});

test("Samba: a controller whose certificate is not ours is refused", async () => {
  const result = await open({ trust: {} }).authenticate("alice", new Secret("Al1ce-Passw0rd"));

  assert.equal(result.outcome === "unavailable" && result.error.code, "E_DIRECTORY_TLS");
});

test("Samba: disabled, enabled, renamed and deleted: the GUID follows, and each is seen when read again", async (t) => {
  const asked = open();
  const account = "temporary1";
  const run = async (...words: readonly string[]): Promise<void> => {
    const result = await controller.samba("samba-tool", ...words);
    assert.equal(result.code, 0, result.stderr);
  };
  await run("user", "create", account, "Temp0rary-Pass!");
  t.after(() => controller.samba("samba-tool", "user", "delete", account));
  const login = await asked.authenticate(account, new Secret("Temp0rary-Pass!"));
  assert.ok(login.outcome === "authenticated");
  const { guid, passwordSet } = login.person;
  const state = async (): Promise<string> => {
    const refreshed = await asked.refresh(guid, passwordSet);
    return refreshed.outcome === "invalid" ? refreshed.reason : refreshed.outcome;
  };

  await run("user", "disable", account);
  assert.equal(await state(), "disabled");
  await run("user", "enable", account);
  await run("user", "rename", account, "--samaccountname=renamed1");
  assert.equal(await state(), "valid");
  await run("user", "setpassword", "renamed1", "--newpassword=An0ther-Pass!");
  assert.equal(await state(), "password-changed");
  await run("user", "delete", "renamed1");
  assert.equal(await state(), "deleted");
});

test("Samba: its DNS names the controller, in answers that Node's own resolver refuses", async () => {
  const lookUp = createServiceLookUp(() => [{ host: controller.address, port: 53 }]);

  const records = await lookUp(`_ldap._tcp.dc._msdcs.${domain}`, AbortSignal.timeout(5000));
  const none = await lookUp(`_ldap._tcp.nowhere._sites.dc._msdcs.${domain}`, AbortSignal.timeout(5000));

  assert.deepEqual(
    records.map(({ name, port }) => [name, port]),
    [[`dc1.${domain}`, 389]],
  );
  assert.deepEqual(none, []);
});

test("Samba: wrong passwords count once each, whichever name is typed", async () => {
  const asked = open();
  for (const name of ["bob", "CONTOSO\\bob", "bob@contoso.test"])
    await asked.authenticate(name, new Secret("wrong"));

  const listed = await controller.samba("samba-tool", "user", "show", "bob", "--attributes=badPwdCount");

  assert.match(listed.stdout, /badPwdCount: 3/);
  assert.equal((await asked.authenticate("bob", new Secret("B0b-Passw0rd!"))).outcome, "authenticated");
});

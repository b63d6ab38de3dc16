/**
 * What every directory does alike: the suite that Samba's domain controller and the simulator both pass. Each server is
 * given with the same people (`test/fixtures/test-directory.ts`).
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { systemClock } from "../src/clock.ts";
import type { Directory, RefusalReason } from "../src/directory/directory.ts";
import type { GroupStrategy } from "../src/directory/groups.ts";
import { retrieveManagedPassword } from "../src/managed-password/retrieve.ts";
import { Secret } from "../src/secret.ts";

export interface ContractSubject {
  /** A client that reads as this account; it ends with the suite. */
  directory(options?: {
    readonly strategy?: GroupStrategy;
    readonly reader?: readonly [name: string, password: string];
  }): Directory;
}

const domain = "contoso.test";

export function directoryContract(name: string, subject: () => ContractSubject): void {
  const spellings: readonly (readonly [string, string])[] = [
    ["alice", "alice"],
    ["ALICE", "alice"],
    ["alice@contoso.test", "alice"],
    ["Alice@CONTOSO.test", "alice"],
    ["CONTOSO\\alice", "alice"],
    ["contoso.test\\alice", "alice"],
    ["zoe", "zoe"],
    ["alice ", "alice"],
  ];
  for (const [typed, account] of spellings) {
    test(`${name}: "${typed}" is ${account}, as the directory spells it`, async () => {
      const result = await subject().directory().resolve(typed);

      assert.equal(result.outcome, "found");
      assert.equal(result.outcome === "found" && result.person.accountName, account);
    });
  }

  const nobody = [
    "nobody",
    "*",
    "a*",
    "alice)(objectClass=*",
    "alice\\2a",
    "FABRIKAM\\alice",
    "alice@fabrikam.test",
    "",
    " ",
    "alice\0",
    "CN=Alice Example,OU=People,DC=contoso,DC=test",
    "аlice",
    "ali\u200bce",
    "webapp01$",
    "x".repeat(10_240),
    "\\alice",
    "alice@",
    "王小明",
    "krbtgt*",
    "(|(a=b))",
    "PLAIN",
    "EXTERNAL",
  ];
  for (const typed of nobody) {
    test(`${name}: ${JSON.stringify(typed.slice(0, 40))} is nobody`, async () => {
      const directory = subject().directory();

      assert.equal((await directory.resolve(typed)).outcome, "absent");
      const authentication = await directory.authenticate(typed, new Secret("Al1ce-Passw0rd"));
      assert.equal(authentication.outcome, "refused");
    });
  }

  const memberships: readonly (readonly [string, readonly string[]])[] = [
    ["alice", ["Domain Users", "Inner", "Middle", "Outer"]],
    ["bob", ["CircA", "CircB", "Domain Users", "Middle", "Outer"]],
    ["zoe", ["Domain Users", "Inner", "Middle", "Outer"]],
  ];
  for (const strategy of ["token-groups", "in-chain"] as const) {
    for (const [account, expected] of memberships) {
      test(`${name}: ${account}'s groups by ${strategy} are found through others, a circle among them`, async () => {
        const result = await subject().directory({ strategy }).resolve(account);

        assert.equal(result.outcome, "found");
        assert.deepEqual(
          result.outcome === "found" && result.groups.map((group) => group.name).sort(),
          expected,
        );
      });
    }
  }

  test(`${name}: direct memberships and the primary group by member-of`, async () => {
    const result = await subject().directory({ strategy: "member-of" }).resolve("alice");

    assert.deepEqual(result.outcome === "found" && result.groups.map((group) => group.name).sort(), [
      "Domain Users",
      "Inner",
    ]);
  });

  const passwords: readonly (readonly [string, string])[] = [
    ["alice", "Al1ce-Passw0rd"],
    ["bob@contoso.test", "B0b-Passw0rd!"],
    ["CONTOSO\\zoe", "Z0e-Pässwörd"],
  ];
  for (const [typed, password] of passwords) {
    test(`${name}: ${typed} logs in`, async () => {
      const result = await subject().directory().authenticate(typed, new Secret(password));

      assert.equal(result.outcome, "authenticated");
    });
  }

  const refusals: readonly (readonly [string, string, RefusalReason, boolean])[] = [
    ["alice", "wrong", "wrong-password", false],
    ["alice", "al1ce-passw0rd", "wrong-password", false],
    ["nobody", "wrong", "unknown-account", false],
    ["alice", "", "empty-password", false],
    ["alice", "  ", "empty-password", false],
    ["alice", "\0Al1ce-Passw0rd", "empty-password", false],
    ["disabled1", "D1sabled-Pass!", "account-disabled", false],
    ["disabled1", "wrong", "wrong-password", false],
    ["locked1", "L0cked-Passw0rd", "locked-out", false],
    ["expired1", "Exp1red-Passw0rd", "password-expired", true],
    ["expired1", "wrong", "wrong-password", false],
    ["mustchange1", "MustCh4nge-Pass", "must-change-password", true],
    ["acctexp1", "AcctExp1-Pass!", "account-expired", false],
  ];
  for (const [typed, password, reason, proven] of refusals) {
    test(`${name}: ${typed} with ${JSON.stringify(password)} is refused: ${reason}`, async () => {
      const result = await subject().directory().authenticate(typed, new Secret(password));

      assert.equal(result.outcome, "refused");
      assert.equal(result.outcome === "refused" && result.reason, reason);
      assert.equal(result.outcome === "refused" && result.passwordProven, proven);
    });
  }

  test(`${name}: an account is read again by its GUID, and its login ends with a changed password or the account`, async () => {
    const directory = subject().directory();
    const found = await directory.resolve("alice");
    assert.ok(found.outcome === "found");
    const { guid, passwordSet } = found.person;

    const [valid, changed, deleted] = await Promise.all([
      directory.refresh(guid, passwordSet),
      directory.refresh(guid, "1"),
      directory.refresh("00000000-0000-0000-0000-000000000001" as typeof guid, passwordSet),
    ]);

    assert.equal(valid.outcome === "valid" && valid.groups.length, 4);
    assert.deepEqual(changed, { outcome: "invalid", reason: "password-changed" });
    assert.deepEqual(deleted, { outcome: "invalid", reason: "deleted" });
  });

  test(`${name}: the problems of an account are told when it is read again`, async () => {
    const directory = subject().directory();
    const states = ["disabled1", "locked1", "expired1", "mustchange1", "acctexp1"];

    const problems = await Promise.all(
      states.map(async (account) => {
        const found = await directory.resolve(account);
        assert.ok(found.outcome === "found");
        const refreshed = await directory.refresh(found.person.guid, found.person.passwordSet);
        return [found.problems[0], refreshed.outcome === "invalid" && refreshed.reason];
      }),
    );

    const expected = ["disabled", "locked-out", "password-expired", "must-change-password", "expired"];
    assert.deepEqual(
      problems,
      expected.map((problem) => [problem, problem]),
    );
  });

  test(`${name}: the domain tells its names and its lock-out threshold`, async () => {
    const facts = await subject().directory().facts();

    assert.equal(facts.netbiosName, "CONTOSO");
    assert.equal(facts.forest, domain);
    assert.ok(facts.lockoutThreshold > 0 && facts.lockoutWindowMs > 0);
  });

  test(`${name}: a permitted reader gets the managed password, others are told that they may not, nobody's is absent`, async () => {
    const read = (account: string, directory: Directory) =>
      retrieveManagedPassword(directory, domain, account, { clock: systemClock });
    const permitted = subject().directory();
    const alice = subject().directory({ reader: ["alice@contoso.test", "Al1ce-Passw0rd"] });

    const outcomes = await Promise.all([
      read("webapp01", permitted),
      read("WebApp01$", permitted),
      read("webapp02", permitted),
      read("webapp02", alice),
      read("webapp01", alice),
      read("absent", permitted),
      read("*", permitted),
    ]);

    assert.deepEqual(
      outcomes.map(({ outcome }) => outcome),
      ["retrieved", "retrieved", "not-permitted", "retrieved", "not-permitted", "absent", "absent"],
    );
    const [retrieved] = outcomes;
    assert.ok(retrieved?.outcome === "retrieved");
    assert.equal(retrieved.account.accountName, "webapp01$");
    assert.equal(retrieved.password.current.length, 256);
    assert.ok(retrieved.password.queryInterval > retrieved.password.unchangedInterval);
  });
}

import assert from "node:assert/strict";
import { test } from "node:test";
import { accountProblems, type AccountAttributes, type AccountProblem } from "./account-state.ts";
import { millisecondsToFileTime, neverTicks } from "./filetime.ts";

const now = Date.parse("2026-01-01T00:00:00Z");
const healthy: AccountAttributes = {
  userAccountControl: 0x200,
  computedAccountControl: 0,
  accountExpires: neverTicks,
  pwdLastSet: 132_223_104_000_000_000n,
};

const cases: readonly (readonly [string, Partial<AccountAttributes>, readonly AccountProblem[]])[] = [
  ["an ordinary account", {}, []],
  ["one that expires later", { accountExpires: millisecondsToFileTime(now + 1) }, []],
  ["one that expires now", { accountExpires: millisecondsToFileTime(now) }, ["expired"]],
  ["one without expiry", { accountExpires: 0n }, []],
  ["a disabled one", { userAccountControl: 0x202 }, ["disabled"]],
  ["a locked one", { computedAccountControl: 0x10 }, ["locked-out"]],
  ["one whose stored lock bit is set, which means nothing", { userAccountControl: 0x210 }, []],
  ["one that must change its password", { pwdLastSet: 0n }, ["must-change-password"]],
  [
    "one that must change it and has it expired",
    { pwdLastSet: 0n, computedAccountControl: 0x80_0000 },
    ["must-change-password"],
  ],
  ["one whose password never expires", { pwdLastSet: 0n, userAccountControl: 0x1_0200 }, []],
  ["one with an expired password", { computedAccountControl: 0x80_0000 }, ["password-expired"]],
  [
    "one with everything wrong",
    { userAccountControl: 0x202, computedAccountControl: 0x80_0010, accountExpires: 1n },
    ["disabled", "locked-out", "expired", "password-expired"],
  ],
];
for (const [name, attributes, expected] of cases) {
  test(`the problems of ${name}: ${expected.join(", ") || "none"}`, () => {
    assert.deepEqual(accountProblems({ ...healthy, ...attributes }, now), expected);
  });
}

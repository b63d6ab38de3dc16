import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { parseCallerArn, parseMappingArn } from "./arns.ts";

const account = "1234567890123456";

describe("the ARN of a caller", () => {
  const accepted: readonly [arn: string, canonical: string, session: string | undefined][] = [
    [`acs:ram::${account}:user/Alice`, `acs:ram::${account}:user/Alice`, undefined],
    [`acs:ram::${account}:root`, `acs:ram::${account}:root`, undefined],
    [`acs:ram::${account}:assumed-role/dev/alice@corp`, `acs:ram::${account}:role/dev`, "alice@corp"],
    [`acs:ram::${account}:assumed-role/team/dev/s1`, `acs:ram::${account}:role/team/dev`, "s1"],
  ];
  for (const [arn, canonical, session] of accepted) {
    test(`${arn} means ${canonical}`, () => {
      const parsed = parseCallerArn(arn);

      assert.ok(parsed.ok);
      assert.equal(parsed.arn.canonical.text, canonical);
      assert.equal(parsed.arn.sessionName, session);
    });
  }

  const refused: readonly string[] = [
    "",
    "acs:ram::",
    "arn:ram::1:user/a",
    "acs:sts::1:user/a",
    `acs:ram:cn:${account}:user/a`,
    "acs:ram::abc:user/a",
    "acs:ram:::user/a",
    `acs:ram::${account}:user/`,
    `acs:ram::${account}:user`,
    `acs:ram::${account}:user/a:b`,
    `acs:ram::${account}:user//a`,
    `acs:ram::${account}:user/a*`,
    `acs:ram::${account}:user/a\n`,
    `acs:ram::${account}:role/dev`,
    `acs:ram::${account}:group/dev`,
    `acs:ram::${account}:assumed-role/dev`,
    `acs:ram::${account}:assumed-role//s1`,
    `acs:ram::${account}:assumed-role/dev/`,
    `acs:ram::${account}:assumed-role/dev/x`,
    `acs:ram::${account}:assumed-role/dev/a{{b`,
    `acs:ram::${account}:root/x`,
    `acs:ram::${account}:user/${"a".repeat(600)}`,
  ];
  for (const arn of refused) {
    test(`${JSON.stringify(arn).slice(0, 60)} is refused`, () => {
      assert.equal(parseCallerArn(arn).ok, false);
    });
  }

  test("never throws, and what it accepts has the account of the text", () => {
    const pieces = fc.constantFrom(
      "acs",
      "ram",
      "",
      "1",
      ":",
      "/",
      "user",
      "assumed-role",
      "root",
      "*",
      "x1",
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 16 }), (parts) => {
        const parsed = parseCallerArn(parts.join(""));

        if (parsed.ok) assert.equal(parsed.arn.canonical.accountId, parts.join("").split(":")[3]);
      }),
    );
  });
});

describe("the ARN of a mapping", () => {
  test("an assumed role means its role, whatever the session", () => {
    const parsed = parseMappingArn(`acs:ram::${account}:assumed-role/Dev/anyone`, { wildcards: false });

    assert.ok(parsed.ok);
    assert.equal(parsed.arn.text, `acs:ram::${account}:role/Dev`);
  });

  test("a wildcard is refused unless wildcards are enabled", () => {
    assert.equal(parseMappingArn(`acs:ram::${account}:role/dev-*`, { wildcards: false }).ok, false);
    assert.equal(parseMappingArn(`acs:ram::${account}:role/dev-*`, { wildcards: true }).ok, true);
  });

  for (const arn of ["acs:ram::*:role/dev", `acs:ram::${account}:*`, `acs:ram::${account}:*/dev`]) {
    test(`${arn} is refused even with wildcards: account and kind are literal`, () => {
      assert.equal(parseMappingArn(arn, { wildcards: true }).ok, false);
    });
  }
});

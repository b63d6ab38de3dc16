import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import { accountFromSecretValue } from "./secret-value.ts";

const good = { domainName: "contoso.example", username: "svc-web", password: "p@ss" };

function plain(outcome: ReturnType<typeof accountFromSecretValue>): unknown {
  if (outcome.outcome !== "found") return { key: outcome.key, problem: outcome.problem };
  const { domainName, username, password } = outcome.account;
  return {
    domainName,
    username,
    password: password.reveal(),
    ...(outcome.warnings.length === 0 ? {} : { warnings: outcome.warnings.map(({ problem }) => problem) }),
  };
}

suite("a secret's value is an account", () => {
  for (const [what, value, expected] of [
    ["as domain\\user:password", "contoso.example\\svc-web:p@ss", good],
    [
      "with colons and backslashes in the password",
      "contoso.example\\svc-web:a:b\\c:",
      { ...good, password: "a:b\\c:" },
    ],
    ["with blanks around the password kept", "contoso.example\\svc-web: p ", { ...good, password: " p " }],
    [
      "with a password beyond Latin-1",
      "contoso.example\\svc-web:Größe-密码-🔑-\u00FF\u0100",
      { ...good, password: "Größe-密码-🔑-\u00FF\u0100" },
    ],
    ["behind a byte order mark", "\uFEFFcontoso.example\\svc-web:p@ss", good],
    [
      "before a line end",
      "contoso.example\\svc-web:p@ss\r\n",
      { ...good, warnings: ["trailing newline trimmed"] },
    ],
    [
      "of a NetBIOS domain",
      "CONTOSO\\svc-web:p@ss",
      { ...good, domainName: "CONTOSO", warnings: ["not a fully qualified domain name"] },
    ],
    ["as JSON with domainName", JSON.stringify(good), good],
    [
      "as JSON with domain",
      JSON.stringify({ domain: good.domainName, username: good.username, password: good.password }),
      good,
    ],
    ["as JSON with both, the same", JSON.stringify({ ...good, domain: good.domainName }), good],
    ["as JSON with other members", JSON.stringify({ ...good, distinguishedName: "CN=x", n: 1 }), good],
    ["as JSON behind blanks and a mark", `\uFEFF \n${JSON.stringify(good)}\n`, good],
    [
      "as escaped JSON",
      '{"domainName":"contoso.example","username":"svc-web","password":"\\u5bc6\\u0101"}',
      { ...good, password: "密ā" },
    ],
  ] as const) {
    test(what, () => {
      assert.deepEqual(plain(accountFromSecretValue(value)), expected);
    });
  }

  test("also past its expiry date, with a warning", () => {
    const read = accountFromSecretValue("contoso.example\\u:p", { expires: 10, notBefore: 30 }, 20);

    assert.deepEqual(read.outcome === "found" && read.warnings.map(({ problem }) => problem), [
      "past its expiry date",
      "before its activation date",
    ]);
  });
});

suite("a secret's value is no account", () => {
  for (const [what, value, key, problem] of [
    ["of zero length", "", "value", "empty"],
    ["of a line end", "\r\n", "value", "empty"],
    ["of a byte order mark", "\uFEFF", "value", "empty"],
    ["without a backslash", "svc-web:p@ss", "value", "without a backslash"],
    ["with a colon only before the backslash", "a:b\\c", "value", "without a colon after the backslash"],
    ["with a slash for a backslash", "contoso.example/svc-web:p", "value", "without a backslash"],
    ["without a domain", "\\svc-web:p@ss", "domainName", "empty"],
    ["without a user", "contoso.example\\:p@ss", "username", "empty"],
    ["without a password", "contoso.example\\svc-web:", "password", "empty"],
    ["with a password that is a line end", "contoso.example\\svc-web:\n", "password", "empty"],
    ["of 25 KB", `contoso.example\\svc-web:${"x".repeat(25 * 1024)}`, "password", "too long"],
    ["of a user of 257 characters", `contoso.example\\${"x".repeat(257)}:p`, "username", "too long"],
    ["of broken JSON", '{"username":"svc-web","password":"p@ss"', "value", "not the JSON of an account"],
    ["of JSON with a number", '{"username":1}', "value", "not the JSON of an account"],
    [
      "of JSON with two domains",
      JSON.stringify({ ...good, domain: "other.example" }),
      "value",
      "not the JSON of an account",
    ],
    ["of JSON without a domain", '{"username":"a","password":"b"}', "domainName", "missing"],
    ["of JSON without a password", '{"username":"a","domain":"b.c"}', "password", "missing"],
    ["of JSON with an empty password", '{"username":"a","domain":"b.c","password":""}', "password", "empty"],
    ["of JSON with a prototype for members", '{"__proto__":{"username":"a"}}', "domainName", "missing"],
  ] as const) {
    test(what, () => {
      assert.deepEqual(plain(accountFromSecretValue(value)), { key, problem });
    });
  }

  test("and its problem holds nothing of it", () => {
    fc.assert(
      fc.property(fc.string({ minLength: 4, unit: "grapheme" }), (value) => {
        const read = accountFromSecretValue(`hunter2${value.replaceAll("\\", "")}`);

        assert.doesNotMatch(JSON.stringify(read), /hunter2/);
      }),
    );
  });
});

test("every domain, user and password that the form can carry comes back, in both forms", () => {
  const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 });
  const name = text.map((one) => one.replace(/[\\:\s{\uFEFF]/g, "_"));
  const password = text.filter((one) => !one.endsWith("\n"));
  fc.assert(
    fc.property(name, name, password, (domainName, username, secret) => {
      const expected = { domainName, username, password: secret };
      const read = (value: string): unknown => {
        const outcome = accountFromSecretValue(value);
        assert.equal(outcome.outcome, "found");
        return (
          outcome.outcome === "found" && { ...outcome.account, password: outcome.account.password.reveal() }
        );
      };

      assert.deepEqual(read(`${domainName}\\${username}:${secret}`), expected);
      assert.deepEqual(read(JSON.stringify(expected)), expected);
    }),
  );
});

test("whatever text a secret holds, there is an answer and never an exception", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.json()), (value) => {
      assert.match(accountFromSecretValue(value).outcome, /^(found|invalid)$/);
    }),
  );
});

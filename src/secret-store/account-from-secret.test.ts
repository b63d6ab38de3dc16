/**
 * A Kubernetes Secret read as an account: every problem and every forgiven slip.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { accountFromSecret } from "./account-from-secret.ts";
import { accountKeys, type AccountOutcome } from "./secret-store.ts";

const good = { username: "svc-web", password: "p@ss", domainName: "contoso.example" };

function encode(values: Readonly<Record<string, string | Uint8Array>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, Buffer.from(value as string).toString("base64")]),
  );
}

/** The outcome with the password as plain text, to compare it whole. */
function plain(outcome: AccountOutcome): unknown {
  if (outcome.outcome !== "found") return outcome;
  const { username, password, domainName } = outcome.account;
  return { values: { username, password: password.reveal(), domainName }, warnings: outcome.warnings };
}

test("the three keys make an account, further keys do not matter", () => {
  const outcome = accountFromSecret({ ...encode(good), note: "!!! no base64" });

  assert.deepEqual(plain(outcome), { values: good, warnings: [] });
});

test("an account does not show its password", () => {
  assert.doesNotMatch(JSON.stringify(accountFromSecret(encode(good))), /p@ss/);
});

for (const key of accountKeys) {
  const others = encode(good);

  test(`without ${key} there is no account`, () => {
    const data = Object.fromEntries(Object.entries(others).filter(([name]) => name !== key));

    assert.deepEqual(accountFromSecret(data), { outcome: "invalid", key, problem: "missing" });
  });

  for (const [name, encoded, problem] of [
    ["is empty", "", "empty"],
    ["is only a newline", "Cg==", "empty"],
    ["is only a Windows newline", "DQo=", "empty"],
    ["is only a byte order mark", "77u/", "empty"],
    ["is Latin-1 instead of UTF-8", Buffer.from("grün", "latin1").toString("base64"), "not UTF-8"],
    ["is UTF-16 with its mark", Buffer.from("\uFEFFab", "utf16le").toString("base64"), "not UTF-8"],
    ["is half a character", "w7w".slice(0, 2) + "==", "not UTF-8"],
    ["is no base64", "p@ss", "not base64"],
    ["lacks its padding", "YWI", "not base64"],
    ["is base64url", "_-8=", "not base64"],
    ["has a blank in it", "YW Jj", "not base64"],
    ["has padding in the middle", "YQ==YQ==", "not base64"],
  ] as const) {
    test(`a ${key} that ${name} is told as "${problem}"`, () => {
      assert.deepEqual(accountFromSecret({ ...others, [key]: encoded }), {
        outcome: "invalid",
        key,
        problem,
      });
    });
  }

  for (const [name, ending] of [
    ["newline", "\n"],
    ["Windows newline", "\r\n"],
  ] as const) {
    test(`one ${name} after the ${key} is cut off with a warning`, () => {
      assert.deepEqual(plain(accountFromSecret(encode({ ...good, [key]: `${good[key]}${ending}` }))), {
        values: good,
        warnings: [{ key, problem: "trailing newline trimmed" }],
      });
    });
  }

  test(`a byte order mark before the ${key} is left out`, () => {
    assert.deepEqual(plain(accountFromSecret(encode({ ...good, [key]: `\uFEFF${good[key]}` }))), {
      values: good,
      warnings: [],
    });
  });
}

test("a secret without data has no username", () => {
  for (const data of [undefined, {}]) {
    assert.deepEqual(accountFromSecret(data), { outcome: "invalid", key: "username", problem: "missing" });
  }
});

test("what every object inherits is no key of a secret", () => {
  const inherited = Object.create(encode(good)) as Record<string, string>;

  assert.deepEqual(accountFromSecret(inherited), { outcome: "invalid", key: "username", problem: "missing" });
});

test("keys are told apart by case", () => {
  const { domainName, ...rest } = encode(good);

  assert.deepEqual(accountFromSecret({ ...rest, domainname: domainName ?? "" }), {
    outcome: "invalid",
    key: "domainName",
    problem: "missing",
  });
});

test("only one newline is cut off: a password may end with others and hold any character", () => {
  const password = ' a"\\\r\n\t\u0001€🔑\n';

  const outcome = accountFromSecret(encode({ ...good, password: `${password}\n` }));

  assert.deepEqual(plain(outcome), {
    values: { ...good, password },
    warnings: [{ key: "password", problem: "trailing newline trimmed" }],
  });
});

test("base64 in lines is read as the API server reads it", () => {
  const password = "x".repeat(200);
  const lines = (
    Buffer.from(password)
      .toString("base64")
      .match(/.{1,76}/g) ?? []
  ).join("\r\n");

  assert.deepEqual(plain(accountFromSecret({ ...encode(good), password: `${lines}\n` })), {
    values: { ...good, password },
    warnings: [],
  });
});

for (const [domainName, qualified] of [
  ["contoso.example", true],
  ["CONTOSO.EXAMPLE", true],
  ["corp.contoso.example.", true],
  ["a.b", true],
  ["1.example", true],
  [`${"a".repeat(63)}.example`, true],
  ["CONTOSO", false],
  [`${"a".repeat(64)}.example`, false],
  ["contoso..example", false],
  [".contoso.example", false],
  ["-a.example", false],
  ["a-.example", false],
  ["a_b.example", false],
  ["contoso.example ", false],
  [`${"a.".repeat(127)}example`, false],
] as const) {
  test(`the domain name ${JSON.stringify(domainName.slice(0, 40))} is served ${qualified ? "as it is" : "with a warning"}`, () => {
    assert.deepEqual(plain(accountFromSecret(encode({ ...good, domainName }))), {
      values: { ...good, domainName },
      warnings: qualified ? [] : [{ key: "domainName", problem: "not a fully qualified domain name" }],
    });
  });
}

test("any text without a mark in front and a newline behind comes through unchanged", () => {
  const value = fc
    .string({ unit: "grapheme", minLength: 1 })
    .filter((text) => !text.endsWith("\n") && !text.startsWith("\uFEFF"));
  fc.assert(
    fc.property(value, value, (username, password) => {
      const outcome = plain(accountFromSecret(encode({ ...good, username, password })));

      assert.deepEqual(outcome, { values: { ...good, username, password }, warnings: [] });
    }),
  );
});

test("whatever bytes or text a secret holds, there is an answer and never an exception", () => {
  const encoded = fc.oneof(
    fc.string(),
    fc.base64String(),
    fc.uint8Array().map((bytes) => Buffer.from(bytes).toString("base64")),
  );
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...accountKeys, "other", "__proto__"), encoded), (data) => {
      const outcome = accountFromSecret(data);

      if (outcome.outcome === "found") {
        assert.ok(outcome.account.username !== "" && outcome.account.domainName !== "");
        assert.ok(outcome.account.password.length > 0);
      } else {
        assert.equal(outcome.outcome, "invalid");
      }
    }),
  );
});

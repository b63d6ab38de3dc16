import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import { Secret } from "../secret.ts";
import { askedAccount, credentialsBody } from "./credentials-answer.ts";

suite("the account that a request asks for", () => {
  for (const [what, header] of [
    ["is missing", undefined],
    ["is empty", ""],
  ] as const) {
    test(`is none when the header ${what}`, () => {
      assert.deepEqual(askedAccount(header), { asked: "nothing" });
    });
  }

  for (const name of ["a", "web-creds", "web.creds.1", "0", "a".repeat(253)]) {
    test(`is ${name.slice(0, 20)} by that name`, () => {
      assert.deepEqual(askedAccount(name), { asked: "account", name });
    });
  }

  test("may be one that a Key Vault input names", () => {
    const text = "ObjectId=1;SecretUri=https://x";

    assert.deepEqual(askedAccount(text), { asked: "key-vault-input", text });
  });

  for (const [what, header] of [
    ["a slash", "a/b"],
    ["two dots", ".."],
    ["a path", "../../etc/passwd"],
    ["CR and LF", "a\r\nb"],
    ["a letter that is not ASCII", "cr\u00E9ds"],
    ["upper case", "Creds"],
    ["two headers joined", "a, b"],
    ["a blank around it", " a"],
    ["254 characters", "a".repeat(254)],
    ["8 KiB", "a".repeat(8192)],
    ["an empty label", "a..b"],
    ["a hyphen at an end", "a-"],
  ] as const) {
    test(`is impossible with ${what}`, () => {
      assert.deepEqual(askedAccount(header), { asked: "impossible-name" });
    });
  }

  test("is never a name that Kubernetes would not take, whatever the header", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (header) => {
        const asked = askedAccount(header);
        if (asked.asked === "account") assert.match(asked.name, /^[a-z0-9.-]{1,253}$/);
      }),
    );
  });
});

suite("the body of an answer", () => {
  const body = (username: string, password: string, domainName: string): string =>
    credentialsBody({ username, password: new Secret(password), domainName });

  test("has the three members in the contract's order, no blanks and no final newline", () => {
    assert.equal(
      body("ccg", "s3cret", "contoso.example"),
      '{"username":"ccg","password":"s3cret","domainName":"contoso.example"}',
    );
  });

  for (const [what, password, written] of [
    ["markup as Go does", "<&>", "\\u003c\\u0026\\u003e"],
    ["line separators as Go does", "\u2028\u2029", "\\u2028\\u2029"],
    ["quotes and backslashes", '"\\', '\\"\\\\'],
    ["tab, newline and other controls", "\t\n\r\u0001\u007F", "\\t\\n\\r\\u0001\u007F"],
    ["no character beyond ASCII", "p\u00E4ss\u{1F511}", "p\u00E4ss\u{1F511}"],
    ["a lone surrogate as the replacement character", "a\uD800b", "a\uFFFDb"],
  ] as const) {
    test(`escapes ${what}`, () => {
      assert.equal(body("u", password, "d"), `{"username":"u","password":"${written}","domainName":"d"}`);
    });
  }

  test("gives every well-formed value back to a JSON parser", () => {
    const text = fc.string({ unit: "grapheme" });
    fc.assert(
      fc.property(text, text, text, (username, password, domainName) => {
        assert.deepEqual(JSON.parse(body(username, password, domainName)), {
          username,
          password,
          domainName,
        });
      }),
    );
  });
});

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import { readSecretUri, secretUriOf, type SecretUriProblem } from "./secret-uri.ts";

const version = "0123456789abcdef0123456789abcdef";

suite("the URI of a secret is read", () => {
  for (const [text, expected] of [
    ["https://contoso.vault.azure.net/secrets/web", "https://contoso.vault.azure.net/secrets/web"],
    ["https://contoso.vault.azure.net/secrets/web/", "https://contoso.vault.azure.net/secrets/web"],
    [
      `https://contoso.vault.azure.net/secrets/web/${version}`,
      `https://contoso.vault.azure.net/secrets/web/${version}`,
    ],
    ["HTTPS://Contoso.VAULT.azure.net/Secrets/Web", "https://contoso.vault.azure.net/secrets/web"],
    ["https://contoso.vault.azure.cn/secrets/web", "https://contoso.vault.azure.cn/secrets/web"],
    ["https://c-1.vault.usgovcloudapi.net/secrets/a", "https://c-1.vault.usgovcloudapi.net/secrets/a"],
  ] as const) {
    test(`from ${text.slice(0, 60)}`, () => {
      const read = readSecretUri(text);

      assert.equal(read.ok && secretUriOf(read.address), expected);
    });
  }

  test("of a vault with a suffix that the administrator named", () => {
    const read = readSecretUri("https://contoso.vault.local.example/secrets/web", ["vault.local.example"]);

    assert.equal(read.ok && read.address.vaultSuffix, "vault.local.example");
  });
});

suite("the URI of a secret is refused", () => {
  const cases: readonly (readonly [string, SecretUriProblem])[] = [
    ["", "not https"],
    ["http://contoso.vault.azure.net/secrets/web", "not https"],
    ["file:///etc/passwd", "not https"],
    ["javascript:alert(1)", "not https"],
    ["//contoso.vault.azure.net/secrets/web", "not https"],
    ["https:/contoso.vault.azure.net/secrets/web", "not https"],
    [" https://contoso.vault.azure.net/secrets/web", "not printable ASCII"],
    ["https://contoso.vault.azure.net/secrets/web\n", "not printable ASCII"],
    ["https://contoso.vault.azure.net\\@evil.test/secrets/web", "not printable ASCII"],
    ["https://contoso.vault.azure.net/secrets/w\u00E9b", "not printable ASCII"],
    [`https://contoso.vault.azure.net/secrets/${"a".repeat(1024)}`, "longer than 1024 characters"],
    ["https://user@contoso.vault.azure.net/secrets/web", "with user information"],
    ["https://contoso.vault.azure.net@evil.test/secrets/web", "with user information"],
    ["https://user:password@contoso.vault.azure.net/secrets/web", "with user information"],
    ["https://contoso.vault.azure.net:443/secrets/web", "with a port"],
    ["https://contoso.vault.azure.net:/secrets/web", "with a port"],
    ["https://127.0.0.1/secrets/web", "with an IP address"],
    ["https://169.254.169.254/metadata/identity", "with an IP address"],
    ["https://169.254.169.254:80/metadata/identity", "with an IP address"],
    ["https://2852039166/secrets/web", "with an IP address"],
    ["https://0xa9.0xfe.0xa9.0xfe/secrets/web", "with an IP address"],
    ["https://127.1/secrets/web", "with an IP address"],
    ["https://[::1]/secrets/web", "with an IP address"],
    ["https://[::ffff:169.254.169.254]:443/secrets/web", "with an IP address"],
    ["https://contoso%2evault.azure.net/secrets/web", "with percent-encoding"],
    ["https://contoso.vault.azure.net/secrets/%2e%2e/keys", "with percent-encoding"],
    ["https://contoso.vault.azure.net/secrets/web?api-version=7.1", "with a query"],
    ["https://contoso.vault.azure.net/secrets/web?", "with a query"],
    ["https://contoso.vault.azure.net/secrets/web#x", "with a fragment"],
    ["https://contoso.vault.azure.net.evil.test/secrets/web", "not a vault of a known cloud"],
    ["https://contoso.vault.azure.net./secrets/web", "not a vault of a known cloud"],
    ["https://evil-vault.azure.net/secrets/web", "not a vault of a known cloud"],
    ["https://contosovault.azure.net/secrets/web", "not a vault of a known cloud"],
    ["https://a.contoso.vault.azure.net/secrets/web", "not a vault of a known cloud"],
    ["https://vault.azure.net/secrets/web", "not a vault of a known cloud"],
    ["https://.vault.azure.net/secrets/web", "not a vault's name"],
    ["https://ab.vault.azure.net/secrets/web", "not a vault's name"],
    ["https://1contoso.vault.azure.net/secrets/web", "not a vault's name"],
    ["https://con--toso.vault.azure.net/secrets/web", "not a vault's name"],
    ["https://contoso-.vault.azure.net/secrets/web", "not a vault's name"],
    [`https://${"a".repeat(25)}.vault.azure.net/secrets/web`, "not a vault's name"],
    ["https://contoso.vault.azure.net", "not the path of a secret"],
    ["https://contoso.vault.azure.net/", "not the path of a secret"],
    ["https://contoso.vault.azure.net/secrets", "not the path of a secret"],
    ["https://contoso.vault.azure.net/keys/web", "not the path of a secret"],
    ["https://contoso.vault.azure.net//secrets/web", "not the path of a secret"],
    [`https://contoso.vault.azure.net/secrets/web/${version}/more`, "not the path of a secret"],
    ["https://contoso.vault.azure.net/secrets/..", "not a secret's name"],
    ["https://contoso.vault.azure.net/secrets/a.b", "not a secret's name"],
    ["https://contoso.vault.azure.net/secrets//", "not a secret's name"],
    ["https://contoso.vault.azure.net/secrets/web/..", "not a version"],
    ["https://contoso.vault.azure.net/secrets/web/1", "not a version"],
    [`https://contoso.vault.azure.net/secrets/web/${"g".repeat(32)}`, "not a version"],
  ];
  for (const [text, problem] of cases) {
    test(`${JSON.stringify(text.slice(0, 70))}: ${problem}`, () => {
      assert.deepEqual(readSecretUri(text), { ok: false, problem });
    });
  }
});

test("whatever is read, its one spelling is a URL of a known vault and reads as the same", () => {
  const piece = fc.constantFrom(
    "https://",
    "http://",
    "contoso",
    ".vault.azure.net",
    "/secrets/",
    "web",
    "/",
    "@",
    ":",
    "?",
    "#",
    "%2e",
    "..",
    "\\",
    version,
    "evil.test",
    "[::1]",
    ";",
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.webUrl(),
        fc.array(piece, { maxLength: 10 }).map((pieces) => pieces.join("")),
        fc
          .array(piece, { maxLength: 4 })
          .map((pieces) => `https://contoso.vault.azure.net/secrets/web${pieces.join("")}`),
      ),
      (text) => {
        const read = readSecretUri(text);
        if (!read.ok) return;
        const uri = secretUriOf(read.address);
        const url = new URL(uri);

        assert.equal(url.href, uri);
        assert.match(url.hostname, /^[a-z0-9-]+\.vault\.(azure\.(net|cn)|usgovcloudapi\.net)$/);
        assert.equal(new URL(text).hostname, url.hostname);
        assert.deepEqual(readSecretUri(uri), read);
      },
    ),
    { numRuns: 1_000 },
  );
});

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import { keyVaultObject, readKeyVaultInput, type KeyVaultInputProblem } from "./key-vault-input.ts";

const id = "11111111-2222-4333-8444-555555555555";
const uri = "https://contoso.vault.azure.net/secrets/web";

suite("the input of Microsoft's plugin is read", () => {
  for (const [what, text] of [
    ["as it is written", `ObjectId=${id};SecretUri=${uri}`],
    ["in the other order", `SecretUri=${uri};ObjectId=${id}`],
    ["with keys in any case", `OBJECTID=${id.toUpperCase()};secreturi=${uri}`],
    ["with unknown keys", `LogFile=C:\\x;ObjectId=${id};a=b=c;SecretUri=${uri};;d=`],
    ["with a separator at the end", `ObjectId=${id};SecretUri=${uri};`],
  ] as const) {
    test(what, () => {
      assert.deepEqual(readKeyVaultInput(text), { ok: true, objectId: id, secretUri: uri });
    });
  }
});

suite("the input of Microsoft's plugin is refused", () => {
  const cases: readonly (readonly [string, string, KeyVaultInputProblem])[] = [
    ["is empty", "", "without an ObjectId"],
    ["names no identity", `SecretUri=${uri}`, "without an ObjectId"],
    ["names an empty identity", `ObjectId=;SecretUri=${uri}`, "without an ObjectId"],
    ["names no secret", `ObjectId=${id}`, "without a SecretUri"],
    ["names an empty secret", `ObjectId=${id};SecretUri=`, "without a SecretUri"],
    [
      "has blanks around a key, which nobody trims",
      `ObjectId=${id}; SecretUri=${uri}`,
      "without a SecretUri",
    ],
    ["has a blank before a value", `ObjectId= ${id};SecretUri=${uri}`, "an ObjectId that is no GUID"],
    ["names an identity in braces", `ObjectId={${id}};SecretUri=${uri}`, "an ObjectId that is no GUID"],
    ["names two identities", `ObjectId=${id};objectid=${id};SecretUri=${uri}`, "with a key twice"],
    ["names two secrets", `ObjectId=${id};SecretUri=${uri};secretURI=${uri}`, "with a key twice"],
    ["has a part that is no pair", `ObjectId=${id};SecretUri=${uri};more`, "with a part that is no pair"],
    ["has a line break", `ObjectId=${id};SecretUri=${uri}\r\n`, "not printable ASCII"],
    ["has letters beyond ASCII", `ObjectId=${id};SecretUri=${uri}\u00E4`, "not printable ASCII"],
    [
      "is longer than the plugin sends",
      `ObjectId=${id};x=${"x".repeat(2048)}`,
      "longer than 2048 characters",
    ],
  ];
  for (const [what, text, problem] of cases) {
    test(`when it ${what}`, () => {
      assert.deepEqual(readKeyVaultInput(text), { ok: false, problem });
    });
  }
});

test("what the plugin sends is read as what it read", () => {
  const part = fc.constantFrom("ObjectId", "secretUri", "=", ";", id, uri, " ", "x", "\u00E4", "\r\n");
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(part).map((parts) => parts.join("")),
        fc.array(part).map((parts) => `ObjectId=${id};SecretUri=${uri};${parts.join("")}`),
      ),
      (text) => {
        const read = readKeyVaultInput(text);
        if (!read.ok) return;
        const sent = keyVaultObject(read);

        assert.deepEqual(readKeyVaultInput(sent), read);
        assert.match(sent, /^ObjectId=[0-9a-f-]{36};SecretUri=[\x20-\x7e]+$/);
        assert.ok(!read.secretUri.includes(";"));
      },
    ),
    { numRuns: 1_000 },
  );
});

suite("the CCG plugin and the account provider read alike", () => {
  interface Vector {
    readonly name: string;
    readonly input: string;
    readonly cause: string;
    readonly keyVault?: string;
  }
  const vectors = readFileSync(join(import.meta.dirname, "../../test/vectors/plugin-input.ndjson"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Vector)
    .filter(({ cause, keyVault }) => keyVault !== undefined || cause === "input_key_vault");

  test("in vectors that there are", () => {
    assert.ok(vectors.length > 20);
  });

  for (const { name, input, keyVault } of vectors) {
    test(name, () => {
      const read = readKeyVaultInput(input);

      assert.equal(read.ok, keyVault !== undefined, JSON.stringify(read));
      // The plugin leaves letters of the id as they are.
      if (read.ok) assert.equal(keyVaultObject(read).toLowerCase(), keyVault?.toLowerCase());
    });
  }
});

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { pluginInputProblem } from "./plugin-input.ts";

const ours = "D035536E-1862-450C-830A-FB8629184C57";
const replaced = "e4781092-f116-4b79-b55e-28eb6a224e26";
const microsoft = "CCC2A336-D7F3-4818-A213-272B7924213E";
const id = "11111111-2222-4333-8444-555555555555";
const good = `ObjectId=${id};SecretUri=https://contoso.vault.azure.net/secrets/web`;

suite("a plugin input that names a Key Vault secret", () => {
  for (const [plugin, name] of [
    [ours, "Sallyport's plugin"],
    [replaced, "the plugin that it replaces"],
    [microsoft, "Microsoft's plugin"],
  ] as const) {
    test(`is right for ${name}`, () => {
      assert.equal(pluginInputProblem(plugin, good), undefined);
    });
  }

  test("may be of a vault that only the host's administrator knows", () => {
    const input = good.replace("vault.azure.net", "vault.local.azurestack.external");

    assert.equal(pluginInputProblem(microsoft, input), undefined);
  });

  for (const [what, input, words] of [
    ["has no identity", good.replace(/^.*;/, ""), /is without an ObjectId, so not what/],
    ["has an identity that is no GUID", good.replace(id, "web"), /an ObjectId that is no GUID/],
    ["asks without TLS", good.replace("https", "http"), /a SecretUri not https/],
    ["carries a password", good.replace("//", "//user:secret@"), /with user information/],
    ["has a port", good.replace(".net/", ".net:8443/"), /with a port/],
    ["is another plugin's", "contoso:web", /is with a part that is no pair/],
  ] as const) {
    test(`is told when it ${what}, without a word of it`, () => {
      const found = pluginInputProblem(microsoft, input);

      assert.equal(found?.rule, "plugin-input-malformed");
      assert.match(found?.problem ?? "", words);
      assert.doesNotMatch(found?.problem ?? "", /contoso|secret@/);
    });
  }

  test("is not mistaken for the name of a Secret", () => {
    assert.equal(pluginInputProblem(ours, "contoso:web"), undefined);
    assert.equal(pluginInputProblem(ours, "contoso")?.rule, "plugin-input-malformed");
  });
});

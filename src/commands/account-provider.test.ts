/**
 * `sallyport account-provider` from its command line, as far as Key Vault goes.
 * @module
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test, type TestContext } from "node:test";
import { temporaryFolder } from "../../test/temporary-folder.ts";

const main = join(import.meta.dirname, "../main.ts");

function sallyport(...words: readonly string[]): {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
} {
  return spawnSync(process.execPath, [main, "account-provider", ...words], {
    encoding: "utf8",
    env: { PATH: process.env["PATH"] },
  });
}

function accountsFile(t: TestContext, text: string): string {
  const path = join(temporaryFolder(t), "accounts.yaml");
  writeFileSync(path, text);
  return path;
}

suite("account-provider run --accounts", () => {
  test("ends with 2 and names every fault of the file and of the command line", (t) => {
    const path = accountsFile(
      t,
      "accounts:\n  - {name: A, source: kubernetes}\n  - {name: b, source: azureKeyVault, secretUri: 'https://contoso.vault.azure.net.evil.test/secrets/b', identity: {type: systemAssigned}}\n",
    );

    const { status, stderr } = sallyport("run", "--accounts", path, "--secret", "web", "--port", "x");

    assert.equal(status, 2);
    assert.match(stderr, /--accounts accounts\.0\.name: is not a name/);
    assert.match(stderr, /--accounts: contradicts --secret/);
    assert.match(stderr, /--port: "x" is not a port/);
    assert.doesNotMatch(stderr, /evil|at .*\.ts/);
  });

  test("ends with 2 when the file or a folder that it names is not there", (t) => {
    const missing = sallyport("run", "--accounts", "/nowhere/accounts.yaml");
    const folder = sallyport(
      "run",
      "--accounts",
      accountsFile(t, "accounts: [{name: a, source: folder, folder: /nowhere}]"),
    );

    assert.equal(missing.status, 2);
    assert.match(missing.stderr, /"\/nowhere\/accounts\.yaml" cannot be read/);
    assert.equal(folder.status, 2);
    assert.match(folder.stderr, /--accounts a: "\/nowhere" is not there/);
  });
});

suite("account-provider probe of a Key Vault input", () => {
  const id = "11111111-2222-4333-8444-555555555555";

  test("looks into the reserved directory", (t) => {
    const folder = temporaryFolder(t);

    const { status, stdout } = sallyport(
      "probe",
      `SecretUri=https://contoso.vault.azure.net/secrets/web;ObjectId=${id}`,
      "--namespace",
      "contoso",
      "--host-dir",
      join(folder, "contoso"),
    );

    assert.equal(status, 1);
    assert.ok(stdout.includes(join(folder, "_azure-key-vault/port.txt")), stdout);
  });

  test("ends with 2 when it is none", () => {
    const { status, stderr } = sallyport("probe", "ObjectId=web;SecretUri=https://x");

    assert.equal(status, 2);
    assert.match(stderr, /object: is no usable Key Vault input: an ObjectId that is no GUID/);
  });
});

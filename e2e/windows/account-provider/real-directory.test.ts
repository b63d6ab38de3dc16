/**
 * What CCG does with the three strings, done with a real domain controller: they bind, and the gMSA's password comes back.
 * @module
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  domain,
  startDomainController,
  type DomainController,
} from "../../active-directory/domain-controller.ts";
import { runCommand } from "../../guarded-process.ts";
import { callPlugin } from "../plugin-calls.ts";
import { startProvider } from "../provider-process.ts";
import { Wine } from "../wine.ts";

const main = join(import.meta.dirname, "..", "..", "..", "src", "main.ts");

let wine: Wine;
let controller: DomainController;
let folder: string;
before(async () => {
  folder = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "strings-"));
  [wine, controller] = await Promise.all([Wine.start(), startDomainController("127.0.88.9")]);
  await wine.registerPlugin();
});
after(async () => {
  await Promise.all([wine.close(), controller.stop()]);
});

const accounts = [
  ["the impersonation account", "bound", "ccg-impersonator", "Imp3rson@te!", "webapp01"],
  ["an account with letters beyond ASCII in its password", "zoe", "zoe", "Z0e-P\u00e4ssw\u00f6rd", undefined],
] as const;

for (const [name, namespace, username, password, managedAccount] of accounts) {
  test(`the strings of ${name} come out of COM and bind to the directory`, async (t) => {
    const manifests = join(folder, `${namespace}-manifests`);
    mkdirSync(manifests);
    const secret = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "webapp01", namespace },
      stringData: { username, password, domainName: domain },
    };
    writeFileSync(join(manifests, "secret.json"), JSON.stringify(secret));
    await startProvider(t, wine, folder, namespace, ["--manifests", manifests]);

    const { calls } = await callPlugin(wine, [`${namespace}:webapp01`], { surrogate: true });

    const [call] = calls;
    assert.equal(call?.result, "00000000");
    const strings = { username: call.username, password: call.password, domainName: call.domainName };
    const credentials = join(folder, `${namespace}-strings`);
    mkdirSync(credentials);
    for (const [key, value] of Object.entries(strings)) writeFileSync(join(credentials, key), value ?? "");
    const bound = await runCommand(process.execPath, [
      ...[main, "directory", "resolve", "alice"],
      ...["--server", `ldaps://${controller.address}`, "--ca", controller.authorityFile],
      ...["--credentials", credentials],
    ]);
    assert.equal(bound.code, 0, bound.stderr);
    assert.match(bound.stdout, /alice/u);

    if (managedAccount === undefined) return;
    const keytab = join(folder, `${namespace}.keytab`);
    const retrieved = await runCommand(process.execPath, [
      ...[main, "directory", "keytab", "--account", managedAccount, "--out", keytab],
      ...["--server", `ldaps://${controller.address}`, "--ca", controller.authorityFile],
      ...["--credentials", credentials],
    ]);
    assert.equal(retrieved.code, 0, retrieved.stderr);
  });
}

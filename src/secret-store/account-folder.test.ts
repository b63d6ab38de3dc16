/**
 * An account in a folder of files: what a mounted Secret looks like.
 * @module
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { SallyportError } from "../errors.ts";
import { readAccountFolder } from "./account-folder.ts";

const good = { username: "svc-web", password: "pässwörd\n", domainName: "contoso.example" };

function folderOf(context: TestContext, files: Readonly<Record<string, string | Uint8Array>>): string {
  const folder = mkdtempSync(join(tmpdir(), "sallyport-account-"));
  context.after(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

test("the three files make an account, without the newline that an editor leaves", async (context) => {
  const account = await readAccountFolder(folderOf(context, { ...good, unrelated: "x" }));

  assert.deepEqual(
    [account.username, account.password.reveal(), account.domainName],
    ["svc-web", "pässwörd", "contoso.example"],
  );
});

for (const [name, files, file, detail] of [
  ["is absent", { username: "a", domainName: "b.c" }, "password", /no such file/i],
  ["is empty", { ...good, password: "" }, "password", /empty/],
  ["is no UTF-8", { ...good, username: Buffer.from([0xff]) }, "username", /not UTF-8/],
] as const) {
  test(`a file that ${name} is named, its value is not`, async (context) => {
    const folder = folderOf(context, files);

    await assert.rejects(readAccountFolder(folder), (thrown) => {
      assert.ok(thrown instanceof SallyportError);
      assert.equal(thrown.code, "E_DIRECTORY_CREDENTIALS");
      assert.ok(thrown.message.includes(join(folder, file)), thrown.message);
      assert.match(thrown.message, detail);
      assert.doesNotMatch(thrown.message, /pässwörd/);
      return true;
    });
  });
}

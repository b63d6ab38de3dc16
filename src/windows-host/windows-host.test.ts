/**
 * The calls that are made to a Windows host, as data: no Windows is at hand where these tests run.
 * @module
 */
import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { protectProgramFolder, verifySignature } from "./programs.ts";
import {
  addTrustedRoot,
  createWindowsHost,
  findTrustedRoot,
  grantPluginRead,
  removeTrustedRoot,
  restrictDirectory,
} from "./windows-host.ts";

const path = "C:\\var\\lib\\rancher\\gmsa\\a b";

/** Before an access list is written: whoever made the directory keeps neither its ownership nor an entry of his own. */
const taken = [
  { program: "icacls", args: [path, "/setowner", "*S-1-5-32-544", "/q"] },
  { program: "icacls", args: [path, "/reset", "/q"] },
];

test("a program folder is taken from whoever made it, and may be changed by SYSTEM and Administrators alone", () => {
  const [sid, full, read] = ["*S-1-5-32-545", "(OI)(CI)F", "(OI)(CI)RX"];
  const grants = [`*S-1-5-18:${full}`, `*S-1-5-32-544:${full}`, `${sid}:${read}`];
  assert.deepEqual(protectProgramFolder(path), [
    ...taken,
    { program: "icacls", args: [path, "/inheritance:r", "/grant:r", ...grants, "/q"] },
  ]);
});

test("a directory belongs to Administrators and is open to SYSTEM and Administrators alone, as is what is put in it", () => {
  assert.deepEqual(restrictDirectory(path), [
    ...taken,
    {
      program: "icacls",
      args: [path, "/inheritance:r", "/grant:r", "*S-1-5-18:(OI)(CI)F", "*S-1-5-32-544:(OI)(CI)F", "/q"],
    },
  ]);
});

test("a file for the plugin may be read, and no more, by NETWORK SERVICE", () => {
  assert.deepEqual(grantPluginRead(path), [
    {
      program: "icacls",
      args: [path, "/inheritance:r", "/grant:r", "*S-1-5-18:F", "*S-1-5-32-544:F", "*S-1-5-20:R", "/q"],
    },
  ]);
});

test("no call names Everyone, Users or an account by a name that a display language changes", () => {
  const words = [...restrictDirectory(path), ...grantPluginRead(path)].flatMap((call) => call.args);

  for (const word of words.filter((each) => each.includes("*"))) {
    assert.match(word, /^\*S-1-5-(18|32-544|20)(:|$)/);
  }
});

test("certificates go to and from the machine's root store by file and by thumbprint", () => {
  const thumbprint = "0123456789ABCDEF0123456789ABCDEF01234567";

  assert.deepEqual(addTrustedRoot(`${path}\\x.crt`), {
    program: "certutil",
    args: ["-f", "-addstore", "Root", `${path}\\x.crt`],
  });
  assert.deepEqual(findTrustedRoot(thumbprint), {
    program: "certutil",
    args: ["-store", "Root", thumbprint],
  });
  assert.deepEqual(removeTrustedRoot(thumbprint), {
    program: "certutil",
    args: ["-delstore", "Root", thumbprint],
  });
});

test("PowerShell is started from its own folder of System32", async () => {
  const { output } = await createWindowsHost("/nowhere").run(verifySignature("C:\\it's.dll"));

  assert.match(output, /System32\\WindowsPowerShell\\v1\.0\\powershell\.exe.*ENOENT/);
});

test("a path is quoted for PowerShell", () => {
  assert.match(verifySignature("C:\\it's $x.dll").args.at(-1) ?? "", /-LiteralPath 'C:\\it''s \$x\.dll';/);
});

test("a program that is not there is a failed call with a reason, not an exception", async (t) => {
  const systemRoot = await mkdtemp(join(tmpdir(), "windows-host-"));
  t.after(() => rm(systemRoot, { recursive: true, force: true }));
  await chmod(systemRoot, 0o700);

  const result = await createWindowsHost(systemRoot).run(findTrustedRoot("00"));

  assert.equal(result.exitCode, 1);
  assert.match(result.output, /System32\\certutil\.exe.*ENOENT/);
  assert.match(result.unfinished ?? "", /ENOENT/);
});

const unfinished: readonly (readonly [string, string, RegExp])[] = [
  ["is ended for its time", "exec sleep 5", /did not end within 0\.3 s/],
  ["is ended for its output", "exec yes", /printed more than 4194304 octets/],
  ["is ended by somebody", "kill -KILL $$", /ended by SIGKILL/],
];
for (const [name, script, reason] of unfinished) {
  test(`a program that ${name} has said nothing with its exit code`, async (t) => {
    const result = await createWindowsHost(await scripted(t, script), 300).run(findTrustedRoot("00"));

    assert.notEqual(result.exitCode, 0);
    assert.match(result.unfinished ?? "", reason);
  });
}

test("a program that ends by itself has given its exit code", async (t) => {
  const result = await createWindowsHost(await scripted(t, "echo no; exit 3")).run(findTrustedRoot("00"));

  assert.deepEqual(result, { exitCode: 3, output: "no" });
});

/** A Windows folder with one program, a shell script; on POSIX its whole path is a file name that `PATH` finds. */
async function scripted(t: TestContext, script: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "windows-host-"));
  const before = process.env["PATH"] ?? "";
  process.env["PATH"] = `${folder}:${before}`;
  t.after(() => {
    process.env["PATH"] = before;
    return rm(folder, { recursive: true, force: true });
  });
  await writeFile(join(folder, "\\W\\System32\\certutil.exe"), `#!/bin/sh\n${script}\n`, { mode: 0o700 });
  return "\\W";
}

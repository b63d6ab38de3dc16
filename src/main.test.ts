/**
 * The entry point as a user meets it: a process with words, an exit code and two streams.
 * @module
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const main = fileURLToPath(new URL("./main.ts", import.meta.url));

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function sallyport(...words: readonly string[]): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...words], { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr })));
}

for (const word of ["--version", "-V"]) {
  test(`${word} prints the version of package.json and nothing else`, async () => {
    const manifest = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as {
      version: string;
    };

    assert.deepEqual(await sallyport(word), { code: 0, stdout: `${manifest.version}\n`, stderr: "" });
  });
}

for (const word of ["--help", "-h", "help"]) {
  test(`${word} prints how to call it on standard output`, async () => {
    const { code, stdout, stderr } = await sallyport(word);

    assert.equal(code, 0);
    assert.match(stdout, /^Usage: sallyport COMMAND/);
    assert.equal(stderr, "");
  });
}

test("every command that help lists is there and has help of its own", async () => {
  const { stdout } = await sallyport("--help");
  const listed = /Commands:\n([^]*?)\n\n/.exec(stdout)?.[1]?.split("\n") ?? [];
  const names = listed.map((line) => line.trim().split(/\s+/)[0] ?? "").filter((name) => name !== "");

  assert.ok(names.length > 0, "help lists at least one command");
  for (const name of names) {
    const { code, stdout: own, stderr } = await sallyport(name, "--help");
    assert.equal(code, 0, `${name}: ${stderr}`);
    assert.match(own, new RegExp(`^Usage: sallyport ${name}`));
  }
});

test("without a word, how to call it goes to standard error and the exit code is 2", async () => {
  const { code, stdout, stderr } = await sallyport();

  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^Usage: sallyport COMMAND/);
});

for (const word of ["nonsense", "--nonsense", "", "constructor", "__proto__", "toString"]) {
  test(`"${word}" is no command: one sentence, where to look, exit code 2, no stack trace`, async () => {
    const { code, stdout, stderr } = await sallyport(word);

    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.equal(stderr, `sallyport: there is no command "${word}".\n  \`sallyport --help\` lists them.\n`);
  });
}

test("a reader of standard output that has gone ends it as SIGPIPE would, without a stack", async () => {
  const child = spawn(process.execPath, [main, "--help"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise((resolve) => child.on("close", resolve));

  assert.deepEqual({ code, stderr }, { code: 141, stderr: "" });
});

test("standard output that cannot be written is a sentence", async () => {
  const full = openSync("/dev/full", "w");
  const child = spawn(process.execPath, [main, "--help"], { stdio: ["ignore", full, "pipe"] });
  closeSync(full);
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const code = await new Promise((resolve) => child.on("close", resolve));

  assert.equal(code, 1);
  assert.match(stderr, /^sallyport: standard output cannot be written: ENOSPC[^\n]*\n$/);
});

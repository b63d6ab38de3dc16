/**
 * Log lines on standard error, whatever becomes of who reads them. Each test watches a process of its own.
 * @module
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, createWriteStream, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "../../test/temporary-folder.ts";

const program = `
  import { standardError } from ${JSON.stringify(new URL("./standard-error.ts", import.meta.url).href)};
  const log = standardError();
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const [lines, length, waitMs] = process.argv.slice(1).map(Number);
  for (let line = 1; line <= lines; line++) log.write(line + " " + "x".repeat(length) + "\\n");
  process.stdout.write("written\\n");
  await new Promise((resolve) => process.stdin.once("end", resolve).resume());
  log.write("last\\n");
  await pause(waitMs);
  process.stdout.write("ended\\n");
`;

function start(words: readonly number[], standardError: number | "pipe"): ChildProcess {
  const child = spawn(process.execPath, ["--input-type=module", "-e", program, "--", ...words.map(String)], {
    stdio: ["pipe", "pipe", standardError],
  });
  return child;
}

function ended(child: ChildProcess): Promise<{ readonly code: number | null; readonly output: string }> {
  let output = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (output += text));
  return new Promise((resolve) => child.once("close", (code) => resolve({ code, output })));
}

function said(child: ChildProcess, what: string): Promise<void> {
  return new Promise((resolve) =>
    child.stdout?.on("data", (text: string) => text.includes(what) && resolve()),
  );
}

for (const [what, lines, length] of [
  ["a few lines", 3, 10],
  ["more than a pipe holds at a time", 5_000, 100],
] as const) {
  test(`${what} arrive whole and in their order, those of the end, too`, async () => {
    const child = start([lines, length, 0], "pipe");
    let log = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (log += text));
    child.stdin?.end();

    assert.deepEqual(await ended(child), { code: 0, output: "written\nended\n" });
    const expected = Array.from({ length: lines }, (_, line) => `${line + 1} ${"x".repeat(length)}`);
    assert.deepEqual(log.split("\n"), [...expected, "last", ""]);
  });
}

for (const [what, waitMs] of [
  ["at the very end", 0],
  ["while it works", 400],
] as const) {
  test(`a reader that goes ${what} does not keep the process`, async () => {
    const child = start([3, 10, waitMs], "pipe");
    const end = ended(child);
    await said(child, "written");
    child.stderr?.destroy();
    child.stdin?.end();

    assert.deepEqual(await end, { code: 0, output: "written\nended\n" });
  });
}

test("a full disk neither ends the process nor keeps it", async () => {
  const full = openSync("/dev/full", "w");
  const child = start([3, 10, 400], full);
  closeSync(full);
  child.stdin?.end();

  assert.deepEqual(await ended(child), { code: 0, output: "written\nended\n" });
});

test("what cannot be kept while nothing is written is counted", async (t) => {
  // A pipe that nobody reads takes some lines; a megabyte more is kept.
  const path = join(temporaryFolder(t), "log");
  const child = start([4_000, 1_000, 0], "pipe");
  const end = ended(child);
  await said(child, "written");
  const file = createWriteStream(path);
  const written = once(file, "close");
  child.stderr?.pipe(file);
  child.stdin?.end();
  assert.equal((await end).code, 0);
  await written;

  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  const kept = lines.filter((line) => /^\d+ x/.test(line)).length;
  const dropped = lines.flatMap((line) =>
    line.startsWith("{") ? [(JSON.parse(line) as { readonly lines: number }).lines] : [],
  );
  assert.ok(dropped.length > 0);
  assert.equal(
    kept + dropped.reduce((sum, count) => sum + count, 0) + (lines.includes("last") ? 1 : 0),
    4_001,
  );
});

/**
 * Files that are replaced as a whole, readable by their owner alone.
 * @module
 */
import assert from "node:assert/strict";
import { mkdtemp, mkdir, readFile, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isTemporaryName, writeFileAtomically } from "./atomic-file.ts";

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "atomic-file-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test("text and bytes are written as they are, into a file of mode 0600", async (t) => {
  const directory = await folder(t);

  await writeFileAtomically(join(directory, "text"), "grün\n");
  await writeFileAtomically(join(directory, "bytes"), Buffer.from([0, 255, 13]));

  assert.equal(await readFile(join(directory, "text"), "utf8"), "grün\n");
  assert.deepEqual(await readFile(join(directory, "bytes")), Buffer.from([0, 255, 13]));
  assert.equal((await stat(join(directory, "text"))).mode & 0o777, 0o600);
  assert.deepEqual((await readdir(directory)).sort(), ["bytes", "text"]);
});

test("a file that others could read is replaced by one that they cannot", async (t) => {
  const path = join(await folder(t), "key");
  await writeFile(path, "old", { mode: 0o666 });

  await writeFileAtomically(path, "new");

  assert.equal(await readFile(path, "utf8"), "new");
  assert.equal((await stat(path)).mode & 0o777, 0o600);
});

test("a link is replaced, and what it points to is left alone", async (t) => {
  const directory = await folder(t);
  const elsewhere = join(directory, "elsewhere");
  await writeFile(elsewhere, "untouched");
  await symlink(elsewhere, join(directory, "key"));

  await writeFileAtomically(join(directory, "key"), "new");

  assert.equal(await readFile(elsewhere, "utf8"), "untouched");
  assert.equal(await readFile(join(directory, "key"), "utf8"), "new");
});

test("before the name is taken, the temporary file is complete and the old file still there", async (t) => {
  const directory = await folder(t);
  const path = join(directory, "port.txt");
  await writeFile(path, "1");
  const seen: string[] = [];

  await writeFileAtomically(path, "2", {
    async beforeRename(temporary) {
      seen.push(await readFile(temporary, "utf8"), await readFile(path, "utf8"));
      assert.ok(isTemporaryName(temporary));
    },
  });

  assert.deepEqual(seen, ["2", "1"]);
});

test("when access lists cannot be set, the old file stays and nothing is left behind", async (t) => {
  const directory = await folder(t);
  const path = join(directory, "key");
  await writeFile(path, "old");

  await assert.rejects(
    writeFileAtomically(path, "new", { beforeRename: () => Promise.reject(new Error("icacls failed")) }),
    /icacls failed/,
  );

  assert.equal(await readFile(path, "utf8"), "old");
  assert.deepEqual(await readdir(directory), ["key"]);
});

test("a directory under the wanted name is an error, and nothing is left behind", async (t) => {
  const directory = await folder(t);
  await mkdir(join(directory, "port.txt"));

  await assert.rejects(writeFileAtomically(join(directory, "port.txt"), "1"), {
    code: /EISDIR|ENOTEMPTY|EEXIST|EPERM/,
  });

  assert.deepEqual(await readdir(directory), ["port.txt"]);
});

test("a directory that is not there is an error as node:fs reports it", async (t) => {
  await assert.rejects(writeFileAtomically(join(await folder(t), "missing", "file"), "1"), {
    code: "ENOENT",
  });
});

test("a reader sees one whole version or the other while a file is being replaced", async (t) => {
  const path = join(await folder(t), "big");
  const versions = ["a".repeat(200_000), "b".repeat(200_000)];
  await writeFileAtomically(path, versions[0] ?? "");
  const progress = { writing: true };

  const writer = (async () => {
    for (let round = 1; round <= 20; round++) await writeFileAtomically(path, versions[round % 2] ?? "");
    progress.writing = false;
  })();
  let reads = 0;
  while (progress.writing) {
    assert.ok(versions.includes(await readFile(path, "utf8")));
    reads++;
  }
  await writer;

  assert.ok(reads > 0);
});

for (const [name, temporary] of [
  [".port.txt.sallyport-tmp-0123456789ab", true],
  ["port.txt", false],
  ["tls.pfx.tmp", false],
] as const) {
  test(`"${name}" is ${temporary ? "a" : "no"} leftover of ours`, () => {
    assert.equal(isTemporaryName(name), temporary);
  });
}

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { array, assert as check, oneof, property, record, stringMatching, uint8Array } from "fast-check";
import { temporaryFolder } from "../test/temporary-folder.ts";
import { readTree, writeTar, type Entry } from "./tar-archive.ts";

test("a tree is read parents first, in the order of its bytes, with modes and links", (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "b"));
  chmodSync(join(folder, "b"), 0o1777);
  writeFileSync(join(folder, "b/z"), "z");
  chmodSync(join(folder, "b/z"), 0o755);
  symlinkSync("b/z", join(folder, "a"));
  writeFileSync(join(folder, "B"), "");

  assert.deepEqual(
    readTree(folder).map(({ path, kind }) => `${kind} ${path}`),
    ["file B", "link a", "directory b", "file b/z"],
  );
  const [, link, directory, file] = readTree(folder);
  assert.equal(link?.kind === "link" ? link.target : undefined, "b/z");
  assert.equal(directory?.kind === "directory" ? directory.mode : undefined, 0o1777);
  assert.equal(file?.kind === "file" ? file.mode : undefined, 0o755);
});

interface Member {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly owner: number;
  readonly modified: number;
  readonly target: string;
  readonly content: Buffer;
  readonly attributes: Readonly<Record<string, string>>;
}

/** A reader of its own, by the letter of POSIX (pax, "ustar Interchange Format"). */
function readTar(tar: Buffer): readonly Member[] {
  const members: Member[] = [];
  let records: Record<string, string> = {};
  for (let offset = 0; offset < tar.length;) {
    const header = tar.subarray(offset, offset + 512);
    if (header.every((byte) => byte === 0)) break;
    const text = (at: number, length: number): string =>
      header
        .toString("utf8", at, at + length)
        .replace(/\0.*$/s, "")
        .trim();
    const octal = (at: number, length: number): number => Number.parseInt(text(at, length), 8);
    const blank = Buffer.from(header).fill(" ", 148, 156);
    assert.equal(
      blank.reduce((sum, byte) => sum + byte, 0),
      octal(148, 8),
    );
    assert.equal(text(257, 6), "ustar");
    const content = tar.subarray(offset + 512, offset + 512 + octal(124, 12));
    offset += 512 + Math.ceil(content.length / 512) * 512;
    if (text(156, 1) === "x") {
      for (let at = 0; at < content.length;) {
        const length = Number.parseInt(content.toString("latin1", at), 10);
        const line = content.toString("utf8", at, at + length);
        const [, key = "", value = ""] = /^\d+ ([^=]+)=(.*)\n$/s.exec(line) ?? assert.fail(line);
        records[key] = value;
        at += length;
      }
      continue;
    }
    const { path, linkpath, ...attributes } = records;
    records = {};
    members.push({
      name: path ?? text(0, 100),
      type: text(156, 1),
      mode: octal(100, 8),
      owner: octal(108, 8) + octal(116, 8),
      modified: octal(136, 12),
      target: linkpath ?? text(157, 100),
      content,
      attributes,
    });
  }
  return members;
}

test("every entry has its mode, the one time, root as its owner, and its target", () => {
  const entries: readonly Entry[] = [
    { kind: "directory", path: "tmp", mode: 0o1777 },
    { kind: "file", path: "tmp/one", mode: 0o755, content: Buffer.from("x".repeat(513)) },
    { kind: "link", path: "link", target: "tmp/one" },
  ];

  const members = readTar(writeTar(entries, { modified: 86_400 }));

  assert.deepEqual(
    members.map(({ name, type, mode, target }) => ({ name, type, mode, target })),
    [
      { name: "tmp/", type: "5", mode: 0o1777, target: "" },
      { name: "tmp/one", type: "0", mode: 0o755, target: "" },
      { name: "link", type: "2", mode: 0o777, target: "tmp/one" },
    ],
  );
  assert.ok(members.every(({ owner, modified }) => owner === 0 && modified === 86_400));
});

test("names, targets, contents and attributes of any length come out again", () => {
  const name = stringMatching(/^[a-zä]{1,150}$/);
  const entry = oneof(
    record({ path: name, content: uint8Array({ maxLength: 1_100 }) }).map((each): Entry => ({
      kind: "file",
      mode: 0o644,
      ...each,
    })),
    record({ path: name, target: name }).map((each): Entry => ({ kind: "link", ...each })),
  );
  check(
    property(array(entry, { maxLength: 4 }), stringMatching(/^[a-zä]{0,120}$/), (entries, note) => {
      const members = readTar(
        writeTar(entries, { modified: 0, attributes: () => ({ "VENDOR.note": note }) }),
      );
      assert.equal(members.length, entries.length);
      for (const [index, member] of members.entries()) {
        const written = entries[index];
        assert.equal(member.name, written?.path);
        if (written?.kind === "file") assert.deepEqual(new Uint8Array(member.content), written.content);
        if (written?.kind === "link") assert.equal(member.target, written.target);
        assert.deepEqual(member.attributes, { "VENDOR.note": note });
      }
    }),
  );
});

/**
 * Our authorities in the root store: what is remembered, what is removed, and what a crash leaves.
 * @module
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { ScriptedWindowsHost } from "../../test/fakes/scripted-windows-host.ts";
import { silentLog } from "../observe/log.ts";
import { createTrustedRoots, type TrustedRoot } from "./trusted-roots.ts";
import type { HostCall } from "./windows-host.ts";

const root = (digit: string): TrustedRoot => ({
  thumbprint: digit.repeat(40),
  certificatePem: `certificate ${digit}`,
});
const [a, b, c] = [root("A"), root("B"), root("C")];

async function bench(t: TestContext) {
  const directory = await mkdtemp(join(tmpdir(), "trusted-roots-"));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const host = new ScriptedWindowsHost();
  return {
    directory,
    host,
    roots: createTrustedRoots(directory, host, silentLog),
    remembered: async (): Promise<unknown> =>
      JSON.parse(await readFile(join(directory, "trusted-roots.json"), "utf8")),
  };
}

const isCall =
  (word: string) =>
  (call: HostCall): boolean =>
    call.args.includes(word);

test("a root is added from a file that is gone afterwards, and is remembered", async (t) => {
  const { directory, host, roots, remembered } = await bench(t);

  const handed: string[] = [];
  host.fail = (call) => void handed.push(readFileSync(call.args.at(-1) ?? "", "utf8"));

  assert.deepEqual(await roots.replace([a]), []);

  assert.deepEqual(handed, [a.certificatePem]);
  assert.deepEqual([...host.roots], [a.thumbprint]);
  assert.deepEqual(await remembered(), [a.thumbprint]);
  assert.deepEqual(await readdir(directory), ["trusted-roots.json"]);
});

test("a superseded root is removed, the new one stays", async (t) => {
  const { host, roots, remembered } = await bench(t);

  await roots.replace([a]);
  assert.deepEqual(await roots.replace([b]), []);

  assert.deepEqual([...host.roots], [b.thumbprint]);
  assert.deepEqual(await remembered(), [b.thumbprint]);
});

test("two roots are trusted at once while one takes over from the other", async (t) => {
  const { host, roots, remembered } = await bench(t);

  await roots.replace([a]);
  await roots.replace([a, b]);
  assert.deepEqual([...host.roots], [a.thumbprint, b.thumbprint]);
  assert.deepEqual(await remembered(), [a.thumbprint, b.thumbprint]);
  await roots.replace([b]);

  assert.deepEqual([...host.roots], [b.thumbprint]);
});

test("the new root is trusted before the old one goes", async (t) => {
  const { host, roots } = await bench(t);

  await roots.replace([a]);
  await roots.replace([b]);

  const words = host.calls.map((call) => call.args.find((word) => word.endsWith("store")));
  assert.deepEqual(words, ["-addstore", "-addstore", "-store", "-delstore"]);
});

test("nothing is asked of the host when nothing is wanted and nothing was ever added", async (t) => {
  const { directory, host, roots } = await bench(t);

  assert.deepEqual(await roots.replace([]), []);

  assert.deepEqual(host.calls, []);
  assert.deepEqual(await readdir(directory), []);
});

test("removing all forgets the list, and doing it again does nothing", async (t) => {
  const { directory, host, roots } = await bench(t);
  await roots.replace([a, b]);

  assert.deepEqual(await roots.replace([]), []);
  assert.equal(host.roots.size, 0);
  assert.deepEqual(await readdir(directory), []);
  const calls = host.calls.length;
  assert.deepEqual(await roots.replace([]), []);

  assert.equal(host.calls.length, calls);
});

test("a crash after the list was written and before the root was added is cleared by the next start", async (t) => {
  const { directory, host, roots, remembered } = await bench(t);
  await roots.replace([a]);
  host.fail = () => {
    throw new Error("killed");
  };
  await assert.rejects(roots.replace([b]), /killed/);
  assert.deepEqual(await remembered(), [a.thumbprint, b.thumbprint], "nothing is forgotten");

  host.fail = () => undefined;
  const next = createTrustedRoots(directory, host, silentLog);
  assert.deepEqual(await next.replace([c]), []);

  assert.deepEqual([...host.roots], [c.thumbprint]);
  assert.deepEqual(await remembered(), [c.thumbprint]);
});

test("a crash after the root was added and before the old one was removed is cleared by the next start", async (t) => {
  const { directory, host, roots } = await bench(t);
  await roots.replace([a]);
  host.fail = (call) => {
    if (call.args.includes("-delstore")) throw new Error("killed");
    return undefined;
  };
  await assert.rejects(roots.replace([b]), /killed/);
  assert.equal(host.roots.size, 2);

  host.fail = () => undefined;
  await createTrustedRoots(directory, host, silentLog).replace([c]);

  assert.deepEqual([...host.roots], [c.thumbprint]);
});

test("a root that somebody already removed is no failure", async (t) => {
  const { host, roots, remembered } = await bench(t);
  await roots.replace([a, b]);
  host.roots.delete(a.thumbprint);

  assert.deepEqual(await roots.replace([c]), []);

  assert.deepEqual([...host.roots], [c.thumbprint]);
  assert.deepEqual(await remembered(), [c.thumbprint]);
});

test("a root that cannot be removed is told, stays remembered, and does not keep the others from going", async (t) => {
  const { host, roots, remembered } = await bench(t);
  await roots.replace([a, b]);
  host.fail = (call) =>
    call.args.includes("-delstore") && call.args.includes(a.thumbprint)
      ? { exitCode: 5, output: "Access is denied." }
      : undefined;

  const failures = await roots.replace([c]);

  assert.deepEqual(failures, [
    `certificate ${a.thumbprint} could not be removed from the root store: Access is denied.`,
  ]);
  assert.deepEqual([...host.roots], [a.thumbprint, c.thumbprint]);
  assert.deepEqual(await remembered(), [c.thumbprint, a.thumbprint]);

  host.fail = () => undefined;
  assert.deepEqual(await roots.replace([c]), []);
  assert.deepEqual([...host.roots], [c.thumbprint]);
});

test("a root that cannot be added is told, and the other one is still added", async (t) => {
  const { directory, host, roots } = await bench(t);
  host.fail = (call) =>
    call.args.some((word) => word.includes(a.thumbprint))
      ? { exitCode: 5, output: "Access is denied." }
      : undefined;

  const failures = await roots.replace([a, b]);

  assert.deepEqual(failures, [
    `certificate ${a.thumbprint} could not be added to the root store: Access is denied.`,
  ]);
  assert.deepEqual([...host.roots], [b.thumbprint]);
  assert.deepEqual(await readdir(directory), ["trusted-roots.json"]);
});

for (const [name, text] of [
  ["is no JSON", '["AAA'],
  ["is no list", '{"a":1}'],
  ["is empty", ""],
] as const) {
  test(`a list that ${name} names nothing, and the roots are trusted all the same`, async (t) => {
    const { directory, host, roots, remembered } = await bench(t);
    await writeFile(join(directory, "trusted-roots.json"), text);

    assert.deepEqual(await roots.replace([a]), []);

    assert.deepEqual([...host.roots], [a.thumbprint]);
    assert.deepEqual(await remembered(), [a.thumbprint]);
  });
}

test("nothing in the list but a thumbprint ever reaches a program", async (t) => {
  const { directory, host, roots } = await bench(t);
  const hostile = ["-f", "Root", "a".repeat(40), `${"A".repeat(39)}\n`, "*", 5, null, { x: 1 }, b.thumbprint];
  await writeFile(join(directory, "trusted-roots.json"), JSON.stringify(hostile));
  host.roots.add(b.thumbprint);

  await roots.replace([a]);

  const removals = host.calls.filter(isCall("-delstore")).map((call) => call.args.at(-1));
  assert.deepEqual(removals, [b.thumbprint]);
});

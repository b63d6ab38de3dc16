/**
 * Who waits for whom when a host is to be changed.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { systemClock } from "../clock.ts";
import { SallyportError } from "../errors.ts";
import { withHostLock, type HostLockOptions } from "./host-lock.ts";

const nobody = 999_999_999;
const somebody = process.ppid;

function options(changed: Partial<HostLockOptions> = {}): HostLockOptions {
  return { clock: systemClock, waitMs: 0, ...changed };
}

function lockFile(t: TestContext, holder?: string, secondsAgo = 0): string {
  const file = join(temporaryFolder(t), "lock");
  if (holder !== undefined) {
    writeFileSync(file, holder);
    const time = Date.now() / 1_000 - secondsAgo;
    utimesSync(file, time, time);
  }
  return file;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => "done",
    (thrown: unknown) => thrown,
  );
  return error instanceof SallyportError ? error.code : String(error);
}

const taken: readonly (readonly [string, string, number, string])[] = [
  ["a process that lives", String(somebody), 0, "E_PLUGIN_BUSY"],
  ["a process that has died", String(nobody), 0, "done"],
  ["a process from before the host was started", String(somebody), 10_000, "done"],
  ["a process that is just about to write its name", "", 0, "E_PLUGIN_BUSY"],
  ["a process that died before it wrote its name", "", 60, "done"],
];
for (const [name, holder, secondsAgo, outcome] of taken) {
  test(`the lock of ${name}: ${outcome === "done" ? "taken" : "waited for"}`, async (t) => {
    const file = lockFile(t, holder, secondsAgo);

    const work = withHostLock(file, options({ uptimeMs: () => 3_600_000 }), async () => undefined);

    assert.equal(await codeOf(work), outcome);
    assert.equal(existsSync(file), outcome !== "done");
  });
}

test("many that find the same dead holder go one after the other", async (t) => {
  const file = lockFile(t, String(nobody));
  let inside = 0;
  let most = 0;
  const one = (): Promise<void> =>
    withHostLock(file, options({ waitMs: 20_000 }), async () => {
      most = Math.max(most, ++inside);
      await new Promise((resolve) => setImmediate(resolve));
      inside--;
    });

  await Promise.all(Array.from({ length: 8 }, one));

  assert.equal(most, 1);
  assert.deepEqual([existsSync(file), existsSync(`${file}.break`)], [false, false]);
});

test("one that died while it broke a lock stops nobody for long", async (t) => {
  const file = lockFile(t, String(nobody));
  writeFileSync(`${file}.break`, String(nobody));
  utimesSync(`${file}.break`, 1, 1);

  assert.equal(await codeOf(withHostLock(file, options({ waitMs: 5_000 }), async () => undefined)), "done");
});

test("a folder where no lock can be made is told by name", async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, "file", "lock");
  writeFileSync(join(folder, "file"), "");

  assert.equal(await codeOf(withHostLock(file, options(), async () => undefined)), "E_PLUGIN_LOCK");
});

test("the lock is given back when the work fails", async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "deep"));
  const file = join(folder, "deep", "lock");

  const work = withHostLock(file, options(), async () => {
    assert.equal(statSync(file).isFile(), true);
    throw new SallyportError("E_PLUGIN_INSTALL", { detail: "x" });
  });

  assert.equal(await codeOf(work), "E_PLUGIN_INSTALL");
  assert.equal(existsSync(file), false);
});

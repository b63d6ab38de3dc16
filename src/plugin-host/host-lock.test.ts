/**
 * Who waits for whom when a host is to be changed.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { FakeClock, settle } from "../../test/fakes/fake-clock.ts";
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
  ["a process that showed itself at work ten minutes ago", String(somebody), 600, "E_PLUGIN_BUSY"],
  ["a process that has long been silent, its number another's now", String(somebody), 1_000, "done"],
  ["ourselves from another life", String(process.pid), 1_000, "done"],
  ["a process that is just about to write its name", "", 0, "E_PLUGIN_BUSY"],
  ["a process that died before it wrote its name", "", 60, "done"],
];
for (const [name, holder, secondsAgo, outcome] of taken) {
  test(`the lock of ${name}: ${outcome === "done" ? "taken" : "waited for"}`, async (t) => {
    const file = lockFile(t, holder, secondsAgo);

    const work = withHostLock(file, options(), async () => undefined);

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

test("a holder shows that it is at work for as long as it works", async (t) => {
  const file = lockFile(t);
  const clock = new FakeClock("2030-01-01T00:00:00Z");

  await withHostLock(file, options({ clock }), async () => {
    for (let minute = 0; minute < 3; minute++) {
      await clock.advance(60_000);
      while (statSync(file).mtimeMs !== clock.now()) await settle();
    }
  });

  assert.equal(existsSync(file), false);
  assert.equal(clock.waiting, 0);
});

test("a lock that cannot be deleted changes nothing about what came of the work", async (t) => {
  const file = lockFile(t);
  // A folder stands for a file that is held open: it does not let itself be deleted as a file, nor emptied.
  const obstruct = (): void => {
    rmSync(file);
    mkdirSync(file);
  };

  const result = await withHostLock(file, options(), async () => {
    obstruct();
    return "installed";
  });
  rmSync(file, { recursive: true });
  const failing = withHostLock(file, options(), async () => {
    obstruct();
    throw new SallyportError("E_PLUGIN_INSTALL", { detail: "x" });
  });

  assert.equal(result, "installed");
  assert.equal(await codeOf(failing), "E_PLUGIN_INSTALL");
});

test("a lock that a successor has taken is not given back by the one before", async (t) => {
  const file = lockFile(t);

  await withHostLock(file, options(), async () => writeFileSync(file, String(somebody)));

  assert.equal(existsSync(file), true);
});

/**
 * The bed itself: a runner that calls a run red when it was, and cleans up
 * behind it however it ends. Runs against beds of its own making.
 * @module
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { pathToFileURL } from "node:url";

import { spawnGuarded } from "../../guarded-process.ts";
import { isAlive, until } from "./process-state.ts";

const e2e = join(import.meta.dirname, "../..");
const processes = pathToFileURL(join(e2e, "guarded-process.ts")).href;
const beds = pathToFileURL(join(e2e, "bed.ts")).href;

const readyBed = `export const prepare = async () => ({
  environment: { FIXTURE: 'given' },
  close: async () => process.stderr.write('bed closed\\n'),
});`;

/** A suite that starts a server which nobody stops, writes its id to `pid`, and then does `next`. */
const leavesServer = (next: string): string => `
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { GuardedProcess } from '${processes}';
test('starts a server', async () => {
  const server = new GuardedProcess('sleep', ['600'], { logFile: process.env.SALLYPORT_E2E_RUN_DIRECTORY + '/sleep.log' });
  writeFileSync(import.meta.dirname + '/pid', String(server.pid));
  ${next}
});`;

interface Run {
  readonly directory: string;
  readonly kill: (signal: NodeJS.Signals) => void;
  /** How it ended, what it printed, and the folder it kept, if any. */
  readonly ended: Promise<{ readonly code: number | null; readonly output: string }>;
}

/** Starts the runner on a bed with these files. */
function run(t: TestContext, files: Readonly<Record<string, string>>, words: readonly string[] = []): Run {
  const directory = mkdtempSync(join(tmpdir(), "runner-fixture-"));
  t.after(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(join(directory, "beds/fixture", file, ".."), { recursive: true });
    writeFileSync(join(directory, "beds/fixture", file), content);
  }
  mkdirSync(join(directory, "tmp"));
  const child = spawnGuarded(
    process.execPath,
    [join(e2e, "run.ts"), "--beds", join(directory, "beds"), ...words],
    {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TMPDIR: join(directory, "tmp") },
    },
  );
  let output = "";
  child.stdout?.on("data", (data: Buffer) => (output += String(data)));
  child.stderr?.on("data", (data: Buffer) => (output += String(data)));
  return {
    directory,
    kill: (signal) => child.kill(signal),
    ended: new Promise((resolve) =>
      child.once("close", (code) => {
        resolve({ code, output });
      }),
    ),
  };
}

test("suites of one bed are added up, each gets the bed's environment, and the bed is closed", async (t) => {
  const passing = (name: string): string => `
    import assert from 'node:assert';
    import { describe, test } from 'node:test';
    describe('${name}', () => { test('one', () => assert.equal(process.env.FIXTURE, 'given')); });
    test('two', () => {});`;

  const { ended, directory } = run(t, {
    "prepare.ts": readyBed,
    "first/a.test.ts": passing("a"),
    "second/b.test.ts": passing("b"),
  });
  const { code, output } = await ended;

  // Each comes from a stream of its own.
  assert.match(output, /bed closed/u);
  assert.match(output, /4 passed, 0 failed/u);
  assert.equal(code, 0);
  assert.deepEqual(readdirSync(join(directory, "tmp")), []);
});

test("suites of one bed never run at the same time, whatever other beds do", async (t) => {
  const takesTurns = `
    import assert from 'node:assert/strict';
    import { rmSync, writeFileSync } from 'node:fs';
    import { test } from 'node:test';
    test('alone on its bed', async () => {
      writeFileSync(import.meta.dirname + '/../turn', '', { flag: 'wx' });
      await new Promise((resolve) => setTimeout(resolve, 200));
      rmSync(import.meta.dirname + '/../turn');
    });`;
  const folders = ["", "../second/", "../third/"];
  const { ended } = run(
    t,
    Object.fromEntries(
      folders.flatMap((bed) => [
        [`${bed}prepare.ts`, readyBed],
        [`${bed}one/a.test.ts`, takesTurns],
        [`${bed}other/a.test.ts`, takesTurns],
      ]),
    ),
  );
  const { code, output } = await ended;

  assert.match(output, /6 passed, 0 failed/u);
  assert.equal(code, 0);
});

const waitsFor = (theirs: string, ours: string): string => `
  import { existsSync, writeFileSync } from 'node:fs';
  import { test } from 'node:test';
  test('${ours} meets ${theirs}', async () => {
    writeFileSync(import.meta.dirname + '/../${ours}.here', '');
    while (!existsSync(import.meta.dirname + '/../${theirs}.here')) await new Promise((r) => setTimeout(r, 20));
  });`;

test("suites of a bed that allows it run at the same time", async (t) => {
  const { ended } = run(t, {
    "prepare.ts": `${readyBed}\nexport const sideBySide = true;`,
    "first/a.test.ts": waitsFor("second", "first"),
    "second/b.test.ts": waitsFor("first", "second"),
  });
  const { code, output } = await ended;

  assert.equal(code, 0, output);
});

test("a long suite runs beside the others, and each is shown when it has ended", async (t) => {
  const { ended } = run(t, {
    "prepare.ts": `${readyBed}\nexport const longSuites = ['first'];`,
    "first/a.test.ts": waitsFor("second", "long"),
    "second/b.test.ts": waitsFor("long", "second"),
  });
  const { code, output } = await ended;

  assert.equal(code, 0, output);
  for (const said of [/second meets long/u, /long meets second/u, /2 passed, 0 failed/u])
    assert.match(output, said);
});

const red: readonly {
  readonly what: string;
  readonly suite: string;
  readonly says: RegExp;
}[] = [
  {
    what: "a failed test",
    suite: `import { test } from 'node:test'; test('good', () => {}); test('bad', () => { throw new Error('no'); });`,
    says: /logs are kept in .*\n1 passed, 1 failed/u,
  },
  {
    what: "a skipped test",
    suite: `import { test } from 'node:test'; test('good', () => {}); test('later', { skip: true }, () => {});`,
    says: /1 passed, 1 failed/u,
  },
  { what: "a suite without a test", suite: `export {};`, says: /0 passed, 1 failed/u },
  {
    what: "a suite that cannot be loaded",
    suite: `import 'nowhere-to-be-found';`,
    says: /0 passed, 1 failed/u,
  },
  {
    what: "a suite that ends the process",
    suite: `import { test } from 'node:test'; test('good', () => {}); test('exits', () => process.exit(0));`,
    says: /[01] passed, 1 failed/u,
  },
];
for (const { what, suite, says } of red) {
  test(`${what} makes the run fail`, async (t) => {
    const { code, output } = await run(t, { "prepare.ts": readyBed, "suite/a.test.ts": suite }).ended;

    assert.match(output, says);
    assert.equal(code, 1);
  });
}

test("a process that a suite left behind is named and ended, and fails the run", async (t) => {
  const { code, output } = await run(t, {
    "prepare.ts": readyBed,
    "suite/a.test.ts": `
      import { spawn } from 'node:child_process';
      import { test } from 'node:test';
      test('forgets a daemon', () => { spawn('sleep', ['601'], { detached: true, stdio: 'ignore' }).unref(); });`,
  }).ended;

  assert.match(output, /left running: \d+ sleep 601\n1 passed, 0 failed/u);
  assert.equal(code, 1);
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  test(`${signal} ends the suite, its servers and the bed, and removes the run's folder`, async (t) => {
    const started = run(t, {
      "prepare.ts": readyBed,
      "suite/a.test.ts": leavesServer("await new Promise(() => setInterval(() => {}, 1000));"),
    });
    const pidFile = join(started.directory, "beds/fixture/suite/pid");
    await until(() => existsSync(pidFile) && readFileSync(pidFile, "utf8") !== "");
    const server = Number(readFileSync(pidFile, "utf8"));
    assert.ok(isAlive(server));

    started.kill(signal);
    const { code, output } = await started.ended;

    assert.match(output, /bed closed/u);
    assert.equal(code, signal === "SIGINT" ? 130 : 143);
    assert.ok(!isAlive(server));
    assert.deepEqual(readdirSync(join(started.directory, "tmp")), []);
  });
}

test("a runner that is killed takes the suite and its servers along", async (t) => {
  const started = run(t, {
    "prepare.ts": readyBed,
    "suite/a.test.ts": leavesServer("await new Promise(() => setInterval(() => {}, 1000));"),
  });
  const pidFile = join(started.directory, "beds/fixture/suite/pid");
  await until(() => existsSync(pidFile) && readFileSync(pidFile, "utf8") !== "");
  const server = Number(readFileSync(pidFile, "utf8"));

  started.kill("SIGKILL");

  await until(() => !isAlive(server));
});

test("a failed test leaves the logs, and no server", async (t) => {
  const started = run(t, {
    "prepare.ts": readyBed,
    "suite/a.test.ts": leavesServer("throw new Error('no');"),
  });
  const { code } = await started.ended;

  assert.equal(code, 1);
  assert.ok(!isAlive(Number(readFileSync(join(started.directory, "beds/fixture/suite/pid"), "utf8"))));
  const [kept] = readdirSync(join(started.directory, "tmp"));
  assert.ok(existsSync(join(started.directory, "tmp", kept ?? "", "sleep.log")));
});

test("a bed that the machine cannot have is one sentence and exit code 3", async (t) => {
  const { code, output } = await run(t, {
    "prepare.ts": `import { BedUnavailable } from '${beds}';
      export const prepare = async () => { throw new BedUnavailable('Install a thing.'); };`,
    "suite/a.test.ts": `import { test } from 'node:test'; test('good', () => {});`,
  }).ended;

  assert.equal(output, "e2e: Install a thing.\n");
  assert.equal(code, 3);
});

test("a suite nobody wrote is refused, and the existing ones are named", async (t) => {
  const { code, output } = await run(
    t,
    {
      "prepare.ts": readyBed,
      "suite/a.test.ts": `import { test } from 'node:test'; test('good', () => {});`,
    },
    ["sweet"],
  ).ended;

  assert.match(output, /no suite is called sweet; there are:\ne2e: {3}fixture\/suite/u);
  assert.equal(code, 2);
});

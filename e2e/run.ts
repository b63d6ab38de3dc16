/**
 * `npm run e2e [-- suite …]`: prepares the beds that the chosen suites need,
 * runs each suite in a process of its own, and leaves nothing running behind.
 * Exit codes: 0 all passed, 1 something failed or was left behind, 2 no such
 * suite, 3 the machine lacks something, 130 interrupted.
 * @module
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync } from "node:fs";
import { availableParallelism, constants, homedir, tmpdir } from "node:os";
import { join, relative } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

import { BedUnavailable } from "./bed.ts";
import type { BedModule, PreparedBed } from "./bed.ts";
import { requireGuard, spawnGuarded } from "./guarded-process.ts";
import { findLeftovers } from "./leftovers.ts";
import { findSuites, selectSuites } from "./suites.ts";
import type { Suite } from "./suites.ts";
import type { Tally } from "./tally-reporter.ts";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  // Another folder of beds, for the tests of this runner.
  options: { beds: { type: "string", default: import.meta.dirname } },
});
/** A suite that takes longer hangs. */
const suiteLimitMs = 15 * 60 * 1000;
const testLimitMs = 3 * 60 * 1000;

const say = (line: string): void => {
  process.stderr.write(`e2e: ${line}\n`);
};

/** Aborted by the first signal; whatever waits then cleans up and ends. */
const interruption = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (!interruption.signal.aborted) say(`${signal}: stopping`);
    interruption.abort(signal);
  });
}

process.exitCode = await main(positionals);
// Whatever an interrupted run still waited for is not worth waiting for.
if (interruption.signal.aborted) process.exit();

async function main(words: readonly string[]): Promise<number> {
  const suites = findSuites(options.beds);
  const { chosen, unknown } = selectSuites(suites, words);
  if (unknown.length > 0 || chosen.length === 0) {
    say(`no suite is called ${unknown.join(", ")}; there are:`);
    for (const suite of suites) say(`  ${suite.bed}/${suite.name}`);
    return 2;
  }
  const began = performance.now();
  const runDirectory = mkdtempSync(join(tmpdir(), "sallyport-e2e-"));
  // Inherited by everything the run starts, which is how leftovers are told.
  process.env["SALLYPORT_E2E_RUN_DIRECTORY"] = runDirectory;
  let total: Tally = { passed: 0, failed: 0, unproven: 0 };
  let clean = true;
  try {
    requireGuard();
    total = await runSuites(chosen, runDirectory);
  } catch (cause) {
    if (interruption.signal.aborted) return exitCodeOf(interruption.signal.reason);
    if (!(cause instanceof BedUnavailable)) throw cause;
    say(cause.message);
    return 3;
  } finally {
    clean = await endLeftovers(runDirectory);
    const failed = total.failed + total.unproven > 0 && !interruption.signal.aborted;
    if (failed) say(`logs are kept in ${runDirectory}`);
    else rmSync(runDirectory, { recursive: true, force: true });
  }
  const failed = total.failed + total.unproven;
  const seconds = Math.round((performance.now() - began) / 1000);
  if (total.unproven > 0) say(`${String(total.unproven)} skipped or to-do tests count as failed`);
  process.stdout.write(`${String(total.passed)} passed, ${String(failed)} failed (${String(seconds)} s)\n`);
  return failed === 0 && clean ? 0 : 1;
}

interface OpenBed extends PreparedBed {
  readonly sideBySide: boolean;
  readonly longSuites: readonly string[];
}

async function openBed(bed: string, runDirectory: string): Promise<OpenBed> {
  const {
    prepare,
    sideBySide = false,
    longSuites = [],
  } = (await import(pathToFileURL(join(options.beds, bed, "prepare.ts")).href)) as BedModule;
  const { environment, close } = await orInterrupted(
    prepare({ runDirectory, cacheDirectory: cacheDirectory(), say }),
  );
  return { environment, close, sideBySide, longSuites };
}

/**
 * Prepares the beds one after another, since they install packages, and then runs their suites: one more at a time than
 * there are processors, since each waits now and then, three at the most; two of one bed only where the bed allows it. Those
 * that mostly wait run beside them.
 */
async function runSuites(chosen: readonly Suite[], runDirectory: string): Promise<Tally> {
  const beds = new Map<string, OpenBed>();
  let total: Tally = { passed: 0, failed: 0, unproven: 0 };
  const run = async (suite: Suite): Promise<void> => {
    const name = `${suite.bed}/${suite.name}`;
    // What two say at once could not be read: a suite is shown when it has ended.
    const output = chosen.length === 1 ? undefined : join(runDirectory, `${suite.bed}-${suite.name}.txt`);
    say(output === undefined ? name : `${name} begins`);
    const began = performance.now();
    const tally = await runSuite(suite, runDirectory, beds.get(suite.bed)?.environment ?? {}, output);
    total = add(total, tally);
    if (output === undefined) return;
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    process.stdout.write(`\n${name}, ${seconds} s:\n${readFileSync(output, "utf8")}`);
  };
  try {
    for (const bed of new Set(chosen.map((suite) => suite.bed)))
      beds.set(bed, await openBed(bed, runDirectory));
    const isLong = (suite: Suite): boolean => beds.get(suite.bed)?.longSuites.includes(suite.name) === true;
    const waiting = bySize(chosen.filter((suite) => !isLong(suite)));
    const busy = new Set<string>();
    const lane = async (): Promise<void> => {
      for (;;) {
        const suite =
          waiting.find(({ bed }) => !busy.has(bed)) ??
          waiting.find(({ bed }) => beds.get(bed)?.sideBySide === true);
        // Whoever works on the bed of the suites that are left goes on with them.
        if (suite === undefined) return;
        waiting.splice(waiting.indexOf(suite), 1);
        busy.add(suite.bed);
        await run(suite);
        busy.delete(suite.bed);
      }
    };
    const lanes = Array.from({ length: Math.min(availableParallelism() + 1, 3) }, lane);
    await Promise.all([...chosen.filter(isLong).map(run), ...lanes]);
  } finally {
    for (const bed of beds.values()) await bed.close();
  }
  return total;
}

/**
 * What takes long first, so that it is not left alone in the end: suites of the bed with the most of them, of these the one
 * with the most text.
 */
function bySize(suites: readonly Suite[]): Suite[] {
  const suitesOf = (bed: string): number => suites.filter((suite) => suite.bed === bed).length;
  const textOf = (suite: Suite): number =>
    suite.files.reduce((total, file) => total + statSync(file).size, 0);
  return suites.toSorted(
    (one, other) => suitesOf(other.bed) - suitesOf(one.bed) || textOf(other) - textOf(one),
  );
}

/** One process a suite: a suite that crashes fails alone, and its files share what they start. */
async function runSuite(
  suite: Suite,
  runDirectory: string,
  environment: Readonly<Record<string, string>>,
  outputFile?: string,
): Promise<Tally> {
  const tallyFile = join(runDirectory, `${suite.bed}-${suite.name}.json`);
  const output = outputFile === undefined ? "inherit" : openSync(outputFile, "w", 0o600);
  const child = spawnGuarded(
    process.execPath,
    [
      "--test",
      "--test-isolation=none",
      // What a failed test left open does not keep the run waiting; servers die with the suite.
      "--test-force-exit",
      `--test-timeout=${String(testLimitMs)}`,
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      `--test-reporter=${pathToFileURL(join(import.meta.dirname, "tally-reporter.ts")).href}`,
      `--test-reporter-destination=${tallyFile}`,
      ...suite.files.map((file) => relative(process.cwd(), file)),
    ],
    {
      stdio: ["ignore", output, output],
      env: {
        ...process.env,
        ...environment,
        // This runner may itself have been started by a test.
        NODE_TEST_CONTEXT: undefined,
        // Suites start this program hundreds of times.
        NODE_COMPILE_CACHE: join(import.meta.dirname, "..", ".cache", "compiled"),
        ...(process.stdout.isTTY ? { FORCE_COLOR: "1" } : {}),
      },
    },
  );
  if (output !== "inherit") closeSync(output);
  const ended = new Promise<number>((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal]));
    });
  });
  const limit = setTimeout(() => {
    say(`${suite.name} still ran after ${String(suiteLimitMs / 60_000)} minutes: killed`);
    child.kill("SIGKILL");
  }, suiteLimitMs);
  try {
    const code = await orInterrupted(ended);
    const tally = readTally(tallyFile);
    // A suite that proved nothing, or ended badly with every test passed, has failed.
    const sound = tally.passed > 0 && (code === 0 || tally.failed > 0);
    if (!sound)
      say(`${suite.name} ended with code ${String(code)} after ${String(tally.passed)} passed tests`);
    return sound ? tally : { ...tally, failed: Math.max(tally.failed, 1) };
  } finally {
    clearTimeout(limit);
    // Its own children die with it.
    child.kill("SIGKILL");
  }
}

function readTally(file: string): Tally {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Tally;
  } catch {
    return { passed: 0, failed: 0, unproven: 0 };
  }
}

function add(one: Tally, other: Tally): Tally {
  return {
    passed: one.passed + other.passed,
    failed: one.failed + other.failed,
    unproven: one.unproven + other.unproven,
  };
}

/** Rejects as soon as the run is interrupted. */
async function orInterrupted<T>(work: Promise<T>): Promise<T> {
  interruption.signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = (): void => {
    reject(new Error("interrupted"));
  };
  interruption.signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    interruption.signal.removeEventListener("abort", stop);
  }
}

/** Whether nothing was left; what was, after a moment to end by itself, is named and ended. */
async function endLeftovers(runDirectory: string): Promise<boolean> {
  const deadline = Date.now() + 2_000;
  let leftovers = findLeftovers(runDirectory);
  while (leftovers.length > 0 && Date.now() < deadline && !interruption.signal.aborted) {
    await sleep(50);
    leftovers = findLeftovers(runDirectory);
  }
  for (const { pid, command } of leftovers) {
    if (!interruption.signal.aborted) say(`left running: ${String(pid)} ${command}`);
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It ended meanwhile.
    }
  }
  while (findLeftovers(runDirectory).length > 0) await sleep(10);
  return leftovers.length === 0;
}

function exitCodeOf(signal: unknown): number {
  return 128 + constants.signals[signal as NodeJS.Signals];
}

function cacheDirectory(): string {
  return join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "sallyport", "e2e");
}

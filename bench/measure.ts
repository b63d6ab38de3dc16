/**
 * What the benches share: the shape of a result, medians, pairs, and the bundled service as a process.
 * @module
 */
import { spawn, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

export interface BenchOptions {
  /** A second or two in all: shows that the bench works, not how fast we are. */
  readonly smoke: boolean;
}

export interface Result {
  readonly what: string;
  readonly measured: string;
  readonly goal?: { readonly text: string; readonly met: boolean };
}

export interface Bench {
  readonly name: string;
  run(options: BenchOptions): Promise<readonly Result[]>;
}

export const bundle = join(import.meta.dirname, "../dist/sallyport.mjs");

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] ?? NaN)
    : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** Measures the two in turn, A B A B, and answers all pairs. */
export async function inTurn<T>(
  pairs: number,
  ours: () => Promise<T>,
  yardstick: () => Promise<T>,
): Promise<readonly { readonly ours: T; readonly yardstick: T }[]> {
  const all: { readonly ours: T; readonly yardstick: T }[] = [];
  for (let pair = 0; pair < pairs; pair++) all.push({ ours: await ours(), yardstick: await yardstick() });
  return all;
}

/** Runs Node on the arguments to its end; answers the milliseconds it took. */
export function timeNode(args: readonly string[]): Promise<number> {
  const began = performance.now();
  const child = spawn(process.execPath, args, { stdio: "ignore" });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => {
      if (code === 0) resolve(performance.now() - began);
      else reject(new Error(`node ${args.join(" ")} ended with ${code}`));
    });
  });
}

/** Resident memory of a process, in MiB (Linux). */
export function residentMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

/** The part of it that is no file: what another process of the same program takes once more, in MiB (Linux). */
export function privateMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

/** Ends a child and waits for it. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await gone;
}

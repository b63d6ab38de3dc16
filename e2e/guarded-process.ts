/**
 * Child processes that cannot outlive a run: the kernel kills them when the
 * process that started them dies, however it dies, and each has a log that a
 * failure message can quote.
 * @module
 */
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess, SpawnOptions } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { basename, dirname } from "node:path";
import { constants, setPriority } from "node:os";

import { BedUnavailable } from "./bed.ts";

/** How a process ended: an exit code, or the signal that ended it. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface GuardedProcessOptions {
  /** Its standard output and error are appended here. */
  readonly logFile: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

/** A server that a bed or a suite runs. Dies with its parent; not reached by the terminal's Ctrl-C. */
export class GuardedProcess {
  readonly name: string;
  readonly logFile: string;
  /** Settles once the process has ended; never rejects. */
  readonly exited: Promise<Exit>;
  readonly #child: ChildProcess;
  #exit: Exit | undefined;

  constructor(command: string, args: readonly string[], options: GuardedProcessOptions) {
    this.name = basename(command);
    this.logFile = options.logFile;
    mkdirSync(dirname(options.logFile), { recursive: true });
    const log = openSync(options.logFile, "a", 0o600);
    try {
      this.#child = spawnGuarded(command, args, {
        // A session of its own: Ctrl-C goes to whoever started us, who then stops us in order.
        detached: true,
        stdio: ["ignore", log, log],
        env: { ...process.env, ...options.environment },
        ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      });
    } finally {
      closeSync(log);
    }
    this.exited = new Promise((resolve) => {
      const end = (exit: Exit): void => {
        this.#exit ??= exit;
        resolve(this.#exit);
      };
      this.#child.once("exit", (code, signal) => {
        end({ code, signal });
      });
      this.#child.once("error", () => {
        end({ code: 127, signal: null });
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** How it ended, or undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** The last lines of its log. */
  tail(lines = 20): string {
    return tail(this.logFile, lines);
  }

  /** Sends a signal, without waiting for anything. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /**
   * Ends it and waits until it is gone: the signal first, SIGKILL when that
   * has not helped after `withinMs` milliseconds.
   */
  async stop(signal: NodeJS.Signals = "SIGTERM", withinMs = 10_000): Promise<Exit> {
    if (this.#exit === undefined) {
      this.#child.kill(signal);
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), withinMs);
      await this.exited;
      clearTimeout(timer);
    }
    return this.exited;
  }
}

/** What a command that ran to its end left behind. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly stdin?: string;
  /** Milliseconds after which it is killed (exit code 124, as timeout(1) has it). Default: two minutes; 0 for never. */
  readonly timeoutMs?: number;
  /** Leave the machine's other work the first turn. */
  readonly background?: boolean;
}

/** Runs a command to its end and collects what it printed. Rejects only when it cannot be started. */
export function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawnGuarded(command, args, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, ...options.environment },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  if (options.background === true && child.pid !== undefined) {
    setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
  }
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on("data", (chunk: Buffer) => stderr.push(chunk));
  // A command may end without having read its input.
  child.stdin?.on("error", () => undefined);
  child.stdin?.end(options.stdin ?? "");
  const timeoutMs = options.timeoutMs ?? 120_000;
  let late = false;
  const timer =
    timeoutMs === 0
      ? undefined
      : setTimeout(() => {
          late = true;
          child.kill("SIGKILL");
        }, timeoutMs);
  child.once("error", (cause) => {
    clearTimeout(timer);
    reject(cause);
  });
  child.once("close", (code) => {
    clearTimeout(timer);
    resolve({
      code: late ? 124 : (code ?? 128),
      stdout: Buffer.concat(stdout).toString("utf8"),
      stderr:
        Buffer.concat(stderr).toString("utf8") + (late ? `\n(killed after ${String(timeoutMs)} ms)` : ""),
    });
  });
  return promise;
}

/** The last lines of a file; empty when it does not exist. */
export function tail(file: string, lines = 20): string {
  try {
    return readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines).join("\n");
  } catch {
    return "";
  }
}

/** Throws {@link BedUnavailable} where children cannot be tied to their parent's life. */
export function requireGuard(): void {
  if (spawnSync("setpriv", ["--pdeathsig", "KILL", "--", "true"]).status !== 0) {
    throw new BedUnavailable(
      "The end-to-end beds need Linux and a setpriv that knows --pdeathsig: install util-linux 2.33 or newer.",
    );
  }
}

/**
 * As `spawn`, but the kernel kills the process with its parent: PR_SET_PDEATHSIG
 * survives the exec into the command, so the process id is the command's own.
 */
export function spawnGuarded(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  return spawn("setpriv", ["--pdeathsig", "KILL", "--", command, ...args], options);
}

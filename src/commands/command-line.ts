/**
 * What all commands share at the command line: options declared once, with the environment variable that may stand in
 * for each, usage faults that end with exit code 2, and help.
 * @module
 */
import { stat } from "node:fs/promises";
import { isIPv4, isIPv6 } from "node:net";
import { Command, CommanderError } from "commander";
import { longestTimerMs } from "../clock.ts";
import { configError, type ConfigFault } from "../errors.ts";

/** A sub-command's action: the exit code of what it did. */
export type Ran = (exitCode: Promise<number>) => Promise<void>;

/** A command (or a parent of commands) that never ends the process by itself. */
export function createProgram(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .exitOverride()
    .showHelpAfterError("`--help` lists the settings.")
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "sallyport: ")) });
}

/** Runs a program on the words after its name; help ends with 0, a usage fault with 2. */
export async function runProgram(program: Command, args: readonly string[]): Promise<number> {
  try {
    await program.parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
}

/** The environment's word for a switch: `true`/`false`, `1`/`0`, `yes`/`no`. */
export function environmentSwitch(
  name: string,
  value: string | undefined,
  faults: ConfigFault[],
): boolean | undefined {
  if (value === undefined || value === "") return undefined;
  const word = value.toLowerCase();
  if (["true", "1", "yes"].includes(word)) return true;
  if (["false", "0", "no"].includes(word)) return false;
  faults.push({ setting: name, problem: `"${value}" is neither true nor false` });
  return undefined;
}

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** The longest duration that a setting may have. */
export interface LongestDuration {
  readonly ms: number;
  /** As people write it. */
  readonly text: string;
}

/** What waits is counted by timers: Node's ring at once when they are told to wait longer (2^31-1 ms). */
const wait: LongestDuration = { ms: longestTimerMs, text: "596h" };
/** What is only added to a date, such as the life of a certificate. */
export const lifetime: LongestDuration = { ms: Number.MAX_SAFE_INTEGER, text: "what can be counted" };

/**
 * A duration such as `500ms`, `30s`, `10m` or `24h`, in milliseconds; `undefined` and a fault when it is none, or longer than
 * the longest (default: what a timer can wait).
 */
export function durationMs(
  setting: string,
  text: string,
  faults: ConfigFault[],
  longest = wait,
): number | undefined {
  const match = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h)$/.exec(text);
  const unit = units[match?.[2] ?? ""];
  if (match === null || unit === undefined) {
    faults.push({ setting, problem: `"${text}" is not a duration such as 30s, 10m or 24h` });
    return undefined;
  }
  const milliseconds = Math.round(Number(match[1]) * unit);
  if (milliseconds <= longest.ms) return milliseconds;
  faults.push({ setting, problem: `"${text}" is longer than ${longest.text}` });
  return undefined;
}

/** A DNS name; one whose last label is a number would be a misspelt IPv4 address. */
const hostNameForm =
  /^(?=.{1,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*(?!\d+$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i;

/** `host:port` with a literal address or a name, IPv6 in brackets. */
export function hostAndPort(
  setting: string,
  text: string,
  faults: ConfigFault[],
): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const [, bracketed = "", plain = ""] = match ?? [];
  const port = Number(match?.[3]);
  const possible = bracketed === "" ? isIPv4(plain) || hostNameForm.test(plain) : isIPv6(bracketed);
  if (match === null || !possible || port > 65_535) {
    faults.push({ setting, problem: `"${text}" is not ADDRESS:PORT, such as 127.0.0.1:9402 or [::1]:0` });
    return undefined;
  }
  return { host: bracketed === "" ? plain : bracketed, port };
}

/** A folder has to be there when a command starts; afterwards it may come and go. */
export async function existingFolder(setting: string, path: string, faults: ConfigFault[]): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) faults.push({ setting, problem: `"${path}" is not there` });
  else if (!found.isDirectory()) faults.push({ setting, problem: `"${path}" is no folder` });
}

/** @throws {SallyportError} `E_CONFIG_INVALID` when there is any fault. */
export function throwIfFaulty(faults: readonly ConfigFault[]): void {
  if (faults.length > 0) throw configError(faults);
}

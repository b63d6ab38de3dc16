/**
 * Calls of the plugin through COM, by the host program, with what they gave and what they wrote to the event log.
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { builtFile, pluginClassId, pluginSources, type LoggedEvent, type Wine } from "./wine.ts";

export interface PluginCall {
  readonly activated: boolean;
  /** The HRESULT in upper-case hexadecimal. */
  readonly result: string;
  readonly milliseconds: number;
  readonly domainName: string | null;
  readonly username: string | null;
  readonly password: string | null;
}

export interface PluginCalls {
  readonly calls: readonly PluginCall[];
  readonly events: readonly LoggedEvent[];
  readonly exitCode: number;
}

export interface CallOptions {
  readonly classId?: string;
  /** Through dllhost.exe, as ccg.exe has it; otherwise in the host's own process. */
  readonly surrogate?: boolean;
  /** Rounds over the inputs, per thread. */
  readonly count?: number;
  readonly threads?: number;
  /** Without Wine's trace, and so without events: for measuring. */
  readonly quiet?: boolean;
}

export async function callPlugin(
  wine: Wine,
  inputs: readonly string[],
  { classId = pluginClassId, surrogate = false, count = 1, threads = 1, quiet = false }: CallOptions = {},
): Promise<PluginCalls> {
  const where = surrogate ? "surrogate" : "in-process";
  const args = ["call", classId, where, String(count), String(threads), ...inputs];
  const result = await wine.run(builtFile("test-host.exe"), args, quiet ? { WINEDEBUG: "-all" } : {});
  return {
    calls: parseLines(result.stdout) as readonly PluginCall[],
    events: result.events,
    exitCode: result.code,
  };
}

/** One JSON document a line. */
export function parseLines(text: string): readonly unknown[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line): unknown => JSON.parse(line));
}

/** Names and numbers of the causes, from the file that the DLL is made of. */
export function readCauses(): ReadonlyMap<string, number> {
  const text = readFileSync(join(pluginSources, "src", "causes.def"), "utf8");
  return new Map(
    [...text.matchAll(/^CAUSE\((\w+), (\d+),/gmu)].map(([, name = "", number]) => [name, Number(number)]),
  );
}

/** The HRESULT of a cause, as a call shows it. */
export function resultOf(cause: number): string {
  return cause === 1 ? "00000000" : (0xa0cc0000 + cause).toString(16).toUpperCase();
}

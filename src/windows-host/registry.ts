/**
 * The registry as `reg.exe` prints it. Names of keys and values are compared without case, as Windows does.
 * @module
 */
import { SallyportError } from "../errors.ts";
import type { HostCall, HostCallResult, WindowsHost } from "./windows-host.ts";

export interface RegistryValue {
  /** Such as `REG_SZ`. */
  readonly type: string;
  readonly data: string;
}

/** Values by key and name, both in lower case; the key's default value has the empty name. Keys begin with `hklm\`. */
export type RegistryContents = ReadonlyMap<string, ReadonlyMap<string, RegistryValue>>;

/** A key with everything below it. Exit code 1 when it is not there. */
export function queryRegistry(key: string): HostCall {
  return { program: "reg", args: ["query", key, "/s"] };
}

/** One value alone, of a key that may have megabytes below it. */
export function queryRegistryValue(key: string, name: string): HostCall {
  return { program: "reg", args: ["query", key, "/v", name] };
}

/** Reads what `reg query` printed. The default value's name is shown in the display language, always in brackets. */
export function parseRegistryQuery(output: string): RegistryContents {
  const contents = new Map<string, Map<string, RegistryValue>>();
  let values: Map<string, RegistryValue> | undefined;
  for (const line of output.split(/\r?\n/)) {
    const key = /^HKEY_LOCAL_MACHINE\\(.*)$/i.exec(line)?.[1];
    if (key !== undefined) {
      values = new Map();
      contents.set(`hklm\\${key.toLowerCase()}`, values);
      continue;
    }
    const [, name, type, data] = /^ {4}(.*?) {4}(REG_[A-Z_]+)(?: {4}(.*))?$/.exec(line) ?? [];
    if (name === undefined || type === undefined) continue;
    values?.set(/^\(.*\)$/.test(name) ? "" : name.toLowerCase(), { type, data: data ?? "" });
  }
  return contents;
}

/** On every Windows host, and readable by everybody. */
const alwaysThere = ["HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion", "CurrentBuildNumber"] as const;

/**
 * Several keys with everything below them, and single values by key and name; what is not there adds nothing. `reg.exe`
 * ends the same way for a key that is not there and for a registry that it cannot read: a value that every host has tells
 * the one from the other.
 * @throws {SallyportError} `E_REGISTRY`
 */
export async function readRegistry(
  host: WindowsHost,
  keys: readonly string[],
  single: readonly (readonly [key: string, name: string])[] = [],
): Promise<RegistryContents> {
  const known = await host.run(queryRegistryValue(...alwaysThere));
  if (known.exitCode !== 0) throw unreadable(alwaysThere[0], known);
  const queries = [
    ...keys.map((key) => ({ key, call: queryRegistry(key) })),
    ...single.map(([key, name]) => ({ key, call: queryRegistryValue(key, name) })),
  ];
  const contents = new Map<string, ReadonlyMap<string, RegistryValue>>();
  const answers = await Promise.all(queries.map(({ call }) => host.run(call)));
  for (const [index, { key }] of queries.entries()) {
    const answer = answers[index];
    if (answer?.unfinished !== undefined) throw unreadable(key, answer);
    if (answer?.exitCode !== 0) continue;
    contents.set(key.toLowerCase(), new Map());
    for (const [path, values] of parseRegistryQuery(answer.output)) contents.set(path, values);
  }
  return contents;
}

function unreadable(key: string, { exitCode, output, unfinished }: HostCallResult): SallyportError {
  const detail = unfinished ?? `reg.exe ended with ${exitCode}${output === "" ? "" : ` (${output})`}`;
  return new SallyportError("E_REGISTRY", { key, detail });
}

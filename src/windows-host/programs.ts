/**
 * Calls of Windows programs for a COM server in a DLL: registration, the processes that have it loaded, access to its
 * folder, and the events about it. Pure functions; see `windows-host.ts`.
 * @module
 */
import { takeDirectory, type HostCall } from "./windows-host.ts";

/** Runs `DllRegisterServer`, or `DllInstall` with words for it. Exit code 0 only when the DLL says that it succeeded. */
export function registerDll(path: string, words: readonly string[] = []): HostCall {
  const choices = words.length === 0 ? [] : ["/n", `/i:${words.join(",")}`];
  return { program: "regsvr32", args: ["/s", ...choices, path] };
}

export function unregisterDll(path: string): HostCall {
  return { program: "regsvr32", args: ["/s", "/u", path] };
}

/**
 * Lets a DLL of ours report what COM makes of its registration, to a file beside it. Through regsvr32, which runs the
 * function as COM's callers run: rundll32 would show a window where the DLL cannot be loaded.
 */
export function checkActivation(path: string): HostCall {
  return { program: "regsvr32", args: ["/s", "/n", "/i:check-activation", path] };
}

/** What such a report says, or `undefined` when it is none. Results are HRESULTs, unsigned. */
export interface ActivationReport {
  readonly inProcess: number;
  readonly surrogate: number;
  /** The caller is one of those whom the launch permission is for by default: SYSTEM or a service. */
  readonly isLauncher: boolean;
}

export function parseActivationReport(text: string): ActivationReport | undefined {
  const numbers = /^in-process ([\dA-F]{8})\nsurrogate ([\dA-F]{8})\nlauncher ([\dA-F]{8})\n$/.exec(text);
  const [inProcess, surrogate, launcher] = (numbers ?? [])
    .slice(1)
    .map((digits) => Number.parseInt(digits, 16));
  if (inProcess === undefined || surrogate === undefined || launcher === undefined) return undefined;
  return { inProcess, surrogate, isLauncher: launcher === 1 };
}

/**
 * Whether Windows accepts the signature of a file, and whose it is, on two lines. Within PowerShell's single quotes
 * nothing has a meaning but the quotes themselves.
 */
export function verifySignature(path: string): HostCall {
  const quoted = `'${path.replaceAll("'", "''")}'`;
  const script = `$s = Get-AuthenticodeSignature -LiteralPath ${quoted}; $s.Status.ToString(); $s.SignerCertificate.Subject`;
  return { program: "powershell", args: ["-NoProfile", "-NonInteractive", "-Command", script] };
}

export interface SignatureVerdict {
  /** A word of .NET's enumeration SignatureStatus, the same in every display language: `Valid`, `HashMismatch`, … */
  readonly status: string;
  readonly signer: string;
}

export function parseSignature(output: string): SignatureVerdict | undefined {
  const [, status, signer = ""] = /^([A-Z][A-Za-z]+)(?:\r?\n(.*))?$/.exec(output.trim()) ?? [];
  return status === undefined ? undefined : { status, signer };
}

/** The processes that have a module of this file name loaded, as CSV. */
export function listProcessesWithModule(fileName: string): HostCall {
  return { program: "tasklist", args: ["/m", fileName, "/fo", "csv", "/nh"] };
}

/** Process ids in what {@link listProcessesWithModule} printed; empty also when it printed that there are none. */
export function parseProcessList(output: string): readonly number[] {
  return [...output.matchAll(/^"dllhost\.exe","(\d+)"/gim)].map(([, id]) => Number(id));
}

export function endProcess(id: number): HostCall {
  return { program: "taskkill", args: ["/f", "/pid", String(id)] };
}

/** A folder whose files everybody may read and run and only SYSTEM and Administrators may change, whoever made it. */
export function protectProgramFolder(path: string): readonly HostCall[] {
  return [
    ...takeDirectory(path),
    {
      program: "icacls",
      args: [
        path,
        "/inheritance:r",
        "/grant:r",
        "*S-1-5-18:(OI)(CI)F",
        "*S-1-5-32-544:(OI)(CI)F",
        "*S-1-5-32-545:(OI)(CI)RX",
        "/q",
      ],
    },
  ];
}

/**
 * Writes the access lists of a folder and of what is in it as SDDL, in UTF-16, to a file: the one form of them without
 * names in some language.
 */
export function saveAccessList(path: string, file: string): HostCall {
  return { program: "icacls", args: [path, "/save", file, "/t", "/q"] };
}

/** The latest entries of an event channel as XML, newest first. */
export function queryEvents(channel: string, count: number): HostCall {
  return { program: "wevtutil", args: ["qe", channel, `/c:${count}`, "/rd:true", "/f:xml"] };
}

export interface WindowsEvent {
  readonly id: number;
  /** 1 critical, 2 error, 3 warning, 4 information. */
  readonly level: number;
  readonly time: string;
}

export function parseEvents(xml: string): readonly WindowsEvent[] {
  return xml
    .split(/(?=<Event[ >])/)
    .map((event) => ({
      id: Number(/<EventID[^>]*>(\d+)<\/EventID>/.exec(event)?.[1]),
      level: Number(/<Level>(\d+)<\/Level>/.exec(event)?.[1]),
      time: /SystemTime=['"]([^'"]+)['"]/.exec(event)?.[1] ?? "",
    }))
    .filter((event) => !Number.isNaN(event.id));
}

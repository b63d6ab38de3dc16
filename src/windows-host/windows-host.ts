/**
 * What Sallyport asks of a Windows host beyond plain files: access lists and the machine's root store. A call is data
 * (program and arguments), made by pure functions, so that it can be tested where there is no Windows.
 *
 * Accounts are named by SID and success is read from exit codes: both are the same in every display language.
 * @module
 */
import { execFile, type ExecFileException } from "node:child_process";
import { join } from "node:path/win32";

/** A program of Windows and its arguments; no shell is involved. */
export interface HostCall {
  readonly program:
    | "icacls"
    | "certutil"
    | "powershell"
    | "reg"
    | "regsvr32"
    | "tasklist"
    | "taskkill"
    | "wevtutil";
  readonly args: readonly string[];
}

export interface HostCallResult {
  readonly exitCode: number;
  /** What the program printed, for an error's detail. */
  readonly output: string;
  /** Why the exit code is not the program's own word: it was not started, or was ended. */
  readonly unfinished?: string;
}

export interface WindowsHost {
  run(call: HostCall): Promise<HostCallResult>;
}

const callTimeoutMs = 30_000;
/** More than this is no answer to anything that is asked here. */
const outputLimit = 4 * 1024 * 1024;

/** What became of a program that did not end by itself. Node ends one for its time and for its output. */
function unfinished(error: ExecFileException | null, timeoutMs: number): string | undefined {
  if (error === null || typeof error.code === "number") return undefined;
  if (error.code === "ERR_CHILD_PROCESS_STDIO_MAXBUFFER") return `it printed more than ${outputLimit} octets`;
  if (error.killed === true) return `it did not end within ${timeoutMs / 1_000} s`;
  return typeof error.signal === "string" ? `it was ended by ${error.signal}` : error.message;
}

/** The host itself, through the programs in its System32 folder and none that a search path could offer. */
export function createWindowsHost(
  systemRoot: string = process.env["SystemRoot"] ?? "C:\\Windows",
  timeoutMs: number = callTimeoutMs,
): WindowsHost {
  return {
    run: (call) =>
      new Promise((resolve) => {
        const folder = call.program === "powershell" ? "WindowsPowerShell\\v1.0" : "";
        const program = join(systemRoot, "System32", folder, `${call.program}.exe`);
        execFile(
          program,
          call.args,
          { timeout: timeoutMs, windowsHide: true, maxBuffer: outputLimit },
          (error, stdout, stderr) => {
            const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
            const reason = unfinished(error, timeoutMs);
            resolve({
              exitCode: code,
              output: `${stdout}${stderr}`.trim() || (error?.message ?? ""),
              ...(reason === undefined ? {} : { unfinished: reason }),
            });
          },
        );
      }),
  };
}

/** Well-known SIDs (MS-DTYP section 2.4.2.4), as icacls takes them. */
const localSystem = "*S-1-5-18";
const administrators = "*S-1-5-32-544";
const networkService = "*S-1-5-20";

/**
 * Takes a directory from whoever made it: its owner may always change its access list, and `/grant:r` below replaces the
 * entries of the accounts that it names and leaves all others. Everything that is not inherited goes.
 */
export function takeDirectory(path: string): readonly HostCall[] {
  return [
    { program: "icacls", args: [path, "/setowner", administrators, "/q"] },
    { program: "icacls", args: [path, "/reset", "/q"] },
  ];
}

/**
 * A directory for SYSTEM and Administrators alone, whoever made it; what is created in it inherits that. Plugin files get
 * their reader one by one ({@link grantPluginRead}).
 */
export function restrictDirectory(path: string): readonly HostCall[] {
  return [
    ...takeDirectory(path),
    {
      program: "icacls",
      args: [
        path,
        "/inheritance:r",
        "/grant:r",
        `${localSystem}:(OI)(CI)F`,
        `${administrators}:(OI)(CI)F`,
        "/q",
      ],
    },
  ];
}

/** A file that the plugin reads: its surrogate process may run as NETWORK SERVICE. */
export function grantPluginRead(path: string): readonly HostCall[] {
  return [
    {
      program: "icacls",
      args: [
        path,
        "/inheritance:r",
        "/grant:r",
        `${localSystem}:F`,
        `${administrators}:F`,
        `${networkService}:R`,
        "/q",
      ],
    },
  ];
}

/** Puts a certificate file into the machine's root store; putting it there again changes nothing. */
export function addTrustedRoot(certificateFile: string): HostCall {
  return { program: "certutil", args: ["-f", "-addstore", "Root", certificateFile] };
}

/** Exit code 0 when the machine's root store holds the certificate with this SHA-1 thumbprint. */
export function findTrustedRoot(thumbprint: string): HostCall {
  return { program: "certutil", args: ["-store", "Root", thumbprint] };
}

export function removeTrustedRoot(thumbprint: string): HostCall {
  return { program: "certutil", args: ["-delstore", "Root", thumbprint] };
}

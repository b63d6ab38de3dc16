/**
 * A Windows of one suite's own: a Wine prefix below the run's folder, without a display and with nothing of the person's
 * own Wine in it. Programs write to files, never to pipes: a surrogate process outlives its client and would hold a pipe
 * open.
 * @module
 */
import { once } from "node:events";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { runCommand, spawnGuarded } from "../guarded-process.ts";
import { findProcessesWith } from "../leftovers.ts";

/** The folder of the DLL's sources. */
export const pluginSources = join(import.meta.dirname, "..", "..", "native", "ccg-plugin");

export const winePath = "/usr/lib/wine/wine64";
export const wineServerPath = "/usr/lib/wine/wineserver64";

export const pluginClassId = "{D035536E-1862-450C-830A-FB8629184C57}";
export const replacedClassId = "{E4781092-F116-4B79-B55E-28EB6A224E26}";
export const keyVaultClassId = "{CCC2A336-D7F3-4818-A213-272B7924213E}";
export const pluginAppId = "{35BDD23D-4757-4EB1-B7AA-D587CBFAD5B4}";
const interfaceId = "{6ECDA518-2010-4437-8BC3-46E752B7B172}";

/** Where a plugin that was not installed by a command lies in the prefix. */
export const pluginDll = "C:\\plugin\\SallyportCcgPlugin.dll";

export const comClassesKey = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\CCG\\COMClasses";

/** An entry that a program wrote to the event log, as Wine's trace shows it. */
export interface LoggedEvent {
  readonly type: "error" | "warning" | "information";
  /** The low half of the identifier. */
  readonly id: number;
  /** All of it: the HRESULT of a failure. */
  readonly identifier: string;
  readonly strings: readonly string[];
}

export interface WineResult {
  readonly code: number;
  readonly stdout: string;
  readonly events: readonly LoggedEvent[];
}

const programLimitMs = 120_000;

let firstPrefix: Promise<string> | undefined;

export class Wine {
  readonly prefix: string;
  readonly #directory: string;
  readonly #logs: string;
  #runs = 0;

  private constructor(directory: string) {
    this.#directory = directory;
    this.prefix = join(directory, "prefix");
    this.#logs = join(directory, "logs");
    mkdirSync(this.#logs, { recursive: true });
  }

  /** Starts with the Containers feature's key and the proxy that Wine lacks. The run's first one takes about seven seconds. */
  static async start(): Promise<Wine> {
    const runDirectory = process.env["SALLYPORT_E2E_RUN_DIRECTORY"];
    const wine = new Wine(mkdtempSync(join(runDirectory ?? tmpdir(), "wine-")));
    if (runDirectory === undefined) {
      await wine.#makePrefix();
    } else {
      firstPrefix ??= Wine.#makeFirst(runDirectory);
      await copyPrefix(await firstPrefix, wine.prefix);
      // One server as long as the suite lasts: between two programs it would end, and its successor read what it still writes.
      await wine.#expect(wineServerPath, ["-p"]);
    }
    return wine;
  }

  /** The prefix that all of a run are copies of; its suites come one after another. */
  static async #makeFirst(runDirectory: string): Promise<string> {
    const kept = join(runDirectory, "first-prefix");
    if (existsSync(kept)) return kept;
    const wine = new Wine(mkdtempSync(join(runDirectory, "wine-")));
    await wine.#makePrefix();
    await wine.#stop();
    // The name of its server's folder.
    rmSync(join(wine.prefix, "wineserver"), { force: true });
    renameSync(wine.prefix, kept);
    return kept;
  }

  async #makePrefix(): Promise<void> {
    await this.#expect(winePath, ["wineboot", "-i"]);
    // What comes after the first boot must not meet its end: two service managers of one prefix lock each other out.
    await this.#stop();
    await this.#expect(winePath, ["winecfg", "-v", "win10"]);
    mkdirSync(this.path("C:\\plugin"));
    cpSync(builtFile("SallyportCcgPlugin.dll"), this.path(pluginDll));
    cpSync(builtFile("ccg-proxy.dll"), this.path("C:\\plugin\\ccg-proxy.dll"));
    await this.registry("add", comClassesKey);
    // Wine has no proxy of its own for the interface: what Windows brings, made by hand.
    const classes = "HKLM\\SOFTWARE\\Classes";
    const proxyOf = `${classes}\\Interface\\${interfaceId}`;
    await this.registry("add", proxyOf, "/ve", "/d", "ICcgDomainAuthCredentials");
    await this.registry("add", `${proxyOf}\\ProxyStubClsid32`, "/ve", "/d", interfaceId);
    const server = `${classes}\\CLSID\\${interfaceId}\\InprocServer32`;
    await this.registry("add", server, "/ve", "/d", "C:\\plugin\\ccg-proxy.dll");
    await this.registry("add", server, "/v", "ThreadingModel", "/d", "Both");
  }

  /** A path of the prefix's drive C as one of this machine. */
  path(windowsPath: string): string {
    return join(this.prefix, "drive_c", ...windowsPath.replace(/^C:\\/iu, "").split("\\"));
  }

  /**
   * Runs a Windows program: a file, or the name of one in system32. On a busy machine one start in some thousands of Wine's
   * ends with 1 before the program has run; those of system32 say something whenever they fail, and are started again then.
   */
  async run(
    program: string,
    args: readonly string[],
    environment: NodeJS.ProcessEnv = {},
  ): Promise<WineResult> {
    const isFile = /[\\/]/u.test(program);
    // A bare name would have Wine start a program that looks for it, which costs as much again.
    const file = isFile ? program : `C:\\windows\\system32\\${program}.exe`;
    for (let start = 1; ; start++) {
      const result = await this.#run(winePath, [file, ...args], environment);
      const ran = isFile || result.code !== 1 || result.stdout !== "" || result.events.length > 0;
      if (ran || start === 3) return result;
    }
  }

  /** Runs the host program of native/ccg-plugin/test. */
  async host(...args: readonly string[]): Promise<WineResult> {
    return this.run(builtFile("test-host.exe"), args);
  }

  /** `reg.exe`; throws unless it succeeds. */
  async registry(...args: readonly string[]): Promise<string> {
    const forced = args[0] === "add" || args[0] === "delete" ? [...args, "/f"] : args;
    return succeeded(await this.run("reg", forced), ["reg", ...forced]).stdout;
  }

  /** How long the plugin waits for the account provider. */
  async setPluginTimeout(milliseconds: number): Promise<void> {
    const key = "HKLM\\SOFTWARE\\Sallyport\\CCG plugin";
    await this.registry(
      "add",
      key,
      "/v",
      "TimeoutMilliseconds",
      "/t",
      "REG_DWORD",
      "/d",
      String(milliseconds),
    );
  }

  async hasKey(key: string): Promise<boolean> {
    return (await this.run("reg", ["query", key])).code === 0;
  }

  /** `regsvr32 /s`, which answers 0 only when the DLL's entry point succeeded. */
  async regsvr32(...args: readonly string[]): Promise<WineResult> {
    return this.run("regsvr32", ["/s", ...args]);
  }

  /**
   * Registers the plugin, with the choices of its `DllInstall`, and lets Wine start its surrogate: an empty `DllSurrogate`, as Windows needs it, makes a 64-bit
   * Wine look for a 32-bit dllhost.
   */
  async registerPlugin(...words: readonly string[]): Promise<void> {
    const choices = words.length === 0 ? [] : ["/n", `/i:${words.join(",")}`];
    const { code } = await this.regsvr32(...choices, pluginDll);
    if (code !== 0) throw new Error(`regsvr32 ended with ${String(code)}`);
    await this.pointSurrogateAtWine();
  }

  async pointSurrogateAtWine(): Promise<void> {
    const key = `HKLM\\SOFTWARE\\Classes\\AppID\\${pluginAppId}`;
    await this.registry("add", key, "/v", "DllSurrogate", "/d", "C:\\windows\\system32\\dllhost.exe");
  }

  /** Ends everything in the prefix and removes it; the logs stay as long as the run's folder does. */
  async close(): Promise<void> {
    await this.#stop();
    await this.#endLatecomers();
    const runDirectory = process.env["SALLYPORT_E2E_RUN_DIRECTORY"];
    rmSync(runDirectory === undefined ? this.#directory : this.prefix, { recursive: true, force: true });
  }

  /** What was only starting when the server ended was none of its own, and would wait for a server for good. */
  async #endLatecomers(): Promise<void> {
    for (let look = 0; look < 20; look++) {
      const left = findProcessesWith(`WINEPREFIX=${this.prefix}`);
      if (left.length === 0) return;
      for (const { pid } of left) {
        try {
          process.kill(pid, "SIGKILL");
        } catch {
          // It ended meanwhile.
        }
      }
      await sleep(50);
    }
  }

  async #stop(): Promise<void> {
    await this.#run(wineServerPath, ["-k"], {});
    await this.#run(wineServerPath, ["-w"], {});
  }

  async #expect(command: string, args: readonly string[]): Promise<WineResult> {
    return succeeded(await this.#run(command, args, {}), args);
  }

  async #run(command: string, args: readonly string[], environment: NodeJS.ProcessEnv): Promise<WineResult> {
    const name = join(this.#logs, String(this.#runs++));
    const output = openSync(`${name}.out`, "w");
    const trace = openSync(`${name}.err`, "w");
    const child = spawnGuarded(command, args, {
      stdio: ["ignore", output, trace],
      env: {
        ...process.env,
        WINEPREFIX: this.prefix,
        WINEARCH: "win64",
        // Neither .NET nor a browser is offered for installation.
        WINEDLLOVERRIDES: "mscoree,mshtml=",
        // What a program reports to the event log, and nothing else.
        WINEDEBUG: "-all,fixme+advapi,+eventlog",
        DISPLAY: undefined,
        // Where Wine's server leaves a folder of its own behind.
        TMPDIR: this.#directory,
        ...environment,
      },
    });
    closeSync(output);
    closeSync(trace);
    const limit = setTimeout(() => child.kill("SIGKILL"), programLimitMs);
    const [code] = (await once(child, "exit")) as [number | null];
    clearTimeout(limit);
    return {
      code: code ?? 128,
      stdout: readFileSync(`${name}.out`, "utf8"),
      events: parseEvents(readFileSync(`${name}.err`, "utf8")),
    };
  }
}

function succeeded(result: WineResult, words: readonly string[]): WineResult {
  if (result.code === 0) return result;
  throw new Error(`${words.join(" ")} ended with ${String(result.code)}: ${result.stdout}`);
}

/** A copy that shares the bytes of what lies on its drive, which Wine and the tests replace and never write into. */
async function copyPrefix(from: string, to: string): Promise<void> {
  mkdirSync(to);
  for (const name of readdirSync(from)) {
    // Wine writes into a registry file that has several names.
    const how = name === "drive_c" ? ["--archive", "--link"] : ["--archive"];
    const { code, stderr } = await runCommand("cp", [...how, join(from, name), to]);
    if (code !== 0) throw new Error(`copying the prefix: ${stderr}`);
  }
}

/** A file that `make` built for the bed. */
export function builtFile(name: string): string {
  const folder = process.env["SALLYPORT_E2E_CCG_PLUGIN"] ?? join(pluginSources, "build");
  const path = join(folder, name);
  if (!existsSync(path)) throw new Error(`${path} is missing: run the suite through npm run e2e`);
  return path;
}

const eventTypes: Readonly<Record<string, LoggedEvent["type"]>> = {
  "0x0001": "error",
  "0x0002": "warning",
  "0x0004": "information",
};

/**
 * Reads Wine's trace: its event log is a stub that names type and identifier in one line, and then each string in a line
 * of its own. Lines of several threads are told apart by the thread's number in front.
 */
function parseEvents(trace: string): readonly LoggedEvent[] {
  const events: { type: LoggedEvent["type"]; id: number; identifier: string; strings: string[] }[] = [];
  const open = new Map<string, { strings: string[] }>();
  for (const line of trace.split("\n")) {
    const [, thread = "", rest = ""] = /^([0-9a-f]{4,}):\w+:\w+:ReportEventW (.*)$/u.exec(line) ?? [];
    const [, type = "", identifier = ""] = /^\([^,]*,(0x\d{4}),0x\w{4},0x(\w{8}),/u.exec(rest) ?? [];
    if (identifier !== "") {
      const event = {
        type: eventTypes[type] ?? "error",
        id: Number.parseInt(identifier.slice(4), 16),
        identifier: identifier.toUpperCase(),
        strings: [],
      };
      events.push(event);
      open.set(thread, event);
    } else if (rest.startsWith("L")) {
      open.get(thread)?.strings.push(unescapeTrace(rest.slice(2, -1)));
    }
  }
  return events;
}

function unescapeTrace(text: string): string {
  return text.replace(/\\(x?)([0-9a-f]{4}|.)/gu, (_, wide: string, rest: string) =>
    wide === "" ? rest : String.fromCharCode(Number.parseInt(rest, 16)),
  );
}

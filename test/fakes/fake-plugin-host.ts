/**
 * A Windows host with a registry in memory and a drive C in a folder, on which `regsvr32` does what the plugin's own entry
 * points do, and each program fails when a test wants it to.
 * @module
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  activationReportPath,
  keyVaultClassId,
  pluginAppId,
  pluginClassId,
  pluginName,
  pluginPath,
  registryKeys,
  replacedClassId,
} from "../../src/plugin-host/plugin-identity.ts";
import type { PluginHost } from "../../src/plugin-host/plugin-state.ts";
import type { HostCall, HostCallResult } from "../../src/windows-host/windows-host.ts";

const done: HostCallResult = { exitCode: 0, output: "" };
const failed: HostCallResult = { exitCode: 1, output: "" };

/** `O:BAG:BAD:(A;;0xB;;;SY)(A;;0xB;;;SU)`, self-relative; with `0b` for `06` it is for authenticated users. */
export function permissionOctets(service: "06" | "0b"): string {
  return (
    "01000480440000005400000000000000140000000200300002000000000014000b000000010100000000000512000000" +
    `000014000b0000000101000000000005${service}000000` +
    "0102000000000005200000002002000001020000000000052000000020020000"
  ).toUpperCase();
}

export class FakePluginHost implements PluginHost {
  readonly calls: HostCall[] = [];
  /** Values by key and name, as they were written; the default value's name is empty. */
  readonly keys = new Map<string, Map<string, readonly [type: string, data: string]>>();
  /** What `tasklist` prints. */
  processes = "";
  /** What `icacls` saves as the folder's access list. */
  accessList = "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)";
  /** What the DLL reports about its activation. */
  activation = "in-process 00000000\nsurrogate 00000000\nlauncher 00000001\n";
  /** What PowerShell says about the signature. */
  signature = "";
  /** Answers instead of the host when it returns something. */
  fail: (call: HostCall) => HostCallResult | undefined = () => undefined;
  readonly windows = { run: (call: HostCall): Promise<HostCallResult> => Promise.resolve(this.#run(call)) };
  readonly #drive: string;

  constructor(drive: string) {
    this.#drive = drive;
    this.write(registryKeys.windows, "CurrentBuildNumber", "20348");
    this.write(registryKeys.environment, "PROCESSOR_ARCHITECTURE", "AMD64");
    this.keys.set(registryKeys.allowedClasses, new Map());
    this.write(`${registryKeys.interface}\\ProxyStubClsid32`, "", "{A6FF50C0-56C0-71CA-5732-BED303A59628}");
  }

  localPath(windowsPath: string): string {
    return join(this.#drive, ...windowsPath.replace(/^C:\\/i, "").split("\\"));
  }

  write(key: string, name: string, data: string, type = "REG_SZ"): void {
    const values = this.keys.get(key) ?? new Map<string, readonly [string, string]>();
    values.set(name, [type, data]);
    this.keys.set(key, values);
  }

  delete(key: string): void {
    for (const path of [...this.keys.keys()]) {
      if (path === key || path.startsWith(`${key}\\`)) this.keys.delete(path);
    }
  }

  #run(call: HostCall): HostCallResult {
    this.calls.push(call);
    const failure = this.fail(call);
    if (failure !== undefined) return failure;
    if (call.program === "reg") return this.#query(call.args[1] ?? "");
    if (call.program === "regsvr32") this.#register(call.args);
    if (call.program === "icacls" && call.args[1] === "/save") {
      writeFileSync(this.localPath(call.args[2] ?? ""), `Folder\r\n${this.accessList}\r\n`, "utf16le");
    }
    if (call.program === "powershell") return { exitCode: 0, output: this.signature };
    if (call.program === "tasklist") return { exitCode: 0, output: this.processes };
    return call.program === "wevtutil" ? failed : done;
  }

  #query(key: string): HostCallResult {
    const below = [...this.keys].filter(([path]) => path === key || path.startsWith(`${key}\\`));
    const lines = below.flatMap(([path, values]) => [
      "",
      path.replace(/^HKLM/, "HKEY_LOCAL_MACHINE"),
      ...[...values].map(
        ([name, [type, data]]) => `    ${name === "" ? "(Standard)" : name}    ${type}    ${data}`,
      ),
    ]);
    return below.length === 0 ? failed : { exitCode: 0, output: lines.join("\r\n") };
  }

  /** What src/registration.c writes and removes. */
  #register(args: readonly string[]): void {
    const has = (choice: string): boolean => args.some((word) => word.includes(choice));
    if (has("check-activation")) {
      writeFileSync(this.localPath(activationReportPath), this.activation);
      return;
    }
    const isTheirs = (key: string): boolean =>
      this.keys.has(key) && this.keys.get(key)?.get("AppID")?.[1] !== pluginAppId;
    const answers = (key: string): boolean => !isTheirs(key) || has("take-over");
    const classes = [
      [registryKeys.pluginClass, pluginClassId],
      ...(answers(registryKeys.replacedClass) ? [[registryKeys.replacedClass, replacedClassId]] : []),
      ...((has("answer-key-vault-plugin") || args.includes("/u")) && answers(registryKeys.keyVaultClass)
        ? [[registryKeys.keyVaultClass, keyVaultClassId]]
        : []),
    ] as const;
    if (!has("answer-key-vault-plugin") && !isTheirs(registryKeys.keyVaultClass)) {
      this.delete(registryKeys.keyVaultClass);
      this.delete(`${registryKeys.allowedClasses}\\${keyVaultClassId}`);
    }
    if (args.includes("/u")) {
      for (const [key = "", id = ""] of classes) {
        this.delete(key);
        this.delete(`${registryKeys.allowedClasses}\\${id}`);
      }
      this.delete(registryKeys.app);
      this.delete(registryKeys.eventSource);
      return;
    }
    for (const [key = "", id = ""] of classes) {
      this.write(key, "", pluginName);
      this.write(key, "AppID", pluginAppId);
      this.write(`${key}\\InprocServer32`, "", pluginPath);
      this.write(`${key}\\InprocServer32`, "ThreadingModel", "Both");
      this.write(`${registryKeys.allowedClasses}\\${id}`, "", "");
    }
    this.write(registryKeys.app, "", pluginName);
    this.write(registryKeys.app, "DllSurrogate", "");
    const permission = permissionOctets(has("authenticated-users") ? "0b" : "06");
    this.write(registryKeys.app, "AccessPermission", permission, "REG_BINARY");
    this.write(registryKeys.app, "LaunchPermission", permission, "REG_BINARY");
    this.write(registryKeys.eventSource, "EventMessageFile", pluginPath);
    this.write(registryKeys.eventSource, "TypesSupported", "0x7", "REG_DWORD");
  }
}

/** A DLL of no use, with the headers of one for x64; `version` is in it where a version resource would be. */
export function makePluginFile(version = "0.1.0", machine = 0x8664): Buffer {
  const bytes = Buffer.alloc(512);
  bytes.writeUInt16LE(0x5a4d, 0);
  bytes.writeUInt32LE(64, 0x3c);
  bytes.writeUInt32LE(0x4550, 64);
  bytes.writeUInt16LE(machine, 68);
  bytes.writeUInt16LE(0x2000, 86);
  bytes.writeUInt16LE(0x20b, 88);
  bytes.write(`ProductVersion\0\0${version}\0`, 300, "utf16le");
  return bytes;
}

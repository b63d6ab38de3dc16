/**
 * A Windows host that keeps its root store in memory and fails where a test says so.
 * @module
 */
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import type { HostCall, HostCallResult, WindowsHost } from "../../src/windows-host/windows-host.ts";

export class ScriptedWindowsHost implements WindowsHost {
  readonly calls: HostCall[] = [];
  /** Thumbprints in the root store, with the PEM that was put there. */
  readonly roots = new Map<string, string>();
  /** What to answer instead of doing the call; throw for a crash. */
  intercept: (call: HostCall) => HostCallResult | undefined = () => undefined;

  async run(call: HostCall): Promise<HostCallResult> {
    this.calls.push(call);
    const scripted = this.intercept(call);
    if (scripted !== undefined) return scripted;
    const last = call.args.at(-1) ?? "";
    if (call.args.includes("-addstore")) {
      this.roots.set(basename(last, ".crt"), await readFile(last, "utf8"));
      return done;
    }
    if (call.args.includes("-store")) return this.roots.has(last) ? done : missing;
    if (call.args.includes("-delstore")) return this.roots.delete(last) ? done : missing;
    return done;
  }
}

const done: HostCallResult = { exitCode: 0, output: "" };
/** CRYPT_E_NOT_FOUND, as certutil ends with it. */
const missing: HostCallResult = { exitCode: -2_146_885_628, output: "Object was not found." };

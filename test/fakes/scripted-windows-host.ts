/**
 * A Windows host that keeps a record of what it was asked, holds a root store, and fails when a test wants it to.
 * @module
 */
import type { HostCall, HostCallResult, WindowsHost } from "../../src/windows-host/windows-host.ts";

export class ScriptedWindowsHost implements WindowsHost {
  readonly calls: HostCall[] = [];
  readonly roots = new Set<string>();
  /** Answers instead of the host when it returns something. */
  fail: (call: HostCall) => HostCallResult | undefined = () => undefined;

  run(call: HostCall): Promise<HostCallResult> {
    this.calls.push(call);
    return Promise.resolve(this.fail(call) ?? this.#answer(call));
  }

  #answer(call: HostCall): HostCallResult {
    const thumbprint = call.args.at(-1)?.match(/([0-9A-F]{40})/)?.[1] ?? "";
    if (call.args.includes("-addstore")) this.roots.add(thumbprint);
    if (call.args.includes("-store") && !this.roots.has(thumbprint))
      return { exitCode: 1, output: "not found" };
    if (call.args.includes("-delstore")) this.roots.delete(thumbprint);
    return { exitCode: 0, output: "" };
  }
}

/**
 * Node and the program in one executable file, for the platform whose Node it is given.
 * @module
 */
import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { NodeBinary } from "./node-binary.ts";

const run = promisify(execFile);

/**
 * What the account provider needs: its heap is a few megabytes, and most of its memory under load would be Node's young
 * generation (`docs/decisions/0116`). NODE_OPTIONS may carry these.
 */
export const smallHeapFlags = ["--max-semi-space-size=1", "--max-old-space-size=64"] as const;

/** For an executable that does nothing else. NODE_OPTIONS may not carry the last one, which leaves baseline code only. */
export const accountProviderFlags = [...smallHeapFlags, "--disable-optimizing-compilers"] as const;

export interface ExecutableOptions {
  readonly node: NodeBinary;
  /** The program as one module. */
  readonly program: string;
  readonly output: string;
  /** Flags that Node starts with. */
  readonly flags: readonly string[];
}

/** @throws {Error} when this Node is another version than the one that is built into: it writes the format of its own. */
export async function makeExecutable({ node, program, output, flags }: ExecutableOptions): Promise<void> {
  if (process.version !== `v${node.version}`)
    throw new Error(`Node ${node.version} is needed to build for it, this is ${process.version}`);
  const work = mkdtempSync(join(tmpdir(), "sallyport-executable-"));
  try {
    // The executable keeps the module's name as it is given here, so it is a relative one.
    writeFileSync(join(work, "sallyport.mjs"), program);
    writeFileSync(
      join(work, "settings.json"),
      JSON.stringify({
        main: "sallyport.mjs",
        mainFormat: "module",
        executable: node.path,
        output,
        execArgv: flags,
        // NODE_OPTIONS may add to the flags; where both name one, the flag above holds.
        execArgvExtension: "env",
        disableExperimentalSEAWarning: true,
        // Both would be code for the machine that builds.
        useCodeCache: false,
        useSnapshot: false,
      }),
    );
    await run(process.execPath, ["--build-sea", "settings.json"], { cwd: work });
    chmodSync(output, 0o755);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * The commands of a guide, run as its reader runs them: block after block, in one folder, with `kubectl`, `helm` and
 * `sallyport` at hand.
 * @module
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { runCommand, type CommandResult } from "../../guarded-process.ts";
import { administrator, type Cluster } from "../cluster.ts";

const checkout = join(import.meta.dirname, "../../..");

/** The blocks of a guide that are marked with `sh`, in their order. */
export function commandsOf(guide: string): readonly string[] {
  const text = readFileSync(join(checkout, "docs/how-to", guide), "utf8");
  return [...text.matchAll(/^( *)```sh\n([^]*?)^ *```$/gmu)].map(([, indent = "", block = ""]) =>
    block.replaceAll(new RegExp(`^${indent}`, "gmu"), ""),
  );
}

/** Where a reader stands: a checkout, and three programs. */
export class Reader {
  readonly folder: string;
  readonly #environment: Readonly<Record<string, string>>;

  private constructor(folder: string, environment: Readonly<Record<string, string>>) {
    this.folder = folder;
    this.#environment = environment;
  }

  /** `helmFlags` are added to each `helm install` of a chart: what only the bed needs. */
  static async at(
    cluster: Cluster,
    options: {
      readonly environment?: Readonly<Record<string, string>>;
      readonly helmFlags?: Readonly<Record<string, readonly string[]>>;
    } = {},
  ): Promise<Reader> {
    const folder = mkdtempSync(join(cluster.directory, "reader-"));
    const programs = join(folder, ".programs");
    mkdirSync(programs);
    const program = (name: string, script: string): void => {
      writeFileSync(join(programs, name), `#!/bin/sh\n${script}\n`);
      chmodSync(join(programs, name), 0o755);
    };
    const extra = Object.entries(options.helmFlags ?? {})
      .map(
        ([chart, flags]) => `*"install "*"charts/${chart}"*) set -- "$@" ${flags.map(quoted).join(" ")} ;;`,
      )
      .join("\n");
    program("helm", `case "$*" in\n${extra}\n*) ;;\nesac\nexec ${quoted(cluster.program("helm4"))} "$@"`);
    program("kubectl", `exec ${quoted(cluster.program("kubectl"))} "$@"`);
    const main = join(checkout, "src/main.ts");
    program("sallyport", `exec ${quoted(process.execPath)} ${quoted(main)} "$@"`);
    for (const name of ["charts", "deploy"]) symlinkSync(join(checkout, name), join(folder, name));
    // The reader's own: a guide may add users to it.
    writeFileSync(join(folder, "kubeconfig"), readFileSync(await cluster.kubeconfig(administrator)), {
      mode: 0o600,
    });
    return new Reader(folder, {
      PATH: `${programs}:${process.env["PATH"] ?? ""}`,
      HOME: folder,
      KUBECONFIG: join(folder, "kubeconfig"),
      ...options.environment,
    });
  }

  /** Runs a block; throws what it printed when a command of it fails. */
  async run(block: string): Promise<CommandResult> {
    const result = await runCommand("bash", ["-euo", "pipefail", "-c", block], {
      cwd: this.folder,
      environment: this.#environment,
      timeoutMs: 200_000,
    });
    if (result.code !== 0) {
      throw new Error(`ended with ${String(result.code)}:\n${block}\n${result.stdout}${result.stderr}`);
    }
    return result;
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

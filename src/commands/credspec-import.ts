/**
 * `sallyport credspec import`: others' files (any encoding of `New-CredentialSpec`, resources, Docker configs) as clean
 * specs.
 * @module
 */
import { Option, type Command } from "commander";
import { hasErrors } from "../credential-spec/lint.ts";
import { lintFound } from "../credential-spec/lint-sources.ts";
import { readDocuments } from "../credential-spec/read-documents.ts";
import { nameFor } from "../credential-spec/render/rendering.ts";
import { configError } from "../errors.ts";
import type { Ran } from "./command-line.ts";
import type { CredspecDependencies } from "./credspec.ts";
import { readFiles } from "./credspec-lint.ts";
import { describeFindings, renderSpec, specForms, type SpecForm } from "./spec-output.ts";

interface ImportFlags {
  readonly name?: string;
  readonly output: SpecForm;
}

/** Faults that only concern how a file was written, which importing mends. */
const mended: ReadonlySet<string> = new Set(["byte-order-mark", "not-utf-8"]);

export function addImport(program: Command, dependencies: CredspecDependencies, ran: Ran): void {
  program
    .command("import")
    .description("turn New-CredentialSpec files, resources or Docker configs into clean credential specs")
    .argument("<file...>", "files to read; - is standard input")
    .option("--name <name>", "name of the resource (default: its own, or the account's)")
    .addOption(new Option("--output <form>", "what to print").choices([...specForms]).default("resource"))
    .action((files: readonly string[], flags: ImportFlags) => ran(importSpecs(files, flags, dependencies)));
}

async function importSpecs(
  files: readonly string[],
  flags: ImportFlags,
  { io }: CredspecDependencies,
): Promise<number> {
  const rendered: string[] = [];
  let failed = false;
  for (const { label, bytes } of await readFiles(files, io)) {
    const reading = readDocuments(bytes);
    const ofFile = reading.findings.filter((finding) => !mended.has(finding.rule));
    io.err(describeFindings(label, ofFile));
    failed ||= hasErrors(ofFile);
    for (const found of reading.specs) {
      const findings = lintFound(found);
      io.err(describeFindings(label, findings));
      // A spec with two values for one key cannot be cleaned: nobody knows which one was meant.
      if (findings.some((finding) => finding.rule === "duplicate-key")) failed = true;
      else
        rendered.push(
          renderSpec(
            found.spec,
            flags.name ?? found.name ?? nameFor(found.spec) ?? "credential-spec",
            flags.output,
          ),
        );
    }
  }
  if (flags.name !== undefined && rendered.length > 1) {
    throw configError([{ setting: "--name", problem: `cannot name ${rendered.length} specs at once` }]);
  }
  io.out(rendered.join(flags.output === "resource" ? "---\n" : ""));
  return failed ? 1 : 0;
}

/**
 * Lints several sources at once, so that what only their comparison shows is found too.
 * @module
 */
import type { AccountDirectory } from "./create.ts";
import { nodeOf, type JsonNode } from "./json.ts";
import { lintAgainstDirectory } from "./lint-directory.ts";
import type { LintedSource } from "./lint-report.ts";
import { lintCredentialSpec, lintTogether, type Finding } from "./lint.ts";
import { readDocuments, type FoundSpec } from "./read-documents.ts";

export type LintInput =
  | { readonly label: string; readonly bytes: Uint8Array }
  /** The contents of a resource that an API server gave, already parsed. */
  | { readonly label: string; readonly credspec: unknown };

export function lintSources(inputs: readonly LintInput[]): readonly LintedSource[] {
  const readings = inputs.map(read);
  const located = readings.flatMap((reading) =>
    reading.specs.map((found) => ({ spec: found.spec, pointer: found.pointer, label: reading.label })),
  );
  const shared = [...lintTogether(located)];
  return readings.map(({ label, text, specs, findings }) => ({
    label,
    text,
    specs: specs.length,
    findings: [...findings, ...specs.flatMap((found) => [...lintFound(found), ...(shared.shift() ?? [])])],
  }));
}

/** {@link lintSources}, and a comparison of each spec with what a directory says. Rejects when it cannot be asked. */
export async function lintSourcesByDirectory(
  inputs: readonly LintInput[],
  directory: AccountDirectory,
): Promise<readonly LintedSource[]> {
  const readings = inputs.map(read);
  const found = await Promise.all(
    readings.map(async ({ specs }) =>
      (
        await Promise.all(specs.map(({ spec, pointer }) => lintAgainstDirectory(spec, pointer, directory)))
      ).flat(),
    ),
  );
  return lintSources(inputs).map((source, index) => ({
    ...source,
    findings: [...source.findings, ...(found[index] ?? [])],
  }));
}

/** The findings on one spec found in a document. */
export function lintFound(found: FoundSpec): readonly Finding[] {
  return lintCredentialSpec(found.spec, { pointer: found.pointer, duplicates: found.duplicates });
}

interface Reading {
  readonly label: string;
  readonly text: string | undefined;
  readonly specs: readonly FoundSpec[];
  readonly findings: readonly Finding[];
}

function read(input: LintInput): Reading {
  if ("bytes" in input) return { label: input.label, ...readDocuments(input.bytes) };
  const spec: JsonNode = nodeOf(input.credspec);
  const found: FoundSpec = {
    name: undefined,
    form: "resource",
    spec,
    pointer: "/credspec",
    duplicates: [],
    labels: {},
  };
  return { label: input.label, text: undefined, specs: [found], findings: [] };
}

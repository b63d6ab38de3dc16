/**
 * What lint found, for people (text), programs (JSON) and code hosts (SARIF 2.1.0).
 * @module
 */
import { positionAt } from "./json.ts";
import type { Finding } from "./lint.ts";
import { lintRules } from "./lint-rules.ts";

export const reportFormats = ["text", "json", "sarif"] as const;
export type ReportFormat = (typeof reportFormats)[number];

/** Findings of one file, stream or cluster resource. */
export interface LintedSource {
  /** A path, `-`, or `gmsacredentialspecs/NAME`. */
  readonly label: string;
  /** The text that the findings' offsets count in; absent for what came from a cluster. */
  readonly text: string | undefined;
  readonly specs: number;
  readonly findings: readonly Finding[];
}

export function renderReport(
  sources: readonly LintedSource[],
  format: ReportFormat,
  version: string,
): string {
  switch (format) {
    case "text":
      return textReport(sources);
    case "json":
      return `${JSON.stringify(jsonReport(sources), null, 2)}\n`;
    case "sarif":
      return `${JSON.stringify(sarifReport(sources, version), null, 2)}\n`;
  }
}

interface Place {
  readonly line: number;
  readonly column: number;
}

function placeOf(source: LintedSource, finding: Finding): Place | undefined {
  return source.text === undefined || finding.at === undefined
    ? undefined
    : positionAt(source.text, finding.at);
}

function textReport(sources: readonly LintedSource[]): string {
  const blocks = sources.flatMap((source) =>
    source.findings.map((finding) => {
      const place = placeOf(source, finding);
      const where = place === undefined ? source.label : `${source.label}:${place.line}:${place.column}`;
      return [
        `${where}: ${finding.severity}: ${finding.pointer === "" ? "the document" : finding.pointer} ${finding.problem} [${finding.rule}]`,
        `  why: ${finding.consequence}`,
        `  fix: ${finding.remedy}`,
        "",
      ].join("\n");
    }),
  );
  return `${blocks.join("")}${summary(sources)}\n`;
}

function summary(sources: readonly LintedSource[]): string {
  const findings = sources.flatMap((source) => source.findings);
  const errors = findings.filter((finding) => finding.severity === "error").length;
  const specs = sources.reduce((sum, source) => sum + source.specs, 0);
  const counted = `${specs} credential spec${specs === 1 ? "" : "s"}`;
  if (findings.length === 0) return `${counted}, no findings.`;
  return `${counted}, ${errors} error(s), ${findings.length - errors} warning(s).`;
}

function jsonReport(sources: readonly LintedSource[]): unknown {
  return {
    sources: sources.map((source) => ({
      source: source.label,
      specs: source.specs,
      findings: source.findings.map((finding) => ({
        rule: finding.rule,
        severity: finding.severity,
        pointer: finding.pointer,
        ...placeOf(source, finding),
        problem: finding.problem,
        consequence: finding.consequence,
        remedy: finding.remedy,
      })),
    })),
  };
}

function sarifReport(sources: readonly LintedSource[], version: string): unknown {
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "sallyport credspec lint",
            version,
            rules: Object.entries(lintRules).map(([id, rule]) => ({
              id,
              shortDescription: { text: rule.consequence },
              help: { text: rule.remedy },
              defaultConfiguration: { level: rule.severity },
            })),
          },
        },
        results: sources.flatMap((source) => source.findings.map((finding) => sarifResult(source, finding))),
      },
    ],
  };
}

function sarifResult(source: LintedSource, finding: Finding): unknown {
  const place = placeOf(source, finding);
  return {
    ruleId: finding.rule,
    level: finding.severity,
    message: {
      text: `${finding.pointer === "" ? "The document" : finding.pointer} ${finding.problem}. ${finding.consequence} ${finding.remedy}`,
    },
    locations: [
      {
        physicalLocation: {
          artifactLocation: { uri: uriOf(source.label) },
          ...(place === undefined ? {} : { region: { startLine: place.line, startColumn: place.column } }),
        },
        logicalLocations: [{ fullyQualifiedName: finding.pointer, kind: "member" }],
      },
    ],
  };
}

function uriOf(label: string): string {
  return label.split("/").map(encodeURIComponent).join("/");
}

/**
 * How commands print a credential spec and what they say about it on the side.
 * @module
 */
import { canonicalJson } from "../credential-spec/canonical-json.ts";
import type { JsonNode } from "../credential-spec/json.ts";
import type { Finding } from "../credential-spec/lint.ts";
import { renderResource } from "../credential-spec/render/kubernetes.ts";
import { plainValue } from "../credential-spec/render/rendering.ts";

export const specForms = ["json", "compact", "resource"] as const;

/** `json`: indented. `compact`: the canonical bytes. `resource`: a GMSACredentialSpec in YAML. */
export type SpecForm = (typeof specForms)[number];

export function renderSpec(spec: JsonNode, name: string, form: SpecForm): string {
  switch (form) {
    case "json":
      return `${JSON.stringify(plainValue(spec), null, 2)}\n`;
    case "compact":
      return `${canonicalJson(spec)}\n`;
    case "resource":
      return renderResource({ name, spec }).text;
  }
}

/** One line per finding, for standard error. */
export function describeFindings(label: string, findings: readonly Finding[]): string {
  return findings
    .map(
      (one) => `${label}: ${one.severity}: ${one.pointer} ${one.problem}. ${one.consequence} ${one.remedy}\n`,
    )
    .join("");
}

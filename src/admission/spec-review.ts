/**
 * Lints a GMSACredentialSpec while it is created or changed: findings become warnings, or a refusal when enforced.
 * @module
 */
import { nodeOf } from "../credential-spec/json.ts";
import { hasErrors, lintCredentialSpec } from "../credential-spec/lint.ts";
import { allow, deny, isObject, type AdmissionRequest, type Verdict } from "./review.ts";

/** Pure. Deletions pass. */
export function reviewSpec(request: AdmissionRequest, enforce: boolean): Verdict {
  if (request.kind !== "GMSACredentialSpec")
    return deny(400, `expected a GMSACredentialSpec object, got a ${request.kind}`);
  if (request.operation !== "CREATE" && request.operation !== "UPDATE") return allow();
  if (!isObject(request.object)) return deny(400, "unable to unmarshall GMSACredentialSpec JSON object");
  const findings = lintCredentialSpec(nodeOf(request.object["credspec"]), { pointer: "/credspec" });
  const lines = findings.map((found) => `${found.pointer} ${found.problem}: ${found.remedy}`);
  if (!enforce || !hasErrors(findings)) return allow([], lines);
  const errors = findings.filter((found) => found.severity === "error");
  return deny(
    422,
    `the credential spec will not work: ${errors.map((found) => `${found.pointer} ${found.problem} (${found.consequence} ${found.remedy})`).join("; ")}`,
  );
}

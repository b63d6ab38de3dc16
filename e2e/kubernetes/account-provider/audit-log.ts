/**
 * The API server's own account of who asked for which secret, and what it
 * answered.
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** One request, as far as the tests look at it. */
export interface AuditedRequest {
  readonly user: { readonly username: string };
  readonly verb: string;
  readonly requestURI: string;
  readonly objectRef?: { readonly namespace?: string; readonly name?: string };
  readonly responseStatus?: { readonly code: number };
}

/** Flags that make the API server write down every request for a secret, and the means to read that. */
export function auditSecrets(folder: string): {
  readonly apiServerFlags: readonly string[];
  readonly requestsOf: (username: string) => readonly AuditedRequest[];
} {
  const policy = join(folder, "audit-policy.json");
  const log = join(folder, "audit.log");
  writeFileSync(
    policy,
    JSON.stringify({
      apiVersion: "audit.k8s.io/v1",
      kind: "Policy",
      omitStages: ["RequestReceived"],
      rules: [{ level: "Metadata", resources: [{ group: "", resources: ["secrets"] }] }, { level: "None" }],
    }),
  );
  return {
    apiServerFlags: [
      `--audit-policy-file=${policy}`,
      `--audit-log-path=${log}`,
      // A line is there before its request is answered.
      "--audit-log-mode=blocking-strict",
    ],
    requestsOf: (username) =>
      readFileSync(log, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as AuditedRequest)
        .filter((request) => request.user.username === username),
  };
}

/**
 * YAML documents that a person wrote, checked against a schema.
 * @module
 */
import { parse } from "yaml";
import type { z } from "zod";
import { reasonOf } from "./errors.ts";

export type ReadDocument<T> =
  | { readonly ok: true; readonly content: T }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Reads a document; all faults, with their paths, when it does not follow the schema; one line when it is no YAML. */
export function readDocument<T>(text: string, schema: z.ZodType<T>): ReadDocument<T> {
  let document: unknown;
  try {
    document = parse(text);
  } catch (thrown) {
    return { ok: false, problems: [reasonOf(thrown).split("\n")[0] ?? ""] };
  }
  const result = schema.safeParse(document);
  if (result.success) return { ok: true, content: result.data };
  return {
    ok: false,
    problems: result.error.issues.map((issue) => `${issue.path.join(".")}: ${problemOf(issue)}`),
  };
}

const kinds: Readonly<Record<string, string>> = {
  string: "text",
  boolean: "true or false",
  number: "a number",
  int: "a whole number",
  array: "a list",
  object: "a map",
};

/** What is wrong with a value, said of the setting that holds it: `is missing`. */
export function problemOf(issue: z.core.$ZodIssue): string {
  // A schema's own words stay.
  if (!/^(?:Invalid|Unrecognized) /.test(issue.message)) return issue.message;
  const noneOf = (values: readonly unknown[]): string => `is none of ${values.join(", ")}`;
  if (issue.code === "invalid_type") {
    return issue.message.endsWith("received undefined")
      ? "is missing"
      : `has to be ${kinds[issue.expected] ?? issue.expected}`;
  }
  if (issue.code === "invalid_value") return noneOf(issue.values);
  if (issue.code === "invalid_union" && "options" in issue && Array.isArray(issue.options))
    return noneOf(issue.options);
  if (issue.code === "unrecognized_keys")
    return `${issue.keys.map((key) => JSON.stringify(key)).join(", ")}: there is no such setting`;
  return issue.message;
}

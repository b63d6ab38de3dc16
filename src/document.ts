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
    problems: result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`),
  };
}

/**
 * What the Azure simulator knows: identities, and vaults with their secrets, as a YAML document.
 * @module
 */
import { parse } from "yaml";
import { z } from "zod";
import { reasonOf } from "../errors.ts";

const guid = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, "is not a GUID in lower case");

const schema = z.strictObject({
  tenantId: guid.default("0a5b0c1d-0000-4000-8000-000000000001"),
  identities: z.array(
    z.strictObject({
      objectId: guid,
      clientId: guid,
      resourceId: z.string().optional(),
      /** The one that the metadata service takes when none is named. */
      systemAssigned: z.boolean().default(false),
      /** What it proves itself with at the authority. */
      clientSecret: z.string().optional(),
      federatedToken: z.string().optional(),
    }),
  ),
  vaults: z.array(
    z.strictObject({
      host: z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/),
      /** Object ids that may get secrets. */
      readers: z.array(guid),
      secrets: z.array(
        z.strictObject({
          name: z.string().regex(/^[a-z0-9-]{1,127}$/),
          value: z.string(),
          version: z
            .string()
            .regex(/^[0-9a-f]{32}$/)
            .optional(),
          enabled: z.boolean().default(true),
        }),
      ),
    }),
  ),
});

export type AzureContent = z.output<typeof schema>;
/** The same as it is written down: what has a default may be left out. */
export type AzureDocument = z.input<typeof schema>;

export function checkAzureContent(document: AzureDocument): AzureContent {
  return schema.parse(document);
}

/** Reads a document; all faults, with their paths, when it is none. */
export function readAzureContent(
  text: string,
):
  | { readonly ok: true; readonly content: AzureContent }
  | { readonly ok: false; readonly problems: readonly string[] } {
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

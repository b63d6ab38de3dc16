/**
 * What the Azure simulator knows: identities, and vaults with their secrets, as a YAML document.
 * @module
 */
import { z } from "zod";
import { readDocument, type ReadDocument } from "../document.ts";

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
export function readAzureContent(text: string): ReadDocument<AzureContent> {
  return readDocument(text, schema);
}

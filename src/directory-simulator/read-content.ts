/**
 * The content of a simulated directory as a document: YAML with people, groups and managed accounts.
 * @module
 */
import { z } from "zod";
import { readDocument, type ReadDocument } from "../document.ts";
import type { SimulatedDomainContent } from "./simulated-domain.ts";

const name = z.string().min(1).max(64);
const states = [
  "enabled",
  "disabled",
  "locked",
  "expired",
  "password-expired",
  "must-change-password",
] as const;

const schema = z
  .strictObject({
    domain: z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/),
    netbiosName: z.string().regex(/^[A-Z0-9-]{1,15}$/),
    people: z
      .array(
        z.strictObject({
          accountName: name,
          password: z.string().min(1),
          displayName: name.optional(),
          mail: z.string().optional(),
          memberOf: z.array(name).optional(),
          state: z.enum(states).optional(),
        }),
      )
      .min(1),
    groups: z.array(z.strictObject({ name, memberOf: z.array(name).optional() })).default([]),
    managedAccounts: z.array(z.strictObject({ name, readers: z.array(name) })).default([]),
  })
  .superRefine((content, context) => {
    const groups = new Set(content.groups.map((group) => group.name));
    for (const one of [...content.people, ...content.groups]) {
      for (const group of one.memberOf ?? []) {
        if (!groups.has(group)) context.addIssue({ code: "custom", message: `there is no group "${group}"` });
      }
    }
  });

/** Reads a document; all faults, with their paths, when it is none. */
export function readSimulatedDomain(text: string): ReadDocument<SimulatedDomainContent> {
  return readDocument(text, schema);
}

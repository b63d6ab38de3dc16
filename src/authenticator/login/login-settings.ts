/**
 * The configuration of the directory login: one YAML file. All faults are reported at once, each by its key.
 * @module
 */
import { parse } from "yaml";
import { z } from "zod";
import { parseDistinguishedName } from "../../directory/distinguished-name.ts";
import { groupStrategies } from "../../directory/groups.ts";
import { parseServerUrl } from "../../directory/server-url.ts";
import { problemOf } from "../../document.ts";
import { reasonOf, type ConfigFault } from "../../errors.ts";
import { groupFormats, usernameFormats } from "./directory-identity.ts";

const units: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000 };
const duration = (mostMs: number, most: string) =>
  z
    .string()
    .regex(/^\d{1,6}[smh]$/, "is not a duration such as 15m or 10h")
    .transform((text) => Number(text.slice(0, -1)) * (units[text.slice(-1)] ?? 0))
    .refine((ms) => ms >= 60_000 && ms <= mostMs, `is not between 1m and ${most}`);

const server = z.string().transform((text, context) => {
  const parsed = parseServerUrl(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: "is neither ldaps://HOST[:PORT] nor ldap://HOST[:PORT]" });
  return z.NEVER;
});

const listen = z.string().transform((text, context) => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  if (host !== undefined && Number(match?.[3]) <= 65_535) return { host, port: Number(match?.[3]) };
  context.addIssue({ code: "custom", message: "is not ADDRESS:PORT" });
  return z.NEVER;
});

const path = z.string().min(1);

const schema = z.strictObject({
  directory: z.strictObject({
    domain: z.string().regex(/^[a-z0-9-]+(\.[a-z0-9-]+)+$/i, "is not the DNS name of a domain"),
    /** Default: DNS. */
    servers: z.array(server).min(1).optional(),
    site: z.string().optional(),
    /** PEM file. */
    certificateAuthority: path.optional(),
    /** Folder with the files username, password and domainName. */
    credentials: path,
    searchBase: z
      .string()
      .refine((dn) => parseDistinguishedName(dn) !== undefined, "is not a DN")
      .optional(),
    allowMail: z.boolean().default(true),
    groups: z
      .strictObject({
        strategy: z.enum(groupStrategies).default("token-groups"),
        below: z
          .string()
          .refine((dn) => parseDistinguishedName(dn) !== undefined, "is not a DN")
          .optional(),
        limit: z.int().min(1).max(10_000).default(500),
      })
      .prefault({}),
  }),
  listen,
  /** PEM files of the listener; read again when they change. */
  certificate: path,
  key: path,
  /** JSON Web Key Set that signs sessions; read again when it changes. */
  sessionKeys: path,
  /** Name of the cluster: a token for another one is refused. */
  cluster: z.string().regex(/^[\w.-]{1,128}$/, "is not a name of letters, digits, dots and dashes"),
  issuer: z.url().refine((url) => url.startsWith("https:"), "is not an https: URL"),
  username: z.enum(usernameFormats).default("principal-name"),
  usernamePrefix: z.string().max(64).default("ad:"),
  groupFormat: z.enum(groupFormats).default("name-at-domain"),
  groupPrefix: z.string().max(64).default("ad:"),
  /** Reserved names that may be handed out all the same. */
  allowedNames: z.array(z.string()).default([]),
  tokenLifetime: duration(15 * 60_000, "15m").prefault("15m"),
  sessionLifetime: duration(16 * 3_600_000, "16h").prefault("10h"),
  /** Ask the directory at every review, not only at every refresh. */
  recheck: z.boolean().default(false),
  limits: z
    .strictObject({
      /** Attempts in a minute. */
      perAddress: z.int().min(1).default(30),
      overall: z.int().min(1).default(600),
    })
    .prefault({}),
});

export type LoginSettings = z.output<typeof schema>;

/** Reads the configuration's text. The settings are there when there is no fault. */
export function readLoginSettings(text: string): {
  readonly settings: LoginSettings | undefined;
  readonly faults: readonly ConfigFault[];
} {
  let document: unknown;
  try {
    document = parse(text);
  } catch (thrown) {
    return {
      settings: undefined,
      faults: [{ setting: "the file", problem: reasonOf(thrown).split("\n")[0] ?? "" }],
    };
  }
  const result = schema.safeParse(document ?? {});
  if (result.success) return { settings: result.data, faults: [] };
  const faults = result.error.issues.map((issue) => ({
    setting: issue.path.length === 0 ? "the file" : issue.path.join("."),
    problem: problemOf(issue),
  }));
  return { settings: undefined, faults };
}

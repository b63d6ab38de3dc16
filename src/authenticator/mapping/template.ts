/**
 * Templates in usernames and groups: `{{SessionName}}` and its like, filled from what STS said about the caller.
 * @module
 */
import type { RamIdentity } from "../ram/ram-identity.ts";

const values: Readonly<Record<string, (identity: RamIdentity) => string>> = {
  AccountID: (identity) => identity.accountId,
  // A user name of a directory is a common session name, and "@" is awkward in RBAC subjects.
  SessionName: (identity) => identity.sessionName.replaceAll("@", "-"),
  SessionNameRaw: (identity) => identity.sessionName,
  AccessKeyID: (identity) => identity.accessKeyId,
};

/** All places are filled in one pass: a value is never read as a template. */
export function renderTemplate(template: string, identity: RamIdentity): string {
  return template.replace(/\{\{([^{}]*)\}\}/g, (place, name: string) => values[name]?.(identity) ?? place);
}

/** What is wrong with a template, as a sentence; `undefined` when nothing is. */
export function faultOfTemplate(template: string): string | undefined {
  for (const [, name = ""] of template.matchAll(/\{\{([^{}]*)\}\}/g)) {
    if (!Object.hasOwn(values, name)) {
      return `{{${name}}} is not known; there are ${Object.keys(values)
        .map((known) => `{{${known}}}`)
        .join(", ")}`;
    }
  }
  return template === "" ? "a username or group is empty" : undefined;
}

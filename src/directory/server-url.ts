/**
 * A domain controller's address as configuration writes it.
 * @module
 */
import type { DirectoryServer } from "./transport.ts";

/**
 * `ldaps://dc1.contoso.test[:636]`, or `ldap://dc1.contoso.test[:389]`, which means StartTLS: nothing here talks in clear
 * text. `undefined` for anything else, a path or a user name in it included.
 */
export function parseServerUrl(text: string): DirectoryServer | undefined {
  const match = /^(ldaps?):\/\/(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?\/?$/.exec(text);
  const host = match?.[2] ?? match?.[3];
  if (match === null || host === undefined) return undefined;
  const security = match[1] === "ldaps" ? "ldaps" : "starttls";
  const port = match[4] === undefined ? (security === "ldaps" ? 636 : 389) : Number(match[4]);
  return port < 1 || port > 65_535 ? undefined : { host: host.toLowerCase(), port, security };
}

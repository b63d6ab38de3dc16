/**
 * People of the directory as the cluster knows them: name and groups by configured formats, under the same rules for
 * reserved names as every other identity.
 * @module
 */
import type { Group } from "../../directory/groups.ts";
import type { Person } from "../../directory/person.ts";
import type { ClusterUser, IdentityMapper } from "../identity-mapper.ts";
import type { Identity } from "../identity-verifier.ts";
import { faultOfNames, type NamePolicy } from "../mapping/reserved-names.ts";
import type { SessionSubject } from "./session-tokens.ts";

export interface DirectoryIdentity extends Identity {
  readonly verifier: "directory";
  readonly session: SessionSubject;
}

export const usernameFormats = ["principal-name", "account-name", "down-level", "sid", "guid"] as const;
export type UsernameFormat = (typeof usernameFormats)[number];
export const groupFormats = ["name-at-domain", "name", "sid"] as const;
export type GroupFormat = (typeof groupFormats)[number];

export interface DirectoryMapperOptions {
  readonly username: UsernameFormat;
  readonly usernamePrefix: string;
  readonly groupPrefix: string;
  readonly names: NamePolicy;
}

/** A group as a session carries it. */
export function writeGroup(group: Group, format: GroupFormat): string {
  if (format === "sid") return group.sid;
  return format === "name" ? group.name : `${group.name}@${group.domain}`;
}

/** What a session says of somebody who just logged in, or was read again. */
export function subjectOf(
  person: Person,
  groups: readonly Group[],
  authenticatedAt: number,
  format: GroupFormat,
): SessionSubject {
  return {
    guid: person.guid,
    sid: person.sid,
    accountName: person.accountName,
    domain: person.domain,
    principalName: person.principalName,
    passwordSet: person.passwordSet,
    authenticatedAt,
    groups: groups.map((group) => writeGroup(group, format)),
  };
}

export function createDirectoryMapper(options: DirectoryMapperOptions): IdentityMapper<DirectoryIdentity> {
  return {
    map({ session }) {
      const user: ClusterUser = {
        username: `${options.usernamePrefix}${usernameOf(session, options.username)}`,
        uid: session.guid,
        groups: session.groups.map((group) => `${options.groupPrefix}${group}`),
        extra: {
          "sallyport.dev/guid": [session.guid],
          "sallyport.dev/sid": [session.sid],
          "sallyport.dev/authenticated-at": [new Date(session.authenticatedAt).toISOString()],
        },
      };
      const fault = faultOfNames(user, options.names);
      return fault === undefined
        ? { outcome: "mapped", user, backend: "directory", entry: session.guid }
        : {
            outcome: "unmapped",
            reason: "reserved-name",
            message: "the account is not admitted to the cluster",
            detail: fault,
          };
    },
  };
}

function usernameOf(session: SessionSubject, format: UsernameFormat): string {
  const accountAtDomain = `${session.accountName}@${session.domain}`;
  switch (format) {
    case "principal-name":
      // An account without a UPN has the implicit one.
      return session.principalName ?? accountAtDomain;
    case "account-name":
      return session.accountName;
    case "down-level":
      return `${session.domain}\\${session.accountName}`;
    case "sid":
      return session.sid;
    case "guid":
      return session.guid;
  }
}

/**
 * Maps RAM identities: asks the backends in their order, and the first one that knows the identity decides, also when it
 * decides against it.
 * @module
 */
import type { IdentityMapper, MappingDecision } from "../identity-mapper.ts";
import type { RamIdentity } from "../ram/ram-identity.ts";
import type { MappingBackend } from "./backend.ts";
import { faultOfNames } from "./reserved-names.ts";
import { renderTemplate } from "./template.ts";

export interface RamMapperOptions {
  /** Accounts whose identities show up neither in a user's extra fields nor in the log. */
  readonly scrubbedAccounts: readonly string[];
}

/** `status.error` of an identity without a mapping. */
const notMapped = "invalid token. ARN is not mapped";

export function createRamMapper(
  backends: readonly MappingBackend[],
  options: RamMapperOptions,
): IdentityMapper<RamIdentity> {
  const scrubbedAccounts = new Set(options.scrubbedAccounts);
  return {
    map(identity) {
      const scrubbed = scrubbedAccounts.has(identity.accountId);
      for (const backend of backends) {
        const decision = decide(backend, identity, scrubbed);
        if (decision !== undefined) return scrubbed ? { ...decision, scrubbed } : decision;
      }
      const nobody: MappingDecision = { outcome: "unmapped", reason: "not-mapped", message: notMapped };
      return scrubbed ? { ...nobody, scrubbed } : nobody;
    },
  };
}

function decide(
  backend: MappingBackend,
  identity: RamIdentity,
  scrubbed: boolean,
): MappingDecision | undefined {
  const found = backend.index.find(identity.canonicalArn, identity.userId);
  if (found === undefined) {
    if (!backend.index.hasAccount(identity.accountId)) return undefined;
    return allow(
      backend,
      `mapAccounts ${scrubbed ? "(scrubbed)" : identity.accountId}`,
      { username: identity.canonicalArn, groups: [] },
      identity,
      scrubbed,
    );
  }
  const { entry } = found.mapping;
  if (found.outcome === "pinned") {
    return refuse("other-id", `${backend.mode} ${entry} is pinned to another user or role of that name`);
  }
  const names = {
    username: renderTemplate(found.mapping.username, identity),
    groups: found.mapping.groups.map((group) => renderTemplate(group, identity)),
  };
  return allow(backend, entry, names, identity, scrubbed);
}

function allow(
  backend: MappingBackend,
  entry: string,
  names: { readonly username: string; readonly groups: readonly string[] },
  identity: RamIdentity,
  scrubbed: boolean,
): MappingDecision {
  const fault = faultOfNames(names, backend.names);
  if (fault !== undefined) return refuse("reserved-name", `${backend.mode} ${entry}: ${fault}`);
  return {
    outcome: "mapped",
    user: {
      ...names,
      uid: scrubbed
        ? `ack-ram-authenticator:administrative:${names.username}`
        : `ack-ram-authenticator:${identity.accountId}:${identity.userId}`,
      extra: scrubbed
        ? {}
        : {
            accessKeyId: [identity.accessKeyId],
            arn: [identity.arn],
            canonicalArn: [identity.canonicalArn],
            sessionName: [identity.sessionName],
          },
    },
    backend: backend.mode,
    entry,
  };
}

function refuse(reason: string, detail: string): MappingDecision {
  return { outcome: "unmapped", reason, message: notMapped, detail };
}

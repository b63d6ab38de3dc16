/**
 * Names that a mapping cannot hand out: Kubernetes gives `system:` users and groups a meaning of its own (nodes, service
 * accounts, `system:masters`), so whoever may write mappings must not be able to become one of them by accident.
 * @module
 */

export interface NamePolicy {
  /** Prefixes of users and groups that are refused. */
  readonly reservedPrefixes: readonly string[];
  /** Names that are allowed all the same. */
  readonly allowed: readonly string[];
}

/** What is wrong with the names of a rendered user; `undefined` when nothing is. */
export function faultOfNames(
  user: { readonly username: string; readonly groups: readonly string[] },
  policy: NamePolicy,
): string | undefined {
  for (const name of [user.username, ...user.groups]) {
    if (name === "" || /\p{Cc}/u.test(name)) return "a name is empty or has control characters";
    const prefix = policy.reservedPrefixes.find((reserved) => name.startsWith(reserved));
    if (prefix !== undefined && !policy.allowed.includes(name)) {
      return `the name ${JSON.stringify(name)} is reserved (${prefix}) and not allowed for this backend`;
    }
  }
  return undefined;
}

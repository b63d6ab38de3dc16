/**
 * The keytab of a managed account: what a service needs to accept tickets and to get its own, at every moment of a
 * password's life.
 *
 * Kerberos clients take the highest key version of the account's own name, acceptors look for exactly the version that a
 * ticket names. So in the minutes in which the next password is known and not yet in force, its keys stand under the
 * service names only; under the account's name they would be refused (`docs/decisions/0062-next-key-before-its-time.md`).
 * @module
 */
import type { SecretBytes } from "../secret.ts";
import {
  encryptionTypes,
  kerberosKeys,
  serviceAccountSalt,
  type EncryptionTypeName,
} from "./kerberos-keys.ts";
import type { KeytabEntry } from "./keytab.ts";
import type { RetrievedPassword } from "./retrieve.ts";

export interface AccountKeytabOptions {
  /** Kerberos realm: the domain in capitals. */
  readonly realm: string;
  /** Default: AES only. */
  readonly encryptionTypes?: readonly EncryptionTypeName[];
  /** Entries for the account's service names too (`HTTP/web.contoso.test`); default: true. */
  readonly serviceNames?: boolean;
  /** Milliseconds since 1970, written into the entries. */
  readonly now: number;
  /** The password read early is in force by now. */
  readonly inForce?: boolean;
  /** Entries of the file that is replaced: the version before ours is kept when the directory no longer tells it. */
  readonly replaces?: readonly KeytabEntry[];
}

/** Keys of one version. */
interface KeyVersion {
  readonly version: number;
  readonly password: SecretBytes;
}

/** The entries: current and previous keys of the account and of its service names. */
export function accountKeytabEntries(
  retrieved: RetrievedPassword,
  options: AccountKeytabOptions,
): readonly KeytabEntry[] {
  const { account, password, currentVersion, previousVersion } = retrieved;
  const previous: readonly KeyVersion[] =
    password.previous === undefined || previousVersion < 1
      ? []
      : [{ version: previousVersion, password: password.previous }];
  const versions: readonly KeyVersion[] = [
    { version: currentVersion, password: password.current },
    ...previous,
  ];
  const tooEarly = retrieved.early && options.inForce !== true;
  const serviceNames =
    options.serviceNames === false ? [] : account.serviceNames.map((name) => name.split("/"));
  const salt = serviceAccountSalt(options.realm, account.accountName);
  const types = options.encryptionTypes ?? ["aes256", "aes128"];
  const made = versions.flatMap(({ version, password: secret }) => {
    const keys = kerberosKeys(secret, salt, types);
    const isNext = tooEarly && version === currentVersion && previous.length > 0;
    return [...(isNext ? [] : [[account.accountName]]), ...serviceNames].flatMap((components) =>
      keys.map(({ encryptionType, key }): KeytabEntry => ({
        realm: options.realm,
        components,
        keyVersion: version,
        encryptionType: encryptionTypes[encryptionType],
        key,
        timestamp: Math.floor(options.now / 1000),
      })),
    );
  });
  return [...made, ...kept(made, options.replaces ?? [], currentVersion, previous.length > 0)];
}

/** Old entries of the version just before the current one, for principals and types that are still written. */
function kept(
  made: readonly KeytabEntry[],
  replaced: readonly KeytabEntry[],
  currentVersion: number,
  previousKnown: boolean,
): readonly KeytabEntry[] {
  if (previousKnown) return [];
  const kind = (entry: KeytabEntry): string =>
    JSON.stringify([entry.realm, entry.components, entry.encryptionType]);
  const kinds = new Set(made.map(kind));
  return replaced.filter((entry) => entry.keyVersion === currentVersion - 1 && kinds.has(kind(entry)));
}

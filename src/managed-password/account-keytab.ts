/**
 * The keytab of a managed account: what a service needs to accept tickets and to get its own.
 * @module
 */
import type { SecretBytes } from "../secret.ts";
import { encryptionTypes, kerberosKeys, serviceAccountSalt, type EncryptionTypeName } from "./kerberos-keys.ts";
import { encodeKeytab, type KeytabEntry } from "./keytab.ts";
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
}

/** Keys of one version. */
interface KeyVersion {
  readonly version: number;
  readonly password: SecretBytes;
}

/** The file's octets: the current and the previous keys of the account and of its service names. */
export function accountKeytab(retrieved: RetrievedPassword, options: AccountKeytabOptions): Buffer {
  const { account, password, currentVersion, previousVersion } = retrieved;
  const versions: readonly KeyVersion[] = [
    { version: currentVersion, password: password.current },
    ...(password.previous === undefined || previousVersion < 1
      ? []
      : [{ version: previousVersion, password: password.previous }]),
  ];
  const principals = [
    [account.accountName],
    ...(options.serviceNames === false ? [] : account.serviceNames.map((name) => name.split("/"))),
  ];
  const salt = serviceAccountSalt(options.realm, account.accountName);
  const types = options.encryptionTypes ?? ["aes256", "aes128"];
  const entries = versions.flatMap(({ version, password: secret }) => {
    const keys = kerberosKeys(secret, salt, types);
    return principals.flatMap((components) =>
      keys.map(
        ({ encryptionType, key }): KeytabEntry => ({
          realm: options.realm,
          components,
          keyVersion: version,
          encryptionType: encryptionTypes[encryptionType],
          key,
          timestamp: Math.floor(options.now / 1000),
        }),
      ),
    );
  });
  return encodeKeytab(entries);
}

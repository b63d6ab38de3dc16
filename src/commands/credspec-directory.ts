/**
 * The directory behind `credspec create --from-directory` and `credspec lint --directory`.
 * @module
 */
import type { AccountDirectory } from "../credential-spec/create.ts";
import { findManagedAccount } from "../managed-password/retrieve.ts";
import { openDirectory, type AccessFlags } from "./directory-access.ts";

/** @throws {SallyportError} `E_CONFIG_INVALID` or `E_DIRECTORY_…`, from here or from `describe`. */
export async function openAccountDirectory(
  flags: AccessFlags,
): Promise<AccountDirectory & { close(): Promise<void> }> {
  const { directory, domain } = await openDirectory(flags);
  return {
    async describe(accountName) {
      const facts = await directory.facts();
      const account = await findManagedAccount(directory, domain, accountName);
      if (account === undefined) {
        return {
          found: false,
          reason: `${facts.domain} has no group managed service account ${accountName}`,
        };
      }
      if (facts.netbiosName === undefined) {
        return { found: false, reason: `the NetBIOS name of ${facts.domain} cannot be read` };
      }
      return {
        found: true,
        accountName: account.accountName.replace(/\$$/, ""),
        domain: {
          sid: facts.sid,
          guid: facts.guid,
          dnsName: facts.domain,
          forestName: facts.forest,
          netbiosName: facts.netbiosName,
        },
      };
    },
    close: () => Promise.resolve(directory.close()),
  };
}

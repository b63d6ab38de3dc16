/**
 * A faultless credential spec for tests, as plain JavaScript values.
 * @module
 */

/** What `New-CredentialSpec` writes for `webapp01$` of contoso.com. */
export function sampleSpec(): SampleSpec {
  return {
    CmsPlugins: ["ActiveDirectory"],
    DomainJoinConfig: {
      Sid: "S-1-5-21-2126449477-2524075714-3094792973",
      MachineAccountName: "webapp01",
      Guid: "244818ae-87ac-4fcd-92ec-e79e5252348a",
      DnsTreeName: "contoso.com",
      DnsName: "contoso.com",
      NetBiosName: "CONTOSO",
    },
    ActiveDirectoryConfig: {
      GroupManagedServiceAccounts: [
        { Name: "webapp01", Scope: "contoso.com" },
        { Name: "webapp01", Scope: "CONTOSO" },
      ],
    },
  };
}

export interface SampleSpec {
  CmsPlugins: string[];
  DomainJoinConfig: Record<string, string>;
  ActiveDirectoryConfig: {
    GroupManagedServiceAccounts: Record<string, string>[];
    HostAccountConfig?: Record<string, string>;
  };
}

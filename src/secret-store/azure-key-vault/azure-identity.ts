/**
 * As whom Key Vault is asked.
 * @module
 */
export type AzureIdentity =
  | { readonly type: "systemAssigned" }
  | {
      readonly type: "managedIdentity";
      /** Exactly one of the three names the identity. `objectId` is the principal id that CCGAKV inputs carry. */
      readonly objectId?: string | undefined;
      readonly clientId?: string | undefined;
      /** `/subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME`. */
      readonly resourceId?: string | undefined;
    }
  | {
      readonly type: "workloadIdentity";
      /** What is absent comes from AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_FEDERATED_TOKEN_FILE. */
      readonly clientId?: string | undefined;
      readonly tenantId?: string | undefined;
      readonly tokenFile?: string | undefined;
    }
  /** AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET or AZURE_CLIENT_CERTIFICATE_PATH. */
  | { readonly type: "environment" };

/** The identity in a few words, for logs. */
export function describeIdentity(identity: AzureIdentity): string {
  switch (identity.type) {
    case "systemAssigned":
      return "the system-assigned identity";
    case "managedIdentity":
      return `managed identity ${identity.objectId ?? identity.clientId ?? identity.resourceId ?? ""}`;
    case "workloadIdentity":
      return `workload identity${identity.clientId === undefined ? "" : ` ${identity.clientId}`}`;
    case "environment":
      return "the identity of the environment";
  }
}

/**
 * A GMSACredentialSpec as a manifest folder offers it, for tests of delivery.
 * @module
 */
import { sampleSpec } from "./credential-spec.ts";

/**
 * @param revision another additional account for each, so that contents differ.
 * @param use the annotation; absent: none.
 */
export function offeredResource(name: string, revision = 1, use?: string): OfferedResource {
  const credspec = sampleSpec();
  credspec.ActiveDirectoryConfig.GroupManagedServiceAccounts.push({
    Name: `other${revision}`,
    Scope: "CONTOSO",
  });
  return {
    apiVersion: "windows.k8s.io/v1",
    kind: "GMSACredentialSpec",
    metadata: { name, ...(use === undefined ? {} : { annotations: { "sallyport.io/use": use } }) },
    credspec,
  };
}

export interface OfferedResource {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  credspec: unknown;
  readonly [field: string]: unknown;
}

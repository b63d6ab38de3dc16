/**
 * The only module that loads Microsoft's client libraries, and it loads nothing else, so that it can be packed apart and
 * a provider without Key Vault never reads it (`docs/decisions/0100`). Policy (which hosts, how often, how long, what an
 * error means) is its caller's: the libraries get one way to send a request, and no retries, redirects or proxies.
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";
import { createHttpHeaders } from "@azure/core-rest-pipeline";
import {
  EnvironmentCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
  type TokenCredential,
} from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";
import type { AzureIdentity } from "./azure-identity.ts";

export interface SdkRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export interface SdkAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface SdkReaderOptions {
  /** `https://contoso.vault.azure.net`. */
  readonly vaultUrl: string;
  /** `https://vault.azure.net/.default`: the only audience that a token is asked for, whatever a challenge says. */
  readonly scope: string;
  readonly authorityHost: string;
  readonly identity: AzureIdentity;
  readonly send: (request: SdkRequest) => Promise<SdkAnswer>;
}

export interface SdkSecret {
  readonly value: string | undefined;
  readonly version: string | undefined;
  readonly enabled: boolean | undefined;
  /** Milliseconds since the epoch. */
  readonly notBefore: number | undefined;
  readonly expires: number | undefined;
}

/**
 * The reading under way. MSAL keeps the first managed identity's HTTP client for the whole process and hands it to every
 * later one, so the way out cannot belong to a client: it belongs to the call (`docs/decisions/0101`).
 */
const underWay = new AsyncLocalStorage<SdkReaderOptions["send"]>();

/** Reads the current version without a second argument. Rejects with whatever the libraries throw. */
export type SdkReader = (name: string, version?: string) => Promise<SdkSecret>;

/** @throws when the environment lacks what the identity needs. */
export function createSdkReader(options: SdkReaderOptions): SdkReader {
  const httpClient: NonNullable<ConstructorParameters<typeof SecretClient>[2]>["httpClient"] = {
    async sendRequest(request) {
      const { body } = request;
      const send = underWay.getStore();
      if (send === undefined) throw new Error("a request outside a reading");
      const answer = await send({
        method: request.method,
        url: request.url,
        headers: request.headers.toJSON(),
        ...(typeof body === "string" ? { body } : {}),
      });
      return {
        request,
        status: answer.status,
        headers: createHttpHeaders(answer.headers),
        bodyAsText: answer.body,
      };
    },
  };
  const pipeline = { httpClient, retryOptions: { maxRetries: 0 }, redirectOptions: { maxRetries: 0 } };
  const credential = credentialOf(options.identity, { ...pipeline, authorityHost: options.authorityHost });
  const client = new SecretClient(
    options.vaultUrl,
    // The challenge's tenant and audience are the vault's words: ours are known before.
    { getToken: () => credential.getToken(options.scope) },
    pipeline,
  );
  return async (name, version) => {
    const { value, properties } = await underWay.run(options.send, () =>
      client.getSecret(name, version === undefined ? {} : { version }),
    );
    return {
      value,
      version: properties.version,
      enabled: properties.enabled,
      notBefore: properties.notBefore?.getTime(),
      expires: properties.expiresOn?.getTime(),
    };
  };
}

function credentialOf(
  identity: AzureIdentity,
  options: ConstructorParameters<typeof EnvironmentCredential>[0] & object,
): TokenCredential {
  switch (identity.type) {
    case "systemAssigned":
      return new ManagedIdentityCredential(options);
    case "managedIdentity":
      if (identity.objectId !== undefined)
        return new ManagedIdentityCredential({ ...options, objectId: identity.objectId });
      if (identity.resourceId !== undefined)
        return new ManagedIdentityCredential({ ...options, resourceId: identity.resourceId });
      return new ManagedIdentityCredential({ ...options, clientId: identity.clientId ?? "" });
    case "workloadIdentity":
      return new WorkloadIdentityCredential({
        ...options,
        disableInstanceDiscovery: true,
        ...(identity.clientId === undefined ? {} : { clientId: identity.clientId }),
        ...(identity.tenantId === undefined ? {} : { tenantId: identity.tenantId }),
        ...(identity.tokenFile === undefined ? {} : { tokenFilePath: identity.tokenFile }),
      });
    case "environment":
      return new EnvironmentCredential({ ...options, disableInstanceDiscovery: true });
  }
}

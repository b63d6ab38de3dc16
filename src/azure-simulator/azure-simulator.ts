/**
 * An Azure simulator: the metadata service (HTTP), the authority that gives tokens and Key Vault (HTTPS, under their real
 * names), on loopback, with the paths, headers, api-versions and error bodies of the real ones, and faults on demand. For
 * laptops and tests, where no Azure is at hand; never for anything that matters.
 *
 * After Azure's documentation: "How to use managed identities on a VM", "Key Vault REST API reference", "Key Vault
 * authentication, requests and responses", "Microsoft identity platform and the OAuth 2.0 client credentials flow".
 * @module
 */
import { randomBytes, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { systemClock } from "../clock.ts";
import { createAuthority } from "../pki/authority.ts";
import { issueToken, readToken } from "./access-token.ts";
import { checkAzureContent, type AzureContent, type AzureDocument } from "./content.ts";

export type SimulatedService = "imds" | "authority" | "vault";

/** What goes wrong with a request. */
export type AzureFault =
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    }
  /** Takes the request and never answers. */
  | { readonly kind: "hang" }
  /** Ends the connection without an answer. */
  | { readonly kind: "reset" }
  /** Answers well, but only after {@link AzureSimulator.release}. */
  | { readonly kind: "slow" };

export interface AzureFaultPlan {
  readonly service: SimulatedService;
  /** How often; without it, until {@link AzureSimulator.heal}. */
  readonly times?: number;
  readonly fault: AzureFault;
}

/** One request as it came; no token in it. */
export interface AzureRequestSeen {
  readonly service: SimulatedService;
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly host: string;
  readonly authorized: boolean;
}

export interface AzureSimulatorOptions {
  readonly content: AzureDocument;
}

interface StoredSecret {
  readonly value: string;
  readonly version: string;
  readonly enabled: boolean;
  readonly attributes: Readonly<Record<string, number>>;
  readonly created: number;
}

const lifetimeMs = 24 * 3_600_000;
const authorityHosts = [
  "login.microsoftonline.com",
  "login.partner.microsoftonline.cn",
  "login.microsoftonline.us",
];
const metadataAddress = "169.254.169.254";

export class AzureSimulator {
  readonly certificateAuthority: string;
  readonly requests: AzureRequestSeen[] = [];
  readonly #content: AzureContent;
  readonly #readers = new Map<string, Set<string>>();
  /** Versions by vault and name, the newest last. */
  readonly #secrets = new Map<string, StoredSecret[]>();
  readonly #plain: Server;
  readonly #secure: Server;
  readonly #sockets = new Set<Socket>();
  #plans: { plan: AzureFaultPlan; left: number }[] = [];
  #waiting: (() => void)[] = [];

  constructor(
    content: AzureContent,
    tls: { readonly ca: string; readonly cert: string; readonly key: string },
  ) {
    this.#content = content;
    this.certificateAuthority = tls.ca;
    for (const vault of content.vaults) {
      this.#readers.set(vault.host, new Set(vault.readers));
      for (const secret of vault.secrets) this.setSecret(vault.host, secret.name, secret.value, secret);
    }
    this.#plain = createServer((request, response) => void this.#serve("imds", request, response));
    this.#secure = createSecureServer({ cert: tls.cert, key: tls.key }, (request, response) => {
      const host = hostOf(request);
      void this.#serve(authorityHosts.includes(host) ? "authority" : "vault", request, response);
    });
    for (const server of [this.#plain, this.#secure]) {
      server.on("connection", (socket: Socket) => {
        this.#sockets.add(socket);
        socket.on("close", () => this.#sockets.delete(socket));
      });
    }
  }

  async listen(): Promise<this> {
    for (const server of [this.#plain, this.#secure])
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  /** Where to connect for a host of Azure; every other one is refused, so that nothing leaves the machine. */
  readonly dial = (host: string, _port: number): { readonly host: string; readonly port: number } => {
    if (host === metadataAddress) return { host: "127.0.0.1", port: portOf(this.#plain) };
    if (authorityHosts.includes(host) || this.#readers.has(host))
      return { host: "127.0.0.1", port: portOf(this.#secure) };
    throw new Error(`${host} is not simulated`);
  };

  get addresses(): { readonly metadata: string; readonly vaults: string } {
    return {
      metadata: `http://127.0.0.1:${portOf(this.#plain)}`,
      vaults: `https://127.0.0.1:${portOf(this.#secure)}`,
    };
  }

  /** A new current version. */
  setSecret(
    vault: string,
    name: string,
    value: string,
    more: { readonly version?: string | undefined; readonly enabled?: boolean } = {},
    attributes: Readonly<Record<string, number>> = {},
  ): string {
    const version = more.version ?? randomBytes(16).toString("hex");
    const created = Math.floor(systemClock.now() / 1000);
    const versions = this.#secrets.get(`${vault}/${name}`) ?? [];
    this.#secrets.set(`${vault}/${name}`, [
      ...versions,
      { value, version, enabled: more.enabled ?? true, attributes, created },
    ]);
    return version;
  }

  deleteSecret(vault: string, name: string): void {
    this.#secrets.delete(`${vault}/${name}`);
  }

  setEnabled(vault: string, name: string, enabled: boolean): void {
    const versions = this.#secrets.get(`${vault}/${name}`) ?? [];
    this.#secrets.set(
      `${vault}/${name}`,
      versions.map((each) => ({ ...each, enabled })),
    );
  }

  /** Gives an identity the right to get this vault's secrets, or takes it away. */
  setReader(vault: string, objectId: string, may: boolean): void {
    if (may) this.#readers.get(vault)?.add(objectId);
    else this.#readers.get(vault)?.delete(objectId);
  }

  /** Makes requests fail; of several plans the oldest that fits counts. */
  fail(plan: AzureFaultPlan): void {
    this.#plans.push({ plan, left: plan.times ?? Number.POSITIVE_INFINITY });
  }

  /** Lets slow answers go. */
  release(): void {
    for (const go of this.#waiting.splice(0)) go();
  }

  heal(): void {
    this.#plans = [];
    this.release();
  }

  /** Requests to one service so far. */
  count(service: SimulatedService): number {
    return this.requests.filter((request) => request.service === service).length;
  }

  async close(): Promise<void> {
    this.release();
    for (const socket of this.#sockets) socket.destroy();
    for (const server of [this.#plain, this.#secure])
      await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  async #serve(service: SimulatedService, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://simulator");
    const query = Object.fromEntries(url.searchParams);
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    this.requests.push({
      service,
      method: request.method ?? "",
      path: url.pathname,
      query,
      host: hostOf(request),
      authorized: request.headers.authorization !== undefined,
    });
    const found = this.#plans.find(({ plan, left }) => left > 0 && plan.service === service);
    if (found !== undefined) {
      found.left--;
      if (await this.#failed(found.plan.fault, request, response)) return;
    }
    if (service === "imds") this.#metadata(request, query, url.pathname, response);
    else if (service === "authority")
      this.#token(
        url.pathname,
        new URLSearchParams(Buffer.concat(chunks).toString("utf8")),
        request,
        response,
      );
    else this.#vault(hostOf(request), url.pathname, query, request, response);
  }

  /** @returns whether the request is dealt with. */
  async #failed(fault: AzureFault, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
    switch (fault.kind) {
      case "status":
        response.writeHead(fault.status, { "content-type": "application/json", ...fault.headers });
        response.end(fault.body ?? JSON.stringify(serviceError(fault.status)));
        return true;
      case "hang":
        return true;
      case "reset":
        request.socket.destroy();
        return true;
      case "slow":
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
        return response.destroyed;
    }
  }

  #metadata(
    request: IncomingMessage,
    query: Readonly<Record<string, string>>,
    path: string,
    response: ServerResponse,
  ): void {
    const refuse = (status: number, error: string, error_description: string): void =>
      send(response, status, { error, error_description });
    // Microsoft's libraries add the slash once an environment variable leads them here (as to a pod identity's agent).
    if (path.replace(/\/$/, "") !== "/metadata/identity/oauth2/token" || request.method !== "GET")
      return send(response, 404, { error: "Not found" });
    if (request.headers["x-forwarded-for"] !== undefined)
      return refuse(403, "invalid_request", "Forwarded requests are not answered");
    if (request.headers["metadata"]?.toString().toLowerCase() !== "true")
      return refuse(400, "invalid_request", "Required metadata header not specified");
    if (!/^20(?:1[89]|2\d)-\d\d-\d\d$/.test(query["api-version"] ?? ""))
      return send(response, 400, {
        error: "Bad request. api-version is invalid or was not specified in the request.",
        "newest-versions": ["2021-02-01", "2020-10-01", "2018-02-01"],
      });
    const resource = query["resource"] ?? "";
    if (!/^https:\/\/[a-z0-9.-]+\/?$/.test(resource))
      return refuse(400, "invalid_resource", "AADSTS500011: The resource principal was not found.");
    const identity = this.#identityOf(query);
    if (identity === undefined) return refuse(400, "invalid_request", "Identity not found");
    const now = Math.floor(systemClock.now() / 1000);
    const expires = now + lifetimeMs / 1000;
    send(response, 200, {
      access_token: issueToken({
        objectId: identity.objectId,
        audience: resource.replace(/\/$/, ""),
        expires,
      }),
      client_id: identity.clientId,
      expires_in: String(expires - now),
      expires_on: String(expires),
      ext_expires_in: String(expires - now),
      not_before: String(now),
      resource,
      token_type: "Bearer",
    });
  }

  #identityOf(query: Readonly<Record<string, string>>): AzureContent["identities"][number] | undefined {
    const { object_id, client_id } = query;
    const resource = query["mi_res_id"] ?? query["msi_res_id"];
    return this.#content.identities.find((identity) => {
      if (object_id !== undefined) return identity.objectId === object_id.toLowerCase();
      if (client_id !== undefined) return identity.clientId === client_id.toLowerCase();
      if (resource !== undefined) return identity.resourceId?.toLowerCase() === resource.toLowerCase();
      return identity.systemAssigned;
    });
  }

  #token(path: string, form: URLSearchParams, request: IncomingMessage, response: ServerResponse): void {
    const [, tenant = "", ...rest] = path.split("/");
    const origin = `https://${hostOf(request)}`;
    if (rest.join("/") === "v2.0/.well-known/openid-configuration") {
      return send(response, 200, {
        token_endpoint: `${origin}/${tenant}/oauth2/v2.0/token`,
        issuer: `${origin}/${tenant}/v2.0`,
        authorization_endpoint: `${origin}/${tenant}/oauth2/v2.0/authorize`,
        jwks_uri: `${origin}/${tenant}/discovery/v2.0/keys`,
      });
    }
    const refuse = (status: number, error: string, code: number, text: string): void =>
      send(response, status, {
        error,
        error_description: `AADSTS${code}: ${text}`,
        error_codes: [code],
        trace_id: randomUUID(),
        correlation_id: randomUUID(),
      });
    if (rest.join("/") !== "oauth2/v2.0/token" || request.method !== "POST")
      return refuse(404, "invalid_request", 900561, "The endpoint only accepts POST requests.");
    if (tenant !== this.#content.tenantId)
      return refuse(400, "invalid_request", 90002, `Tenant '${tenant}' not found.`);
    const identity = this.#content.identities.find(({ clientId }) => clientId === form.get("client_id"));
    if (form.get("grant_type") !== "client_credentials" || identity === undefined)
      return refuse(400, "unauthorized_client", 700016, "Application was not found in the directory.");
    const [secret, assertion] = [form.get("client_secret"), form.get("client_assertion")];
    if (assertion !== null && assertion !== identity.federatedToken)
      return refuse(400, "invalid_request", 70021, "No matching federated identity record found.");
    if (assertion === null && (secret === null || secret !== identity.clientSecret))
      return refuse(401, "invalid_client", 7000215, "Invalid client secret provided.");
    const audience = /^(https:\/\/[a-z0-9.-]+)\/\.default/.exec(form.get("scope") ?? "")?.[1];
    if (audience === undefined)
      return refuse(400, "invalid_scope", 70011, "The provided value for 'scope' is not valid.");
    const expires = Math.floor((systemClock.now() + 3_600_000) / 1000);
    send(response, 200, {
      token_type: "Bearer",
      expires_in: 3599,
      ext_expires_in: 3599,
      access_token: issueToken({ objectId: identity.objectId, audience, expires }),
    });
  }

  #vault(
    host: string,
    path: string,
    query: Readonly<Record<string, string>>,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const refuse = (status: number, code: string, message: string, innerCode?: string): void =>
      send(response, status, {
        error: { code, message, ...(innerCode === undefined ? {} : { innererror: { code: innerCode } }) },
      });
    const readers = this.#readers.get(host);
    if (readers === undefined) return refuse(400, "BadParameter", "There is no such vault.");
    const audience = `https://${host.slice(host.indexOf(".") + 1)}`;
    const unauthorized = (message: string): void => {
      const challenge = `Bearer authorization="https://login.microsoftonline.com/${this.#content.tenantId}", resource="${audience}"`;
      response.setHeader("www-authenticate", challenge);
      refuse(401, "Unauthorized", message);
    };
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    if (bearer === undefined) return unauthorized("AKV10000: Request is missing a Bearer or PoP token.");
    const token = readToken(bearer);
    if (token === undefined)
      return unauthorized("AKV10046: Unable to resolve the key used for signature validation.");
    if (token.audience !== audience) return unauthorized(`AKV10022: Invalid audience. Expected ${audience}.`);
    if (token.expires * 1000 <= systemClock.now())
      return unauthorized("AKV10035: Token validation failed. Lifetime.");
    if (!/^(?:7\.\d|20\d\d-\d\d-\d\d)$/.test(query["api-version"] ?? ""))
      return refuse(
        400,
        "BadParameter",
        "The specified version is not recognized. Consider using the latest supported version.",
      );
    const [, collection, name = "", version, more] = path.toLowerCase().replace(/\/$/, "").split("/");
    if (collection !== "secrets" || more !== undefined || request.method !== "GET")
      return refuse(404, "NotFound", "The requested resource was not found.");
    if (!readers.has(token.objectId))
      return refuse(
        403,
        "Forbidden",
        `Caller is not authorized to perform action on resource. Caller: oid=${token.objectId}`,
        "ForbiddenByRbac",
      );
    const versions = this.#secrets.get(`${host}/${name}`) ?? [];
    const secret =
      version === undefined ? versions.at(-1) : versions.find((each) => each.version === version);
    if (secret === undefined)
      return refuse(
        404,
        "SecretNotFound",
        `A secret with (name/id) ${name} was not found in this key vault.`,
      );
    if (!secret.enabled)
      return refuse(403, "Forbidden", "Operation get is not allowed on a disabled secret.", "SecretDisabled");
    send(response, 200, {
      value: secret.value,
      id: `https://${host}/secrets/${name}/${secret.version}`,
      attributes: {
        enabled: true,
        created: secret.created,
        updated: secret.created,
        ...secret.attributes,
        recoveryLevel: "Recoverable+Purgeable",
        recoverableDays: 90,
      },
      tags: {},
    });
  }
}

/** Makes a certificate for the names that it plays, and listens on loopback. */
export async function startAzureSimulator({ content }: AzureSimulatorOptions): Promise<AzureSimulator> {
  const checked = checkAzureContent(content);
  const authority = await createAuthority({
    commonName: "Sallyport Azure simulator",
    keyType: "ec-p256",
    lifetimeMs,
    clock: systemClock,
  });
  const issued = await authority.issue({
    commonName: "Azure simulator",
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs,
    dnsNames: [...authorityHosts, ...checked.vaults.map(({ host }) => host)],
  });
  const tls = {
    ca: authority.certificatePem,
    cert: issued.chainPem,
    key: issued.privateKeyPem.reveal(),
  };
  return await new AzureSimulator(checked, tls).listen();
}

function hostOf(request: IncomingMessage): string {
  return (request.headers.host ?? "").replace(/:\d+$/, "").toLowerCase();
}

function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

function serviceError(status: number): object {
  return status === 429
    ? {
        error: {
          code: "Throttled",
          message: "Request was not processed because too many requests were received.",
        },
      }
    : { error: { code: "InternalError", message: `status ${status}` } };
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  response.end(JSON.stringify(body));
}

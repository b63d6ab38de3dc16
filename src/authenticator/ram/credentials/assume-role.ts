/**
 * Temporary credentials of a role, bought with other credentials (AssumeRole) or with an OIDC token that a cluster gave
 * to its pod (AssumeRoleWithOIDC, "RRSA").
 *
 * Source: STS API references AssumeRole and AssumeRoleWithOIDC of Alibaba Cloud.
 * @module
 */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { SallyportError, reasonOf } from "../../../errors.ts";
import { percentEncode, signRpc } from "../sign.ts";
import { toSecondsUtc } from "../token.ts";
import type { CredentialContext } from "./context.ts";
import { unusable, type Credentials } from "./credentials.ts";
import { exchange } from "./http-exchange.ts";
import { parseJson, readIssuedCredentials } from "./issued-credentials.ts";

export interface AssumedRole {
  readonly roleArn: string;
  readonly sessionName?: string;
  readonly externalId?: string;
  /** Life of the credentials in seconds, at least 900. */
  readonly seconds?: number;
  /** Region whose STS is asked. */
  readonly region?: string;
}

const timeoutMs = 5_000;
/** Renewed when less than this is left. */
const marginMs = 10 * 60 * 1000;

/** @throws {SallyportError} `E_RAM_CREDENTIALS` with what STS said. */
export async function assumeRole(
  base: Credentials,
  role: AssumedRole,
  context: CredentialContext,
): Promise<Credentials> {
  const endpoint = stsUrl(role.region, context);
  const parameters = roleParameters("AssumeRole", role, context);
  const key = ["AssumeRole", endpoint.host, base.accessKeyId, ...Object.values(parameters)];
  return await context.cache.remember(key, marginMs, () => {
    const signed: Record<string, string> = {
      ...parameters,
      ...moment(context),
      AccessKeyId: base.accessKeyId,
      SignatureMethod: "HMAC-SHA1",
      SignatureVersion: "1.0",
      ...(base.securityToken === undefined ? {} : { SecurityToken: base.securityToken.reveal() }),
    };
    const signature = signRpc("POST", Object.entries(signed), base.accessKeySecret.reveal());
    return issue(endpoint, { ...signed, Signature: signature }, undefined, role.roleArn, context);
  });
}

/** The token file is read again every time: the kubelet replaces it. */
export async function assumeRoleWithOidc(
  role: AssumedRole & { readonly providerArn: string; readonly tokenFile: string },
  context: CredentialContext,
): Promise<Credentials> {
  const endpoint = stsUrl(role.region, context);
  const parameters = {
    ...roleParameters("AssumeRoleWithOIDC", role, context),
    OIDCProviderArn: role.providerArn,
  };
  const key = ["AssumeRoleWithOIDC", endpoint.host, role.tokenFile, ...Object.values(parameters)];
  return await context.cache.remember(key, marginMs, async () => {
    let token: string;
    try {
      token = (await readFile(role.tokenFile, "utf8")).trim();
    } catch (error) {
      throw unusable(
        "OIDC",
        `the token file ${role.tokenFile} cannot be read (${reasonOf(error)})`,
        "Check ALIBABA_CLOUD_OIDC_TOKEN_FILE and the pod's service account.",
        error,
      );
    }
    // This request is not signed: the token speaks for itself.
    const query = { ...parameters, ...moment(context) };
    return await issue(endpoint, query, `OIDCToken=${percentEncode(token)}`, role.roleArn, context);
  });
}

function roleParameters(
  action: string,
  role: AssumedRole,
  context: CredentialContext,
): Record<string, string> {
  const sessionName =
    role.sessionName ?? context.environment["ALIBABA_CLOUD_ROLE_SESSION_NAME"] ?? context.sessionName;
  return {
    Action: action,
    Version: "2015-04-01",
    Format: "JSON",
    RoleArn: role.roleArn,
    RoleSessionName: sessionName === undefined || sessionName === "" ? "sallyport" : sessionName,
    DurationSeconds: String(role.seconds ?? 3600),
    ...(role.externalId === undefined ? {} : { ExternalId: role.externalId }),
  };
}

function moment(context: CredentialContext): Record<string, string> {
  return { Timestamp: toSecondsUtc(context.clock.now()), SignatureNonce: randomUUID() };
}

async function issue(
  endpoint: URL,
  query: Readonly<Record<string, string>>,
  form: string | undefined,
  roleArn: string,
  context: CredentialContext,
): Promise<Credentials> {
  const url = new URL(endpoint);
  url.search = Object.entries(query)
    .map(([name, value]) => `${percentEncode(name)}=${percentEncode(value)}`)
    .join("&");
  const source = `STS at ${endpoint.host}`;
  const { status, body } = await exchange(
    {
      url,
      method: "POST",
      headers: {
        accept: "application/json",
        ...(form === undefined ? {} : { "content-type": "application/x-www-form-urlencoded" }),
      },
      ...(form === undefined ? {} : { body: form }),
      timeoutMs,
      proxy: true,
      ...(context.stsAuthoritiesPem === undefined ? {} : { authoritiesPem: context.stsAuthoritiesPem }),
    },
    context.clock,
  ).catch((error: unknown) => {
    if (error instanceof SallyportError) throw error;
    throw unusable(source, reasonOf(error), "Check the network and the STS endpoint, then try again.", error);
  });
  const answer = parseJson(body) as Readonly<Record<string, unknown>> | undefined;
  const credentials = status === 200 ? readIssuedCredentials(answer?.["Credentials"]) : undefined;
  if (credentials !== undefined) return credentials;
  const code = typeof answer?.["Code"] === "string" ? answer["Code"].slice(0, 128) : `status ${status}`;
  throw unusable(source, `the role ${roleArn} cannot be assumed: ${code}`, adviceFor(code));
}

function adviceFor(code: string): string {
  if (code.startsWith("InvalidTimeStamp")) return "Set this machine's clock (NTP).";
  if (code.startsWith("InvalidAccessKeyId"))
    return "The access key does not exist or is disabled: use another one.";
  if (code === "SignatureDoesNotMatch") return "The access key's secret is not the right one.";
  if (code.startsWith("InvalidSecurityToken")) return "The temporary credentials have ended: get new ones.";
  if (code.startsWith("EntityNotExist")) return "Check the role's name and account.";
  if (code.startsWith("NoPermission")) {
    return "Let the role trust this identity, and this identity call sts:AssumeRole (the root account never may).";
  }
  return "Look the code up in the error centre of STS.";
}

/** @throws {SallyportError} `E_RAM_CREDENTIALS` for an endpoint that is not `https`, or not a host. */
function stsUrl(region: string | undefined, context: CredentialContext): URL {
  const { environment } = context;
  const given = context.stsEndpoint ?? environment["ALIBABA_CLOUD_STS_ENDPOINT"] ?? "";
  const place = region ?? context.region ?? "";
  const host = given === "" ? `sts${place === "" ? "" : `.${place}`}.aliyuncs.com` : given;
  const scheme = environment["ALIBABA_CLOUD_STS_HTTP_SCHEME"]?.toLowerCase() || "https";
  const text = host.includes("://") ? host : `${scheme}://${host}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const loopback = url !== undefined && /^(?:localhost|127\.[0-9.]+|\[::1\])$/.test(url.hostname);
  if (url === undefined || url.pathname !== "/" || (url.protocol !== "https:" && !loopback)) {
    throw unusable(
      "STS",
      `"${text}" is no endpoint of STS`,
      "Give a host such as sts.cn-hangzhou.aliyuncs.com; plain HTTP would show the credentials to the network.",
    );
  }
  return url;
}

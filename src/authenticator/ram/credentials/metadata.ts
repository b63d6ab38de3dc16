/**
 * Temporary credentials that the machine itself hands out: the ECS metadata service (its second version, then its first)
 * and credential URIs of container platforms.
 *
 * Source: "Instance metadata" of the ECS documentation of Alibaba Cloud.
 * @module
 */
import { SallyportError, reasonOf } from "../../../errors.ts";
import type { CredentialContext } from "./context.ts";
import { unusable, type Credentials, type Lookup } from "./credentials.ts";
import { exchange, type ExchangeAnswer } from "./http-exchange.ts";
import { parseJson, readIssuedCredentials } from "./issued-credentials.ts";

/** The metadata service is one hop away: whoever does not answer within a second is not there. */
const timeoutMs = 1_000;
/** Renewed when less than this is left. */
const marginMs = 30 * 60 * 1000;

const rolePath = "/latest/meta-data/ram/security-credentials/";

/** @param roleName empty: the role that the instance has. */
export async function credentialsOfInstance(roleName: string, context: CredentialContext): Promise<Lookup> {
  const origin = context.environment["ALIBABA_CLOUD_IMDS_ENDPOINT"] || "http://100.100.100.200";
  const base = origin.includes("://") ? origin : `http://${origin}`;
  if (!URL.canParse(base)) {
    throw unusable(
      "the metadata service",
      `"${origin}" is no address`,
      "Correct ALIBABA_CLOUD_IMDS_ENDPOINT.",
    );
  }
  let why = "it does not answer within a second";
  try {
    const credentials = await context.cache.remember(["ECS", base, roleName], marginMs, async () => {
      const headers = await sessionHeaders(base, context);
      const get = (path: string): Promise<ExchangeAnswer> =>
        exchange(
          { url: new URL(path, base), method: "GET", headers, timeoutMs, proxy: false },
          context.clock,
        );
      let name = roleName;
      if (name === "") {
        const listed = await get(rolePath);
        name = listed.status === 200 ? (listed.body.trim().split("\n")[0] ?? "") : "";
        if (!/^[A-Za-z0-9.-]{1,64}$/.test(name)) throw new Error("the instance has no RAM role");
      }
      const { status, body } = await get(rolePath + encodeURIComponent(name));
      const issued = status === 200 ? readIssuedCredentials(parseJson(body)) : undefined;
      if (issued === undefined)
        throw new Error(`it has no credentials of the role ${name} (status ${status})`);
      return issued;
    });
    return { found: true, credentials };
  } catch (error) {
    if (error instanceof SallyportError) throw error;
    why = reasonOf(error);
  }
  return { found: false, why };
}

/** A session token of the second version; none where only the first version is spoken. */
async function sessionHeaders(
  base: string,
  context: CredentialContext,
): Promise<Readonly<Record<string, string>>> {
  if (/^(?:true|1)$/i.test(context.environment["ALIBABA_CLOUD_IMDSV2_DISABLED"] ?? "")) return {};
  const { status, body } = await exchange(
    {
      url: new URL("/latest/api/token", base),
      method: "PUT",
      headers: { "x-aliyun-ecs-metadata-token-ttl-seconds": "60" },
      timeoutMs,
      proxy: false,
    },
    context.clock,
  );
  if (status === 403 || status === 404) return {};
  if (status !== 200) throw new Error(`it answers ${status}`);
  return { "x-aliyun-ecs-metadata-token": body.trim() };
}

/** @throws {SallyportError} `E_RAM_CREDENTIALS` when the URI gives none. */
export async function credentialsFromUri(uri: string, context: CredentialContext): Promise<Credentials> {
  const source = "the credential URI";
  const url = URL.canParse(uri) ? new URL(uri) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw unusable(
      source,
      "it is no HTTP address",
      "Correct ALIBABA_CLOUD_CREDENTIALS_URI or credentials_uri.",
    );
  }
  return await context.cache.remember(["URI", url.href], marginMs, async () => {
    const answer = await exchange(
      { url, method: "GET", timeoutMs: 5_000, proxy: false },
      context.clock,
    ).catch((error: unknown) => {
      if (error instanceof SallyportError) throw error;
      throw unusable(source, reasonOf(error), `Check what listens at ${url.host}.`, error);
    });
    const issued = answer.status === 200 ? readIssuedCredentials(parseJson(answer.body)) : undefined;
    if (issued === undefined) {
      throw unusable(
        source,
        `it gave no credentials (status ${answer.status})`,
        `Check what listens at ${url.host}.`,
      );
    }
    return issued;
  });
}

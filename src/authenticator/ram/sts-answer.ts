/**
 * Reads what STS answers to GetCallerIdentity: an identity that is consistent in itself, a definite refusal, or trouble
 * that may pass. Nothing that STS did not say in the documented form counts as an identity.
 *
 * Source: GetCallerIdentity reference and error centre of Alibaba Cloud STS.
 * @module
 */
import { parseCallerArn } from "./arns.ts";
import { parseStrictObject } from "./strict-json.ts";

/** An identity as STS vouches for it. */
export interface CallerIdentity {
  readonly identityType: "RAMUser" | "AssumedRoleUser" | "Account";
  readonly accountId: string;
  /** As STS returned it. */
  readonly arn: string;
  /** With the role in place of its session. */
  readonly canonicalArn: string;
  /** Id of the user, the role or the account: it is never given to another one. */
  readonly principalId: string;
  /** Empty for users and root. */
  readonly sessionName: string;
  readonly requestId: string;
}

export type StsAnswer =
  | { readonly outcome: "identity"; readonly identity: CallerIdentity }
  /** The request is not what STS accepts, and will not become so. */
  | { readonly outcome: "refused"; readonly error: StsError }
  /** STS answered an identity that contradicts itself: nobody is let in on it. */
  | { readonly outcome: "inconsistent"; readonly detail: string }
  | { readonly outcome: "throttled"; readonly error: StsError }
  /** Not an answer of STS, or not a whole one. */
  | { readonly outcome: "unusable"; readonly detail: string };

/** An error as STS words it. */
export interface StsError {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly requestId: string;
}

export interface StsResponse {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export function parseStsAnswer(response: StsResponse): StsAnswer {
  const { status } = response;
  if (status >= 300 && status < 400) return unusable(`a redirect (${status}), which is never followed`);
  if (!/^application\/json\s*(?:;|$)/i.test(response.contentType)) {
    return unusable(`status ${status} with another content type than application/json`);
  }
  const json = parseStrictObject(response.body);
  if (!json.ok) return unusable(`status ${status} with a body of which ${json.problem}`);
  if (status === 200) return parseIdentity(json.value);
  return parseError(status, json.value);
}

function parseError(status: number, body: Readonly<Record<string, unknown>>): StsAnswer {
  const code = text(body["Code"]);
  const requestId = text(body["RequestId"]);
  if (code === "") return unusable(`status ${status} without an error code`);
  const error: StsError = { status, code, message: text(body["Message"]), requestId };
  if (status === 429 || code === "Throttling" || code.startsWith("Throttling."))
    return { outcome: "throttled", error };
  if (status >= 400 && status < 500 && status !== 408) return { outcome: "refused", error };
  return unusable(`status ${status}, code ${code}`);
}

function parseIdentity(body: Readonly<Record<string, unknown>>): StsAnswer {
  for (const name of ["IdentityType", "AccountId", "Arn", "PrincipalId"]) {
    if (typeof body[name] !== "string") return unusable(`an identity without ${name}`);
  }
  const identityType = text(body["IdentityType"]);
  const accountId = text(body["AccountId"]);
  const arn = text(body["Arn"]);
  const principal = text(body["PrincipalId"]);
  if (!/^[0-9]{1,20}$/.test(accountId)) return inconsistent("AccountId is not a number");
  const parsed = parseCallerArn(arn);
  if (!parsed.ok) return inconsistent(`of the Arn, ${parsed.problem}`);
  const { canonical, sessionName = "" } = parsed.arn;
  if (parsed.arn.identityType !== identityType) return inconsistent("IdentityType and Arn differ in kind");
  if (canonical.accountId !== accountId) return inconsistent("AccountId is not the account of the Arn");
  const principalId = principalIdOf(principal, parsed.arn.identityType, sessionName, accountId);
  if (principalId === undefined) return inconsistent("PrincipalId does not belong to the Arn");
  for (const [name, expected] of [
    ["UserId", identityType === "AssumedRoleUser" ? undefined : principalId],
    ["RoleId", identityType === "AssumedRoleUser" ? principalId : undefined],
  ] as const) {
    const given = text(body[name]);
    if (given !== "" && given !== expected) return inconsistent(`${name} and PrincipalId differ`);
  }
  return {
    outcome: "identity",
    identity: {
      identityType: parsed.arn.identityType,
      accountId,
      arn,
      canonicalArn: canonical.text,
      principalId,
      sessionName,
      requestId: text(body["RequestId"]),
    },
  };
}

const idPattern = /^[A-Za-z0-9_-]{1,64}$/;

function principalIdOf(
  principal: string,
  type: CallerIdentity["identityType"],
  sessionName: string,
  accountId: string,
): string | undefined {
  if (type === "AssumedRoleUser") {
    const suffix = `:${sessionName}`;
    const id = principal.slice(0, -suffix.length);
    return principal.endsWith(suffix) && idPattern.test(id) ? id : undefined;
  }
  if (type === "Account" && principal !== accountId) return undefined;
  return idPattern.test(principal) ? principal : undefined;
}

/** What STS said, made safe for a log line or a sentence. */
function text(value: unknown): string {
  return typeof value === "string" ? value.replace(/[^\x20-\x7e]/g, "?").slice(0, 512) : "";
}

function unusable(detail: string): StsAnswer {
  return { outcome: "unusable", detail };
}

function inconsistent(detail: string): StsAnswer {
  return { outcome: "inconsistent", detail };
}

/** Codes whose text the caller may see: they speak about the caller's own signature, key and clock. */
const shownCodes =
  /^(?:InvalidTimeStamp\.Expired|SignatureDoesNotMatch|SignatureNonceUsed|ContentMD5NotMatched|InvalidSignatureMethod|MissingSecurityToken|InvalidAccessKeyId\..+|InvalidSecurityToken\..+|Throttling\..+)$/;

/** The sentence for `status.error`. */
export function describeStsError(error: StsError, statusText: string): string {
  const base = `call sts.GetCallerIdentity failed: ${statusText}`;
  if (!shownCodes.test(error.code)) return base;
  return `${base} (RequestId: ${error.requestId}, Code: ${error.code}, Message: ${error.message})`;
}

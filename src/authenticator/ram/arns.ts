/**
 * Names of RAM identities. STS answers with the ARN of a session; mappings name the role behind it, so both are brought
 * to one canonical form, in which they are compared without regard to case (RAM returns role names in lower case in
 * places).
 *
 * Source: "Basic elements of a RAM policy: Principal" and the GetCallerIdentity reference of Alibaba Cloud.
 * @module
 */

/** The parts of a canonical ARN. */
export interface CanonicalArn {
  /** `acs:ram::<account>:<kind>/<name>` or `acs:ram::<account>:root`, in the case it came in. */
  readonly text: string;
  readonly accountId: string;
  readonly kind: "user" | "role" | "root";
  /** Name with its path; empty for root. */
  readonly name: string;
}

/** An ARN as STS returns it: canonical, plus the session of an assumed role. */
export interface CallerArn {
  readonly canonical: CanonicalArn;
  /** Absent for users and root. */
  readonly sessionName?: string;
  /** Which GetCallerIdentity `IdentityType` has ARNs of this form. */
  readonly identityType: "RAMUser" | "AssumedRoleUser" | "Account";
}

export type ParsedArn<Arn> =
  | { readonly ok: true; readonly arn: Arn }
  | { readonly ok: false; readonly problem: string };

const accountPattern = /^[0-9]{1,20}$/;
const segmentPattern = /^[A-Za-z0-9._@-]{1,128}$/;
const sessionPattern = /^[A-Za-z0-9.@_-]{2,64}$/;

/** Parses an ARN out of an STS answer. */
export function parseCallerArn(text: string): ParsedArn<CallerArn> {
  const sections = split(text);
  if (!sections.ok) return sections;
  const { accountId, resource } = sections.arn;
  if (!accountPattern.test(accountId)) return problem("its account id is not a number");
  const [type = "", ...segments] = resource.split("/");
  if (type === "assumed-role") {
    const sessionName = segments.at(-1) ?? "";
    const role = segments.slice(0, -1);
    if (role.length === 0 || !role.every((segment) => segmentPattern.test(segment))) {
      return problem("it names no role");
    }
    if (!sessionPattern.test(sessionName)) return problem("its session name is not allowed");
    const canonical = canonicalOf(accountId, "role", role.join("/"));
    return { ok: true, arn: { canonical, sessionName, identityType: "AssumedRoleUser" } };
  }
  // A role never calls STS itself, only its sessions do.
  if (type === "role") return problem("a role does not call STS, its sessions do");
  const canonical = parseCanonical(accountId, resource, segmentPattern);
  if (!canonical.ok) return canonical;
  const identityType = canonical.arn.kind === "root" ? "Account" : "RAMUser";
  return { ok: true, arn: { canonical: canonical.arn, identityType } };
}

/**
 * Parses the ARN of a mapping: of a user, a role or the root, or of an assumed role, which means the role.
 * @param wildcards whether `*` and `?` may stand in the name (never in the account or the kind).
 */
export function parseMappingArn(
  text: string,
  options: { readonly wildcards: boolean },
): ParsedArn<CanonicalArn> {
  const sections = split(text);
  if (!sections.ok) return sections;
  const { accountId, resource } = sections.arn;
  if (/[*?]/.test(accountId)) return problem("its account id must be written out, without wildcards");
  if (!accountPattern.test(accountId)) return problem("its account id is not a number");
  if (!options.wildcards && /[*?]/.test(resource)) {
    return problem("it has a wildcard, and wildcard mappings are not enabled");
  }
  const [type = "", ...segments] = resource.split("/");
  if (type === "assumed-role") {
    if (segments.length < 2) return problem("an assumed role needs a role and a session");
    return parseCanonical(accountId, `role/${segments.slice(0, -1).join("/")}`, mappingSegment);
  }
  return parseCanonical(accountId, resource, mappingSegment);
}

const mappingSegment = /^[A-Za-z0-9._@*?-]{1,128}$/;

function parseCanonical(accountId: string, resource: string, segment: RegExp): ParsedArn<CanonicalArn> {
  if (resource.toLowerCase() === "root") return { ok: true, arn: canonicalOf(accountId, "root", "") };
  const slash = resource.indexOf("/");
  const kind = resource.slice(0, slash).toLowerCase();
  const name = resource.slice(slash + 1);
  if (slash < 0 || (kind !== "user" && kind !== "role")) return problem("it names neither a user nor a role");
  if (!name.split("/").every((part) => segment.test(part))) {
    return problem(`its ${kind} name is empty or has characters that RAM does not allow`);
  }
  return { ok: true, arn: canonicalOf(accountId, kind, name) };
}

function canonicalOf(accountId: string, kind: CanonicalArn["kind"], name: string): CanonicalArn {
  const resource = kind === "root" ? "root" : `${kind}/${name}`;
  return { text: `acs:ram::${accountId}:${resource}`, accountId, kind, name };
}

function split(text: string): ParsedArn<{ readonly accountId: string; readonly resource: string }> {
  if (text.length > 512) return problem("it is longer than 512 characters");
  const sections = text.split(":");
  if (sections.length !== 5) return problem("it does not have the five parts of acs:ram::ACCOUNT:NAME");
  const [scheme = "", service = "", region = "", accountId = "", resource = ""] = sections;
  if (scheme.toLowerCase() !== "acs") return problem("it does not start with acs:");
  if (service.toLowerCase() !== "ram") return problem("its service is not ram");
  if (region !== "") return problem("it has a region, and RAM has none");
  return { ok: true, arn: { accountId, resource } };
}

function problem(text: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem: text };
}

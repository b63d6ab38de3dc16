/**
 * The AdmissionReview envelope (admission.k8s.io/v1): what a webhook is asked and how it answers. The answers' shape and
 * texts are those of windows-gmsa's webhook, which scripts and runbooks match.
 * @module
 */
import { reasonOf } from "../errors.ts";

/** What one request asks. Objects are still unchecked. */
export interface AdmissionRequest {
  readonly uid: string;
  readonly kind: string;
  readonly operation: string;
  readonly namespace: string;
  readonly subResource: string;
  readonly object: unknown;
  readonly oldObject: unknown;
}

/** One operation of a JSON Patch (RFC 6902); keys in this order. */
export interface PatchOperation {
  readonly op: "add";
  readonly path: string;
  readonly value: string;
}

export type Verdict =
  | {
      readonly allowed: true;
      readonly patches: readonly PatchOperation[];
      /** Shown to the person who created the object; the API server cuts each at 256 characters. */
      readonly warnings: readonly string[];
      /** Credential specs that were authorised, for the API server's audit log. */
      readonly authorised: readonly string[];
    }
  | { readonly allowed: false; readonly code: number; readonly message: string };

export function allow(
  patches: readonly PatchOperation[] = [],
  warnings: readonly string[] = [],
  authorised: readonly string[] = [],
): Verdict {
  return { allowed: true, patches, warnings, authorised };
}

export function deny(code: number, message: string): Verdict {
  return { allowed: false, code, message };
}

export type ReviewReading =
  | { readonly ok: true; readonly request: AdmissionRequest }
  | { readonly ok: false; readonly uid: string; readonly verdict: Verdict };

/** Reads the body of a webhook call. Never throws; the version of the review is not looked at. */
export function readReview(body: string): ReviewReading {
  let review: unknown;
  try {
    review = JSON.parse(body);
  } catch (error) {
    const message = `unable to unmarshall JSON body as an admission review: ${jsonProblem(body, error)}`;
    return { ok: false, uid: "", verdict: deny(400, message) };
  }
  if (!isObject(review)) {
    const message = `unable to unmarshall JSON body as an admission review: ${describe(review)} is not an object`;
    return { ok: false, uid: "", verdict: deny(400, message) };
  }
  const request = review["request"];
  if (request === undefined || request === null) {
    return { ok: false, uid: "", verdict: deny(400, "no 'Request' field in JSON body") };
  }
  if (!isObject(request)) {
    const message = `unable to unmarshall JSON body as an admission review: request is ${describe(request)}`;
    return { ok: false, uid: "", verdict: deny(400, message) };
  }
  const kind = isObject(request["kind"]) ? request["kind"]["kind"] : undefined;
  return {
    ok: true,
    request: {
      uid: text(request["uid"]),
      kind: text(kind),
      operation: text(request["operation"]),
      namespace: text(request["namespace"]),
      subResource: text(request["subResource"]),
      object: request["object"],
      oldObject: request["oldObject"],
    },
  };
}

/** Longest warning that the API server passes on uncut, in characters. */
const longestWarning = 256;

/** The answer's bytes: always v1, whatever was asked. */
export function renderReview(uid: string, verdict: Verdict): string {
  return JSON.stringify({
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    response: response(uid, verdict),
  });
}

function response(uid: string, verdict: Verdict): object {
  if (!verdict.allowed) {
    const { message, code } = verdict;
    return { uid, allowed: false, status: { metadata: {}, message: message.toWellFormed(), code } };
  }
  const { patches, warnings, authorised } = verdict;
  return {
    uid,
    allowed: true,
    ...(patches.length === 0
      ? {}
      : { patch: Buffer.from(JSON.stringify(patches), "utf8").toString("base64"), patchType: "JSONPatch" }),
    ...(authorised.length === 0 ? {} : { auditAnnotations: { "credential-specs": authorised.join(",") } }),
    ...(warnings.length === 0 ? {} : { warnings: warnings.map(shorten) }),
  };
}

function shorten(warning: string): string {
  const characters = Array.from(warning);
  return characters.length <= longestWarning
    ? warning
    : `${characters.slice(0, longestWarning - 1).join("")}…`;
}

/** Go's words for the one case that people meet; V8's for the others, without the piece of the body that it quotes. */
function jsonProblem(body: string, error: unknown): string {
  if (body.trim() === "") return "unexpected end of JSON input";
  const reason = reasonOf(error);
  if (reason.startsWith("Unexpected end of JSON input")) return "unexpected end of JSON input";
  return /at position \d+/.exec(reason)?.[0].replace(/^/, "invalid JSON ") ?? "invalid JSON";
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function describe(value: unknown): string {
  return value === null ? "null" : Array.isArray(value) ? "a list" : `a ${typeof value}`;
}

/**
 * The TokenReview wire format: what the API server posts and what it gets back, versions v1 and v1beta1.
 *
 * Source: Kubernetes documentation, "Webhook Token Authentication"; `authentication.k8s.io/v1` TokenReview.
 * @module
 */
import { isObject } from "./ram/strict-json.ts";
import type { ClusterUser } from "./identity-mapper.ts";

const versions = ["authentication.k8s.io/v1", "authentication.k8s.io/v1beta1"] as const;
export type ReviewVersion = (typeof versions)[number];

export type ParsedReview =
  | {
      readonly ok: true;
      readonly token: string;
      /** Absent when the request names none; the answer then names none either. */
      readonly apiVersion?: ReviewVersion;
    }
  | { readonly ok: false; readonly message: string };

/** @param body as it was posted. The message quotes nothing of it. */
export function parseTokenReview(body: string): ParsedReview {
  const refuse: ParsedReview = { ok: false, message: "expected a request body to be a TokenReview" };
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return refuse;
  }
  if (!isObject(value) || !isObject(value["spec"])) return refuse;
  const { apiVersion, kind } = value;
  if (kind !== undefined && kind !== "TokenReview") return refuse;
  const version = versions.find((known) => known === apiVersion);
  if (apiVersion !== undefined && version === undefined) return refuse;
  const { token = "" } = value["spec"];
  if (typeof token !== "string") return refuse;
  return { ok: true, token, ...(version === undefined ? {} : { apiVersion: version }) };
}

export function renderAllowed(apiVersion: ReviewVersion | undefined, user: ClusterUser): string {
  const { username, uid, groups, extra } = user;
  return render(apiVersion, { authenticated: true, user: { username, uid, groups, extra } });
}

/** @param error the sentence for `status.error`; the API server shows it in its log only. */
export function renderDenied(apiVersion: ReviewVersion | undefined, error: string): string {
  return render(apiVersion, { authenticated: false, user: {}, error });
}

function render(apiVersion: ReviewVersion | undefined, status: object): string {
  return `${JSON.stringify({
    ...(apiVersion === undefined ? {} : { apiVersion, kind: "TokenReview" }),
    metadata: { creationTimestamp: null },
    spec: {},
    status,
  })}\n`;
}

/**
 * The webhook's decisions about pods of a manifest, without creating them: expand, apply, authorise.
 * @module
 */
import { parseAllDocuments } from "yaml";
import type { Admitter } from "./admitter.ts";
import { applyPatch, podFrom, podTemplateOf } from "./pod-template.ts";
import { isObject, type AdmissionRequest } from "./review.ts";

/** A pod, or the pod that a workload's template would make. */
export interface CheckedPod {
  /** `Deployment shop/web`. */
  readonly label: string;
  readonly allowed: boolean;
  /** The webhook's message, when refused. */
  readonly reason: string;
  readonly warnings: readonly string[];
  readonly specs: readonly string[];
}

export interface CheckOptions {
  /** Where a manifest names no namespace. */
  readonly namespace: string;
  /** Instead of the manifest's own service account. */
  readonly as: { readonly namespace: string; readonly serviceAccount: string } | undefined;
}

export type CheckResult =
  | { readonly ok: true; readonly pods: readonly CheckedPod[] }
  | { readonly ok: false; readonly problem: string };

/** Checks every pod and every workload of a manifest (YAML or JSON, several documents). */
export async function checkManifest(
  text: string,
  admitter: Admitter,
  options: CheckOptions,
  signal: AbortSignal,
): Promise<CheckResult> {
  const documents = parseAllDocuments(text);
  const pods: CheckedPod[] = [];
  for (const document of Array.isArray(documents) ? documents : []) {
    const [error] = document.errors;
    if (error !== undefined) return { ok: false, problem: error.message.split("\n")[0] ?? "cannot be read" };
    for (const object of objectsOf(document.toJS({ maxAliasCount: 100 }) as unknown)) {
      const template = podTemplateOf(object);
      if (template !== undefined) pods.push(await checkPod(object, template, admitter, options, signal));
    }
  }
  return pods.length === 0
    ? { ok: false, problem: "holds no pod and no workload with a pod template" }
    : { ok: true, pods };
}

type Fields = Readonly<Record<string, unknown>>;

function objectsOf(value: unknown): readonly Fields[] {
  if (!isObject(value)) return [];
  return value["kind"] === "List" && Array.isArray(value["items"])
    ? value["items"].filter(isObject)
    : [value];
}

async function checkPod(
  object: Fields,
  template: Fields,
  admitter: Admitter,
  options: CheckOptions,
  signal: AbortSignal,
): Promise<CheckedPod> {
  const metadata = isObject(object["metadata"]) ? object["metadata"] : {};
  const ownNamespace = typeof metadata["namespace"] === "string" ? metadata["namespace"] : options.namespace;
  const namespace = options.as?.namespace ?? ownNamespace;
  const name = [metadata["name"], metadata["generateName"]].find((one) => typeof one === "string") ?? "";
  const label = `${String(object["kind"])} ${ownNamespace}/${name}`;
  const pod = podFrom(template, options.as?.serviceAccount);
  if (template !== object)
    pod["metadata"] = { ...(isObject(pod["metadata"]) ? pod["metadata"] : {}), ...ownerOf(object) };
  const request: AdmissionRequest = {
    uid: "check",
    kind: "Pod",
    operation: "CREATE",
    namespace,
    subResource: "",
    object: pod,
    oldObject: null,
  };
  const mutated = await admitter.mutate(request, signal);
  if (!mutated.allowed) return { label, allowed: false, reason: mutated.message, warnings: [], specs: [] };
  for (const patch of mutated.patches) applyPatch(pod, patch);
  const verdict = await admitter.validate(request, signal);
  if (!verdict.allowed) return { label, allowed: false, reason: verdict.message, warnings: [], specs: [] };
  return { label, allowed: true, reason: "", warnings: verdict.warnings, specs: verdict.authorised };
}

function ownerOf(object: Fields): Fields {
  const kind = object["kind"] === "Deployment" ? "ReplicaSet" : object["kind"];
  return { ownerReferences: [{ kind }] };
}

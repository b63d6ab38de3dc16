/**
 * From a manifest to the pod that it would make: where each kind of workload keeps its template, and how a patch that
 * `/mutate` answered with changes a pod.
 * @module
 */
import { isObject, type PatchOperation } from "./review.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The path to the pod template of each kind of workload. */
const templates: Readonly<Record<string, readonly string[]>> = {
  Pod: [],
  Deployment: ["spec", "template"],
  ReplicaSet: ["spec", "template"],
  ReplicationController: ["spec", "template"],
  StatefulSet: ["spec", "template"],
  DaemonSet: ["spec", "template"],
  Job: ["spec", "template"],
  CronJob: ["spec", "jobTemplate", "spec", "template"],
  PodTemplate: ["template"],
};

/** A pod itself, or the template of a workload; `undefined` for what makes no pods. */
export function podTemplateOf(object: Fields): Fields | undefined {
  const kind = String(object["kind"]);
  const path = Object.hasOwn(templates, kind) ? templates[kind] : undefined;
  if (path === undefined) return undefined;
  let value: unknown = object;
  for (const step of path) value = isObject(value) ? value[step] : undefined;
  return isObject(value) ? value : undefined;
}

/** The pod as an API server would send it to webhooks: for that service account, or the template's own. */
export function podFrom(template: Fields, serviceAccount?: string): Record<string, unknown> {
  const pod = structuredClone(template) as Record<string, unknown>;
  const spec = (isObject(pod["spec"]) ? pod["spec"] : {}) as Record<string, unknown>;
  // An API server has filled this in before any webhook is asked.
  spec["serviceAccountName"] =
    serviceAccount ?? spec["serviceAccountName"] ?? spec["serviceAccount"] ?? "default";
  pod["spec"] = spec;
  return pod;
}

/** Applies a patch of our own to a pod: those only add a member to an object that exists. */
export function applyPatch(pod: Record<string, unknown>, patch: PatchOperation): void {
  const steps = patch.path.slice(1).split("/");
  const last = steps.pop() ?? "";
  let value: unknown = pod;
  for (const step of steps) value = (value as Record<string, unknown>)[step];
  (value as Record<string, unknown>)[last] = patch.value;
}

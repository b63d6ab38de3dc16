/**
 * Adds one mapping to the ConfigMap `alibabacloud-auth`: the rest of its text, comments too, stays as it is.
 * @module
 */
import { isSeq, parseDocument, type Document } from "yaml";
import { SallyportError, reasonOf } from "../../errors.ts";
import type { ClusterClient } from "../../kubernetes/cluster-client.ts";
import { isObject } from "../ram/strict-json.ts";
import { mappingConfigMap } from "./config-map-backend.ts";
import { readSection } from "./mapping-set.ts";

export interface NewMapping {
  readonly kind: "user" | "role";
  readonly arn: string;
  readonly username: string;
  readonly groups: readonly string[];
}

const path = `/api/v1/namespaces/${mappingConfigMap.namespace}/configmaps/${mappingConfigMap.name}`;
const attempts = 5;

/**
 * Reads, adds and writes back; somebody else's write in between makes it start again.
 *
 * @throws {SallyportError} `E_MAPPING_NOT_ADDED` when the mapping cannot be used, is there already, or the cluster refuses.
 */
export async function addMapping(client: ClusterClient, mapping: NewMapping): Promise<void> {
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const read = await ask(client, { path });
    if (read.status === 404) {
      throw notAdded(
        `the ConfigMap ${mappingConfigMap.namespace}/${mappingConfigMap.name} is not there`,
        `Create it with \`kubectl -n ${mappingConfigMap.namespace} create configmap ${mappingConfigMap.name}\`.`,
      );
    }
    if (read.status !== 200) throw refusedBy(read.status);
    const object = JSON.parse(read.body.toString("utf8")) as Readonly<Record<string, unknown>>;
    const data = isObject(object["data"]) ? object["data"] : {};
    const section = mapping.kind === "role" ? "mapRoles" : "mapUsers";
    const text = typeof data[section] === "string" ? data[section] : "";
    const body = { ...object, data: { ...data, [section]: withMapping(text, mapping) } };
    const written = await ask(client, { method: "PUT", path, body });
    if (written.status < 300) return;
    if (written.status !== 409) throw refusedBy(written.status);
  }
  throw notAdded("others keep changing the ConfigMap", "Try again.");
}

/** The section's text with the mapping at its end. */
export function withMapping(text: string, mapping: NewMapping): string {
  const section = mapping.kind === "role" ? "mapRoles" : "mapUsers";
  const entry = {
    [mapping.kind === "role" ? "rolearn" : "userarn"]: mapping.arn,
    username: mapping.username,
    groups: [...mapping.groups],
  };
  const checked = readSection(section, [entry], { at: section, wildcards: true });
  const [fault] = checked.faults;
  const [added] = checked.mappings;
  if (fault !== undefined || added === undefined) {
    throw notAdded(fault?.problem ?? "it cannot be used", "Correct the ARN and the names.");
  }
  const document: Document = parseDocument(text, { prettyErrors: false });
  const [broken] = document.errors;
  const present = readSection(section, broken === undefined ? document.toJS() : "", {
    at: section,
    wildcards: true,
  });
  if (broken !== undefined || !present.usable) {
    throw notAdded(`${section} of the ConfigMap is not a YAML list`, "Repair it with kubectl edit first.");
  }
  const lower = added.arn.text.toLowerCase();
  if (present.mappings.some((each) => each.arn.text.toLowerCase() === lower)) {
    throw notAdded(`${added.arn.text} is mapped already`, "Change the mapping with kubectl edit.");
  }
  if (!isSeq(document.contents)) document.contents = document.createNode([]);
  document.add(document.createNode(entry));
  return document.toString({ lineWidth: 0 });
}

async function ask(
  client: ClusterClient,
  request: Parameters<ClusterClient["request"]>[0],
): ReturnType<ClusterClient["request"]> {
  try {
    return await client.request(request);
  } catch (error) {
    if (error instanceof SallyportError) throw error;
    throw notAdded(
      `the cluster cannot be asked (${reasonOf(error)})`,
      "Check the kubeconfig and the network.",
      error,
    );
  }
}

function refusedBy(status: number): SallyportError {
  return notAdded(
    `the API server answers ${status}`,
    status === 403 ? "This needs get and update of that ConfigMap." : "See the API server's log.",
  );
}

function notAdded(detail: string, advice: string, cause?: unknown): SallyportError {
  return new SallyportError("E_MAPPING_NOT_ADDED", { detail, advice }, { cause });
}

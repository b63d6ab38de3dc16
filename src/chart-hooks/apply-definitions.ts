/**
 * Brings CustomResourceDefinitions up to date (server-side apply). Helm installs what lies in a chart's `crds/` where it is
 * missing and never looks at it again; this is the other half, and like that it never deletes one.
 * @module
 */
import { parseAllDocuments } from "yaml";
import { reasonOf } from "../errors.ts";
import type { ClusterClient } from "../kubernetes/cluster-client.ts";

/** A CustomResourceDefinition as it is to be. */
export interface Definition {
  readonly name: string;
  /** Versions that it serves or stores. */
  readonly versions: readonly string[];
  readonly manifest: Readonly<Record<string, unknown>>;
}

export type ReadDefinitions =
  | { readonly ok: true; readonly definitions: readonly Definition[] }
  | { readonly ok: false; readonly problem: string };

/** @param text YAML, several documents; nothing but CustomResourceDefinitions (apiextensions.k8s.io/v1) is accepted. */
export function readDefinitions(text: string): ReadDefinitions {
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) return { ok: false, problem: "it is empty" };
  const definitions: Definition[] = [];
  for (const document of documents) {
    const [error] = document.errors;
    if (error !== undefined) return { ok: false, problem: error.message.split("\n")[0] ?? "it is not YAML" };
    let manifest: unknown;
    try {
      manifest = document.toJS();
    } catch (failed) {
      // An alias without its anchor is found only here.
      return { ok: false, problem: reasonOf(failed) };
    }
    if (manifest === null) continue;
    if (!isRecord(manifest) || manifest["kind"] !== "CustomResourceDefinition")
      return { ok: false, problem: "it holds something else than CustomResourceDefinitions" };
    const metadata = manifest["metadata"];
    const name = isRecord(metadata) ? metadata["name"] : undefined;
    if (manifest["apiVersion"] !== "apiextensions.k8s.io/v1" || typeof name !== "string")
      return {
        ok: false,
        problem: "a CustomResourceDefinition is not of apiextensions.k8s.io/v1 or has no name",
      };
    definitions.push({ name, versions: versionsOf(manifest), manifest });
  }
  if (definitions.length === 0) return { ok: false, problem: "it is empty" };
  return { ok: true, definitions };
}

export type Applied =
  | { readonly outcome: "updated" | "unchanged" }
  /** What is in the cluster serves versions that this one does not know: left as it is. */
  | { readonly outcome: "newer"; readonly versions: readonly string[] }
  | { readonly outcome: "failed"; readonly problem: string };

const collection = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/** Never rejects. One that is newer in the cluster is left alone: another release of the chart may need it. */
export async function applyDefinition(client: ClusterClient, definition: Definition): Promise<Applied> {
  const path = `${collection}/${encodeURIComponent(definition.name)}`;
  try {
    const before = await client.request({ path });
    const present: unknown = before.status === 200 ? JSON.parse(before.body.toString("utf8")) : {};
    if (before.status !== 200 && before.status !== 404) {
      return {
        outcome: "failed",
        problem: `the API server answered ${before.status} to the question for it`,
      };
    }
    const unknown = versionsOf(present).filter((version) => !definition.versions.includes(version));
    if (unknown.length > 0) return { outcome: "newer", versions: unknown };
    const answer = await client.request({
      method: "PATCH",
      path,
      // Helm 4 applies what is in `crds/` under this name: two names would dispute each change.
      query: { fieldManager: "helm", force: "true" },
      contentType: "application/apply-patch+yaml",
      body: definition.manifest,
    });
    if (answer.status !== 200 && answer.status !== 201) {
      return { outcome: "failed", problem: `the API server answered ${answer.status}` };
    }
    const after: unknown = JSON.parse(answer.body.toString("utf8"));
    return { outcome: generationOf(after) === generationOf(present) ? "unchanged" : "updated" };
  } catch (error) {
    return { outcome: "failed", problem: reasonOf(error) };
  }
}

function versionsOf(manifest: unknown): readonly string[] {
  const spec = isRecord(manifest) ? manifest["spec"] : undefined;
  const versions = isRecord(spec) ? spec["versions"] : undefined;
  return (Array.isArray(versions) ? versions : []).flatMap((version: unknown) =>
    isRecord(version) && typeof version["name"] === "string" ? [version["name"]] : [],
  );
}

/** It grows whenever `spec` changes. */
function generationOf(manifest: unknown): unknown {
  const metadata = isRecord(manifest) ? manifest["metadata"] : undefined;
  return isRecord(metadata) ? metadata["generation"] : undefined;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

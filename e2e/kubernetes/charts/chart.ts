/**
 * A chart of this repository as the suites use it: rendered, checked, installed.
 * @module
 */
import { cpSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";

import type { KubernetesObject } from "../api-client.ts";
import type { Cluster } from "../cluster.ts";

const folder = join(import.meta.dirname, "../../../charts");

export const chartNames = [
  "gmsa-account-provider",
  "gmsa-plugin-installer",
  "gmsa-webhook",
  "authenticator",
] as const;
export type ChartName = (typeof chartNames)[number];

export function chartPath(name: ChartName): string {
  return join(folder, name);
}

/** The values files that the chart carries, the defaults among them. */
export function valuesFiles(name: ChartName): readonly string[] {
  return readdirSync(join(folder, name, "ci"))
    .filter((file) => file.endsWith("-values.yaml"))
    .map((file) => join(folder, name, "ci", file));
}

/** The values without which a chart cannot be rendered, as flags. */
export const requiredValues: Readonly<Record<ChartName, readonly string[]>> = {
  "gmsa-account-provider": [],
  "gmsa-plugin-installer": [],
  "gmsa-webhook": [],
  authenticator: ["--set=clusterId=c-e2e"],
};

/** The objects of a manifest. */
export function objectsIn(manifest: string): readonly KubernetesObject[] {
  const documents = parseAllDocuments(manifest);
  if (!Array.isArray(documents)) return [];
  return documents.map((document) => document.toJS()).filter((object) => object !== null);
}

/** The CustomResourceDefinition that the chart brings along, if it does. */
export function definitionsOf(name: ChartName): readonly KubernetesObject[] {
  const crds = join(folder, name, "crds");
  try {
    return readdirSync(crds).flatMap((file) => objectsIn(readFileSync(join(crds, file), "utf8")));
  } catch {
    return [];
  }
}

/**
 * The version before this one. There is no released one yet, so it is this chart under an earlier number, with another
 * image tag: what an upgrade between two versions without differences in their objects changes.
 */
export function previousVersion(name: ChartName): string {
  const copy = join(
    mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "chart-")),
    name,
  );
  cpSync(join(folder, name), copy, { recursive: true });
  const file = join(copy, "Chart.yaml");
  const chart = parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  writeFileSync(file, JSON.stringify({ ...chart, version: "0.0.9", appVersion: "0.0.9" }));
  return copy;
}

/** Paths of the API by `apiVersion` and kind, from discovery. */
export class ApiPaths {
  readonly #cluster: Cluster;
  readonly #known = new Map<string, readonly KubernetesObject[]>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** The object's own path; objects without a namespace go where a release would put them. */
  async of(object: KubernetesObject, namespace: string): Promise<string> {
    const { apiVersion, kind, metadata } = object as {
      readonly apiVersion: string;
      readonly kind: string;
      readonly metadata: { readonly name: string; readonly namespace?: string };
    };
    const root = apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
    let resources = this.#known.get(apiVersion);
    if (resources === undefined) {
      resources = (await this.#cluster.admin.expect("GET", root)).resources as readonly KubernetesObject[];
      this.#known.set(apiVersion, resources);
    }
    const found = resources.find(
      (resource: KubernetesObject) => resource.kind === kind && !String(resource.name).includes("/"),
    );
    if (found === undefined) throw new Error(`the API server knows no ${kind} of ${apiVersion}`);
    const scope = found.namespaced === true ? `/namespaces/${metadata.namespace ?? namespace}` : "";
    return `${root}${scope}/${String(found.name)}/${encodeURIComponent(metadata.name)}`;
  }
}

/** Kinds that come and go by themselves; an APIService is the API server's own shadow of a CustomResourceDefinition. */
const restless = new Set(["events", "leases", "endpoints", "endpointslices", "apiservices"]);

/** Every object of the cluster, by its path. */
export async function everything(cluster: Cluster): Promise<ReadonlySet<string>> {
  const groups = (await cluster.admin.expect("GET", "/apis")).groups as readonly KubernetesObject[];
  const roots = [
    "/api/v1",
    ...groups.map((group: KubernetesObject) => `/apis/${String(group.preferredVersion.groupVersion)}`),
  ];
  const found = new Set<string>();
  for (const root of roots) {
    // A group whose definition was deleted a moment ago is still listed.
    const { body } = await cluster.admin.request("GET", root);
    for (const { name, verbs } of (body.resources ?? []) as readonly {
      name: string;
      verbs: readonly string[];
    }[]) {
      if (!verbs.includes("list") || name.includes("/") || restless.has(name)) continue;
      const list = await cluster.admin.request("GET", `${root}/${name}`);
      for (const { metadata } of (list.body.items ?? []) as readonly KubernetesObject[]) {
        found.add(`${root}/${name}/${String(metadata.namespace ?? "")}/${String(metadata.name)}`);
      }
    }
  }
  return found;
}

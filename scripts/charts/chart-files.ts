/**
 * The files of the charts that are made from their declared values: `values.yaml`, `values.schema.json`, one file in
 * `ci/` for each value (set to its example), the shared template, the CustomResourceDefinitions of `deploy/`, and the
 * tables of `docs/reference/charts.md`.
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { z } from "zod";
import { authenticatorValues } from "./authenticator.ts";
import { gmsaAccountProviderValues } from "./gmsa-account-provider.ts";
import { gmsaPluginInstallerValues } from "./gmsa-plugin-installer.ts";
import { gmsaWebhookValues } from "./gmsa-webhook.ts";

/** What {@link z.toJSONSchema} writes, as far as it is looked at here. */
interface JsonSchema {
  readonly type?: string;
  readonly description?: string;
  readonly deprecated?: boolean;
  /** The default and the example; JSON schema's own `default` and `examples` are left out where a form transforms. */
  readonly otherwise?: unknown;
  readonly example?: unknown;
  readonly with?: object;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
}

interface Chart {
  readonly name: string;
  readonly values: z.ZodType;
  /** What has to be set before it can be rendered. */
  readonly required?: object;
  /** Its CustomResourceDefinition, in `deploy/`. */
  readonly definition?: { readonly name: string; readonly source: string };
}

export const charts: readonly Chart[] = [
  { name: "gmsa-account-provider", values: gmsaAccountProviderValues },
  { name: "gmsa-plugin-installer", values: gmsaPluginInstallerValues },
  {
    name: "gmsa-webhook",
    values: gmsaWebhookValues,
    definition: { name: "gmsacredentialspecs.windows.k8s.io", source: "gmsa-webhook/crd.yaml" },
  },
  {
    name: "authenticator",
    values: authenticatorValues,
    required: { clusterId: "c-example" },
    definition: {
      name: "ramidentitymappings.ramauthenticator.k8s.alibabacloud",
      source: "authenticator/ramidentitymapping-crd.yaml",
    },
  },
];

const origin = "Made by `npm run docs` from scripts/charts/. Edit that instead.";

/** Text of every made file by its path in the repository. */
export function chartFiles(): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  const repository = join(import.meta.dirname, "../..");
  const common = readFileSync(join(import.meta.dirname, "_common.tpl"), "utf8");
  for (const chart of charts) {
    const folder = `charts/${chart.name}`;
    const schema = schemaOf(chart);
    files.set(`${folder}/templates/_common.tpl`, `{{/* ${origin} */}}\n${common}`);
    files.set(`${folder}/values.yaml`, `# ${origin}\n${renderValues(schema, 0)}`);
    files.set(`${folder}/values.schema.json`, `${JSON.stringify(published(schema), undefined, 2)}\n`);
    if (chart.definition !== undefined) {
      const text = readFileSync(join(repository, "deploy", chart.definition.source), "utf8");
      files.set(`${folder}/crds/${chart.definition.name}.yaml`, text);
    }
    files.set(`${folder}/ci/default-values.yaml`, exampleFile("The defaults.", chart.required ?? {}));
    for (const { path, schema: leaf } of leavesOf(schema)) {
      if (leaf.deprecated === true) continue;
      const about = `\`${path.join(".")}\``;
      const values = [chart.required ?? {}, leaf.with ?? {}, at(path, leaf.example)].reduce(deepMerge, {});
      files.set(`${folder}/ci/${path.join(".")}-values.yaml`, exampleFile(about, values));
    }
  }
  files.set("docs/reference/charts.md", valuesPage());
  return files;
}

/** Every value that can be set, by its path; what is below a value with a default belongs to that. */
export function leavesOf(
  schema: JsonSchema,
  path: readonly string[] = [],
): readonly { readonly path: readonly string[]; readonly schema: JsonSchema }[] {
  if (schema.properties === undefined || schema.otherwise !== undefined || schema.example !== undefined)
    return [{ path, schema }];
  return Object.entries(schema.properties).flatMap(([name, each]) => leavesOf(each, [...path, name]));
}

export function schemaOf(chart: Chart): JsonSchema {
  return z.toJSONSchema(chart.values, {
    target: "draft-7",
    io: "input",
    override({ zodSchema, jsonSchema }) {
      // Go's regular expressions have no look-ahead, and a JSON schema has no flags.
      const [pattern] = (zodSchema._zod.def.checks ?? []).flatMap((check) => {
        const found = (check._zod.def as { readonly pattern?: unknown }).pattern;
        return found instanceof RegExp ? [found] : [];
      });
      if (pattern === undefined || typeof jsonSchema.pattern !== "string") return;
      const longest = /^\^\(\?=\.\{1,(\d+)\}\$\)/.exec(pattern.source);
      if (longest !== null) jsonSchema.maxLength = Number(longest[1]);
      const source = longest === null ? pattern.source : `^${pattern.source.slice(longest[0].length)}`;
      jsonSchema.pattern = pattern.ignoreCase ? `(?i)${source}` : source;
    },
  }) as JsonSchema;
}

/** Without what is only for us. */
function published(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(published);
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema)
      // Kubernetes' own structures say nothing about their keys.
      .filter(([name]) => !["with", "example", "default", "propertyNames"].includes(name))
      .map(([name, each]) => (name === "otherwise" ? ["default", each] : [name, published(each)])),
  );
}

function exampleFile(about: string, values: object): string {
  return `# ${about} ${origin}\n${Object.keys(values).length === 0 ? "{}\n" : stringify(values, { lineWidth: 0 })}`;
}

function at(path: readonly string[], value: unknown): object {
  const [first = "", ...rest] = path;
  return { [first]: rest.length === 0 ? value : at(rest, value) };
}

function deepMerge(one: object, other: object): object {
  const merged: Record<string, unknown> = { ...one };
  for (const [name, value] of Object.entries(other)) {
    const before = merged[name];
    merged[name] = isPlain(before) && isPlain(value) ? deepMerge(before, value) : value;
  }
  return merged;
}

function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The defaults, each under its sentence. */
function renderValues(schema: JsonSchema, depth: number): string {
  const indent = "  ".repeat(depth);
  const parts: string[] = [];
  for (const [name, each] of Object.entries(schema.properties ?? {})) {
    if (each.deprecated === true) continue;
    const comment = wrap(each.description ?? "", 110 - indent.length).map((line) => `${indent}# ${line}\n`);
    if (each.otherwise === undefined && each.example === undefined && each.properties !== undefined) {
      parts.push(`${comment.join("")}${indent}${name}:\n${renderValues(each, depth + 1)}`);
    } else if (each.otherwise === undefined) {
      parts.push(`${comment.join("")}${indent}# ${name}:\n`);
    } else {
      const text = stringify({ [name]: each.otherwise }, { lineWidth: 0 }).trimEnd();
      parts.push(`${comment.join("")}${text.replaceAll(/^/gm, indent)}\n`);
    }
  }
  return parts.join(depth === 0 ? "\n" : "");
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + word.length + 1 > width) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return line === "" ? lines : [...lines, line];
}

function valuesPage(): string {
  const parts = charts.map((chart) => {
    const rows = leavesOf(schemaOf(chart)).map(({ path, schema }) => {
      const standard = schema.otherwise === undefined ? "" : `\`${JSON.stringify(schema.otherwise)}\``;
      const about = `${schema.deprecated === true ? "Accepted, without effect. " : ""}${schema.description ?? ""}`;
      return `| \`${path.join(".")}\` | ${escapeCell(standard)} | ${escapeCell(about)} |`;
    });
    return `## ${chart.name}\n\n| Value | Default | Meaning |\n|---|---|---|\n${rows.join("\n")}\n`;
  });
  return `<!-- ${origin} -->

# Values of the charts

An unknown value is refused, with its name. For each value a file in the chart's \`ci/\` shows another setting; a suite
renders all of them and has an API server check every object. [Permissions](chart-permissions.md) lists what each service
account may do, [the upgrade guide](../how-to/upgrade-to-the-charts.md) what is different from the charts that came before.

${parts.join("\n")}`;
}

function escapeCell(text: string): string {
  return text.replaceAll("|", "\\|");
}

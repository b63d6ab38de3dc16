/**
 * Reference pages and files of the charts that are made from the source, so that they cannot tell something else.
 * @module
 */
import { dirname } from "node:path";
import { errorTable } from "../src/errors.ts";
import { createAccountProviderMetrics } from "../src/observe/account-provider-metrics.ts";
import { createAdmissionMetrics } from "../src/observe/admission-metrics.ts";
import { createAuthenticatorMetrics } from "../src/observe/authenticator-metrics.ts";
import { createKeyVaultMetrics } from "../src/observe/key-vault-metrics.ts";
import { createKubernetesMetrics } from "../src/observe/kubernetes-metrics.ts";
import { createLoginMetrics } from "../src/observe/login-metrics.ts";
import { createRegistry, type Registry } from "../src/observe/metrics.ts";
import { chartFiles } from "./charts/chart-files.ts";

/** Text of every generated file by its path in the repository. */
export async function generatedPages(): Promise<ReadonlyMap<string, string>> {
  return new Map([
    ["docs/reference/errors.md", errorsPage()],
    ["docs/reference/metrics.md", await metricsPage()],
    ...chartFiles(),
  ]);
}

/** Folders that hold generated files alone: what else lies there is a leftover. */
export function generatedFolders(pages: ReadonlyMap<string, string>): ReadonlySet<string> {
  return new Set([...pages.keys()].map((path) => dirname(path)).filter((folder) => folder.endsWith("/ci")));
}

const origin = "<!-- Made by `npm run docs`. Edit the source instead. -->";

function errorsPage(): string {
  const rows = Object.entries(errorTable).toSorted(([one], [other]) => (one < other ? -1 : 1));
  const sections = rows.map(
    ([code, row]) => `## ${code}\n\n${row.message}\n\n${row.remedy}\n\nExit code: ${row.exitCode}\n`,
  );
  return `${origin}

# Errors

A command that fails prints what happened, what to do about it and one of these codes, and ends with the exit code given
here: 1, it failed; 2, it was asked wrongly. Words in braces stand for details. The sentences may change between releases;
the codes do not.

${sections.join("\n")}`;
}

/** Every registry that a role has, by the heading of its part. */
const registries: readonly (readonly [string, (registry: Registry) => void])[] = [
  ["Every process", () => undefined],
  [
    "Account provider",
    (registry) =>
      createAccountProviderMetrics(registry, {
        storeConfirmedAt: () => 0,
        accountsConfirmedAt: () => [],
        serverCertificateNotAfter: () => 0,
        connections: () => 0,
      }),
  ],
  [
    "Admission webhook",
    (registry) => createAdmissionMetrics(registry, { certificateNotAfter: () => 0, connections: () => 0 }),
  ],
  ["Authenticator", (registry) => createAuthenticatorMetrics(registry)],
  ["Directory login", (registry) => createLoginMetrics(registry)],
  ["Reading from Azure Key Vault", (registry) => createKeyVaultMetrics(registry)],
  ["Reading from Kubernetes", (registry) => createKubernetesMetrics(registry)],
];

async function metricsPage(): Promise<string> {
  const common = new Set((await createRegistry("").getMetricsAsJSON()).map((metric) => metric.name));
  const parts: string[] = [];
  for (const [heading, declare] of registries) {
    const registry = createRegistry("");
    declare(registry);
    const own = registry
      .getMetricsAsArray()
      .filter((metric) => heading === "Every process" || !common.has(metric.name));
    const lines = own.map(({ name, help, ...rest }) => {
      const labels = "labelNames" in rest && Array.isArray(rest.labelNames) ? rest.labelNames : [];
      return `| \`${name}\` | ${labels.map((label) => `\`${String(label)}\``).join(", ")} | ${help} |`;
    });
    parts.push(`## ${heading}\n\n| Name | Labels | What it tells |\n|---|---|---|\n${lines.join("\n")}\n`);
  }
  return `${origin}

# Metrics

Each service answers \`GET /metrics\` on its operations address in the Prometheus text format. Labels never hold anything
that a user typed.

${parts.join("\n")}`;
}

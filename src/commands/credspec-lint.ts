/**
 * `sallyport credspec lint`: exit 0 clean (warnings allowed), 1 faults, 2 usage.
 * @module
 */
import { Option, type Command } from "commander";
import { configError, reasonOf, type ConfigFault } from "../errors.ts";
import { hasErrors } from "../credential-spec/lint.ts";
import {
  renderReport,
  reportFormats,
  type LintedSource,
  type ReportFormat,
} from "../credential-spec/lint-report.ts";
import { lintSources, lintSourcesByDirectory, type LintInput } from "../credential-spec/lint-sources.ts";
import { version } from "../version.ts";
import type { CommandIo } from "./command-io.ts";
import type { Ran } from "./command-line.ts";
import type { CredspecDependencies } from "./credspec.ts";
import { withAccessOptions, type AccessFlags } from "./directory-access.ts";

/** The cluster's GMSACredentialSpecs, by name. */
export type ClusterSpecs = (
  kubeconfig: string | undefined,
) => Promise<readonly { readonly name: string; readonly resource: Readonly<Record<string, unknown>> }[]>;

interface LintFlags extends AccessFlags {
  readonly directory?: true;
  readonly output: ReportFormat;
  readonly fromCluster?: true;
  readonly kubeconfig?: string;
  readonly strict?: true;
}

export function addLint(program: Command, dependencies: CredspecDependencies, ran: Ran): void {
  const command = program
    .command("lint")
    .description("find what will not work in credential specs")
    .argument(
      "[file...]",
      "credential specs, GMSACredentialSpec manifests, `docker config inspect` output; - is standard input",
    )
    .addOption(
      new Option("--output <format>", "form of the report").choices([...reportFormats]).default("text"),
    )
    .option("--from-cluster", "check every GMSACredentialSpec of the cluster as well")
    .option("--kubeconfig <file>", "cluster for --from-cluster (KUBECONFIG, ~/.kube/config)")
    .option("--strict", "warnings count as faults")
    .option("--directory", "compare with what Active Directory says about the domain and the gMSA");
  withAccessOptions(command).action((files: readonly string[], flags: LintFlags) =>
    ran(lint(files, flags, dependencies)),
  );
}

async function lint(
  files: readonly string[],
  flags: LintFlags,
  dependencies: CredspecDependencies,
): Promise<number> {
  if (files.length === 0 && flags.fromCluster !== true) {
    throw configError([
      { setting: "file", problem: "is missing: name files, - for standard input, or --from-cluster" },
    ]);
  }
  const inputs: LintInput[] = await readFiles(files, dependencies.io);
  if (flags.fromCluster === true) {
    const resources = await dependencies.clusterSpecs(flags.kubeconfig);
    inputs.push(
      ...resources.map(({ name, resource }) => ({
        label: `gmsacredentialspecs/${name}`,
        credspec: resource["credspec"],
      })),
    );
  }
  const sources =
    flags.directory === true ? await lintByDirectory(inputs, flags, dependencies) : lintSources(inputs);
  dependencies.io.out(renderReport(sources, flags.output, version));
  const findings = sources.flatMap((source) => source.findings);
  return hasErrors(findings) || (flags.strict === true && findings.length > 0) ? 1 : 0;
}

async function lintByDirectory(
  inputs: readonly LintInput[],
  flags: LintFlags,
  { openDirectory }: CredspecDependencies,
): Promise<readonly LintedSource[]> {
  const directory = await openDirectory(flags);
  try {
    return await lintSourcesByDirectory(inputs, directory);
  } finally {
    await directory.close();
  }
}

/** @throws {SallyportError} `E_CONFIG_INVALID` naming every file that cannot be read. */
export async function readFiles(
  files: readonly string[],
  io: CommandIo,
): Promise<{ readonly label: string; readonly bytes: Uint8Array }[]> {
  const faults: ConfigFault[] = [];
  const read: { readonly label: string; readonly bytes: Uint8Array }[] = [];
  for (const label of files) {
    try {
      read.push({ label, bytes: await io.read(label) });
    } catch (error) {
      faults.push({ setting: label, problem: reasonOf(error) });
    }
  }
  if (faults.length > 0) throw configError(faults);
  return read;
}

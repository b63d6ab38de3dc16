/**
 * `sallyport credspec lint | create | import | render | deliver`.
 * @module
 */
import { createProgram, runProgram, type Ran } from "./command-line.ts";
import { processIo, type CommandIo } from "./command-io.ts";
import { addCreate } from "./credspec-create.ts";
import { addDeliver } from "./credspec-deliver.ts";
import { addImport } from "./credspec-import.ts";
import { addLint, type ClusterSpecs } from "./credspec-lint.ts";
import { addRender } from "./credspec-render.ts";
import type { AccountDirectory } from "../credential-spec/create.ts";
import type { AccessFlags } from "./directory-access.ts";

/** What the commands reach outside the process, replaceable in tests. */
export interface CredspecDependencies {
  readonly io: CommandIo;
  readonly clusterSpecs: ClusterSpecs;
  /** How `create` and `lint` ask a directory. */
  readonly openDirectory: OpenDirectory;
}

export type OpenDirectory = (flags: AccessFlags) => Promise<AccountDirectory & { close(): Promise<void> }>;

export function run(args: readonly string[]): Promise<number> {
  return runCredspec(args, { io: processIo(), clusterSpecs: readClusterSpecs, openDirectory: askDirectory });
}

export async function runCredspec(
  args: readonly string[],
  dependencies: CredspecDependencies,
): Promise<number> {
  let exitCode = 0;
  const ran: Ran = async (code) => {
    exitCode = await code;
  };
  const program = createProgram(
    "sallyport credspec",
    "Credential specs: check them, make them, read others', write them for Kubernetes, Docker, Swarm and Compose, and deliver them to a Swarm.",
  );
  addLint(program, dependencies, ran);
  addCreate(program, dependencies, ran);
  addImport(program, dependencies, ran);
  addRender(program, dependencies, ran);
  addDeliver(program, dependencies, ran);
  const usage = await runProgram(program, args);
  return usage || exitCode;
}

const readClusterSpecs: ClusterSpecs = async (kubeconfig) => {
  const { clusterSpecs } = await import("./cluster-specs.ts");
  return await clusterSpecs(kubeconfig);
};

const askDirectory: OpenDirectory = async (flags) => {
  const { openAccountDirectory } = await import("./credspec-directory.ts");
  return await openAccountDirectory(flags);
};

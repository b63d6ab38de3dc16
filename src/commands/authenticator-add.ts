/**
 * `sallyport authenticator add`: a mapping more in the ConfigMap.
 * @module
 */
import { createInterface } from "node:readline/promises";
import type { Command } from "commander";
import { addMapping } from "../authenticator/mapping/add-mapping.ts";
import { systemClock } from "../clock.ts";
import { createClusterClient } from "../kubernetes/cluster-client.ts";
import { loadClusterConfig } from "../kubernetes/cluster-config.ts";
import { silentLog } from "../observe/log.ts";
import { asBoolean } from "./authenticator-flags.ts";
import type { Ran } from "./command-line.ts";

interface AddFlags {
  readonly userarn?: string;
  readonly rolearn?: string;
  readonly username: string;
  readonly groups: string;
  readonly kubeconfig: string;
  readonly kubeconfigContext?: string;
  readonly masterUrl?: string;
  readonly prompt: boolean;
}

export function addAdd(program: Command, ran: Ran): void {
  const add = program
    .command("add")
    .description("add a mapping to the ConfigMap kube-system/alibabacloud-auth");
  for (const kind of ["user", "role"] as const) {
    add
      .command(kind)
      .description(`map a RAM ${kind}`)
      .requiredOption(`--${kind}arn <arn>`, `ARN of the ${kind}`)
      .requiredOption("--username <name>", "username in the cluster; may have templates")
      .option("--groups <names>", "groups, separated by commas", "")
      .requiredOption("--kubeconfig <file>", "cluster to write to")
      .option("--kubeconfig-context <name>", "context of the kubeconfig (its current one)")
      .option("--master-url <url>", "API server to use instead of the kubeconfig's")
      .option("--prompt [boolean]", "ask before writing", asBoolean, true)
      .action((flags: AddFlags) => ran(addTo(kind, flags)));
  }
}

async function addTo(kind: "user" | "role", flags: AddFlags): Promise<number> {
  const mapping = {
    kind,
    arn: (kind === "user" ? flags.userarn : flags.rolearn) ?? "",
    username: flags.username,
    groups: flags.groups.split(",").filter((group) => group !== ""),
  };
  const groups = mapping.groups.length === 0 ? "no groups" : `the groups ${mapping.groups.join(", ")}`;
  if (flags.prompt) {
    const lines = createInterface({ input: process.stdin, output: process.stderr });
    const answer = await lines.question(`Map ${mapping.arn} to ${mapping.username} with ${groups}? [y/N] `);
    lines.close();
    if (!/^y(?:es)?$/i.test(answer.trim())) {
      process.stderr.write("Nothing was changed.\n");
      return 1;
    }
  }
  const config = await loadClusterConfig({
    kubeconfig: flags.kubeconfig,
    context: flags.kubeconfigContext,
    clock: systemClock,
  });
  const client = createClusterClient(
    flags.masterUrl === undefined ? config : { ...config, server: flags.masterUrl.replace(/\/+$/, "") },
    silentLog,
  );
  try {
    await addMapping(client, mapping);
  } finally {
    client.close();
  }
  process.stdout.write(`${mapping.arn} is mapped to ${mapping.username} with ${groups}.\n`);
  return 0;
}

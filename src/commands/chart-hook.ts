/**
 * `sallyport chart-hook apply-crds | await-hosts | stay`: what the Jobs and DaemonSets of the charts' hooks run, so that no
 * hook needs another image than ours.
 * @module
 */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { Option } from "commander";
import { applyDefinition, readDefinitions, type Definition } from "../chart-hooks/apply-definitions.ts";
import { awaitHosts } from "../chart-hooks/await-hosts.ts";
import { delay, systemClock } from "../clock.ts";
import { reasonOf, type ConfigFault } from "../errors.ts";
import { createClusterClient, type ClusterClient } from "../kubernetes/cluster-client.ts";
import { loadClusterConfig } from "../kubernetes/cluster-config.ts";
import { silentLog } from "../observe/log.ts";
import { aborted, untilShutdown } from "../server/shutdown.ts";
import { createProgram, durationMs, runProgram, throwIfFaulty } from "./command-line.ts";

const lookEveryMs = 1_000;
const attemptsOnAHost = 3;
const applyTries = 10;

export async function run(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = createProgram("sallyport chart-hook", "What the hooks of the Helm charts run.");
  const kubeconfig = (): Option =>
    new Option("--kubeconfig <file>", "cluster to work in; in a pod, its own").env("KUBECONFIG");
  program
    .command("apply-crds")
    .description("bring the CustomResourceDefinitions of a folder up to date; never deletes one")
    .argument("<folder>", "files with CustomResourceDefinitions (.yaml)")
    .addOption(kubeconfig())
    .action(async (folder: string, flags: ClusterFlags) => {
      exitCode = await applyCrds(folder, flags);
    });
  program
    .command("await-hosts")
    .description("wait until a DaemonSet's init container ended on every node, and say how")
    .requiredOption("--daemonset <name>", "the DaemonSet")
    .requiredOption("--namespace <name>", "its namespace")
    .option("--timeout <duration>", "how long to wait for nodes", "5m")
    .addOption(kubeconfig())
    .action(async (flags: AwaitFlags) => {
      exitCode = await awaitDaemonSet(flags);
    });
  program
    .command("stay")
    .description("do nothing until SIGTERM")
    .action(() => untilShutdown(aborted));
  return (await runProgram(program, args)) || exitCode;
}

interface ClusterFlags {
  readonly kubeconfig?: string;
}

async function applyCrds(folder: string, flags: ClusterFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const definitions: Definition[] = [];
  const names = await readdir(folder).catch((error: unknown) => {
    faults.push({ setting: folder, problem: reasonOf(error) });
    return [];
  });
  // A mounted ConfigMap has hidden entries beside its files.
  const files = names.filter((name) => name.endsWith(".yaml")).toSorted();
  if (files.length === 0 && faults.length === 0)
    faults.push({ setting: folder, problem: "has no .yaml files" });
  for (const name of files) {
    const read = readDefinitions(await readFile(join(folder, name), "utf8"));
    if (read.ok) definitions.push(...read.definitions);
    else faults.push({ setting: join(folder, name), problem: read.problem });
  }
  throwIfFaulty(faults);
  return await withClient(flags, async (client) => {
    let exitCode = 0;
    for (const definition of definitions) {
      let applied = await applyDefinition(client, definition);
      // A role that was granted a moment ago is not known everywhere yet.
      for (let tries = 1; applied.outcome === "failed" && tries < applyTries; tries++) {
        await delay(systemClock, lookEveryMs);
        applied = await applyDefinition(client, definition);
      }
      const name = `CustomResourceDefinition ${definition.name}`;
      if (applied.outcome === "failed") {
        exitCode = 1;
        process.stderr.write(`${name}: cannot be brought up to date: ${applied.problem}.\n`);
      } else if (applied.outcome === "newer") {
        process.stdout.write(
          `${name}: left as it is; it has ${applied.versions.join(", ")}, which this version does not know.\n`,
        );
      } else process.stdout.write(`${name}: ${applied.outcome}.\n`);
    }
    return exitCode;
  });
}

interface AwaitFlags extends ClusterFlags {
  readonly daemonset: string;
  readonly namespace: string;
  readonly timeout: string;
}

/** 0: nothing was left on a node that could be reached. Nodes that could not be are named, too. */
async function awaitDaemonSet(flags: AwaitFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const timeoutMs = durationMs("--timeout", flags.timeout, faults) ?? 0;
  throwIfFaulty(faults);
  return await withClient(flags, async (client) => {
    const awaited = await awaitHosts(
      { client, clock: systemClock },
      {
        namespace: flags.namespace,
        daemonSet: flags.daemonset,
        timeoutMs,
        intervalMs: lookEveryMs,
        attempts: attemptsOnAHost,
      },
    );
    if (!awaited.ok) {
      process.stderr.write(`What became of the nodes is not known: ${awaited.problem}.\n`);
      return 1;
    }
    const { hosts } = awaited;
    const words = { done: "done", failed: "failed", unreached: "not reached" } as const;
    for (const { node, outcome, detail } of hosts) {
      process.stdout.write(`${node}: ${words[outcome]}${detail === "" ? "" : ` (${detail})`}\n`);
    }
    const count = (wanted: keyof typeof words): number =>
      hosts.filter(({ outcome }) => outcome === wanted).length;
    process.stdout.write(
      `${hosts.length} nodes: ${count("done")} done, ${count("failed")} failed, ${count("unreached")} not reached.\n`,
    );
    return count("failed") === 0 ? 0 : 1;
  });
}

async function withClient(
  flags: ClusterFlags,
  work: (client: ClusterClient) => Promise<number>,
): Promise<number> {
  const config = await loadClusterConfig({ kubeconfig: flags.kubeconfig, clock: systemClock });
  const client = createClusterClient(config, silentLog);
  // The clock's timers alone keep no process alive, and waiting is what this one does.
  const alive = setInterval(() => undefined, 2 ** 30);
  try {
    return await work(client);
  } finally {
    clearInterval(alive);
    client.close();
  }
}

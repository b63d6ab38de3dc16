/**
 * `sallyport credspec render`: a spec in the words of Kubernetes, Docker, Swarm or Compose.
 * @module
 */
import { Option, type Command } from "commander";
import { hasErrors } from "../credential-spec/lint.ts";
import { lintFound } from "../credential-spec/lint-sources.ts";
import { readDocuments } from "../credential-spec/read-documents.ts";
import { renderCompose, rewriteCompose } from "../credential-spec/render/compose.ts";
import {
  renderConfigCreate,
  renderContainerCreate,
  renderDockerRun,
  renderServiceCreate,
} from "../credential-spec/render/docker.ts";
import { renderPodFragment, renderResource, renderUseGrant } from "../credential-spec/render/kubernetes.ts";
import { shells, type Shell } from "../credential-spec/render/quoting.ts";
import { nameFor, type NamedSpec, type Rendering } from "../credential-spec/render/rendering.ts";
import { configNameFor, renderService, renderStack } from "../credential-spec/render/swarm.ts";
import { configError } from "../errors.ts";
import type { Ran } from "./command-line.ts";
import type { CredspecDependencies } from "./credspec.ts";
import { readFiles } from "./credspec-lint.ts";
import { describeFindings } from "./spec-output.ts";

const targets = [
  "resource",
  "pod",
  "rbac",
  "docker-run",
  "container-api",
  "config-api",
  "service-api",
  "swarm",
  "stack",
  "compose",
] as const;
type Target = (typeof targets)[number];

interface RenderFlags {
  readonly name?: string;
  readonly shell: Shell;
  readonly image: string;
  readonly service: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly configId?: string;
  readonly rewrite?: string;
}

export function addRender(program: Command, dependencies: CredspecDependencies, ran: Ran): void {
  program
    .command("render")
    .description("write a credential spec for where it is to be used; warnings go to standard error")
    .argument("<target>", targets.join(", "), (value) => targetOf(value))
    .argument("<file...>", "the credential spec; several only with `compose --rewrite`; - is standard input")
    .option("--name <name>", "name of the spec (default: its own, or the account's)")
    .addOption(new Option("--shell <shell>", "shell to quote for").choices([...shells]).default("sh"))
    .option("--image <image>", "image of the container", "IMAGE")
    .option("--service <name>", "name of the service", "web")
    .option("--namespace <name>", "namespace of the pods, for rbac", "default")
    .option("--service-account <name>", "service account of the pods", "default")
    .option("--config-id <id>", "id that the engine gave the config, for service-api")
    .option("--rewrite <compose file>", "with compose: turn this file's credential_spec keys into what works")
    .action((target: Target, files: readonly string[], flags: RenderFlags) =>
      ran(render(target, files, flags, dependencies)),
    );
}

function targetOf(value: string): Target {
  const target = targets.find((known) => known === value);
  if (target === undefined) {
    throw configError([{ setting: "target", problem: `"${value}" is none of ${targets.join(", ")}` }]);
  }
  return target;
}

async function render(
  target: Target,
  files: readonly string[],
  flags: RenderFlags,
  { io }: CredspecDependencies,
): Promise<number> {
  const named: NamedSpec[] = [];
  let failed = false;
  for (const { label, bytes } of await readFiles(files, io)) {
    const reading = readDocuments(bytes);
    const findings = [...reading.findings, ...reading.specs.flatMap(lintFound)];
    io.err(describeFindings(label, findings));
    failed ||= hasErrors(findings);
    for (const { name, spec } of reading.specs) {
      named.push({ name: flags.name ?? name ?? nameFor(spec) ?? "credential-spec", spec });
    }
  }
  if (failed) return 1;
  if (target === "compose" && flags.rewrite !== undefined) {
    const [file] = await readFiles([flags.rewrite], io);
    const byKey = new Map(
      named.flatMap((spec) => [[spec.name, spec] as const, [configNameFor(spec), spec] as const]),
    );
    const rewriting = rewriteCompose(Buffer.from(file?.bytes ?? []).toString("utf8"), byKey);
    if (rewriting.ok) return print(rewriting);
    io.err(rewriting.problems.map((problem) => `${flags.rewrite}: ${problem}\n`).join(""));
    return 1;
  }
  const [only] = named;
  if (only === undefined || named.length > 1) {
    throw configError([
      { setting: "file", problem: `holds ${named.length} credential specs; render one at a time` },
    ]);
  }
  return print(renderOne(target, only, flags));

  function print({ text, warnings }: Rendering): number {
    io.err(warnings.map((warning) => `warning: ${warning}\n`).join(""));
    io.out(text);
    return 0;
  }
}

function renderOne(target: Target, spec: NamedSpec, flags: RenderFlags): Rendering {
  switch (target) {
    case "resource":
      return renderResource(spec);
    case "pod":
      return renderPodFragment(spec, flags.serviceAccount);
    case "rbac":
      return renderUseGrant(spec, flags);
    case "docker-run":
      return renderDockerRun(spec, flags);
    case "container-api":
      return renderContainerCreate(spec);
    case "config-api":
      return renderConfigCreate(spec);
    case "service-api":
      if (flags.configId === undefined) {
        throw configError([
          { setting: "--config-id", problem: "is missing: it is the answer to `config-api`" },
        ]);
      }
      return renderServiceCreate(spec, flags.configId);
    case "swarm":
      return renderService(spec, flags);
    case "stack":
      return renderStack(spec, flags);
    case "compose":
      return renderCompose(spec, flags);
  }
}

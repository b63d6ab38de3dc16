/**
 * `sallyport admission [run] | check`. Without a sub-command it serves, as the image of windows-gmsa does.
 * @module
 */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Option, type Command } from "commander";
import type { CheckedPod } from "../admission/check.ts";
import { checkSettings } from "../admission/settings.ts";
import { configError, reasonOf, type ConfigFault } from "../errors.ts";
import { version } from "../version.ts";
import {
  createProgram,
  durationMs,
  hostAndPort,
  lifetime,
  runProgram,
  throwIfFaulty,
} from "./command-line.ts";

export async function run(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = createProgram(
    "sallyport admission",
    "Puts the contents of GMSACredentialSpecs into the pods that name them, and lets only those pods have them that may.",
  );
  addRun(program, async (flags) => {
    exitCode = await serve(flags);
  });
  addCheck(program, async (flags) => {
    exitCode = await check(flags);
  });
  // The single dash is windows-gmsa's.
  const words = args.map((word) => (/^-(cert-reload(=.*)?|version)$/.test(word) ? `-${word}` : word));
  if (words.includes("--version")) {
    process.stdout.write(`windows-gmsa-webhook v${version}\n`);
    return 0;
  }
  return (await runProgram(program, words)) || exitCode;
}

interface RunFlags {
  readonly tlsCrt?: string;
  readonly tlsKey?: string;
  readonly caSecret?: string;
  readonly mutatingConfiguration?: readonly string[];
  readonly validatingConfiguration?: readonly string[];
  readonly service?: string;
  readonly caLifetime: string;
  readonly certificateLifetime: string;
  readonly host: string;
  readonly port?: string;
  readonly kubeconfig?: string;
  readonly manifests?: string;
  readonly clientCa?: string;
  readonly anyCaller?: true;
  readonly clientName?: readonly string[];
  readonly randomHostname?: true;
  readonly authoriseExpansion: boolean;
  readonly missingContents: "deny" | "warn";
  readonly enforceLint?: true;
  readonly specCache: boolean;
  readonly accessCacheTtl: string;
  readonly operationsAddress: string;
  readonly drain: string;
  readonly linger: string;
  readonly logLevel?: string;
}

function addRun(program: Command, action: (flags: RunFlags) => Promise<void>): void {
  program
    .command("run", { isDefault: true })
    .description("serve /mutate, /validate and /lint until SIGTERM")
    .option("--tls-crt <file>", "serving certificate (PEM), read again at every rotation [TLS_CRT]")
    .option("--tls-key <file>", "its private key [TLS_KEY]")
    .option("--ca-secret <name>", "instead: certificates of an own authority in this Secret of the namespace")
    .option(
      "--mutating-configuration <name...>",
      "with --ca-secret: MutatingWebhookConfiguration whose caBundle is kept (default: gmsa-webhook)",
    )
    .option(
      "--validating-configuration <name...>",
      "with --ca-secret: the same for a ValidatingWebhookConfiguration (default: gmsa-webhook)",
    )
    .option("--service <name>", "with --ca-secret: Service to be certified (default: gmsa-webhook)")
    .option("--ca-lifetime <duration>", "with --ca-secret: life of an authority", "2160h")
    .option("--certificate-lifetime <duration>", "with --ca-secret: life of a certificate", "24h")
    .option("--host <address>", "address to listen on", "::")
    .option("--port <number>", "port of the webhook (default: 443) [HTTPS_PORT]")
    .option("--kubeconfig <file>", "cluster to work for; in a pod, its own")
    .option("--manifests <folder>", "specs and RBAC from a folder of manifests instead of a cluster")
    .option("--client-ca <file>", "authority of the API server's client certificate: only it may call")
    .option("--client-name <name...>", "common name that the API server's certificate must have (repeatable)")
    .option("--any-caller", "let everybody call who reaches the port")
    .option("--random-hostname", "give each pod with an identity a host name of its own [RANDOM_HOSTNAME]")
    .option(
      "--no-authorise-expansion",
      "ask for access in /validate only, not before contents are put into a pod",
    )
    .addOption(
      new Option(
        "--missing-contents <reaction>",
        "what becomes of a pod that names a spec without its contents",
      )
        .choices(["deny", "warn"])
        .default("deny"),
    )
    .option("--enforce-lint", "/lint refuses specs that will not work, instead of warning")
    .option("--no-spec-cache", "ask the API server for every spec every time")
    .option("--access-cache-ttl <duration>", "how long an access decision is used again, at most 10s", "0s")
    .option("--operations-address <address:port>", "address of /livez, /readyz and /metrics", "[::]:9443")
    .option("--drain <duration>", "how long running requests may take to end on SIGTERM", "15s")
    .option("--linger <duration>", "how long requests are still taken after SIGTERM", "5s")
    .option("--log-level <level>", "how much to log (default: info) [LOG_LEVEL]")
    .addOption(new Option("--cert-reload [switch]", "accepted: certificates are always followed").hideHelp())
    .action(action);
}

async function serve(flags: RunFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const settings = checkSettings(
    {
      environment: process.env,
      certificateFile: flags.tlsCrt,
      keyFile: flags.tlsKey,
      caSecret: flags.caSecret,
      mutatingConfigurations: flags.mutatingConfiguration,
      validatingConfigurations: flags.validatingConfiguration,
      service: flags.service,
      caLifetimeMs: durationMs("--ca-lifetime", flags.caLifetime, faults, lifetime),
      certificateLifetimeMs: durationMs(
        "--certificate-lifetime",
        flags.certificateLifetime,
        faults,
        lifetime,
      ),
      host: flags.host,
      port: flags.port,
      kubeconfig: flags.kubeconfig,
      manifests: flags.manifests,
      clientCaFile: flags.clientCa,
      anyCaller: flags.anyCaller ?? false,
      clientNames: flags.clientName ?? [],
      randomHostname: flags.randomHostname,
      authoriseExpansion: flags.authoriseExpansion,
      missingContents: flags.missingContents,
      enforceLint: flags.enforceLint ?? false,
      cacheSpecs: flags.specCache,
      accessCacheMs: durationMs("--access-cache-ttl", flags.accessCacheTtl, faults),
      operationsAddress: hostAndPort("--operations-address", flags.operationsAddress, faults),
      drainMs: durationMs("--drain", flags.drain, faults),
      lingerMs: durationMs("--linger", flags.linger, faults),
      logLevel: flags.logLevel,
    },
    faults,
  );
  throwIfFaulty(faults);
  const { runAdmission } = await import("../admission/run.ts");
  return await runAdmission(settings);
}

interface CheckFlags {
  readonly filename: string;
  readonly as?: string;
  readonly namespace: string;
  readonly kubeconfig?: string;
  readonly manifests?: string;
  readonly output: "text" | "json";
}

function addCheck(program: Command, action: (flags: CheckFlags) => Promise<void>): void {
  program
    .command("check")
    .description(
      "the webhook's decision about the pods of a manifest, without creating them: 0 allowed, 1 refused",
    )
    .requiredOption("-f, --filename <file>", "pods or workloads")
    .option("--as <account>", "service account to decide for: system:serviceaccount:NAMESPACE:NAME")
    .option("--namespace <name>", "namespace where the manifest names none", "default")
    .option("--kubeconfig <file>", "cluster to ask (KUBECONFIG, ~/.kube/config)")
    .option("--manifests <folder>", "specs and RBAC from a folder of manifests instead of a cluster")
    .addOption(
      new Option("--output <format>", "form of the answer").choices(["text", "json"]).default("text"),
    )
    .action(action);
}

const patienceMs = 30_000;

async function check(flags: CheckFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const [, namespace, serviceAccount] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(flags.as ?? "") ?? [];
  if (flags.as !== undefined && serviceAccount === undefined) {
    faults.push({ setting: "--as", problem: `"${flags.as}" is not system:serviceaccount:NAMESPACE:NAME` });
  }
  const text = await readFile(flags.filename, "utf8").catch((error: unknown) => {
    faults.push({ setting: "--filename", problem: reasonOf(error) });
    return "";
  });
  throwIfFaulty(faults);
  const [
    { openWorld },
    { createCachedSpecs },
    { createAdmitter },
    { checkManifest },
    { createRegistry },
    { createLog },
    { systemClock },
    { kubeconfigOfPerson },
  ] = await Promise.all([
    import("../admission/run.ts"),
    import("../admission/cached-specs.ts"),
    import("../admission/admitter.ts"),
    import("../admission/check.ts"),
    import("../observe/metrics.ts"),
    import("../observe/log.ts"),
    import("../clock.ts"),
    import("../kubernetes/cluster-config.ts"),
  ]);
  const place: { kind: "manifests"; folder: string } | { kind: "cluster"; kubeconfig: string | undefined } =
    flags.manifests === undefined
      ? { kind: "cluster", kubeconfig: kubeconfigOfPerson(flags.kubeconfig) }
      : { kind: "manifests", folder: flags.manifests };
  const { source, access } = await openWorld(
    { source: place, accessCacheMs: 0 },
    createRegistry(version),
    createLog({ level: "warn" }),
  );
  const specs = createCachedSpecs(source, systemClock, false);
  try {
    const admitter = createAdmitter(
      { specs, access, randomUuid: randomUUID },
      { randomHostname: false, authoriseExpansion: true, missingContents: "deny" },
    );
    const as =
      namespace === undefined || serviceAccount === undefined ? undefined : { namespace, serviceAccount };
    const result = await checkManifest(
      text,
      admitter,
      { namespace: flags.namespace, as },
      AbortSignal.timeout(patienceMs),
    );
    if (!result.ok) throw configError([{ setting: "--filename", problem: result.problem }]);
    process.stdout.write(
      flags.output === "json"
        ? `${JSON.stringify(result.pods, null, 2)}\n`
        : result.pods.map(describe).join(""),
    );
    return result.pods.every((pod) => pod.allowed) ? 0 : 1;
  } finally {
    await source.close();
  }
}

function describe(pod: CheckedPod): string {
  const lines = pod.allowed
    ? [
        `${pod.label}: allowed${pod.specs.length === 0 ? ", names no credential spec" : `, uses ${pod.specs.join(", ")}`}`,
      ]
    : [`${pod.label}: refused`, `  ${pod.reason}`];
  return [...lines, ...pod.warnings.map((warning) => `  warning: ${warning}`), ""].join("\n");
}

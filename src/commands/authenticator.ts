/**
 * `sallyport authenticator server | init | verify | add user | add role | version`.
 * @module
 */
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { Option } from "commander";
import { startAuthenticator, type RunningAuthenticator } from "../authenticator/authenticator.ts";
import { startLogin, type RunningLogin } from "../authenticator/login/login-service.ts";
import { readLoginSettings, type LoginSettings } from "../authenticator/login/login-settings.ts";
import { createAuthority } from "../authenticator/review.ts";
import { createClusterReporter } from "../authenticator/mapping/cluster-reporter.ts";
import { countingWatchFailures } from "../authenticator/mapping/watch-failures.ts";
import { ensurePair } from "../authenticator/server-certificate.ts";
import { systemClock } from "../clock.ts";
import { reasonOf, type ConfigFault } from "../errors.ts";
import { createAuthenticatorMetrics } from "../observe/authenticator-metrics.ts";
import { createKubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import { createLoginMetrics } from "../observe/login-metrics.ts";
import { createLog, logLevels } from "../observe/log.ts";
import { createRegistry } from "../observe/metrics.ts";
import { aborted, untilShutdown } from "../server/shutdown.ts";
import { version } from "../version.ts";
import { addAdd } from "./authenticator-add.ts";
import {
  asBoolean,
  openSource,
  rawOf,
  settingsOf,
  withCommonFlags,
  type ServerFlags,
} from "./authenticator-flags.ts";
import { addInit, writeWebhookKubeconfig } from "./authenticator-init.ts";
import { addVerify } from "./authenticator-verify.ts";
import { createProgram, durationMs, runProgram, type Ran } from "./command-line.ts";

export async function run(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const ran: Ran = async (code) => {
    exitCode = await code;
  };
  const program = createProgram(
    "sallyport authenticator",
    "Reviews tokens of Alibaba Cloud RAM for kube-apiserver and maps them to cluster users.",
  );

  withCommonFlags(program.command("server"))
    .description("serve POST /authenticate until SIGTERM")
    .option("--port <number>", "port of the webhook (21362)")
    .option("-b, --bind <address>", "address to listen on (127.0.0.1)")
    .option("--address <address>", "address in the certificate, and to listen on without --bind (127.0.0.1)")
    .option("--hostname <name>", "name in the certificate and in the webhook's kubeconfig (localhost)")
    .option("--state-dir <folder>", "where certificate and keys are (/var/ack-ram-authenticator)")
    .option("--generate-kubeconfig <file>", "where to write the webhook's kubeconfig")
    .option("--kubeconfig-pregenerated [boolean]", "do not write the webhook's kubeconfig", asBoolean)
    .option("--wildcard-mappings [boolean]", "let mappings have * and ? in names", asBoolean)
    .option("--allow-reserved-name <backend=name...>", "a system: name that a backend may hand out")
    .option(
      "--operations-address <address:port>",
      "/healthz, /readyz and /metrics over plain HTTP (127.0.0.1:21363)",
    )
    .option("--tls-minimum <version>", "1.2 or 1.3")
    .option("--client-ca-file <file>", "accept only clients with a certificate of this authority")
    .option("--sts-timeout <duration>", "for one call to STS (3s)")
    .option("--sts-rate <number>", "calls to STS a second (50)")
    .option("--access-key-rate <number>", "calls to STS a second for one access key (10)")
    .option("--identity-cache <duration>", "longest time that an identity is remembered (15m)")
    .option(
      "--login-config <file>",
      "let people log in with directory accounts, too: settings of the login (YAML)",
    )
    .option("--max-connections <number>", "connections held at once (12000)")
    .option("--drain <duration>", "how long running reviews may take to end on SIGTERM", "10s")
    .addOption(new Option("--log-level <level>", "how much to log").choices([...logLevels]).default("info"))
    .option("-l, --log-format <format>", "accepted for older manifests; lines are JSON")
    .option("--feature-gates <gates>", "accepted for older manifests; has no effect")
    .action((flags: ServerFlags) => ran(serve(flags)));

  addInit(program, ran);
  addVerify(program, ran);
  addAdd(program, ran);

  program
    .command("version")
    .description("print the version")
    .option("-s, --short", "the number alone", false)
    .addOption(new Option("-o, --output <format>", "how to print").choices(["json", "yaml"]))
    .action((flags: { readonly short: boolean; readonly output?: "json" | "yaml" }) => {
      if (flags.output === "json") process.stdout.write(`${JSON.stringify({ version })}\n`);
      else if (flags.output === "yaml" || !flags.short) process.stdout.write(`version: ${version}\n`);
      else process.stdout.write(`${version}\n`);
    });

  return (await runProgram(program, args)) || exitCode;
}

async function serve(flags: ServerFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const drainMs = durationMs("--drain", flags.drain, faults) ?? 0;
  const loginSettings = await loginSettingsOf(flags.loginConfig, faults);
  const { settings } = await settingsOf(flags, rawOf(flags, faults), faults);
  const log = createLog({ level: flags.logLevel });
  const registry = createRegistry(version);
  const metrics = createAuthenticatorMetrics(registry);

  const { trustPem } = await ensurePair(settings.stateDir, settings, systemClock);
  if (settings.generateKubeconfig !== undefined) {
    await writeWebhookKubeconfig(settings.generateKubeconfig, settings, trustPem);
  }
  const sources = await openSource(
    settings,
    flags.manifests,
    log,
    countingWatchFailures(createKubernetesMetrics(registry), metrics),
  );
  const reporter =
    sources?.client === undefined
      ? undefined
      : createClusterReporter(sources.client, { clock: systemClock, log });
  return untilShutdown(async (stopping) => {
    let login: RunningLogin | undefined;
    let running: RunningAuthenticator | undefined;
    try {
      if (loginSettings !== undefined) {
        login = await startLogin(loginSettings, {
          clock: systemClock,
          log,
          metrics: createLoginMetrics(registry),
        });
      }
      running = await startAuthenticator(settings, {
        ...(login === undefined ? {} : { authorities: [createAuthority(login.verifier, login.mapper)] }),
        ...(sources === undefined ? {} : { source: sources.source }),
        ...(reporter === undefined ? {} : { reporter }),
        ...(flags.config === undefined ? {} : { configPath: resolve(flags.config) }),
        registry,
        metrics,
        log,
      });
      log.info("service.ready", {
        addresses: running.addresses,
        operations: running.operationsAddresses,
        ...(login === undefined ? {} : { login: login.addresses }),
      });
      await aborted(stopping);
      log.info("service.draining", { drainMs });
    } finally {
      // Whatever a start that failed had opened, too: it would keep the process alive.
      await login?.stop(drainMs);
      await running?.stop(drainMs);
      reporter?.close();
      await sources?.source.close();
    }
    log.info("service.stopped");
    return 0;
  });
}

async function loginSettingsOf(
  path: string | undefined,
  faults: ConfigFault[],
): Promise<LoginSettings | undefined> {
  if (path === undefined) return undefined;
  try {
    const read = readLoginSettings(await readFile(path, "utf8"));
    faults.push(
      ...read.faults.map(({ setting, problem }) => ({ setting: `--login-config ${setting}`, problem })),
    );
    return read.settings;
  } catch (error) {
    faults.push({ setting: "--login-config", problem: reasonOf(error) });
    return undefined;
  }
}

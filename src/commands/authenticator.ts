/**
 * `sallyport authenticator server | init | verify | add user | add role | version`.
 * @module
 */
import { mkdir, readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline/promises";
import { text as readAll } from "node:stream/consumers";
import { Option, type Command } from "commander";
import { startAuthenticator, openBackends } from "../authenticator/authenticator.ts";
import { startLogin } from "../authenticator/login/login-service.ts";
import { readLoginSettings, type LoginSettings } from "../authenticator/login/login-settings.ts";
import { createAuthority } from "../authenticator/review.ts";
import { addMapping } from "../authenticator/mapping/add-mapping.ts";
import { createClusterReporter } from "../authenticator/mapping/cluster-reporter.ts";
import { readState } from "../authenticator/mapping/followed-file.ts";
import { createRamMapper } from "../authenticator/mapping/ram-mapper.ts";
import { countingWatchFailures } from "../authenticator/mapping/watch-failures.ts";
import { createStsClient } from "../authenticator/ram/sts-client.ts";
import { createRamVerifier, ramVerifierDefaults } from "../authenticator/ram/verifier.ts";
import { ensurePair, giveFilesTo, writePublic } from "../authenticator/server-certificate.ts";
import {
  checkSettings,
  readConfigFile,
  type AuthenticatorSettings,
  type ConfigFile,
  type RawSettings,
} from "../authenticator/settings.ts";
import { renderWebhookKubeconfig } from "../authenticator/webhook-kubeconfig.ts";
import { systemClock } from "../clock.ts";
import { SallyportError, configError, reasonOf, type ConfigFault } from "../errors.ts";
import { createClusterClient, type ClusterClient } from "../kubernetes/cluster-client.ts";
import { loadClusterConfig } from "../kubernetes/cluster-config.ts";
import { createClusterSource } from "../kubernetes/cluster-source.ts";
import { createManifestFolderSource } from "../kubernetes/manifest-folder-source.ts";
import type { ResourceSource } from "../kubernetes/resource-source.ts";
import { createAuthenticatorMetrics } from "../observe/authenticator-metrics.ts";
import { createKubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import { createLoginMetrics } from "../observe/login-metrics.ts";
import { createLog, logLevels, silentLog, type Log, type LogLevel } from "../observe/log.ts";
import { createRegistry } from "../observe/metrics.ts";
import { aborted, watchShutdownSignals } from "../server/shutdown.ts";
import { version } from "../version.ts";
import { createProgram, durationMs, runProgram, throwIfFaulty } from "./command-line.ts";

/** Flags of every sub-command; `undefined` where the user gave none, so that the file's value counts. */
interface CommonFlags {
  readonly clusterId?: string;
  readonly config?: string;
  readonly region?: string;
  readonly stsEndpoint?: string;
  readonly stsCaFile?: string;
  readonly acceptV1Tokens?: boolean;
  readonly backendMode?: readonly string[];
  readonly kubeconfig?: string;
  readonly master?: string;
  readonly manifests?: string;
}

interface ServerFlags extends CommonFlags {
  readonly port?: string;
  readonly bind?: string;
  readonly address?: string;
  readonly hostname?: string;
  readonly stateDir?: string;
  readonly generateKubeconfig?: string;
  readonly kubeconfigPregenerated?: boolean;
  readonly wildcardMappings?: boolean;
  readonly operationsAddress?: string;
  readonly tlsMinimum?: string;
  readonly clientCaFile?: string;
  readonly stsTimeout?: string;
  readonly stsRate?: string;
  readonly accessKeyRate?: string;
  readonly identityCache?: string;
  readonly loginConfig?: string;
  readonly maxConnections?: string;
  readonly allowReservedName?: readonly string[];
  readonly drain: string;
  readonly logLevel: LogLevel;
}

export async function run(args: readonly string[]): Promise<number> {
  let exitCode = 0;
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
    .action(async (flags: ServerFlags) => {
      exitCode = await serve(flags);
    });

  program
    .command("init")
    .description("make the certificate and the kubeconfig for kube-apiserver; keeps a pair that is there")
    .option("-i, --cluster-id <id>", "id of the cluster")
    .option("-c, --config <file>", "configuration file")
    .option("--hostname <name>", "name in certificate and kubeconfig (localhost)")
    .option("--address <address>", "address in the certificate (127.0.0.1)")
    .option("--port <number>", "port in the kubeconfig (21362)")
    .option("--directory <folder>", "where cert.pem and key.pem are made", ".")
    .option("--kubeconfig <file>", "where the kubeconfig is written (ack-ram-authenticator.kubeconfig there)")
    .option("--owner <uid:gid>", "give the directory and its files to this user and group")
    .action(async (flags: InitFlags) => {
      exitCode = await init(flags);
    });

  withCommonFlags(program.command("verify"))
    .description("say whose token it is, and the user that it becomes")
    .requiredOption("-t, --token <token>", "the token; - reads it from standard input")
    .addOption(new Option("-o, --output <format>", "how to print").choices(["text", "json"]).default("text"))
    .action(async (flags: VerifyFlags) => {
      exitCode = await verify(flags);
    });

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
      .option("--kubeconfig-context <name>", "accepted when it is the kubeconfig's current one")
      .option("--master-url <url>", "API server to use instead of the kubeconfig's")
      .option("--prompt [boolean]", "ask before writing", asBoolean, true)
      .action(async (flags: AddFlags) => {
        exitCode = await addTo(kind, flags);
      });
  }

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

function withCommonFlags(command: Command): Command {
  return command
    .option("-i, --cluster-id <id>", "id of the cluster")
    .option("-c, --config <file>", "configuration file: YAML, JSON or TOML")
    .addOption(new Option("--region <id>", "region of STS; without it the public endpoint").env("STS_REGION"))
    .option("--sts-endpoint <host:port>", "STS of a private cloud or for tests")
    .option("--sts-ca-file <file>", "authorities to trust for STS (PEM)")
    .option("--accept-v1-tokens [boolean]", "also accept tokens of the first generation", asBoolean)
    .option("--backend-mode <modes...>", "MountedFile, DynamicFile, ACKConfigMap, CRD, in this order")
    .option("--kubeconfig <file>", "cluster to read mappings from; in a pod, its own service account")
    .option("--master <url>", "API server to use instead of the kubeconfig's")
    .option(
      "--manifests <folder>",
      "read mappings from a folder of Kubernetes manifests instead of a cluster",
    );
}

/** commander gives `true` for a bare switch and text for `--switch=false`. */
function asBoolean(text: string | boolean): boolean {
  if (typeof text === "boolean") return text;
  if (["true", "1", "yes", ""].includes(text.toLowerCase())) return true;
  if (["false", "0", "no"].includes(text.toLowerCase())) return false;
  throw configError([{ setting: text, problem: "it is neither true nor false" }]);
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
  const shutdown = watchShutdownSignals();
  const login =
    loginSettings === undefined
      ? undefined
      : await startLogin(loginSettings, {
          clock: systemClock,
          log,
          metrics: createLoginMetrics(registry),
        });
  const running = await startAuthenticator(settings, {
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
  await aborted(shutdown.signal);
  log.info("service.draining", { drainMs });
  await login?.stop(drainMs);
  await running.stop(drainMs);
  reporter?.close();
  await sources?.source.close();
  log.info("service.stopped");
  shutdown.dispose();
  return 0;
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

interface InitFlags {
  readonly clusterId?: string;
  readonly config?: string;
  readonly hostname?: string;
  readonly address?: string;
  readonly port?: string;
  readonly directory: string;
  readonly kubeconfig?: string;
  readonly owner?: string;
}

async function init(flags: InitFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const port = numberOf("--port", flags.port, faults);
  const owner = flags.owner === undefined ? undefined : /^(\d{1,10}):(\d{1,10})$/.exec(flags.owner);
  if (owner === null) faults.push({ setting: "--owner", problem: `"${flags.owner ?? ""}" is not UID:GID` });
  const { settings } = await settingsOf(
    flags,
    {
      ...given("clusterID", flags.clusterId),
      ...given("hostname", flags.hostname),
      ...given("address", flags.address),
      ...given("port", port),
    },
    faults,
  );
  const directory = resolve(flags.directory);
  const { trustPem, made } = await ensurePair(directory, settings, systemClock);
  const kubeconfig = resolve(flags.kubeconfig ?? join(directory, "ack-ram-authenticator.kubeconfig"));
  const written = await writeWebhookKubeconfig(kubeconfig, settings, trustPem);
  if (owner !== undefined && owner !== null) {
    await giveFilesTo(directory, { uid: Number(owner[1]), gid: Number(owner[2]) });
  }
  process.stdout.write(
    [
      made ? `Made cert.pem and key.pem in ${directory}.` : `Kept cert.pem and key.pem in ${directory}.`,
      written ? `Wrote ${kubeconfig}.` : `Kept ${kubeconfig}.`,
      `Start kube-apiserver with --authentication-token-webhook-config-file=${kubeconfig}`,
      "and --authentication-token-webhook-version=v1.",
      "",
    ].join("\n"),
  );
  return 0;
}

/** Writes it only when it says something else: an API server reads it once and a mount may follow the file. */
async function writeWebhookKubeconfig(
  path: string,
  settings: AuthenticatorSettings,
  authorityPem: string,
): Promise<boolean> {
  const { hostname } = settings;
  const text = renderWebhookKubeconfig({ hostname, port: settings.listen.port, authorityPem });
  const present = await readState(path);
  if (present.state === "present" && present.text === text) return false;
  try {
    await mkdir(dirname(path), { recursive: true });
    await writePublic(path, text);
  } catch (error) {
    throw new SallyportError("E_AUTHENTICATOR_STATE", { directory: dirname(path), detail: reasonOf(error) });
  }
  return true;
}

interface VerifyFlags extends CommonFlags {
  readonly token: string;
  readonly output: "text" | "json";
}

async function verify(flags: VerifyFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const { settings } = await settingsOf(flags, rawOf(flags, faults), faults);
  const token = flags.token === "-" ? (await readAll(process.stdin)).trim() : flags.token;
  const metrics = createAuthenticatorMetrics(createRegistry(version));
  const sts = createStsClient({
    origin: settings.stsOrigin,
    clusterId: settings.clusterId,
    userAgent: `sallyport/${version}`,
    timeoutMs: Math.max(settings.stsTimeoutMs, 10_000),
    maxIdleConnections: 1,
    proxyEnvironment: process.env,
    ...(settings.stsCAFile === undefined
      ? {}
      : { authoritiesPem: await readFile(settings.stsCAFile, "utf8") }),
  });
  const deps = { sts, clock: systemClock, log: silentLog, metrics };
  const verification = await createRamVerifier(deps, { ...ramVerifierDefaults, ...settings }).verify(token);
  sts.close();
  if (verification.outcome !== "verified") {
    const detail =
      verification.detail ?? ("message" in verification ? verification.message : verification.reason);
    throw new SallyportError(verification.outcome === "refused" ? "E_RAM_TOKEN_REFUSED" : "E_RAM_STS", {
      detail,
    });
  }
  const { identity } = verification;
  const mapping =
    flags.config === undefined && flags.backendMode === undefined ? undefined : await mappingOf();
  const facts = {
    ARN: identity.arn,
    CanonicalARN: identity.canonicalArn,
    AccountID: identity.accountId,
    UserID: identity.userId,
    SessionName: identity.sessionName,
    AccessKeyID: identity.accessKeyId,
    ...(mapping === undefined ? {} : { Mapping: mapping }),
  };
  process.stdout.write(flags.output === "json" ? `${JSON.stringify(facts, null, 4)}\n` : textOf(facts));
  return 0;

  async function mappingOf(): Promise<Readonly<Record<string, unknown>>> {
    const sources = await openSource(settings, flags.manifests, silentLog, undefined);
    const backends = await openBackends(
      settings,
      { log: silentLog, clock: systemClock, ...(sources === undefined ? {} : { source: sources.source }) },
      metrics,
    );
    try {
      const deadline = Date.now() + 10_000;
      for (const backend of backends) {
        for (;;) {
          const readiness = backend.readiness();
          if (readiness.ready) break;
          if (Date.now() > deadline) {
            throw new SallyportError("E_CLUSTER_CONFIG", { where: backend.mode, detail: readiness.reason });
          }
          await new Promise((done) => setTimeout(done, 50));
        }
      }
      const decision = createRamMapper(backends, settings).map(identity);
      return decision.outcome === "mapped"
        ? {
            Backend: decision.backend,
            Entry: decision.entry,
            Username: decision.user.username,
            Groups: decision.user.groups,
          }
        : { Denied: decision.detail ?? decision.message };
    } finally {
      for (const backend of backends) await backend.close();
      await sources?.source.close();
    }
  }
}

function textOf(facts: Readonly<Record<string, unknown>>, indent = ""): string {
  return Object.entries(facts)
    .map(([name, value]) =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? `${indent}${name}:\n${textOf(value as Readonly<Record<string, unknown>>, `${indent}  `)}`
        : `${indent}${name}: ${Array.isArray(value) ? value.join(", ") : String(value)}\n`,
    )
    .join("");
}

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
  const config = await loadClusterConfig({ kubeconfig: flags.kubeconfig, clock: systemClock });
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

/** Settings of file and command line together. Throws all faults at once. */
async function settingsOf(
  flags: { readonly config?: string },
  raw: RawSettings,
  faults: readonly ConfigFault[],
): Promise<{ readonly settings: AuthenticatorSettings }> {
  let file: ConfigFile = { settings: {}, server: {} };
  const found: ConfigFault[] = [...faults];
  if (flags.config !== undefined) {
    const text = await readFile(flags.config, "utf8").catch((error: unknown) => {
      throw configError([{ setting: "--config", problem: `it cannot be read (${reasonOf(error)})` }]);
    });
    const read = readConfigFile(text, flags.config);
    if (!read.ok) throw configError([{ setting: flags.config, problem: read.problem }]);
    found.push(...read.faults);
    file = read.config;
  }
  const checked = checkSettings(file, raw);
  throwIfFaulty([...found, ...checked.faults]);
  return { settings: checked.settings };
}

function rawOf(flags: Partial<ServerFlags>, faults: ConfigFault[]): RawSettings {
  return {
    ...given("clusterID", flags.clusterId),
    ...given("region", flags.region),
    ...given("stsEndpoint", flags.stsEndpoint),
    ...given("stsCAFile", flags.stsCaFile),
    ...given("acceptV1Tokens", flags.acceptV1Tokens),
    ...given("backendMode", flags.backendMode),
    ...given("kubeconfig", flags.kubeconfig),
    ...given("master", flags.master),
    ...given("port", numberOf("--port", flags.port, faults)),
    ...given("bind", flags.bind),
    ...given("address", flags.address),
    ...given("hostname", flags.hostname),
    ...given("stateDir", flags.stateDir),
    ...given("generateKubeconfig", flags.generateKubeconfig),
    ...given("kubeconfigPregenerated", flags.kubeconfigPregenerated),
    ...given("wildcardMappings", flags.wildcardMappings),
    ...given("operationsAddress", flags.operationsAddress),
    ...given("tlsMinimum", flags.tlsMinimum),
    ...given("clientCAFile", flags.clientCaFile),
    ...given("stsTimeoutMs", durationOf("--sts-timeout", flags.stsTimeout, faults)),
    ...given("identityCacheMs", durationOf("--identity-cache", flags.identityCache, faults)),
    ...given("stsRate", numberOf("--sts-rate", flags.stsRate, faults)),
    ...given("accessKeyRate", numberOf("--access-key-rate", flags.accessKeyRate, faults)),
    ...given("maxConnections", numberOf("--max-connections", flags.maxConnections, faults)),
    ...given("allowReservedNames", flags.allowReservedName),
  };
}

function given<Name extends keyof RawSettings>(
  name: Name,
  value: RawSettings[Name] | undefined,
): RawSettings {
  return value === undefined ? {} : { [name]: value };
}

function numberOf(setting: string, text: string | undefined, faults: ConfigFault[]): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^[0-9]+(?:\.[0-9]+)?$/.test(text)) return value;
  faults.push({ setting, problem: `"${text}" is not a number` });
  return undefined;
}

function durationOf(setting: string, text: string | undefined, faults: ConfigFault[]): number | undefined {
  return text === undefined ? undefined : durationMs(setting, text, faults);
}

/** The source of ConfigMaps and RAMIdentityMappings; nothing when no backend needs one. */
async function openSource(
  settings: AuthenticatorSettings,
  manifests: string | undefined,
  log: Log,
  metrics: ReturnType<typeof createKubernetesMetrics> | undefined,
): Promise<{ readonly source: ResourceSource; readonly client?: ClusterClient } | undefined> {
  if (!settings.backends.some((mode) => mode === "CRD" || mode === "ACKConfigMap")) return undefined;
  const deps = { clock: systemClock, log, ...(metrics === undefined ? {} : { metrics }) };
  if (manifests !== undefined) return { source: createManifestFolderSource(resolve(manifests), deps) };
  const config = await loadClusterConfig({ kubeconfig: settings.kubeconfig, clock: systemClock });
  const { master } = settings;
  const client = createClusterClient(
    master === undefined || master === "" ? config : { ...config, server: master.replace(/\/+$/, "") },
    log,
  );
  return { source: createClusterSource(client, deps), client };
}

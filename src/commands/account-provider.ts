/**
 * `sallyport account-provider run | cleanup | probe`.
 * @module
 */
import { readFile, stat } from "node:fs/promises";
import { platform } from "node:process";
import { Option } from "commander";
import type { Accounts } from "../account-provider/accounts-file.ts";
import { HostDirectory, defaultHostDirectory } from "../account-provider/host-directory.ts";
import { keyVaultDirectoryBeside } from "../account-provider/key-vault-directory.ts";
import { checkNamespace, checkSettings, defaultNamespace } from "../account-provider/settings.ts";
import { keyVaultObject, readKeyVaultInput } from "../credential-spec/key-vault-input.ts";
import { chainHolds, renderChain } from "../chain.ts";
import { reasonOf, type ConfigFault } from "../errors.ts";
import { createLog, logLevels } from "../observe/log.ts";
import { createWindowsHost, type WindowsHost } from "../windows-host/windows-host.ts";
import {
  createProgram,
  durationMs,
  environmentSwitch,
  existingFolder,
  hostAndPort,
  runProgram,
  throwIfFaulty,
} from "./command-line.ts";

export function run(args: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = createProgram(
    "sallyport account-provider",
    "Answers the CCG plugin on a Windows host with the impersonation account of a Secret.",
  );

  program
    .command("run")
    .description("serve until SIGTERM")
    .addOption(
      new Option("--namespace <name>", "namespace of the Secret and of the plugin input")
        .env("NAMESPACE")
        .default(defaultNamespace),
    )
    .option("--secret <name...>", "name of the Secret to serve, such as <release>-creds (repeatable)")
    .option(
      "--accounts <file>",
      "accounts file: which account is kept where (Secret, folder, Azure Key Vault)",
    )
    .option("--all-secrets", "serve every Secret of the namespace that has the three keys", false)
    .addOption(
      new Option("--kubeconfig <file>", "cluster to read from; in a pod, its own service account").env(
        "KUBECONFIG",
      ),
    )
    .option("--manifests <folder>", "read from a folder of Kubernetes manifests instead of a cluster")
    .option(
      "--host-dir <folder>",
      "where port and client files are written (default: /var/lib/rancher/gmsa/<namespace>)",
    )
    .option(
      "--tls-dir <folder>",
      "certificates made by somebody else: ca/, server/ and client/ with ca.crt, tls.crt, tls.key",
    )
    .option("--legacy-plugin", "also serve the released Rancher plugin (ssl/client/tls.pfx)", true)
    .option("--no-legacy-plugin", "serve Sallyport's own plugin only")
    .option(
      "--disable-mtls",
      "plain HTTP for everyone on this host; the plugins cannot use it [DISABLE_MTLS]",
    )
    .option("--skip-artifacts", "write nothing to the host [DISABLE_ARTIFACTS, SKIP_ARTIFACTS]")
    .option("--port <number>", "port of the service; 0: any free one", "0")
    .option("--operations-address <address:port>", "address of /healthz, /readyz and /metrics", "127.0.0.1:0")
    .option("--leaf-lifetime <duration>", "life of the certificates, at most 24h", "24h")
    .option("--drain <duration>", "how long running requests may take to end on SIGTERM", "10s")
    .option(
      "--watch-silence <duration>",
      "how long the API server may be silent before the watch is renewed",
      "75s",
    )
    .addOption(
      new Option("--log-level <level>", "how much to log")
        .choices([...logLevels])
        .env("LOG_LEVEL")
        .default("info"),
    )
    .option("--debug", "the same as --log-level debug", false)
    .addOption(
      new Option("--debug-level <number>", "accepted for older charts; above 0 the same as --debug").default(
        "0",
      ),
    )
    .action(async (options: RunFlags) => {
      exitCode = await serve(options);
    });

  program
    .command("cleanup")
    .description("remove what a provider left on this host; succeeds on a clean one")
    .addOption(
      new Option("--namespace <name>", "namespace of the provider")
        .env("NAMESPACE")
        .default(defaultNamespace),
    )
    .option("--host-dir <folder>", "its host directory (default: /var/lib/rancher/gmsa/<namespace>)")
    .addOption(new Option("--debug", "log every step").default(false))
    .addOption(new Option("--debug-level <number>", "accepted for older charts").default("0"))
    .action(async (options: CleanupFlags) => {
      exitCode = await cleanup(options);
    });

  program
    .command("probe")
    .description("ask as the plugin would, and say which link of the chain is broken")
    .argument("[object]", "the second half of the plugin input, or a whole ObjectId=…;SecretUri=…")
    .addOption(
      new Option("--namespace <name>", "namespace of the provider")
        .env("NAMESPACE")
        .default(defaultNamespace),
    )
    .option("--host-dir <folder>", "its host directory (default: /var/lib/rancher/gmsa/<namespace>)")
    .option(
      "--released-plugin",
      "use ssl/client/tls.pfx and TLS 1.2, as the released Rancher plugin does",
      false,
    )
    .option("--timeout <duration>", "for the whole request", "10s")
    .option("--json", "print the links as JSON", false)
    .action(async (object: string | undefined, options: ProbeFlags) => {
      exitCode = await probe(object, options);
    });

  return runProgram(program, args).then((code) => code || exitCode);
}

interface RunFlags {
  readonly namespace: string;
  readonly secret?: readonly string[];
  readonly allSecrets: boolean;
  readonly accounts?: string;
  readonly kubeconfig?: string;
  readonly manifests?: string;
  readonly hostDir?: string;
  readonly tlsDir?: string;
  readonly legacyPlugin: boolean;
  readonly disableMtls?: boolean;
  readonly skipArtifacts?: boolean;
  readonly port: string;
  readonly operationsAddress: string;
  readonly leafLifetime: string;
  readonly drain: string;
  readonly watchSilence: string;
  readonly logLevel: string;
  readonly debug: boolean;
  readonly debugLevel: string;
}

async function serve(flags: RunFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const environment = process.env;
  const switchOf = (...names: readonly string[]): boolean =>
    names.map((name) => environmentSwitch(name, environment[name], faults)).includes(true);
  const operationsAddress = hostAndPort("--operations-address", flags.operationsAddress, faults);
  const leafLifetimeMs = durationMs("--leaf-lifetime", flags.leafLifetime, faults);
  const drainMs = durationMs("--drain", flags.drain, faults);
  const watchSilenceMs = durationMs("--watch-silence", flags.watchSilence, faults);
  if (flags.manifests !== undefined) await existingFolder("--manifests", flags.manifests, faults);
  const accounts = flags.accounts === undefined ? undefined : await readAccounts(flags.accounts, faults);
  const settings = checkSettings(
    {
      namespace: flags.namespace,
      kubeconfig: flags.kubeconfig === "" ? undefined : flags.kubeconfig,
      manifests: flags.manifests,
      inCluster: environment["KUBERNETES_SERVICE_HOST"] !== undefined,
      secrets: flags.secret ?? [],
      allSecrets: flags.allSecrets,
      accounts,
      hostDirectory: flags.hostDir,
      tlsDirectory: flags.tlsDir,
      legacyPlugin: flags.legacyPlugin,
      disableMtls: flags.disableMtls ?? switchOf("DISABLE_MTLS"),
      skipArtifacts: flags.skipArtifacts ?? switchOf("DISABLE_ARTIFACTS", "SKIP_ARTIFACTS"),
      port: flags.port,
      operationsAddress,
      leafLifetimeMs,
      drainMs,
      watchSilenceMs,
      logLevel: flags.debug || Number(flags.debugLevel) > 0 ? "debug" : flags.logLevel,
    },
    faults,
  );
  throwIfFaulty(faults);
  const { runAccountProvider } = await import("../account-provider/run.ts");
  return await runAccountProvider(settings, hostPort());
}

/** Largest accounts file that is read, bytes. */
const accountsFileLimit = 1024 * 1024;

async function readAccounts(path: string, faults: ConfigFault[]): Promise<Accounts | "faulty"> {
  let text: string;
  try {
    if ((await stat(path)).size > accountsFileLimit) throw new Error("it is larger than 1 MiB");
    text = await readFile(path, "utf8");
  } catch (thrown) {
    faults.push({ setting: "--accounts", problem: `"${path}" cannot be read: ${reasonOf(thrown)}` });
    return "faulty";
  }
  const { readAccountsFile } = await import("../account-provider/accounts-file.ts");
  const read = readAccountsFile(text);
  faults.push(...read.faults);
  for (const place of read.accounts?.places ?? [])
    if (place.source === "folder") await existingFolder(`--accounts ${place.name}`, place.folder, faults);
  return read.accounts ?? "faulty";
}

interface CleanupFlags {
  readonly namespace: string;
  readonly hostDir?: string;
  readonly debug: boolean;
}

async function cleanup(flags: CleanupFlags): Promise<number> {
  const path = hostDirectoryOf(flags);
  const { cleanUpHost, cleanUpKeyVaultDirectory } = await import("../account-provider/cleanup.ts");
  const log = createLog({ level: flags.debug ? "debug" : "warn" });
  const results = [
    await cleanUpHost(path, hostPort(), log),
    ...(await cleanUpKeyVaultDirectory(path, flags.namespace, hostPort(), log)),
  ];
  for (const { found, left, path: cleaned } of results) {
    if (!found) process.stdout.write(`${cleaned} is not there: nothing to clean up.\n`);
    else if (left.length === 0) process.stdout.write(`${cleaned} is clean.\n`);
    else
      process.stdout.write(
        `Not everything in ${cleaned} could be removed:\n${left.map((line) => `  ${line}\n`).join("")}`,
      );
  }
  return results.every(({ left }) => left.length === 0) ? 0 : 1;
}

interface ProbeFlags {
  readonly namespace: string;
  readonly hostDir?: string;
  readonly releasedPlugin: boolean;
  readonly timeout: string;
  readonly json: boolean;
}

async function probe(object: string | undefined, flags: ProbeFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const timeoutMs = durationMs("--timeout", flags.timeout, faults);
  if (object === undefined || object === "") {
    faults.push({
      setting: "object",
      problem: "is missing: name the Secret, the part of the plugin input after the colon",
    });
  }
  const input = object?.includes("=") === true ? readKeyVaultInput(object) : undefined;
  if (input?.ok === false)
    faults.push({
      setting: "object",
      problem: `is no usable Key Vault input: ${input.problem}`,
    });
  const hostDirectory = hostDirectoryOf(flags, faults);
  const path = input === undefined ? hostDirectory : keyVaultDirectoryBeside(hostDirectory);
  const { requestAsPlugin } = await import("../account-provider/plugin-request.ts");
  const result = await requestAsPlugin({
    directory: new HostDirectory(path, undefined),
    // As the plugin does: not the text, but what was read from it.
    object: input?.ok === true ? keyVaultObject(input) : (object ?? ""),
    identity: flags.releasedPlugin ? "released-plugin" : "plugin",
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  });
  const name = input === undefined ? `${flags.namespace}:${object ?? ""}` : (object ?? "");
  const chain = { name: `Plugin input ${name}`, links: result.links };
  process.stdout.write(
    flags.json
      ? `${JSON.stringify({ ok: result.ok, ...chain }, undefined, 2)}\n`
      : renderChain(chain, { colour: process.stdout.isTTY }),
  );
  return chainHolds(chain) ? 0 : 1;
}

function hostDirectoryOf(
  flags: { readonly namespace: string; readonly hostDir?: string },
  faults: ConfigFault[] = [],
): string {
  checkNamespace(flags.namespace, faults);
  throwIfFaulty(faults);
  return flags.hostDir ?? defaultHostDirectory(flags.namespace);
}

/** Access lists and root store matter on Windows alone; elsewhere modes do. */
function hostPort(): WindowsHost | undefined {
  return platform === "win32" ? createWindowsHost() : undefined;
}

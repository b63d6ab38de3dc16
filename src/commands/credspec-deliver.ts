/**
 * `sallyport credspec deliver`: exit 0 in step, 1 something is wrong or refused, 2 usage.
 * @module
 */
import { Option, type Command } from "commander";
import { systemClock } from "../clock.ts";
import { parseEndpoint, type EngineEndpoint } from "../container-engine/endpoint.ts";
import { configError, type ConfigFault } from "../errors.ts";
import { homeFolder } from "../home-folder.ts";
import type { LogLevel } from "../observe/log.ts";
import { durationMs, existingFolder, throwIfFaulty } from "./command-line.ts";
import type { Ran } from "./command-line.ts";
import type { CredspecDependencies } from "./credspec.ts";

interface DeliverFlags {
  readonly manifests: string;
  readonly host?: string;
  readonly certPath?: string;
  readonly allowPlainTcp?: true;
  readonly owner: string;
  readonly dryRun?: true;
  readonly once?: true;
  readonly interval: string;
  readonly timeout: string;
  readonly output: "text" | "json";
  readonly logLevel: LogLevel;
}

export function addDeliver(program: Command, dependencies: CredspecDependencies, ran: Ran): void {
  program
    .command("deliver")
    .description(
      "keep a Swarm's configs and services in step with a folder of GMSACredentialSpecs, without a file on any host",
    )
    .requiredOption(
      "--manifests <folder>",
      "the specs; each names its services in the annotation sallyport.io/use",
    )
    .addOption(
      new Option(
        "--host <address>",
        "the engine: unix:///PATH, npipe:////./pipe/NAME or tcp://HOST:PORT (default: the engine of this machine)",
      ).env("DOCKER_HOST"),
    )
    .addOption(
      new Option("--cert-path <folder>", "ca.pem, cert.pem and key.pem for TLS to a tcp:// engine").env(
        "DOCKER_CERT_PATH",
      ),
    )
    .option("--allow-plain-tcp", "speak to a tcp:// engine of another machine in the clear")
    .option(
      "--owner <name>",
      "whose configs are ours: one name for each folder that is delivered",
      "sallyport",
    )
    .option("--dry-run", "print the plan and change nothing")
    .option("--once", "deliver once instead of going on until SIGTERM")
    .option("--interval <duration>", "how often the engine is looked at while nothing changes", "30s")
    .option("--timeout <duration>", "how long the engine may take for an answer, at most 10m", "30s")
    .addOption(new Option("--output <format>", "form of the plan").choices(["text", "json"]).default("text"))
    .addOption(
      new Option("--log-level <level>", "how much to log: deliveries are logged at info")
        .choices(["debug", "info", "warn", "error", "silent"] satisfies LogLevel[])
        .default("info"),
    )
    .action((flags: DeliverFlags) => ran(deliver(flags, dependencies)));
}

interface DeliverSettings {
  readonly endpoint: EngineEndpoint;
  readonly intervalMs: number;
  readonly timeoutMs: number;
}

/** An engine that takes longer is away. */
const longestTimeout = { ms: 600_000, text: "10m" };

async function checkFlags(flags: DeliverFlags): Promise<DeliverSettings> {
  const faults: ConfigFault[] = [];
  await existingFolder("--manifests", flags.manifests, faults);
  const endpoint = parseEndpoint(
    {
      host: flags.host,
      certificateFolder: flags.certPath,
      tlsVerify: (process.env["DOCKER_TLS_VERIFY"] ?? "") !== "",
      plainTcpAllowed: flags.allowPlainTcp ?? false,
      platform: process.platform,
      homeDirectory: homeFolder(),
    },
    faults,
  );
  if (!/^[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,61}[a-zA-Z0-9])?$/.test(flags.owner)) {
    faults.push({
      setting: "--owner",
      problem: `"${flags.owner}" is no name of up to 63 letters, digits, - _ .`,
    });
  }
  const intervalMs = durationMs("--interval", flags.interval, faults);
  if (intervalMs !== undefined && intervalMs < 1_000) {
    faults.push({ setting: "--interval", problem: "is shorter than 1s" });
  }
  const timeoutMs = durationMs("--timeout", flags.timeout, faults, longestTimeout);
  if (timeoutMs === 0) faults.push({ setting: "--timeout", problem: "is zero" });
  throwIfFaulty(faults);
  if (endpoint === undefined || intervalMs === undefined || timeoutMs === undefined) {
    throw new Error("a setting without a value had no fault");
  }
  return { endpoint, intervalMs, timeoutMs };
}

/** The folder has to be read within this time, milliseconds. */
const patienceMs = 30_000;

async function deliver(flags: DeliverFlags, { io }: CredspecDependencies): Promise<number> {
  const { endpoint, intervalMs, timeoutMs } = await checkFlags(flags);
  const [
    { createDockerEngine },
    { createManifestFolderSource },
    { gmsaCredentialSpecKind },
    { parseOfferedSpec, readOffer },
    { createSpecDelivery, isInStep },
    { watchDelivery },
    { followEngine },
    { renderJson, renderOutcome, renderPlan },
    { createLog },
    { untilShutdown },
  ] = await Promise.all([
    import("../container-engine/docker-engine.ts"),
    import("../kubernetes/manifest-folder-source.ts"),
    import("../kubernetes/kinds.ts"),
    import("../spec-delivery/offered-specs.ts"),
    import("../spec-delivery/deliver.ts"),
    import("../spec-delivery/watch-delivery.ts"),
    import("../spec-delivery/engine-changes.ts"),
    import("../spec-delivery/delivery-report.ts"),
    import("../observe/log.ts"),
    import("../server/shutdown.ts"),
  ]);
  const clock = systemClock;
  const sink = { write: (line: string) => io.err(line) };
  const log = createLog({ level: flags.logLevel, sink });
  const passing = flags.dryRun === true || flags.once === true;
  const source = createManifestFolderSource(flags.manifests, {
    clock,
    // Reading a folder once is no event.
    log: passing && flags.logLevel === "info" ? createLog({ level: "warn", sink }) : log,
  });
  return untilShutdown(async (stopping) => {
    try {
      const specs = source.watch({ kind: gmsaCredentialSpecKind, parse: parseOfferedSpec });
      await specs
        .synced(AbortSignal.any([stopping, AbortSignal.timeout(patienceMs)]))
        .catch((error: unknown) => {
          if (stopping.aborted) throw error;
          const problem = specs.status().reason ?? "cannot be read";
          throw configError([{ setting: "--manifests", problem }]);
        });
      const engine = createDockerEngine(endpoint, { timeoutMs });
      const delivery = createSpecDelivery(
        { engine, offer: () => readOffer(specs), clock, log },
        { owner: flags.owner, holdMs: passing ? 0 : intervalMs },
      );
      const json = flags.output === "json";
      if (passing) {
        const report =
          flags.dryRun === true
            ? await delivery.plan(stopping)
            : await delivery.deliver((plan) => json || io.out(renderPlan(plan)), stopping);
        const planned = flags.dryRun === true && report.kind === "swarm" ? renderPlan(report.plan) : "";
        io.out(json ? renderJson(report) : planned + renderOutcome(report));
        return isInStep(report) ? 0 : 1;
      }
      await watchDelivery(
        {
          delivery,
          clock,
          log,
          onChange: (callback) => {
            const stops = [specs.onChange(callback), followEngine(engine, clock, callback)];
            return () => stops.forEach((stop) => stop());
          },
          onReport: (report) => io.out(json ? `${JSON.stringify(report)}\n` : renderOutcome(report)),
        },
        { intervalMs },
        stopping,
      );
      return 0;
    } catch (error) {
      if (!stopping.aborted) throw error;
      io.err("Stopped before the end; the next run goes on from what is there.\n");
      return 1;
    } finally {
      await source.close();
    }
  });
}

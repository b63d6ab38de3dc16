/**
 * `sallyport authenticator verify`: whose token it is, asked of STS as the webhook asks, and the user that it becomes.
 * @module
 */
import { text as readAll } from "node:stream/consumers";
import { Option, type Command } from "commander";
import { openBackends, authoritiesOf } from "../authenticator/authenticator.ts";
import { createRamMapper } from "../authenticator/mapping/ram-mapper.ts";
import { createStsClient } from "../authenticator/ram/sts-client.ts";
import { createRamVerifier, ramVerifierDefaults } from "../authenticator/ram/verifier.ts";
import { systemClock } from "../clock.ts";
import { SallyportError, type ConfigFault } from "../errors.ts";
import { createAuthenticatorMetrics } from "../observe/authenticator-metrics.ts";
import { silentLog } from "../observe/log.ts";
import { createRegistry } from "../observe/metrics.ts";
import { version } from "../version.ts";
import { openSource, rawOf, settingsOf, withCommonFlags, type CommonFlags } from "./authenticator-flags.ts";
import type { Ran } from "./command-line.ts";

interface VerifyFlags extends CommonFlags {
  readonly token: string;
  readonly output: "text" | "json";
}

export function addVerify(program: Command, ran: Ran): void {
  withCommonFlags(program.command("verify"))
    .description("say whose token it is, and the user that it becomes")
    .requiredOption("-t, --token <token>", "the token; - reads it from standard input")
    .addOption(new Option("-o, --output <format>", "how to print").choices(["text", "json"]).default("text"))
    .action((flags: VerifyFlags) => ran(verify(flags)));
}

async function verify(flags: VerifyFlags): Promise<number> {
  const faults: ConfigFault[] = [];
  const { settings } = await settingsOf(flags, rawOf(flags, faults), faults);
  const token = flags.token === "-" ? (await readAll(process.stdin)).trim() : flags.token;
  const authoritiesPem = await authoritiesOf("stsCAFile", settings.stsCAFile);
  const metrics = createAuthenticatorMetrics(createRegistry(version));
  const sts = createStsClient({
    origin: settings.stsOrigin,
    clusterId: settings.clusterId,
    userAgent: `sallyport/${version}`,
    timeoutMs: Math.max(settings.stsTimeoutMs, 10_000),
    maxIdleConnections: 1,
    proxyEnvironment: process.env,
    ...(authoritiesPem === undefined ? {} : { authoritiesPem }),
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

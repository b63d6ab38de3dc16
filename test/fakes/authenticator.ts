/**
 * A running authenticator on loopback with a simulated STS, and the API server's side of a TokenReview.
 * @module
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startAuthenticator, type AuthenticatorParts } from "../../src/authenticator/authenticator.ts";
import { startStsSimulator, type StsSimulator } from "../../src/authenticator/ram/sts-simulator.ts";
import { ensurePair } from "../../src/authenticator/server-certificate.ts";
import { checkSettings, readConfigFile, type RawSettings } from "../../src/authenticator/settings.ts";
import { systemClock, type Clock } from "../../src/clock.ts";
import { silentLog } from "../../src/observe/log.ts";
import { createAuthenticatorMetrics } from "../../src/observe/authenticator-metrics.ts";
import type { Secret } from "../../src/secret.ts";
import { createRegistry } from "../../src/observe/metrics.ts";
import { alice, clusterId, developers, root } from "./ram.ts";

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

export interface TestAuthenticator {
  readonly port: number;
  readonly directory: string;
  readonly configPath: string;
  readonly sts: StsSimulator;
  readonly trustPem: string;
  /** Posts a TokenReview as the API server does. */
  review(token: string, apiVersion?: string): Promise<HttpAnswer & { readonly review: ReviewStatus }>;
  send(
    method: string,
    path: string,
    body?: string,
    headers?: Readonly<Record<string, string>>,
    client?: { readonly certificatePem: string; readonly privateKeyPem: Secret },
  ): Promise<HttpAnswer>;
  writeConfig(server: Readonly<Record<string, unknown>>): Promise<void>;
  stop(): Promise<void>;
}

interface ReviewStatus {
  readonly authenticated?: boolean;
  readonly error?: string;
  readonly user?: {
    readonly username?: string;
    readonly uid?: string;
    readonly groups?: readonly string[];
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
}

export async function startTestAuthenticator(
  server: Readonly<Record<string, unknown>>,
  options: {
    readonly raw?: RawSettings;
    readonly parts?: Partial<AuthenticatorParts>;
    readonly clock?: Clock;
  } = {},
): Promise<TestAuthenticator> {
  const clock = options.clock ?? systemClock;
  const directory = await mkdtemp(join(tmpdir(), "sallyport-authenticator-"));
  const configPath = join(directory, "config.json");
  const writeConfig = (section: Readonly<Record<string, unknown>>): Promise<void> =>
    writeFile(configPath, JSON.stringify({ clusterID: clusterId, server: section }));
  await writeConfig(server);
  const sts = await startStsSimulator({
    accessKeys: [alice, root],
    roles: [developers],
    clock: systemClock,
    log: silentLog,
  });
  const caFile = join(directory, "sts-ca.pem");
  await writeFile(caFile, sts.authoritiesPem);
  const state = join(directory, "state");
  const file = readConfigFile(JSON.stringify({ clusterID: clusterId, server }), configPath);
  if (!file.ok || file.faults.length > 0) throw new Error(JSON.stringify(file));
  const { settings, faults } = checkSettings(file.config, {
    port: 0,
    stateDir: state,
    kubeconfigPregenerated: true,
    operationsAddress: "",
    stsEndpoint: sts.origin,
    stsCAFile: caFile,
    stsTimeoutMs: 500,
    ...options.raw,
  });
  if (faults.length > 0) throw new Error(JSON.stringify(faults));
  await ensurePair(state, settings, clock);
  const registry = createRegistry("test");
  const running = await startAuthenticator(settings, {
    registry,
    metrics: createAuthenticatorMetrics(registry),
    log: silentLog,
    configPath,
    clock,
    ...options.parts,
  });

  const send: TestAuthenticator["send"] = (method, path, body, headers = {}, client) =>
    new Promise((resolve, reject) => {
      const outgoing = request(
        {
          host: "127.0.0.1",
          servername: "localhost",
          port: running.port,
          method,
          path,
          ca: running.trustPem,
          agent: false,
          ...(client === undefined
            ? {}
            : { cert: client.certificatePem, key: client.privateKeyPem.reveal() }),
          headers: {
            ...(body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) }),
            ...headers,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks).toString("utf8"),
            }),
          );
          response.on("error", reject);
        },
      );
      outgoing.on("error", reject);
      outgoing.end(body);
    });

  return {
    port: running.port,
    directory,
    configPath,
    sts,
    trustPem: running.trustPem,
    send,
    writeConfig,
    async review(token, apiVersion = "authentication.k8s.io/v1") {
      const answer = await send(
        "POST",
        "/authenticate",
        JSON.stringify({
          apiVersion,
          kind: "TokenReview",
          metadata: { creationTimestamp: null },
          spec: { token },
          status: { user: {} },
        }),
        { "content-type": "application/json" },
      );
      const parsed = JSON.parse(answer.body) as { readonly status: ReviewStatus };
      return { ...answer, review: parsed.status };
    },
    async stop() {
      await running.stop(100);
      await sts.stop();
      await rm(directory, { recursive: true });
    },
  };
}

/**
 * The authenticator under `sallyport up`, with a simulator in the place of Alibaba Cloud's STS: for every access key that
 * the manifests hold for the simulator, one token is minted, posted as the API server would, and mapped.
 * @module
 */
import { writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { startAuthenticator, type RunningAuthenticator } from "../authenticator/authenticator.ts";
import { startStsSimulator, type SimulatedAccessKey } from "../authenticator/ram/sts-simulator.ts";
import { mintToken } from "../authenticator/ram/token.ts";
import { ensurePair } from "../authenticator/server-certificate.ts";
import { checkSettings, type AuthenticatorSettings } from "../authenticator/settings.ts";
import type { Chain, ChainLink } from "../chain.ts";
import { configError, reasonOf } from "../errors.ts";
import { secretKind, ramIdentityMappingKind } from "../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceSource } from "../kubernetes/resource-source.ts";
import { createAuthenticatorMetrics } from "../observe/authenticator-metrics.ts";
import { createRegistry } from "../observe/metrics.ts";
import { Secret } from "../secret.ts";
import { version } from "../version.ts";
import type { Role } from "./role.ts";

/** Type of the Secrets whose access keys the simulator knows: no tool of Alibaba Cloud uses it. */
export const simulatedKeyType = "sallyport.example/simulated-access-key";

/** The cluster that the tokens are for. */
const clusterId = "c-local";

export const authenticatorRole: Role = {
  name: "authenticator",
  async start({ source, stateFolder, log, clock, signal }) {
    const keys = await simulatedKeys(source, signal);
    if (keys.length === 0) return undefined;
    const roleLog = log.with({ role: "authenticator" });
    const sts = await startStsSimulator({ accessKeys: keys, clock, log: roleLog });
    let running: RunningAuthenticator;
    try {
      const caFile = join(stateFolder, "sts-simulator-ca.pem");
      await writeFile(caFile, sts.authoritiesPem, { mode: 0o600 });
      const settings = settingsFor(stateFolder, sts.origin, caFile);
      await ensurePair(stateFolder, settings, clock);
      const registry = createRegistry(version);
      running = await startAuthenticator(settings, {
        source,
        registry,
        metrics: createAuthenticatorMetrics(registry),
        log: roleLog,
        clock,
      });
      await mappingsRead(source, signal);
    } catch (error) {
      await sts.stop();
      throw error;
    }
    return {
      listens: [
        { what: "authenticator, POST /authenticate", where: running.addresses.join(", ") },
        { what: "  its /readyz and /metrics", where: running.operationsAddresses.join(", ") },
        { what: "  STS simulator (not Alibaba Cloud)", where: sts.origin },
      ],
      check: () => Promise.all(keys.map((key) => checkKey(key, running, clock.now()))),
      async stop() {
        await running.stop(1_000);
        await sts.stop();
      },
    };
  },
};

function settingsFor(stateDir: string, stsEndpoint: string, stsCAFile: string): AuthenticatorSettings {
  const { settings, faults } = checkSettings(
    { settings: {}, server: {} },
    {
      clusterID: clusterId,
      port: 0,
      stateDir,
      kubeconfigPregenerated: true,
      backendMode: ["CRD", "ACKConfigMap"],
      operationsAddress: "127.0.0.1:0",
      stsEndpoint,
      stsCAFile,
    },
  );
  if (faults.length > 0) throw configError(faults);
  return settings;
}

/** One token from minting to the mapped user, as kubectl and the API server do it. */
async function checkKey(key: SimulatedAccessKey, running: RunningAuthenticator, now: number): Promise<Chain> {
  const name = `${key.arn.split("/").at(-1) ?? key.arn} logs in with RAM`;
  const { token } = mintToken(
    clusterId,
    { accessKeyId: key.accessKeyId, accessKeySecret: key.accessKeySecret.reveal() },
    now,
    `sallyport/${version}`,
  );
  const links: ChainLink[] = [
    {
      link: "token",
      holds: true,
      detail: `${token.length} characters for the cluster ${clusterId}, made offline`,
    },
  ];
  try {
    const { status, body } = await postReview(running, token);
    links.push({
      link: "webhook",
      holds: status === 200,
      detail: `https://${running.addresses[0] ?? ""} answers ${status}`,
    });
    const review = JSON.parse(body) as ReviewAnswer;
    const user = review.status?.user;
    const arn = user?.extra?.["arn"]?.[0];
    const authenticated = review.status?.authenticated === true;
    const known = authenticated || (review.status?.error ?? "").includes("ARN is not mapped");
    links.push({
      link: "STS",
      holds: known,
      detail: known ? `says who signed it: ${arn ?? key.arn}` : (review.status?.error ?? "no answer"),
    });
    links.push({
      link: "mapping",
      holds: authenticated,
      detail: authenticated
        ? `user ${user?.username ?? ""}, groups ${user?.groups?.join(", ") || "none"}`
        : (review.status?.error ?? "no user"),
      remedy: `Map ${key.arn} with a RAMIdentityMapping.`,
    });
  } catch (error) {
    links.push({ link: "webhook", holds: false, detail: reasonOf(error) });
  }
  return { name, links };
}

interface ReviewAnswer {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly error?: string;
    readonly user?: {
      readonly username?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

function postReview(
  running: RunningAuthenticator,
  token: string,
): Promise<{ readonly status: number; readonly body: string }> {
  const review = JSON.stringify({
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenReview",
    spec: { token },
  });
  return new Promise((resolve, reject) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        servername: "localhost",
        port: running.port,
        method: "POST",
        path: "/authenticate",
        ca: running.trustPem,
        agent: false,
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(review) },
        signal: AbortSignal.timeout(10_000),
      },
      (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text));
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
        response.on("error", reject);
      },
    );
    outgoing.on("error", reject);
    outgoing.end(review);
  });
}

/** The access keys that the manifests hold for the simulator. */
async function simulatedKeys(
  source: ResourceSource,
  signal: AbortSignal,
): Promise<readonly SimulatedAccessKey[]> {
  const secrets = source.watch({ kind: secretKind });
  try {
    await secrets.synced(signal);
    return secrets.list().flatMap((secret) => {
      const key = keyOf(secret);
      return key === undefined ? [] : [key];
    });
  } finally {
    await secrets.close();
  }
}

function keyOf(secret: KubernetesObject): SimulatedAccessKey | undefined {
  if (secret["type"] !== simulatedKeyType) return undefined;
  const data = (secret["data"] ?? {}) as Readonly<Record<string, string>>;
  const [accessKeyId, accessKeySecret, arn, userId] = ["accessKeyId", "accessKeySecret", "arn", "userId"].map(
    (name) => Buffer.from(data[name] ?? "", "base64").toString("utf8"),
  );
  if (!accessKeyId || !accessKeySecret || !arn || !userId) return undefined;
  return { accessKeyId, accessKeySecret: new Secret(accessKeySecret), arn, userId };
}

/** Waits until the folder's mappings are read, so that the check does not come too early. */
async function mappingsRead(source: ResourceSource, signal: AbortSignal): Promise<void> {
  const mappings = source.watch({ kind: ramIdentityMappingKind });
  await mappings.synced(signal);
  await mappings.close();
}

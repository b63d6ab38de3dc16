/**
 * An account provider on loopback that serves a manifest folder of one test, stopped when the test ends.
 * @module
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { join } from "node:path";
import type { TestContext } from "node:test";
import {
  startAccountProvider,
  type RunningAccountProvider,
} from "../src/account-provider/account-provider.ts";
import type { ProviderCertificates } from "../src/account-provider/provider-certificates.ts";
import { createSelfManagedCertificates } from "../src/account-provider/self-managed-certificates.ts";
import type { AccountProviderSettings } from "../src/account-provider/settings.ts";
import { systemClock } from "../src/clock.ts";
import { createManifestFolderSource } from "../src/kubernetes/manifest-folder-source.ts";
import { createLog, type Log } from "../src/observe/log.ts";
import { createRegistry } from "../src/observe/metrics.ts";
import { createKubernetesSecretStore } from "../src/secret-store/kubernetes-secret-store.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface ProviderUnderTest {
  readonly provider: RunningAccountProvider;
  readonly certificates: ProviderCertificates | undefined;
  readonly manifests: string;
  /** What was logged so far, a JSON line an event. */
  readonly log: string[];
  /** Writes `secret.yaml` as an editor does: beside it, then renamed. */
  readonly writeSecret: (values: Readonly<Record<string, string>>) => void;
  /** `GET /provider` for `web-creds` with Sallyport's client identity, unless the options say otherwise. */
  readonly ask: (options?: RequestOptions) => Promise<Answer>;
  /** A request of the operations address. */
  readonly operations: (path: string) => Promise<Answer>;
}

export interface ProviderChanges {
  readonly settings?: Partial<AccountProviderSettings>;
  readonly legacyPlugin?: boolean;
  readonly certificates?: (log: Log) => Promise<ProviderCertificates>;
}

export const contosoAccount = { username: "ccg", password: "s3cret", domainName: "contoso.example" } as const;

export function secretYaml(values: Readonly<Record<string, string>>): string {
  const lines = Object.entries(values).map(([key, value]) => `  ${key}: ${JSON.stringify(value)}\n`);
  return `apiVersion: v1\nkind: Secret\nmetadata: {name: web-creds, namespace: contoso}\nstringData:\n${lines.join("")}`;
}

export async function startProvider(
  t: TestContext,
  changes: ProviderChanges = {},
): Promise<ProviderUnderTest> {
  const folder = temporaryFolder(t);
  const manifests = join(folder, "manifests");
  mkdirSync(manifests);
  const writeSecret = (values: Readonly<Record<string, string>>): void => {
    writeFileSync(join(manifests, ".secret.yaml.new"), secretYaml(values));
    renameSync(join(manifests, ".secret.yaml.new"), join(manifests, "secret.yaml"));
  };
  writeSecret(contosoAccount);
  const lines: string[] = [];
  const log = createLog({ level: "debug", sink: { write: (line) => void lines.push(line) } });
  const clock = systemClock;
  const source = createManifestFolderSource(manifests, { log, clock });
  const settings: AccountProviderSettings = {
    namespace: "contoso",
    source: { kind: "manifests", folder: manifests },
    secrets: ["web-creds"],
    hostDirectory: join(folder, "host"),
    legacyPlugin: changes.legacyPlugin ?? false,
    mutualTls: true,
    writeHostFiles: true,
    port: 0,
    operationsAddress: { host: "127.0.0.1", port: 0 },
    leafLifetimeMs: 3_600_000,
    drainMs: 1_000,
    watchSilenceMs: 75_000,
    logLevel: "debug",
    ...changes.settings,
  };
  const certificates = settings.mutualTls
    ? await (changes.certificates?.(log) ??
        createSelfManagedCertificates({
          namespace: "contoso",
          leafLifetimeMs: settings.leafLifetimeMs,
          legacyPlugin: settings.legacyPlugin,
          clock,
          log,
        }))
    : undefined;
  const store = createKubernetesSecretStore(source, { namespace: "contoso", names: settings.secrets });
  const provider = await startAccountProvider(
    settings,
    { store, certificates, windows: undefined, registry: createRegistry("test"), log, clock },
    AbortSignal.timeout(20_000),
  );
  t.after(async () => {
    await provider.stop();
    await store.close();
    await source.close();
  });
  return {
    provider,
    certificates,
    manifests,
    log: lines,
    writeSecret,
    async ask(options = {}) {
      const { hostDirectory } = provider;
      const [ca, cert, key] = await Promise.all(
        (["authorities", "clientCertificate", "clientKey"] as const).map((name) =>
          readFile(hostDirectory.file(name)),
        ),
      );
      return await answerTo(httpsRequest, {
        host: "127.0.0.1",
        servername: "localhost",
        port: provider.port,
        path: "/provider",
        agent: false,
        headers: { object: "web-creds" },
        ca,
        cert,
        key,
        ...options,
      });
    },
    operations: (path) => askOperations(provider, path),
  };
}

/** A request of the operations address. */
export function askOperations(provider: RunningAccountProvider, path: string): Promise<Answer> {
  const [, port] = provider.operationsAddresses[0]?.split(":") ?? [];
  return answerTo(httpRequest, { host: "127.0.0.1", port: Number(port), path, agent: false });
}

function answerTo(request: typeof httpsRequest, options: RequestOptions): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(options, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => (body += text));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
      );
      response.on("error", reject);
    });
    asked.on("error", reject);
    asked.end();
  });
}

/**
 * Starts and stops a control plane of a test's own: etcd, kube-apiserver and,
 * where asked for, kube-controller-manager. No kubelet: pods are admitted and
 * stay Pending.
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { BedUnavailable } from "../bed.ts";
import { GuardedProcess, runCommand } from "../guarded-process.ts";
import { ApiClient } from "./api-client.ts";
import { CertificateAuthority, createTokenSigner } from "./certificates.ts";
import type { Credential } from "./certificates.ts";
import { Cluster, administrator, writeKubeconfigFile } from "./cluster.ts";
import type { ClusterFacts } from "./cluster.ts";

export interface StartOptions {
  /** Appended to the API server's command line; one given twice wins over the bed's own. */
  readonly apiServerFlags?: readonly string[];
  /**
   * Whether kube-controller-manager runs: without it namespaces never finish
   * deleting, service accounts are not made, and Deployments make no pods.
   * Default: true.
   */
  readonly controllers?: boolean;
}

/**
 * Starts a control plane; ready when this resolves (three seconds or so).
 * Everything listens on 127.0.0.1. A Service's cluster IP is from 127.96.0.0/16,
 * so that a test can listen on it, and what the API server sends to a Service
 * stays on the machine. Rejects with the programs' logs when one does not start.
 */
export async function startCluster(options: StartOptions = {}): Promise<ControlPlane> {
  for (let attempt = 1; ; attempt += 1) {
    const processes = await prepareProcesses(options);
    try {
      await processes.start();
      return new ControlPlane(processes);
    } catch (cause) {
      await processes.kill();
      const logs = processes.logs();
      // Someone may take a free port between our choosing it and the program's listening there.
      if (attempt < 3 && logs.includes("address already in use")) continue;
      throw new Error(`the test cluster did not start: ${(cause as Error).message}\n${logs}`, { cause });
    }
  }
}

/** A cluster that this process started, and can stop and restart. */
export class ControlPlane extends Cluster {
  readonly #processes: Processes;

  constructor(processes: Processes) {
    super(processes.facts);
    this.#processes = processes;
  }

  /** The process ids of the control plane's programs. */
  get processIds(): readonly number[] {
    return this.#processes.running.map((process) => process.pid);
  }

  /** Stops the API server alone, as an upgrade does: its port refuses connections. */
  async stopApiServer(): Promise<void> {
    await this.#processes.stopApiServer();
  }

  /** Starts it again, on the same port and the same etcd; does nothing when it runs. */
  async startApiServer(): Promise<void> {
    await this.#processes.startApiServer();
  }

  /** Stops it and starts it again, with further flags from now on where some are given. */
  async restartApiServer(furtherFlags: readonly string[] = []): Promise<void> {
    this.#processes.furtherFlags.push(...furtherFlags);
    await this.stopApiServer();
    await this.startApiServer();
  }

  /** Ends everything and removes the state; the logs stay until the run is over. May be called twice. */
  async stop(): Promise<void> {
    this.close();
    await this.#processes.kill();
    for (const part of ["etcd", "pki", "identities", "home"]) {
      rmSync(join(this.directory, part), { recursive: true, force: true });
    }
  }
}

/** The three programs and what they need to find each other. */
class Processes {
  readonly facts: ClusterFacts;
  /** Flags that the API server was given later on. */
  readonly furtherFlags: string[] = [];
  readonly #options: StartOptions;
  readonly #ports: readonly [etcd: number, etcdPeer: number, apiServer: number, controllers: number];
  readonly #probe: ApiClient;
  #etcd: GuardedProcess | undefined;
  #apiServer: GuardedProcess | undefined;
  #controllers: GuardedProcess | undefined;

  constructor(
    facts: ClusterFacts,
    options: StartOptions,
    ports: readonly [number, number, number, number],
    probe: ApiClient,
  ) {
    this.facts = facts;
    this.#options = options;
    this.#ports = ports;
    this.#probe = probe;
  }

  get running(): readonly GuardedProcess[] {
    return [this.#controllers, this.#apiServer, this.#etcd].filter(
      (process) => process !== undefined && process.exit === undefined,
    ) as readonly GuardedProcess[];
  }

  async start(): Promise<void> {
    await this.#startEtcd();
    await this.startApiServer();
    if (this.#options.controllers !== false) await this.#startControllers();
  }

  async startApiServer(): Promise<void> {
    if (this.#apiServer !== undefined && this.#apiServer.exit === undefined) return;
    const [etcd, , port] = this.#ports;
    const pki = join(this.facts.directory, "pki");
    this.#apiServer = this.#spawn("kube-apiserver", [
      `--etcd-servers=http://127.0.0.1:${String(etcd)}`,
      "--bind-address=127.0.0.1",
      `--secure-port=${String(port)}`,
      "--advertise-address=127.0.0.1",
      "--endpoint-reconciler-type=none",
      "--service-cluster-ip-range=127.96.0.0/16",
      `--tls-cert-file=${pki}/apiserver.crt`,
      `--tls-private-key-file=${pki}/apiserver.key`,
      `--client-ca-file=${pki}/ca.crt`,
      `--service-account-issuer=${this.facts.server}`,
      `--service-account-jwks-uri=${this.facts.server}/openid/v1/jwks`,
      `--service-account-key-file=${pki}/service-accounts.pub`,
      `--service-account-signing-key-file=${pki}/service-accounts.key`,
      "--authorization-mode=RBAC",
      "--allow-privileged=true",
      `--cert-dir=${pki}`,
      "--profiling=false",
      // Nobody makes service accounts without the controllers, and this plugin wants one for each pod.
      ...(this.#options.controllers === false ? ["--disable-admission-plugins=ServiceAccount"] : []),
      ...(this.#options.apiServerFlags ?? []),
      ...this.furtherFlags,
    ]);
    await this.#until(this.#apiServer, async () => (await this.#get("/readyz")) === 200);
  }

  async stopApiServer(): Promise<void> {
    await this.#apiServer?.stop("SIGTERM", 5_000);
  }

  /** Nothing here is worth an orderly end: the state is thrown away. */
  async kill(): Promise<void> {
    this.#probe.close();
    await Promise.all(this.running.map((process) => process.stop("SIGKILL")));
  }

  logs(): string {
    return [this.#etcd, this.#apiServer, this.#controllers]
      .filter((process) => process !== undefined)
      .map((process) => `--- ${process.logFile}\n${process.tail()}`)
      .join("\n");
  }

  async #startEtcd(): Promise<void> {
    const [client, peer] = this.#ports;
    const help = await runCommand(join(this.facts.assets, "etcd"), ["--help"]);
    // Nothing has to survive a power cut.
    const fast = `${help.stdout}${help.stderr}`.includes("--unsafe-no-fsync") ? ["--unsafe-no-fsync"] : [];
    const peerUrl = `http://127.0.0.1:${String(peer)}`;
    const clientUrl = `http://127.0.0.1:${String(client)}`;
    this.#etcd = this.#spawn("etcd", [
      "--name=e2e",
      `--data-dir=${join(this.facts.directory, "etcd")}`,
      `--listen-client-urls=${clientUrl}`,
      `--advertise-client-urls=${clientUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=e2e=${peerUrl}`,
      "--log-level=warn",
      ...fast,
    ]);
    await this.#until(this.#etcd, async () => (await fetch(`${clientUrl}/health`)).ok);
  }

  async #startControllers(): Promise<void> {
    const pki = join(this.facts.directory, "pki");
    this.#controllers = this.#spawn("kube-controller-manager", [
      `--kubeconfig=${pki}/controllers.kubeconfig`,
      "--bind-address=127.0.0.1",
      `--secure-port=${String(this.#ports[3])}`,
      `--cert-dir=${pki}`,
      "--leader-elect=false",
      "--use-service-account-credentials=true",
      `--service-account-private-key-file=${pki}/service-accounts.key`,
      `--root-ca-file=${pki}/ca.crt`,
      `--cluster-signing-cert-file=${pki}/ca.crt`,
      `--cluster-signing-key-file=${pki}/ca.key`,
      `--controllers=${controllers.join(",")}`,
    ]);
    await this.#until(
      this.#controllers,
      async () => (await this.#get("/api/v1/namespaces/default/serviceaccounts/default")) === 200,
    );
  }

  #spawn(
    program: "etcd" | "kube-apiserver" | "kube-controller-manager",
    args: readonly string[],
  ): GuardedProcess {
    return new GuardedProcess(join(this.facts.assets, program), args, {
      logFile: join(this.facts.directory, "logs", `${program}.log`),
    });
  }

  async #get(path: string): Promise<number> {
    return (await this.#probe.request("GET", path, undefined, undefined, 5_000)).status;
  }

  async #until(process: GuardedProcess, ready: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 90_000;
    while (!(await ready().catch(() => false))) {
      if (process.exit !== undefined) {
        throw new Error(`${process.name} ended by itself (${JSON.stringify(process.exit)})`);
      }
      if (Date.now() > deadline) throw new Error(`${process.name} was not ready after 90 s`);
      await sleep(50);
    }
  }
}

/** Those that a chart, a service account or a namespace of a test depends on. */
const controllers: readonly string[] = [
  "serviceaccount-controller",
  "serviceaccount-token-controller",
  "root-ca-certificate-publisher-controller",
  "namespace-controller",
  "garbage-collector-controller",
  "clusterrole-aggregation-controller",
  "certificatesigningrequest-signing-controller",
  "certificatesigningrequest-approving-controller",
  "deployment-controller",
  "replicaset-controller",
  "daemonset-controller",
  "job-controller",
];

async function prepareProcesses(options: StartOptions): Promise<Processes> {
  const assets = process.env["SALLYPORT_E2E_KUBERNETES_ASSETS"];
  const runDirectory = process.env["SALLYPORT_E2E_RUN_DIRECTORY"];
  if (assets === undefined || runDirectory === undefined) {
    throw new BedUnavailable(
      'The suites need what the runner prepares: start them with "npm run e2e -- <suite>".',
    );
  }
  const directory = mkdtempSync(join(runDirectory, "cluster-"));
  const ports = await freePorts();
  const facts: ClusterFacts = { directory, assets, server: `https://127.0.0.1:${String(ports[2])}` };
  mkdirSync(join(directory, "etcd"), { mode: 0o700 });
  const admin = await writeCertificates(facts);
  const probe = new ApiClient({
    server: facts.server,
    authority: admin.authority,
    credential: admin.credential,
  });
  return new Processes(facts, options, ports, probe);
}

async function writeCertificates(
  facts: ClusterFacts,
): Promise<{ readonly authority: string; readonly credential: Credential }> {
  const pki = join(facts.directory, "pki");
  mkdirSync(pki, { mode: 0o700 });
  const write = (file: string, content: string): void => {
    writeFileSync(join(pki, file), content, { mode: 0o600 });
  };
  const writeCredential = (name: string, credential: Credential): void => {
    write(`${name}.crt`, credential.certificate);
    write(`${name}.key`, credential.key);
  };

  const authority = await CertificateAuthority.create(pki);
  writeCredential(
    "apiserver",
    await authority.issueServer("kube-apiserver", [
      "IP:127.0.0.1",
      "IP:127.96.0.1",
      "DNS:localhost",
      "DNS:kubernetes.default.svc",
    ]),
  );
  const admin = await authority.issueClient(administrator.user, administrator.groups);
  writeCredential("admin", admin);
  const signer = createTokenSigner();
  write("service-accounts.key", signer.privateKey);
  write("service-accounts.pub", signer.publicKey);

  const controllerManager = await authority.issueClient("system:kube-controller-manager");
  writeCredential("controllers", controllerManager);
  writeKubeconfigFile(join(pki, "controllers.kubeconfig"), {
    server: facts.server,
    authority: authority.certificate,
    namespace: "default",
    user: { "client-certificate": join(pki, "controllers.crt"), "client-key": join(pki, "controllers.key") },
  });
  return { authority: authority.certificate, credential: admin };
}

/** Four free ports of 127.0.0.1, held open together while they are chosen. */
async function freePorts(): Promise<readonly [number, number, number, number]> {
  const hold = async (): Promise<{ readonly port: number; readonly release: () => Promise<void> }> => {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    return {
      port: (server.address() as AddressInfo).port,
      release: () =>
        new Promise((resolve) =>
          server.close(() => {
            resolve();
          }),
        ),
    };
  };
  const held = [await hold(), await hold(), await hold(), await hold()] as const;
  await Promise.all(held.map(({ release }) => release()));
  const [a, b, c, d] = held;
  return [a.port, b.port, c.port, d.port];
}

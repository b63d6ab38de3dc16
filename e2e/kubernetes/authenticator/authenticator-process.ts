/**
 * The authenticator as it runs on a control-plane node: a process of its own, its state directory, and the kubeconfig
 * that `init` makes for kube-apiserver before either of them runs.
 * @module
 */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "node:tls";

import { GuardedProcess, runCommand, type CommandResult } from "../../guarded-process.ts";

export const program = join(import.meta.dirname, "../../../src/main.ts");

export const clusterId = "c0123456789abcdef0123456789abcdef";

/** The folder of an authenticator before there is a cluster. */
export class AuthenticatorHost {
  readonly directory: string;
  readonly port: number;
  /** What `--authentication-token-webhook-config-file` names. */
  readonly webhookKubeconfig: string;
  #process: GuardedProcess | undefined;

  private constructor(directory: string, port: number) {
    this.directory = directory;
    this.port = port;
    this.webhookKubeconfig = join(directory, "webhook", "kubeconfig.yaml");
  }

  /** Makes certificate and kubeconfig for a port that was free a moment ago. */
  static async prepare(server: Readonly<Record<string, unknown>>): Promise<AuthenticatorHost> {
    const directory = mkdtempSync(
      join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "authenticator-"),
    );
    const host = new AuthenticatorHost(directory, await freePort());
    host.writeConfig(server);
    await host.init();
    return host;
  }

  get config(): string {
    return join(this.directory, "config.yaml");
  }

  get state(): string {
    return join(this.directory, "state");
  }

  writeConfig(server: Readonly<Record<string, unknown>>): void {
    // JSON is YAML.
    writeFileSync(
      this.config,
      JSON.stringify({ clusterID: clusterId, server: { port: this.port, ...server } }),
    );
  }

  /** `sallyport authenticator init`, as the init container runs it. */
  async init(): Promise<string> {
    mkdirSync(this.state, { recursive: true });
    const { stdout } = await this.sallyport([
      "authenticator",
      "init",
      `--config=${this.config}`,
      `--directory=${this.state}`,
      `--kubeconfig=${this.webhookKubeconfig}`,
    ]);
    return stdout;
  }

  async sallyport(args: readonly string[]): Promise<CommandResult> {
    const result = await runCommand(process.execPath, [program, ...args], {
      environment: { ALIBABA_CLOUD_ECS_METADATA_DISABLED: "true" },
    });
    if (result.code !== 0) throw new Error(`sallyport ${args.join(" ")}: ${result.stderr}`);
    return result;
  }

  /** Starts the server; resolves once it answers that it is ready. */
  async start(kubeconfig: string, further: readonly string[] = []): Promise<void> {
    this.#process = new GuardedProcess(
      process.execPath,
      [
        program,
        "authenticator",
        "server",
        `--config=${this.config}`,
        `--state-dir=${this.state}`,
        `--kubeconfig=${kubeconfig}`,
        "--kubeconfig-pregenerated",
        "--operations-address=",
        "--log-level=debug",
        ...further,
      ],
      { logFile: join(this.directory, "authenticator.log") },
    );
    const deadline = Date.now() + 20_000;
    while (!this.log.includes('"service.ready"')) {
      if (this.#process.exit !== undefined || Date.now() > deadline) {
        throw new Error(`the authenticator did not start:\n${this.#process.tail(30)}`);
      }
      await sleep(20);
    }
  }

  /** SIGTERM; resolves to the exit code. */
  stop(): Promise<number | null> {
    return this.#end("SIGTERM");
  }

  /** As a node's failure ends it. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async #end(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return null;
    const { code } = await child.stop(signal);
    // A restarted one writes the same file: what was ready before must not count again.
    writeFileSync(child.logFile, "");
    return code;
  }

  get log(): string {
    return this.#process === undefined ? "" : readFileSync(this.#process.logFile, "utf8");
  }

  /** SHA-256 fingerprint of the certificate that the server shows now. */
  servedFingerprint(): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = connect(
        {
          host: "127.0.0.1",
          port: this.port,
          servername: "localhost",
          ca: readFileSync(join(this.state, "ca.pem")),
        },
        () => {
          resolve(socket.getPeerCertificate().fingerprint256);
          socket.end();
        },
      );
      socket.once("error", reject);
    });
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => {
        resolve(port);
      });
    });
  });
}

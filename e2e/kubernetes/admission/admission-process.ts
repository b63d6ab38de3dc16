/**
 * The webhook as it runs in a pod: a process of its own with a mounted certificate, reached by the API server.
 * @module
 */
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import type { CertificateAuthority } from "../../../src/pki/authority.ts";
import { GuardedProcess } from "../../guarded-process.ts";

const program = join(import.meta.dirname, "../../../src/main.ts");

/** A secret volume: files that are links through `..data`, which is swapped. */
export class SecretVolume {
  readonly directory: string;
  readonly #authority: CertificateAuthority;
  #generation = 0;

  constructor(directory: string, authority: CertificateAuthority) {
    this.directory = directory;
    this.#authority = authority;
    mkdirSync(directory, { recursive: true });
  }

  /** Puts a new certificate in, as the kubelet does. */
  async rotate(): Promise<void> {
    const issued = await this.#authority.issue({
      commonName: "gmsa-webhook",
      ipAddresses: ["127.0.0.1"],
      usage: "server",
      keyType: "ec-p256",
      lifetimeMs: 24 * 3_600_000,
    });
    const data = `..generation-${++this.#generation}`;
    mkdirSync(join(this.directory, data));
    writeFileSync(join(this.directory, data, "crt"), issued.chainPem);
    writeFileSync(join(this.directory, data, "key"), issued.privateKeyPem.reveal(), { mode: 0o600 });
    symlinkSync(data, join(this.directory, "..data_tmp"));
    renameSync(join(this.directory, "..data_tmp"), join(this.directory, "..data"));
    if (this.#generation > 1) return;
    for (const name of ["crt", "key"]) symlinkSync(`..data/${name}`, join(this.directory, name));
  }
}

export interface AdmissionProcessOptions {
  readonly kubeconfig: string;
  /** Mounted certificates; absent where the flags say where to get them. */
  readonly volume?: SecretVolume;
  readonly directory: string;
  readonly flags: readonly string[];
}

/** A running `sallyport admission run`. */
export class AdmissionProcess {
  readonly port: number;
  readonly #operationsPort: number;
  readonly #process: GuardedProcess;

  private constructor(child: GuardedProcess, port: number, operationsPort: number) {
    this.#process = child;
    this.port = port;
    this.#operationsPort = operationsPort;
  }

  /** Resolves when it says that it is ready. */
  static async start(options: AdmissionProcessOptions): Promise<AdmissionProcess> {
    const started = await AdmissionProcess.launch(options);
    await started.untilReady();
    return started;
  }

  /** Resolves at once. */
  static async launch(options: AdmissionProcessOptions): Promise<AdmissionProcess> {
    const [port, operationsPort] = [await freePort(), await freePort()];
    const child = new GuardedProcess(
      process.execPath,
      [
        program,
        "admission",
        "run",
        "--host=127.0.0.1",
        `--port=${port}`,
        `--operations-address=127.0.0.1:${operationsPort}`,
        ...(options.volume === undefined
          ? []
          : [
              `--tls-crt=${join(options.volume.directory, "crt")}`,
              `--tls-key=${join(options.volume.directory, "key")}`,
            ]),
        `--kubeconfig=${options.kubeconfig}`,
        ...options.flags,
      ],
      { logFile: join(options.directory, `admission-${port}.log`) },
    );
    return new AdmissionProcess(child, port, operationsPort);
  }

  async untilReady(): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (!(await this.isReady())) {
      if (performance.now() > deadline) throw new Error(`the webhook is not ready:\n${this.log()}`);
      await sleep(50);
    }
  }

  /** What its metrics say of access reviews and the like. */
  async metrics(): Promise<string> {
    return await (await fetch(`http://127.0.0.1:${this.#operationsPort}/metrics`)).text();
  }

  log(lines?: number): string {
    return this.#process.tail(lines);
  }

  terminate(): void {
    this.#process.signal("SIGTERM");
  }

  async stop(): Promise<void> {
    await this.#process.stop();
  }

  /** As a node's failure ends it. */
  async kill(): Promise<void> {
    await this.#process.stop("SIGKILL");
  }

  async isReady(): Promise<boolean> {
    return await fetch(`http://127.0.0.1:${this.#operationsPort}/readyz`).then(
      (answer) => answer.ok,
      () => false,
    );
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

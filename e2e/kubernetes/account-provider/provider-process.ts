/**
 * The account provider as it runs on a Windows host, and the plugin's way of
 * asking it: a process of its own that shares nothing with the test but a
 * kubeconfig and a host directory.
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { IncomingMessage } from "node:http";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { GuardedProcess } from "../../guarded-process.ts";
import type { Cluster } from "../cluster.ts";

const program = join(import.meta.dirname, "../../../src/main.ts");

export interface ProviderOptions {
  readonly kubeconfig: string;
  readonly namespace: string;
  /** The one secret it serves. */
  readonly secret: string;
  /** Further flags. */
  readonly flags?: readonly string[];
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A running `sallyport account-provider run`. */
export class ProviderProcess {
  readonly hostDirectory: string;
  readonly #process: GuardedProcess;
  readonly #options: ProviderOptions;

  private constructor(process: GuardedProcess, hostDirectory: string, options: ProviderOptions) {
    this.#process = process;
    this.hostDirectory = hostDirectory;
    this.#options = options;
  }

  /** Starts it; it is stopped after the test, and its log is quoted when the test fails. */
  static start(t: TestContext, cluster: Cluster, options: ProviderOptions): ProviderProcess {
    const hostDirectory = join(cluster.directory, "hosts", options.namespace);
    mkdirSync(hostDirectory, { recursive: true });
    const child = new GuardedProcess(
      process.execPath,
      [
        program,
        "account-provider",
        "run",
        `--kubeconfig=${options.kubeconfig}`,
        `--namespace=${options.namespace}`,
        `--secret=${options.secret}`,
        `--host-dir=${hostDirectory}`,
        "--operations-address=127.0.0.1:0",
        "--log-level=debug",
        ...(options.flags ?? []),
      ],
      { logFile: join(cluster.directory, "logs/account-providers", `${options.namespace}.log`) },
    );
    const provider = new ProviderProcess(child, hostDirectory, options);
    t.after(async () => {
      if (!t.passed) t.diagnostic(`--- ${child.logFile}\n${child.tail(40)}`);
      await child.stop();
    });
    return provider;
  }

  /** Resolves once the plugin could find it: the port file is written last. */
  async published(): Promise<void> {
    await this.#until("wrote no port.txt", () => existsSync(join(this.hostDirectory, "port.txt")));
  }

  /** What a plugin on this host gets for a secret's name: a new connection, mutual TLS, the `object` header. */
  async ask(object: string = this.#options.secret): Promise<Answer> {
    const file = (name: string): Buffer => readFileSync(join(this.hostDirectory, name));
    const pair = (): { readonly cert: Buffer; readonly key: Buffer } => ({
      cert: file("ssl/client/tls.crt"),
      key: file("ssl/client/tls.key"),
    });
    let { cert, key } = pair();
    // Two files are never replaced at one moment: the plugin, too, reads them again until they belong together.
    for (let again = 0; again < 5; again++) {
      if (new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) break;
      await sleep(20);
      ({ cert, key } = pair());
    }
    return new Promise((resolve, reject) => {
      const outgoing = httpsRequest(
        {
          host: "localhost",
          port: Number(file("port.txt").toString("latin1")),
          path: "/provider",
          headers: { object },
          agent: false,
          ca: file("ssl/ca/ca.crt"),
          cert,
          key,
          timeout: 5_000,
        },
        (response) => {
          collect(response).then(resolve, reject);
        },
      )
        .once("error", reject)
        .once("timeout", () => {
          outgoing.destroy(new Error("the account provider did not answer within 5 s"));
        });
      outgoing.end();
    });
  }

  /** The password it answers with, or the status where it answers with none. */
  async password(): Promise<string> {
    const { status, body } = await this.ask();
    return status === 200 ? (JSON.parse(body) as { readonly password: string }).password : String(status);
  }

  /**
   * Asks over and over until the password is this one; resolves to how many
   * milliseconds that took, and rejects after `withinMs`. Any other answer than
   * `before` on the way is a failure: the last good secret must stay in use.
   */
  async untilPassword(wanted: string, before: string, withinMs: number): Promise<number> {
    const began = performance.now();
    for (;;) {
      const password = await this.password();
      const passed = performance.now() - began;
      if (password === wanted) return passed;
      if (password !== before)
        throw new Error(`the account provider answered "${password}" instead of "${before}"`);
      if (passed > withinMs) {
        throw new Error(`the account provider still answers "${password}" after ${passed.toFixed(0)} ms`);
      }
      await sleep(20);
    }
  }

  /** `/readyz`, `/metrics` and their like, on the operations address. */
  async operations(path: string): Promise<Answer> {
    const address = await this.#operationsAddress();
    return new Promise((resolve, reject) => {
      httpRequest(`http://${address}${path}`, { agent: false }, (response) => {
        collect(response).then(resolve, reject);
      })
        .once("error", reject)
        .end();
    });
  }

  /** Asks `/readyz` until it says so; resolves to what it said. */
  async untilReadiness(wanted: RegExp, withinMs: number): Promise<Answer> {
    const deadline = Date.now() + withinMs;
    for (;;) {
      const answer = await this.operations("/readyz");
      if (wanted.test(answer.body)) return answer;
      if (Date.now() > deadline)
        throw new Error(`after ${String(withinMs)} ms /readyz says:\n${answer.body}`);
      await sleep(50);
    }
  }

  /** SIGTERM; resolves to the exit code. */
  async stop(): Promise<number | null> {
    return (await this.#process.stop()).code;
  }

  /** As a node's failure ends it: the files stay. */
  async kill(): Promise<void> {
    await this.#process.stop("SIGKILL");
  }

  /** Resolves once it answers with a password, whatever files an earlier one left. */
  async answering(): Promise<void> {
    const deadline = Date.now() + 20_000;
    while (
      !(await this.ask().then(
        ({ status }) => status === 200,
        () => false,
      ))
    ) {
      if (this.#process.exit !== undefined || Date.now() > deadline) {
        throw new Error(`the account provider does not answer:\n${this.#process.tail()}`);
      }
      await sleep(20);
    }
  }

  get log(): string {
    return readFileSync(this.#process.logFile, "utf8");
  }

  async #operationsAddress(): Promise<string> {
    let address: string | undefined;
    await this.#until("opened no operations address", () => {
      address = this.log
        .split("\n")
        .filter((line) => line.includes('"service.listening"') && line.includes('"operations"'))
        .map((line) => (JSON.parse(line) as { readonly addresses: readonly string[] }).addresses[0])
        .at(-1);
      return address !== undefined;
    });
    return address ?? "";
  }

  async #until(failure: string, condition: () => boolean): Promise<void> {
    const deadline = Date.now() + 20_000;
    while (!condition()) {
      if (this.#process.exit !== undefined || Date.now() > deadline) {
        throw new Error(`the account provider ${failure}:\n${this.#process.tail()}`);
      }
      await sleep(20);
    }
  }
}

async function collect(response: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString("utf8") };
}

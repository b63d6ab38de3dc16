/**
 * A disposable Docker engine: the real `dockerd` in network, mount and process namespaces of its own, with all its files in
 * a folder of the run. Its network is a loopback that nobody else has; the host's firewall, interfaces and `/var/lib/docker`
 * are not touched. When the process that started it dies, the whole process namespace goes.
 * @module
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as readText } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { createTestAuthority, type TestAuthority } from "../../test/fixtures/test-authority.ts";
import { GuardedProcess } from "../guarded-process.ts";

/** In its own network namespace. */
export const tlsAddress = "tcp://127.0.0.1:2376";

export interface ApiAnswer {
  readonly status: number;
  /** The JSON, or the text where it is none. */
  // eslint-disable-next-line typescript/no-explicit-any -- whatever the engine says; assertions look at it
  readonly value: any;
  readonly text: string;
}

export class DockerHost {
  /** Holds everything that the engine writes. */
  readonly folder: string;
  readonly socket: string;
  /** ca.pem, cert.pem and key.pem of a client that the engine trusts. */
  readonly clientFolder: string;
  readonly authority: TestAuthority;
  #daemon: GuardedProcess | undefined;

  static async start(): Promise<DockerHost> {
    // Short: the path of a socket has at most 107 bytes.
    const folder = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "docker-"));
    const host = new DockerHost(folder, await createTestAuthority("engine authority"));
    await host.#makeCertificates();
    await host.up();
    return host;
  }

  private constructor(folder: string, authority: TestAuthority) {
    this.folder = folder;
    this.authority = authority;
    this.socket = join(folder, "engine.sock");
    this.clientFolder = join(folder, "client");
  }

  /** Starts the daemon on the data that are there, and waits until it answers. */
  async up(): Promise<void> {
    const at = (name: string): string => join(this.folder, name);
    const log = at("dockerd.log");
    // What a killed one leaves: process ids that mean other processes in the next namespace.
    for (const name of ["pid", "exec"]) rmSync(at(name), { recursive: true, force: true });
    const words = [
      ...["--data-root", at("data"), "--exec-root", at("exec"), "--pidfile", at("pid")],
      ...["--config-file", at("daemon.json"), "--host", `unix://${this.socket}`, "--host", tlsAddress],
      ...["--tlsverify", "--tlscacert", at("server/ca.pem")],
      ...["--tlscert", at("server/cert.pem"), "--tlskey", at("server/key.pem")],
      ...["--storage-driver", "vfs", "--iptables=false", "--ip6tables=false", "--bridge=none"],
    ];
    const daemon = new GuardedProcess(
      "unshare",
      [
        ...["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--"],
        ...["sh", "-c", 'ip link set lo up && exec dockerd "$@"', "dockerd", ...words],
      ],
      { logFile: log, environment: { DOCKER_HOST: undefined, HOME: this.folder } },
    );
    this.#daemon = daemon;
    for (let attempt = 0; attempt < 600; attempt++) {
      if (daemon.exit !== undefined) throw new Error(`dockerd ended:\n${daemon.tail()}`);
      const answer = await this.api("GET", "/info").catch(() => undefined);
      const swarm = answer?.value.Swarm?.LocalNodeState;
      // A manager that comes back takes a moment to become one again.
      if (swarm === "inactive") return;
      if (swarm === "active" && answer?.value.Swarm.ControlAvailable === true) {
        if ((await this.api("GET", "/services")).status === 200) return;
      }
      await sleep(50);
    }
    throw new Error(`dockerd is not ready after 30 s:\n${daemon.tail()}`);
  }

  /** Ends the daemon and everything in its namespaces. */
  async down(): Promise<void> {
    // At once: the namespace's init takes everything with it. Raft has to survive that anyway.
    await this.#daemon?.stop("SIGKILL");
  }

  /** Makes it a Swarm of one manager. */
  async initSwarm(): Promise<void> {
    const answer = await this.api("POST", "/swarm/init", {
      ListenAddr: "127.0.0.1:2377",
      AdvertiseAddr: "127.0.0.1",
    });
    if (answer.status !== 200) throw new Error(`no Swarm: ${JSON.stringify(answer.value)}`);
  }

  /** The words that run a command inside its network. */
  inside(): readonly string[] {
    return ["nsenter", `--net=/proc/${this.#daemon?.pid}/ns/net`, "--"];
  }

  /** Asks the engine itself, past the code under test. */
  async api(method: string, path: string, body?: unknown): Promise<ApiAnswer> {
    const ready = body === undefined || typeof body === "string" || Buffer.isBuffer(body);
    const bytes = ready ? body : JSON.stringify(body);
    return await new Promise((resolve, reject) => {
      const outgoing = request(
        {
          socketPath: this.socket,
          method,
          path: `/v1.41${path}`,
          headers: {
            host: "engine",
            "content-type": Buffer.isBuffer(body) ? "application/x-tar" : "application/json",
          },
          timeout: 20_000,
          agent: false,
        },
        (response) => {
          readText(response).then((text) => {
            let value: unknown = text;
            try {
              value = JSON.parse(text);
            } catch {
              // Not every answer is one JSON value.
            }
            resolve({ status: response.statusCode ?? 0, value, text });
          }, reject);
        },
      );
      outgoing.on("timeout", () => outgoing.destroy(new Error("the engine does not answer")));
      outgoing.on("error", reject);
      outgoing.end(bytes);
    });
  }

  async #makeCertificates(): Promise<void> {
    const server = await this.authority.server();
    const client = await this.authority.client();
    for (const [name, identity] of [
      ["server", server],
      ["client", client],
    ] as const) {
      const folder = join(this.folder, name);
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "ca.pem"), this.authority.certificatePem);
      writeFileSync(join(folder, "cert.pem"), identity.certificatePem);
      writeFileSync(join(folder, "key.pem"), identity.privateKeyPem, { mode: 0o600 });
    }
    writeFileSync(join(this.folder, "daemon.json"), "{}");
  }
}

/**
 * A running cluster as a test uses it: identities and their kubeconfigs,
 * kubectl and Helm, manifests, waiting by watching, a namespace per test.
 * Knows only the cluster's state folder, so that several processes can use one
 * cluster; starting and stopping it is `control-plane.ts`.
 * @module
 */
import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { runCommand, tail } from "../guarded-process.ts";
import type { CommandResult } from "../guarded-process.ts";
import { ApiClient } from "./api-client.ts";
import type { KubernetesObject } from "./api-client.ts";
import type { Program } from "./assets.ts";
import { CertificateAuthority } from "./certificates.ts";
import type { Credential } from "./certificates.ts";

/** Who asks: a user with groups (by client certificate), or a service account (by token). */
export type Identity =
  | { readonly user: string; readonly groups?: readonly string[] }
  | { readonly serviceAccount: string; readonly namespace: string };

/** The administrator, whom RBAC lets do everything. */
export const administrator = { user: "admin", groups: ["system:masters"] } as const satisfies Identity;

export interface KubeconfigOptions {
  /** Another address than the API server's own, such as a proxy's. Default: the API server. */
  readonly server?: string;
  /** The context's namespace. Default: a service account's own, or `default`. */
  readonly namespace?: string;
}

export interface ToolOptions {
  /** Whom the command acts for. Default: the administrator. */
  readonly as?: Identity;
  /** A kubeconfig file, instead of `as`. */
  readonly kubeconfig?: string;
  readonly stdin?: string;
  readonly timeoutMs?: number;
  /** Hand back a failed command instead of throwing. */
  readonly allowFailure?: boolean;
}

/** What a pod would find mounted, and the means to renew it. */
export interface MountedServiceAccount {
  /** Names the token file, as the kubelet's own credentials do. */
  readonly kubeconfig: string;
  readonly tokenFile: string;
  /** The token that lies in the file at this moment. */
  readonly token: () => string;
  /**
   * Puts a new token into the file and takes back the old one: the API server
   * refuses that when this resolves (it remembers good tokens for ten seconds,
   * so this takes as long).
   */
  readonly rotate: () => Promise<void>;
}

/** Thrown when a condition was not met in time; carries the last state seen and the cluster's logs. */
export class ConditionNotMet extends Error {
  override readonly name = "ConditionNotMet";
}

/** What the control plane's programs write although nothing is the matter. */
const routine = /^I\d{4} |^raft|Skipping API|^\S+ \S+ I \|/u;

export interface ClusterFacts {
  readonly directory: string;
  readonly assets: string;
  /** Such as `https://127.0.0.1:40123`. */
  readonly server: string;
}

/** Handle on a running cluster. `close` lets go of it, without stopping it. */
export class Cluster {
  readonly directory: string;
  readonly server: string;
  /** The certificate of the authority that signed the API server's, PEM. */
  readonly authority: string;
  /** The API as the administrator. */
  readonly admin: ApiClient;
  protected readonly assets: string;
  readonly #authority: CertificateAuthority;
  readonly #kubeconfigs = new Map<string, Promise<string>>();
  readonly #clients: ApiClient[] = [];

  constructor(facts: ClusterFacts) {
    this.directory = facts.directory;
    this.server = facts.server;
    this.assets = facts.assets;
    this.#authority = new CertificateAuthority(join(facts.directory, "pki"));
    this.authority = this.#authority.certificate;
    this.admin = this.#remember(
      new ApiClient({
        server: facts.server,
        authority: this.authority,
        credential: {
          certificate: readFileSync(join(facts.directory, "pki/admin.crt"), "utf8"),
          key: readFileSync(join(facts.directory, "pki/admin.key"), "utf8"),
        },
      }),
    );
  }

  /** The path of one of the bed's programs. */
  program(name: Program): string {
    return join(this.assets, name);
  }

  /** A kubeconfig file for an identity; the same question gets the same file. */
  kubeconfig(identity: Identity = administrator, options: KubeconfigOptions = {}): Promise<string> {
    const key = JSON.stringify([identity, options]);
    const known = this.#kubeconfigs.get(key);
    if (known !== undefined) return known;
    const made = this.#writeKubeconfig(identity, options);
    this.#kubeconfigs.set(key, made);
    return made;
  }

  /** The API as this identity. */
  async client(identity: Identity): Promise<ApiClient> {
    const base = { server: this.server, authority: this.authority };
    if ("user" in identity) {
      const credential = await this.#authority.issueClient(identity.user, identity.groups);
      return this.#remember(new ApiClient({ ...base, credential }));
    }
    return this.clientWithToken(await this.token(identity.namespace, identity.serviceAccount));
  }

  /** The API as whoever the bearer token belongs to. */
  clientWithToken(token: string): ApiClient {
    return this.#remember(new ApiClient({ server: this.server, authority: this.authority, token }));
  }

  /** A token of the service account (TokenRequest), bound to a secret where one is named. */
  async token(namespace: string, serviceAccount: string, boundSecret?: string): Promise<string> {
    const answer = await this.admin.expect(
      "POST",
      `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccount}/token`,
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: {
          expirationSeconds: 3600,
          ...(boundSecret !== undefined && {
            boundObjectRef: { apiVersion: "v1", kind: "Secret", name: boundSecret },
          }),
        },
      },
    );
    return answer.status.token as string;
  }

  /** A service account's credentials as files, whose token can be rotated. */
  async mountServiceAccount(
    namespace: string,
    serviceAccount: string,
    options: KubeconfigOptions = {},
  ): Promise<MountedServiceAccount> {
    const folder = this.#newFolder(`${serviceAccount}-mount`);
    const tokenFile = join(folder, "token");
    let generation = 0;
    // A token dies at once with the object it is bound to, which is how one is taken back.
    const binding = (): string => `${serviceAccount}-token-${String(generation)}`;
    const renew = async (): Promise<void> => {
      generation += 1;
      await this.admin.expect("POST", `/api/v1/namespaces/${namespace}/secrets`, {
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: binding() },
      });
      writeFileSync(`${tokenFile}.new`, await this.token(namespace, serviceAccount, binding()), {
        mode: 0o600,
      });
      renameSync(`${tokenFile}.new`, tokenFile);
    };
    await renew();
    const kubeconfig = join(folder, "kubeconfig");
    writeKubeconfigFile(kubeconfig, {
      server: options.server ?? this.server,
      authority: this.authority,
      namespace: options.namespace ?? namespace,
      user: { tokenFile },
    });
    const token = (): string => readFileSync(tokenFile, "utf8");
    return {
      kubeconfig,
      tokenFile,
      token,
      rotate: async () => {
        const old = this.clientWithToken(token());
        const oldBinding = binding();
        await renew();
        await this.admin.expect("DELETE", `/api/v1/namespaces/${namespace}/secrets/${oldBinding}`);
        const deadline = Date.now() + 30_000;
        while ((await old.request("GET", "/api")).status !== 401) {
          if (Date.now() > deadline) throw new ConditionNotMet("the old token is still good");
          await sleep(200);
        }
      },
    };
  }

  /** What a process shows that listens on the cluster IP of this Service. */
  serviceCertificate(namespace: string, service: string): Promise<Credential> {
    const name = `${service}.${namespace}.svc`;
    return this.#authority.issueServer(name, [`DNS:${name}`]);
  }

  /** Runs kubectl; throws what it printed unless it succeeded or failure is allowed. */
  kubectl(args: readonly string[], options: ToolOptions = {}): Promise<CommandResult> {
    return this.#tool("kubectl", args, options);
  }

  /** Runs Helm 3; as {@link kubectl}. */
  helm3(args: readonly string[], options: ToolOptions = {}): Promise<CommandResult> {
    return this.#tool("helm3", args, options);
  }

  /** Runs Helm 4; as {@link kubectl}. */
  helm4(args: readonly string[], options: ToolOptions = {}): Promise<CommandResult> {
    return this.#tool("helm4", args, options);
  }

  /** Applies YAML, or objects, server-side. */
  async apply(
    manifests: string | readonly KubernetesObject[],
    options: { readonly namespace?: string; readonly as?: Identity } = {},
  ): Promise<void> {
    const stdin =
      typeof manifests === "string"
        ? manifests
        : JSON.stringify({ apiVersion: "v1", kind: "List", items: manifests });
    const inNamespace = options.namespace === undefined ? [] : ["--namespace", options.namespace];
    await this.kubectl(["apply", "--server-side", "--force-conflicts", "--filename", "-", ...inNamespace], {
      stdin,
      ...(options.as !== undefined && { as: options.as }),
    });
  }

  /**
   * Watches the object at an API path (`/api/v1/namespaces/ns/secrets/name`)
   * until the predicate holds, and hands it back. The predicate gets undefined
   * while there is no such object. Throws {@link ConditionNotMet} after
   * `timeoutMs` milliseconds (default 30 seconds).
   */
  async waitFor(
    path: string,
    predicate: (object: KubernetesObject) => boolean,
    options: { readonly timeoutMs?: number } = {},
  ): Promise<KubernetesObject> {
    const timeoutMs = options.timeoutMs ?? 30_000;
    const slash = path.lastIndexOf("/");
    const selector = `fieldSelector=${encodeURIComponent(`metadata.name=${path.slice(slash + 1)}`)}`;
    const collection = path.slice(0, slash);
    const deadline = AbortSignal.timeout(timeoutMs);
    let last: KubernetesObject;
    let trouble: unknown;
    while (!deadline.aborted) {
      try {
        const list = await this.admin.expect("GET", `${collection}?${selector}`);
        last = list.items[0];
        if (predicate(last)) return last;
        const from = `resourceVersion=${String(list.metadata.resourceVersion)}`;
        for await (const event of this.admin.watch(`${collection}?watch=1&${selector}&${from}`, deadline)) {
          // An expired resource version, say: the list tells anew.
          if (event.type === "ERROR") break;
          last = event.type === "DELETED" ? undefined : event.object;
          if (predicate(last)) return last;
        }
      } catch (cause) {
        // The API server may be restarting; the deadline decides.
        trouble = cause;
        await sleep(100);
      }
    }
    throw new ConditionNotMet(
      `${path} did not get there within ${String(timeoutMs)} ms.\nLast seen: ${JSON.stringify(last, undefined, 1)}\n${this.logs()}`,
      { cause: trouble },
    );
  }

  /**
   * A namespace for this test alone, deleted after it. When the test fails, the
   * cluster's logs are added to its report.
   */
  async namespace(t: TestContext, labels: Readonly<Record<string, string>> = {}): Promise<string> {
    const name = `test-${randomUUID().slice(0, 8)}`;
    await this.admin.expect("POST", "/api/v1/namespaces", {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, labels, annotations: { test: t.name } },
    });
    t.after(async () => {
      if (!t.passed) t.diagnostic(this.logs());
      await this.admin.request("DELETE", `/api/v1/namespaces/${name}`).catch(() => undefined);
    });
    return name;
  }

  /** The last words of each of the control plane's programs, without their routine remarks. */
  logs(lines = 8): string {
    const folder = join(this.directory, "logs");
    if (!existsSync(folder)) return `(no logs in ${folder})`;
    return readdirSync(folder)
      .filter((file) => file.endsWith(".log"))
      .map((file) => {
        const remarkable = tail(join(folder, file), 400)
          .split("\n")
          .filter((line) => line !== "" && !routine.test(line));
        return [`--- ${join(folder, file)}`, ...remarkable.slice(-lines)].join("\n");
      })
      .join("\n");
  }

  /** Lets go of the cluster: closes this handle's connections. */
  close(): void {
    for (const client of this.#clients) client.close();
  }

  async #tool(program: Program, args: readonly string[], options: ToolOptions): Promise<CommandResult> {
    const home = join(this.directory, "home");
    const result = await runCommand(this.program(program), args, {
      environment: {
        KUBECONFIG: options.kubeconfig ?? (await this.kubeconfig(options.as)),
        // Caches and plugins of the person at the keyboard stay out of it.
        HOME: home,
        KUBECACHEDIR: join(home, "kube-cache"),
        HELM_CACHE_HOME: join(home, program, "cache"),
        HELM_CONFIG_HOME: join(home, program, "config"),
        HELM_DATA_HOME: join(home, program, "data"),
      },
      ...(options.stdin !== undefined && { stdin: options.stdin }),
      ...(options.timeoutMs !== undefined && { timeoutMs: options.timeoutMs }),
    });
    if (result.code !== 0 && options.allowFailure !== true) {
      throw new Error(
        `${program} ${args.join(" ")} ended with ${String(result.code)}\n${result.stderr}${result.stdout}${this.logs()}`,
      );
    }
    return result;
  }

  async #writeKubeconfig(identity: Identity, options: KubeconfigOptions): Promise<string> {
    const who = "user" in identity ? identity.user : identity.serviceAccount;
    const file = join(this.#newFolder(who.replaceAll(/[^\w.-]/gu, "_")), "kubeconfig");
    const server = options.server ?? this.server;
    if ("user" in identity) {
      const { certificate, key } = await this.#authority.issueClient(identity.user, identity.groups);
      writeKubeconfigFile(file, {
        server,
        authority: this.authority,
        namespace: options.namespace ?? "default",
        user: { "client-certificate-data": base64(certificate), "client-key-data": base64(key) },
      });
    } else {
      writeKubeconfigFile(file, {
        server,
        authority: this.authority,
        namespace: options.namespace ?? identity.namespace,
        user: { token: await this.token(identity.namespace, identity.serviceAccount) },
      });
    }
    return file;
  }

  #remember(client: ApiClient): ApiClient {
    this.#clients.push(client);
    return client;
  }

  #newFolder(name: string): string {
    const folder = join(this.directory, "identities", `${name}-${randomUUID().slice(0, 8)}`);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return folder;
  }
}

/** JSON is YAML, so every client reads it. */
export function writeKubeconfigFile(
  file: string,
  content: {
    readonly server: string;
    readonly authority: string;
    readonly namespace: string;
    readonly user: Readonly<Record<string, unknown>>;
  },
): void {
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "e2e",
          cluster: { server: content.server, "certificate-authority-data": base64(content.authority) },
        },
      ],
      users: [{ name: "e2e", user: content.user }],
      contexts: [{ name: "e2e", context: { cluster: "e2e", user: "e2e", namespace: content.namespace } }],
      "current-context": "e2e",
    }),
    { mode: 0o600 },
  );
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/**
 * How to reach a cluster and who we are there: a pod's own service account, or a kubeconfig. Credentials that live in
 * files are read again as they rotate (a bound service-account token lives for an hour).
 * @module
 */
import { readFile } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import { Secret } from "../secret.ts";

/** What a request to the API server needs. */
export interface ClusterConfig {
  /** `https://host:port`, perhaps with a path; no slash at the end. */
  readonly server: string;
  readonly caPem: string | undefined;
  /** The kubeconfig says not to verify the server: honoured, and worth a warning. */
  readonly skipTlsVerify: boolean;
  /** Name to verify instead of the host's. */
  readonly tlsServerName: string | undefined;
  /** Namespace of the context or of the pod. */
  readonly namespace: string | undefined;
  /** Credentials as they are now; called for every connection. Throws `E_CLUSTER_CREDENTIALS`. */
  credentials(): Promise<ClusterCredentials>;
  /** For logs: server and where the configuration came from. */
  describe(): string;
}

export interface ClusterCredentials {
  readonly token?: Secret;
  readonly certificatePem?: string;
  readonly privateKeyPem?: Secret;
}

const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** How long a credential that was read from a file is used before the file is read again. */
const rereadMs = 10_000;

export interface ClusterConfigOptions {
  /** Path (or several, as KUBECONFIG has them); absent: the pod's service account. */
  readonly kubeconfig: string | undefined;
  readonly clock: Clock;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Where the service account's files are mounted. */
  readonly serviceAccountFolder?: string;
}

/** @throws {SallyportError} `E_CLUSTER_CONFIG` when it is absent, broken or asks for what we cannot do. */
export async function loadClusterConfig(options: ClusterConfigOptions): Promise<ClusterConfig> {
  return options.kubeconfig === undefined || options.kubeconfig === ""
    ? await inCluster(options)
    : await fromKubeconfig(options.kubeconfig, options.clock);
}

async function inCluster(options: ClusterConfigOptions): Promise<ClusterConfig> {
  const environment = options.environment ?? process.env;
  const [host, port] = [
    environment["KUBERNETES_SERVICE_HOST"],
    environment["KUBERNETES_SERVICE_PORT"] ?? "443",
  ];
  const folder = options.serviceAccountFolder ?? serviceAccountFolder;
  if (host === undefined) {
    throw faulty("the service account", "KUBERNETES_SERVICE_HOST is not set: this process runs in no pod");
  }
  const caPem = await readText(join(folder, "ca.crt"), "the service account");
  const namespace = await readFile(join(folder, "namespace"), "utf8").then(
    (text) => text.trim(),
    () => undefined,
  );
  const token = rereading(join(folder, "token"), options.clock);
  // The first read tells a pod without a mounted token at once.
  await token();
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return {
    server,
    caPem,
    skipTlsVerify: false,
    tlsServerName: undefined,
    namespace,
    credentials: async () => ({ token: await token() }),
    describe: () => `${server} as the pod's service account`,
  };
}

const text = z.string().min(1).optional();

const kubeconfigSchema = z.object({
  "current-context": z.string().optional(),
  clusters: z
    .array(
      z.object({
        name: z.string(),
        cluster: z.object({
          server: z.string(),
          "certificate-authority": text,
          "certificate-authority-data": text,
          "insecure-skip-tls-verify": z.boolean().optional(),
          "tls-server-name": text,
          "proxy-url": text,
        }),
      }),
    )
    .nullish(),
  users: z
    .array(
      z.object({
        name: z.string(),
        user: z.object({
          token: text,
          tokenFile: text,
          "client-certificate": text,
          "client-certificate-data": text,
          "client-key": text,
          "client-key-data": text,
          username: text,
          "auth-provider": z.unknown().optional(),
          exec: z
            .object({
              apiVersion: z.string().optional(),
              command: z.string().min(1),
              args: z.array(z.string()).nullish(),
              env: z.array(z.object({ name: z.string(), value: z.string() })).nullish(),
              provideClusterInfo: z.boolean().optional(),
            })
            .nullish(),
        }),
      }),
    )
    .nullish(),
  contexts: z
    .array(
      z.object({
        name: z.string(),
        context: z.object({ cluster: z.string(), user: z.string(), namespace: text }),
      }),
    )
    .nullish(),
});

type Kubeconfig = z.infer<typeof kubeconfigSchema>;
type KubeconfigUser = NonNullable<Kubeconfig["users"]>[number]["user"];

/** An entry with the folder that its relative paths start from. */
interface Placed<T> {
  readonly entry: T;
  readonly folder: string;
}

async function fromKubeconfig(paths: string, clock: Clock): Promise<ClusterConfig> {
  const files = paths.split(delimiter).filter((path) => path !== "");
  const parsed = await Promise.all(files.map(async (path) => ({ path, config: await readKubeconfig(path) })));
  const where = `kubeconfig ${paths}`;
  // Of several files the first one that has a value counts (Kubernetes docs, "Merging kubeconfig files").
  const find = <T extends { readonly name: string }>(
    name: string,
    list: (config: Kubeconfig) => readonly T[] | null | undefined,
  ): Placed<T> | undefined => {
    for (const { path, config } of parsed) {
      const entry = list(config)?.find((candidate) => candidate.name === name);
      if (entry !== undefined) return { entry, folder: dirname(path) };
    }
    return undefined;
  };
  const contextName = parsed
    .map(({ config }) => config["current-context"])
    .find((name) => name !== undefined && name !== "");
  if (contextName === undefined) throw faulty(where, "it has no current-context");
  const context = find(contextName, (config) => config.contexts)?.entry.context;
  if (context === undefined)
    throw faulty(where, `its current-context "${contextName}" is not among its contexts`);
  const cluster = find(context.cluster, (config) => config.clusters);
  if (cluster === undefined)
    throw faulty(where, `its cluster "${context.cluster}" is not among its clusters`);
  const user = find(context.user, (config) => config.users);
  const settings = cluster.entry.cluster;
  if (!/^https?:\/\//.test(settings.server))
    throw faulty(where, `its server "${settings.server}" is no http(s) address`);
  if (settings["proxy-url"] !== undefined)
    throw faulty(where, "it asks for a proxy (proxy-url), which is not supported");
  const server = settings.server.replace(/\/+$/, "");
  return {
    server,
    caPem: await dataOrFile(
      settings["certificate-authority-data"],
      settings["certificate-authority"],
      cluster.folder,
      where,
    ),
    skipTlsVerify: settings["insecure-skip-tls-verify"] ?? false,
    tlsServerName: settings["tls-server-name"],
    namespace: context.namespace,
    credentials:
      user === undefined
        ? () => Promise.resolve({})
        : await userCredentials(user.entry.user, user.folder, where, clock),
    describe: () => `${server} by ${where}`,
  };
}

async function readKubeconfig(path: string): Promise<Kubeconfig> {
  const where = `kubeconfig ${path}`;
  const contents = await readText(path, where);
  let value: unknown;
  try {
    value = parse(contents, { logLevel: "silent", maxAliasCount: 100, prettyErrors: false });
  } catch (error) {
    throw faulty(where, "it is no YAML", error);
  }
  const checked = kubeconfigSchema.safeParse(value);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw faulty(where, `${issue?.path.join(".") ?? "it"}: ${issue?.message ?? "is wrong"}`);
}

async function userCredentials(
  user: KubeconfigUser,
  folder: string,
  where: string,
  clock: Clock,
): Promise<() => Promise<ClusterCredentials>> {
  if (user["auth-provider"] !== undefined)
    throw faulty(where, "its user has an auth-provider, which kubectl has dropped, too: use exec");
  if (user.username !== undefined)
    throw faulty(where, "its user has a name and password, which API servers no longer take");
  if (user.exec !== undefined && user.exec !== null) return execCredentials(user.exec, where);
  const at = (path: string): string => (isAbsolute(path) ? path : join(folder, path));
  if (user.tokenFile !== undefined) {
    const token = rereading(at(user.tokenFile), clock);
    return async () => ({ token: await token() });
  }
  if (user.token !== undefined) {
    const token = new Secret(user.token);
    return () => Promise.resolve({ token });
  }
  const [certificateFile, keyFile] = [user["client-certificate"], user["client-key"]];
  if (certificateFile !== undefined && keyFile !== undefined) {
    // A pair in files may be renewed at any time (kubelet does).
    const [certificate, key] = [rereading(at(certificateFile), clock), rereading(at(keyFile), clock)];
    return async () => ({ certificatePem: (await certificate()).reveal(), privateKeyPem: await key() });
  }
  const certificatePem = await dataOrFile(user["client-certificate-data"], certificateFile, folder, where);
  const key = await dataOrFile(user["client-key-data"], keyFile, folder, where);
  if (certificatePem === undefined || key === undefined) return () => Promise.resolve({});
  const privateKeyPem = new Secret(key);
  return () => Promise.resolve({ certificatePem, privateKeyPem });
}

/** An exec plugin (client-go credential plugins), run by the official client's code, which also keeps what it returns. */
function execCredentials(
  exec: NonNullable<KubeconfigUser["exec"]>,
  where: string,
): () => Promise<ClusterCredentials> {
  const info = {
    apiVersion: exec.apiVersion ?? "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    spec: { interactive: false },
  };
  const user = {
    name: "user",
    exec: {
      command: exec.command,
      args: exec.args ?? [],
      env: [...(exec.env ?? []), { name: "KUBERNETES_EXEC_INFO", value: JSON.stringify(info) }],
    },
  };
  const plugin = import("@kubernetes/client-node/dist/exec_auth.js").then(({ ExecAuth }) => new ExecAuth());
  return async () => {
    const applied: { headers?: Record<string, unknown>; cert?: unknown; key?: unknown } = {};
    try {
      await (await plugin).applyAuthentication(user, applied as never);
    } catch (error) {
      throw new SallyportError("E_CLUSTER_CREDENTIALS", {
        where,
        detail: `its exec plugin ${exec.command} failed: ${reasonOf(error).split("\n")[0] ?? ""}`,
      });
    }
    const authorization = applied.headers?.["Authorization"];
    return {
      ...(typeof authorization === "string"
        ? { token: new Secret(authorization.replace(/^Bearer /, "")) }
        : {}),
      ...(typeof applied.cert === "string" ? { certificatePem: applied.cert } : {}),
      ...(typeof applied.key === "string" ? { privateKeyPem: new Secret(applied.key) } : {}),
    };
  };
}

/** A file's contents without surrounding white space, read again every ten seconds; the last good ones when it is away. */
function rereading(path: string, clock: Clock): () => Promise<Secret> {
  let last: { readonly value: Secret; readonly at: number } | undefined;
  return async () => {
    const now = clock.now();
    if (last !== undefined && now - last.at < rereadMs) return last.value;
    try {
      const value = (await readFile(path, "utf8")).trim();
      if (value !== "") last = { value: new Secret(value), at: now };
      else if (last === undefined) throw new Error("it is empty");
    } catch (error) {
      if (last === undefined) {
        throw new SallyportError(
          "E_CLUSTER_CREDENTIALS",
          { where: path, detail: reasonOf(error) },
          { cause: error },
        );
      }
    }
    return last?.value ?? new Secret("");
  };
}

async function dataOrFile(
  data: string | undefined,
  file: string | undefined,
  folder: string,
  where: string,
): Promise<string | undefined> {
  if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
  if (file === undefined) return undefined;
  return await readText(isAbsolute(file) ? file : join(folder, file), where);
}

async function readText(path: string, where: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw faulty(where, reasonOf(error), error);
  }
}

function faulty(where: string, detail: string, cause?: unknown): SallyportError {
  return new SallyportError("E_CLUSTER_CONFIG", { where, detail }, { cause });
}

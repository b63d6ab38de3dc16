/**
 * How to reach a cluster and who we are there: a pod's own service account, or a kubeconfig. Credentials that live in
 * files are read again as they rotate (a bound service-account token lives for an hour).
 * @module
 */
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { delimiter, dirname, isAbsolute, join, sep } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import type { Clock } from "../clock.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import { homeFolder } from "../home-folder.ts";
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
  /** The API server refused the last ones (401): the next call asks their origin anew. */
  credentialsRefused?(): void;
  /** For logs: server and where the configuration came from. */
  describe(): string;
}

export interface ClusterCredentials {
  readonly token?: Secret;
  readonly certificatePem?: string;
  readonly privateKeyPem?: Secret;
}

/** What a configuration keeps of where its credentials come from. */
type CredentialOrigin = Required<Pick<ClusterConfig, "credentials" | "credentialsRefused">>;

/** Credentials that never change. */
function fixed(credentials: ClusterCredentials): CredentialOrigin {
  return { credentials: () => Promise.resolve(credentials), credentialsRefused: () => undefined };
}

const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** How long a credential that was read from a file is used before the file is read again. */
const rereadMs = 10_000;

/** How long an exec plugin may take; somebody may have to confirm on a phone. */
const execTimeoutMs = 60_000;

export interface ClusterConfigOptions {
  /** Path (or several, as KUBECONFIG has them); absent: the pod's service account. */
  readonly kubeconfig: string | undefined;
  /** One of the kubeconfig's contexts; absent: its current one. */
  readonly context?: string | undefined;
  readonly clock: Clock;
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Where the service account's files are mounted. */
  readonly serviceAccountFolder?: string;
}

/**
 * The kubeconfig of a command that a person runs, found as kubectl finds it: what was asked for, `KUBECONFIG`, in a pod the
 * service account, and else `~/.kube/config`.
 */
export function kubeconfigOfPerson(
  asked: string | undefined,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  const named = [asked, environment["KUBECONFIG"]].find((path) => path !== undefined && path !== "");
  if (named !== undefined || environment["KUBERNETES_SERVICE_HOST"] !== undefined) return named;
  return join(homeFolder(), ".kube", "config");
}

/** @throws {SallyportError} `E_CLUSTER_CONFIG` when it is absent, broken or asks for what we cannot do. */
export async function loadClusterConfig(options: ClusterConfigOptions): Promise<ClusterConfig> {
  return options.kubeconfig === undefined || options.kubeconfig === ""
    ? await inCluster(options)
    : await fromKubeconfig(options.kubeconfig, options.context, options.clock);
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
  await token.read();
  const server = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  return {
    server,
    caPem,
    skipTlsVerify: false,
    tlsServerName: undefined,
    namespace,
    ...tokenFrom(token),
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

async function fromKubeconfig(
  paths: string,
  wanted: string | undefined,
  clock: Clock,
): Promise<ClusterConfig> {
  const files = paths.split(delimiter).filter((path) => path !== "");
  const where = `kubeconfig ${paths}`;
  const parsed = (
    await Promise.all(
      // As kubectl has it, of several files some may be absent.
      files.map(async (path) => ({ path, config: await readKubeconfig(path, files.length > 1) })),
    )
  ).flatMap(({ path, config }) => (config === undefined ? [] : [{ path, config }]));
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
  const contextName =
    wanted ??
    parsed.map(({ config }) => config["current-context"]).find((name) => name !== undefined && name !== "");
  if (contextName === undefined) throw faulty(where, "it has no current-context");
  const context = find(contextName, (config) => config.contexts)?.entry.context;
  if (context === undefined) {
    const what = wanted === undefined ? "its current-context" : "the context";
    throw faulty(where, `${what} "${contextName}" is not among its contexts`);
  }
  const cluster = find(context.cluster, (config) => config.clusters);
  if (cluster === undefined)
    throw faulty(where, `its cluster "${context.cluster}" is not among its clusters`);
  const user = find(context.user, (config) => config.users);
  if (user === undefined && context.user !== "")
    throw faulty(where, `its user "${context.user}" is not among its users`);
  const settings = cluster.entry.cluster;
  if (!/^https?:\/\//.test(settings.server))
    throw faulty(where, `its server "${settings.server}" is no http(s) address`);
  if (settings["proxy-url"] !== undefined)
    throw faulty(where, "it asks for a proxy (proxy-url), which is not supported");
  const server = settings.server.replace(/\/+$/, "");
  const caPem = await dataOrFile(
    "certificate-authority",
    settings["certificate-authority-data"],
    settings["certificate-authority"],
    cluster.folder,
    where,
  );
  return {
    server,
    caPem,
    skipTlsVerify: settings["insecure-skip-tls-verify"] ?? false,
    tlsServerName: settings["tls-server-name"],
    namespace: context.namespace,
    ...(user === undefined
      ? fixed({})
      : await userCredentials(user.entry.user, user.folder, where, clock, {
          server,
          "insecure-skip-tls-verify": settings["insecure-skip-tls-verify"],
          "tls-server-name": settings["tls-server-name"],
          "certificate-authority-data": caPem && Buffer.from(caPem).toString("base64"),
        })),
    describe: () => `${server} by ${where}`,
  };
}

async function readKubeconfig(path: string, mayBeAbsent: boolean): Promise<Kubeconfig | undefined> {
  const where = `kubeconfig ${path}`;
  let contents: string;
  try {
    contents = await readFile(path, "utf8");
  } catch (error) {
    if (mayBeAbsent && error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw faulty(where, reasonOf(error), error);
  }
  let value: unknown;
  try {
    value = parse(contents, { logLevel: "error", maxAliasCount: 100, prettyErrors: false });
  } catch (error) {
    throw faulty(where, "it is no YAML", error);
  }
  const checked = kubeconfigSchema.safeParse(value ?? {});
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  throw faulty(where, `${issue?.path.join(".") ?? "it"}: ${issue?.message ?? "is wrong"}`);
}

async function userCredentials(
  user: KubeconfigUser,
  folder: string,
  where: string,
  clock: Clock,
  cluster: Readonly<Record<string, unknown>>,
): Promise<CredentialOrigin> {
  if (user["auth-provider"] !== undefined)
    throw faulty(where, "its user has an auth-provider, which kubectl has dropped, too: use exec");
  if (user.username !== undefined)
    throw faulty(where, "its user has a name and password, which API servers no longer take");
  if (user.exec !== undefined && user.exec !== null)
    return execCredentials(user.exec, folder, where, cluster);
  const at = (path: string): string => (isAbsolute(path) ? path : join(folder, path));
  if (user.tokenFile !== undefined) return tokenFrom(rereading(at(user.tokenFile), clock));
  if (user.token !== undefined) return fixed({ token: new Secret(user.token) });
  const [certificateFile, keyFile] = [user["client-certificate"], user["client-key"]];
  const [certificateData, keyData] = [user["client-certificate-data"], user["client-key-data"]];
  if ((certificateFile ?? certificateData) === undefined && (keyFile ?? keyData) === undefined)
    return fixed({});
  if ((certificateFile ?? certificateData) === undefined || (keyFile ?? keyData) === undefined)
    throw faulty(where, "its user has a client certificate or its key, not both");
  if (certificateData === undefined && keyData === undefined) {
    // A pair in files may be renewed at any time (kubelet does).
    const [certificate, key] = [
      rereading(at(certificateFile ?? ""), clock),
      rereading(at(keyFile ?? ""), clock),
    ];
    return {
      credentials: async () => ({
        certificatePem: (await certificate.read()).reveal(),
        privateKeyPem: await key.read(),
      }),
      credentialsRefused: () => (certificate.forget(), key.forget()),
    };
  }
  const certificatePem = await dataOrFile(
    "client-certificate",
    certificateData,
    certificateFile,
    folder,
    where,
  );
  const key = await dataOrFile("client-key", keyData, keyFile, folder, where);
  return fixed({
    ...(certificatePem === undefined ? {} : { certificatePem }),
    ...(key === undefined ? {} : { privateKeyPem: new Secret(key) }),
  });
}

/**
 * An exec plugin (Kubernetes docs, "client-go credential plugins"), run by the official client's code, which also keeps
 * what it returned until that expires.
 */
function execCredentials(
  exec: NonNullable<KubeconfigUser["exec"]>,
  folder: string,
  where: string,
  cluster: Readonly<Record<string, unknown>>,
): CredentialOrigin {
  const apiVersion = exec.apiVersion ?? "";
  if (!/^client\.authentication\.k8s\.io\/v1(beta1)?$/.test(apiVersion))
    throw faulty(where, `its exec plugin's apiVersion "${apiVersion}" is neither v1 nor v1beta1`);
  const spec = { interactive: false, ...(exec.provideClusterInfo === true ? { cluster } : {}) };
  const user = {
    name: "user",
    exec: {
      // A path with a folder in it starts from the kubeconfig's; a bare name is looked for in PATH.
      command:
        isAbsolute(exec.command) || !exec.command.includes(sep) ? exec.command : join(folder, exec.command),
      args: exec.args ?? [],
      env: [
        ...(exec.env ?? []),
        { name: "KUBERNETES_EXEC_INFO", value: JSON.stringify({ apiVersion, kind: "ExecCredential", spec }) },
      ],
    },
  };
  const open = async (): Promise<{ applyAuthentication(of: object, to: object): Promise<void> }> => {
    const { ExecAuth } = await import("@kubernetes/client-node/dist/exec_auth.js");
    const auth = new ExecAuth();
    // Nobody answers its questions, and it may not take for ever.
    Object.assign(auth, {
      execFn: (command: string, args: readonly string[], options: object) =>
        spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"], timeout: execTimeoutMs }),
    });
    return auth;
  };
  let plugin: ReturnType<typeof open> | undefined;
  return {
    async credentials() {
      const applied: { headers?: Record<string, unknown>; cert?: unknown; key?: unknown } = {};
      try {
        await (await (plugin ??= open())).applyAuthentication(user, applied);
      } catch (error) {
        throw new SallyportError("E_CLUSTER_CREDENTIALS", {
          where,
          detail: `its exec plugin ${exec.command} failed: ${reasonOf(error).split("\n")[0] ?? ""}`,
        });
      }
      const authorization = applied.headers?.["Authorization"];
      const token =
        typeof authorization === "string" ? new Secret(authorization.replace(/^Bearer /, "")) : undefined;
      return {
        ...(token === undefined ? {} : { token }),
        ...(typeof applied.cert === "string" ? { certificatePem: applied.cert } : {}),
        ...(typeof applied.key === "string" ? { privateKeyPem: new Secret(applied.key) } : {}),
      };
    },
    credentialsRefused: () => {
      plugin = undefined;
    },
  };
}

interface RereadFile {
  read(): Promise<Secret>;
  /** The next `read` reads the file. */
  forget(): void;
}

function tokenFrom(file: RereadFile): CredentialOrigin {
  return {
    credentials: async () => ({ token: await file.read() }),
    credentialsRefused: () => file.forget(),
  };
}

/** A file's contents without surrounding white space, read again every ten seconds; the last good ones when it is away. */
function rereading(path: string, clock: Clock): RereadFile {
  let last: Secret | undefined;
  let readAt = Number.NEGATIVE_INFINITY;
  return {
    forget: () => {
      readAt = Number.NEGATIVE_INFINITY;
    },
    async read() {
      if (last !== undefined && clock.now() - readAt < rereadMs) return last;
      try {
        const value = (await readFile(path, "utf8")).trim();
        if (value === "") throw new Error("it is empty");
        last = new Secret(value);
        readAt = clock.now();
      } catch (error) {
        if (last === undefined)
          throw new SallyportError(
            "E_CLUSTER_CREDENTIALS",
            { where: path, detail: reasonOf(error) },
            { cause: error },
          );
      }
      return last;
    },
  };
}

/** PEM from the kubeconfig itself or from the file that it names. */
async function dataOrFile(
  what: string,
  data: string | undefined,
  file: string | undefined,
  folder: string,
  where: string,
): Promise<string | undefined> {
  let pem: string;
  if (data !== undefined) pem = Buffer.from(data, "base64").toString("utf8");
  else if (file !== undefined) pem = await readText(isAbsolute(file) ? file : join(folder, file), where);
  else return undefined;
  if (!pem.includes("-----BEGIN "))
    throw faulty(where, `its ${what}${data === undefined ? "" : "-data"} holds no PEM`);
  return pem;
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

/**
 * Reads kubeconfig files as kubectl does: several files in `KUBECONFIG`, the first definition of a name wins, paths are
 * relative to their own file (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/).
 * Why this is ours and not a library's: docs/decisions/0010.
 * @module
 */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, isAbsolute, join, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { configError } from "../errors.ts";
import type { ConfigFault } from "../errors.ts";
import { Secret } from "../secret.ts";
import { inClusterConnection, serverUrl } from "./cluster-connection.ts";
import type { ClusterConnection, ClusterCredential, Material } from "./cluster-connection.ts";

const text = z.string();
const maybe = text.nullish().transform((value) => (value === null || value === "" ? undefined : value));
const flag = z
  .boolean()
  .nullish()
  .transform((value) => value ?? false);

const clusterShape = z.object({
  server: text,
  "certificate-authority": maybe,
  "certificate-authority-data": maybe,
  "tls-server-name": maybe,
  "insecure-skip-tls-verify": flag,
  "proxy-url": maybe,
});

const execShape = z.object({
  apiVersion: text,
  command: text.min(1),
  args: z.array(text).nullish(),
  env: z.array(z.object({ name: text, value: text })).nullish(),
  installHint: maybe,
  provideClusterInfo: flag,
});

const userShape = z.object({
  token: maybe,
  tokenFile: maybe,
  username: maybe,
  password: maybe,
  "client-certificate": maybe,
  "client-certificate-data": maybe,
  "client-key": maybe,
  "client-key-data": maybe,
  exec: execShape.nullish(),
  "auth-provider": z.object({ name: text }).nullish(),
  as: maybe,
  "as-groups": z.array(text).nullish(),
  "as-uid": maybe,
  "as-user-extra": z.record(text, z.array(text)).nullish(),
});

const contextShape = z.object({ cluster: text, user: maybe, namespace: maybe });

const fileShape = z.object({
  "current-context": maybe,
  clusters: z.array(z.object({ name: text, cluster: z.unknown() })).nullish(),
  users: z.array(z.object({ name: text, user: z.unknown() })).nullish(),
  contexts: z.array(z.object({ name: text, context: z.unknown() })).nullish(),
});

interface Named {
  readonly value: unknown;
  /** The folder that its relative paths start from. */
  readonly folder: string;
  readonly file: string;
}

interface Merged {
  readonly currentContext: string | undefined;
  readonly clusters: ReadonlyMap<string, Named>;
  readonly users: ReadonlyMap<string, Named>;
  readonly contexts: ReadonlyMap<string, Named>;
}

export interface ConnectionSettings {
  /** `--kubeconfig`: this file alone. */
  readonly kubeconfig?: string;
  /** `--context`; the file's current-context otherwise. */
  readonly context?: string;
}

/**
 * Finds the cluster as kubectl does: `--kubeconfig`, then `KUBECONFIG`, then the pod's service account, then
 * `~/.kube/config`.
 * @throws SallyportError E_CONFIG_INVALID with every fault, and when there is no configuration at all.
 */
export function findClusterConnection(
  settings: ConnectionSettings,
  environment: NodeJS.ProcessEnv,
): ClusterConnection {
  if (settings.kubeconfig !== undefined) return loadKubeconfig([settings.kubeconfig], settings.context);
  const named = (environment["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  if (named.length > 0) return loadKubeconfig(named, settings.context);
  const inCluster = inClusterConnection(environment);
  if (inCluster !== undefined) return inCluster;
  return loadKubeconfig(
    [join(environment["HOME"] ?? environment["USERPROFILE"] ?? homedir(), ".kube", "config")],
    settings.context,
  );
}

/**
 * Reads and merges kubeconfig files and takes one context out of them.
 * @throws SallyportError E_CONFIG_INVALID naming every fault, never a credential.
 */
export function loadKubeconfig(paths: readonly string[], context?: string): ClusterConnection {
  const merged = merge(paths);
  const fail = (setting: string, problem: string): never => {
    throw configError([{ setting, problem }]);
  };
  const contextName =
    context ?? merged.currentContext ?? fail("current-context", `is missing in ${paths.join(", ")}`);
  const named = merged.contexts.get(contextName) ?? fail("context", `there is no context "${contextName}"`);
  const chosen = shaped(contextShape, named, `context ${contextName}`);
  const cluster =
    merged.clusters.get(chosen.cluster) ??
    fail(`context ${contextName}`, `there is no cluster "${chosen.cluster}"`);
  const user =
    chosen.user === undefined
      ? undefined
      : (merged.users.get(chosen.user) ??
        fail(`context ${contextName}`, `there is no user "${chosen.user}"`));
  const faults: ConfigFault[] = [];
  const clusterPart = clusterOf(cluster, chosen.cluster, faults);
  const userPart =
    user === undefined
      ? { credential: { type: "none" } as const, impersonation: {} }
      : userOf(user, chosen.user ?? "", faults);
  if (faults.length > 0) throw configError(faults);
  return {
    ...clusterPart,
    ...userPart,
    namespace: chosen.namespace ?? "default",
    origin: `context ${contextName} of ${named.file}`,
  };
}

function merge(paths: readonly string[]): Merged {
  const [clusters, users, contexts] = [
    new Map<string, Named>(),
    new Map<string, Named>(),
    new Map<string, Named>(),
  ];
  let currentContext: string | undefined;
  const faults: ConfigFault[] = [];
  let read = 0;
  for (const path of paths) {
    let content: string;
    try {
      content = readFileSync(path, "utf8");
    } catch (thrown) {
      const code = (thrown as NodeJS.ErrnoException).code;
      // kubectl passes over files that KUBECONFIG lists and that are not there.
      if (code !== "ENOENT") faults.push({ setting: path, problem: `cannot be read (${code ?? "unknown"})` });
      continue;
    }
    read++;
    let value: unknown;
    try {
      value = parse(content, { logLevel: "silent", maxAliasCount: 100 }) ?? {};
    } catch {
      // The library's message quotes lines, and those may hold a token.
      faults.push({ setting: path, problem: "is not valid YAML" });
      continue;
    }
    const shape = fileShape.safeParse(value);
    if (!shape.success) {
      faults.push(...faultsOf(shape.error, path));
      continue;
    }
    const folder = dirname(resolve(path));
    currentContext ??= shape.data["current-context"];
    const add = (into: Map<string, Named>, name: string, entry: unknown): void => {
      if (!into.has(name)) into.set(name, { value: entry, folder, file: path });
    };
    for (const { name, cluster } of shape.data.clusters ?? []) add(clusters, name, cluster);
    for (const { name, user } of shape.data.users ?? []) add(users, name, user);
    for (const { name, context } of shape.data.contexts ?? []) add(contexts, name, context);
  }
  if (read === 0 && faults.length === 0) {
    faults.push({ setting: "kubeconfig", problem: `there is no file ${paths.join(" or ")}` });
  }
  if (faults.length > 0) throw configError(faults);
  return { currentContext, clusters, users, contexts };
}

function clusterOf(
  named: Named,
  name: string,
  faults: ConfigFault[],
): Pick<
  ClusterConnection,
  "server" | "certificateAuthority" | "tlsServerName" | "insecureSkipTlsVerify" | "proxyUrl"
> {
  const where = `cluster ${name}`;
  const cluster = shaped(clusterShape, named, where);
  const server = serverUrl(cluster.server);
  if (server === undefined) {
    faults.push({ setting: where, problem: "server is not an http or https address without credentials" });
  }
  const proxyUrl = cluster["proxy-url"];
  if (proxyUrl !== undefined && !(URL.canParse(proxyUrl) && /^https?:$/.test(new URL(proxyUrl).protocol))) {
    faults.push({ setting: where, problem: "proxy-url is not an http or https address" });
  }
  const certificateAuthority = material(
    named,
    cluster["certificate-authority"],
    cluster["certificate-authority-data"],
    `${where}: certificate-authority-data`,
    faults,
  );
  const insecureSkipTlsVerify = cluster["insecure-skip-tls-verify"];
  if (insecureSkipTlsVerify && certificateAuthority !== undefined) {
    faults.push({
      setting: where,
      problem: "insecure-skip-tls-verify contradicts a certificate authority",
    });
  }
  return {
    server: server ?? new URL("https://localhost"),
    certificateAuthority,
    tlsServerName: cluster["tls-server-name"],
    insecureSkipTlsVerify,
    proxyUrl,
  };
}

function userOf(
  named: Named,
  name: string,
  faults: ConfigFault[],
): Pick<ClusterConnection, "credential" | "impersonation"> {
  const where = `user ${name}`;
  const user = shaped(userShape, named, where);
  if (user["as-user-extra"] !== undefined && user["as-user-extra"] !== null) {
    faults.push({ setting: where, problem: "as-user-extra is not supported" });
  }
  const impersonation = {
    ...(user.as === undefined ? {} : { "Impersonate-User": user.as }),
    ...(user["as-uid"] === undefined ? {} : { "Impersonate-Uid": user["as-uid"] }),
    ...(user["as-groups"] === undefined || user["as-groups"] === null
      ? {}
      : { "Impersonate-Group": user["as-groups"] }),
  };
  if (user.as === undefined && Object.keys(impersonation).length > 0) {
    faults.push({ setting: where, problem: "as-groups and as-uid need as" });
  }
  return { credential: credentialOf(user, named, where, faults), impersonation };
}

function credentialOf(
  user: z.infer<typeof userShape>,
  named: Named,
  where: string,
  faults: ConfigFault[],
): ClusterCredential {
  const data = (field: "client-certificate" | "client-key"): Material | undefined =>
    material(named, user[field], user[`${field}-data`], `${where}: ${field}-data`, faults);
  const [certificate, key] = [data("client-certificate"), data("client-key")];
  if ((certificate === undefined) !== (key === undefined)) {
    faults.push({ setting: where, problem: "a client certificate and its key belong together" });
  }
  if (certificate !== undefined && key !== undefined) return { type: "certificate", certificate, key };
  // A tokenFile comes before a token, as in kubectl.
  if (user.tokenFile !== undefined) {
    return { type: "token", token: { file: pathOf(named, user.tokenFile) } };
  }
  if (user.token !== undefined) return { type: "token", token: { inline: new Secret(user.token) } };
  if (user.username !== undefined) {
    return { type: "basic", username: user.username, password: new Secret(user.password ?? "") };
  }
  if (user.exec !== undefined && user.exec !== null) {
    const { exec } = user;
    if (!/^client\.authentication\.k8s\.io\/v1(beta1)?$/.test(exec.apiVersion)) {
      faults.push({
        setting: where,
        problem: "exec: apiVersion is not client.authentication.k8s.io/v1 or v1beta1",
      });
    }
    return {
      type: "exec",
      command: {
        apiVersion: exec.apiVersion,
        // A command with a slash is a path, relative to the kubeconfig; without one it is looked for in PATH.
        command: /[/\\]/.test(exec.command) ? pathOf(named, exec.command) : exec.command,
        args: exec.args ?? [],
        env: Object.fromEntries((exec.env ?? []).map((entry) => [entry.name, entry.value])),
        installHint: exec.installHint,
        provideClusterInfo: exec.provideClusterInfo,
      },
    };
  }
  if (user["auth-provider"] !== undefined && user["auth-provider"] !== null) {
    faults.push({
      setting: where,
      problem: `auth-provider ${user["auth-provider"].name} was removed from Kubernetes; use its exec plugin`,
    });
  }
  return { type: "none" };
}

/** A file's path or the base64 beside it, which wins as in kubectl. */
function material(
  named: Named,
  path: string | undefined,
  data: string | undefined,
  setting: string,
  faults: ConfigFault[],
): Material | undefined {
  if (data !== undefined) {
    const compact = data.replace(/\s/g, "");
    const bytes = Buffer.from(compact, "base64");
    if (bytes.toString("base64") !== compact) faults.push({ setting, problem: "is not base64" });
    return { inline: new Secret(bytes.toString("utf8")) };
  }
  return path === undefined ? undefined : { file: pathOf(named, path) };
}

function pathOf(named: Named, path: string): string {
  return isAbsolute(path) ? path : join(named.folder, path);
}

function shaped<S extends z.ZodType>(shape: S, named: Named, where: string): z.infer<S> {
  const parsed = shape.safeParse(named.value);
  if (!parsed.success) throw configError(faultsOf(parsed.error, where));
  return parsed.data;
}

function faultsOf(error: z.ZodError, where: string): readonly ConfigFault[] {
  return error.issues.map((issue) => ({
    setting: issue.path.length === 0 ? where : `${where}: ${issue.path.join(".")}`,
    problem: issue.message,
  }));
}

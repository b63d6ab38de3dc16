/**
 * How to reach a cluster: the API server's address, what proves it is the right one, and what proves who we are.
 * `kubeconfig.ts` and {@link inClusterConnection} make these values, `client.ts` uses them.
 * @module
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { configError } from "../errors.ts";
import type { Secret } from "../secret.ts";

/** Bytes that stand in the configuration, or in a file that is read again for every connection because it rotates. */
export type Material = { readonly inline: Secret } | { readonly file: string };

/** What we show the API server. */
export type ClusterCredential =
  | { readonly type: "none" }
  | { readonly type: "token"; readonly token: Material }
  | { readonly type: "basic"; readonly username: string; readonly password: Secret }
  | { readonly type: "certificate"; readonly certificate: Material; readonly key: Material }
  /** A program that prints an ExecCredential (https://kubernetes.io/docs/reference/config-api/client-authentication.v1/). */
  | { readonly type: "exec"; readonly command: ExecCommand };

export interface ExecCommand {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly installHint: string | undefined;
  readonly provideClusterInfo: boolean;
}

export interface ClusterConnection {
  readonly server: URL;
  /** Checked against the public authorities when absent. */
  readonly certificateAuthority: Material | undefined;
  /** The name expected in the server's certificate when it isn't the address's. */
  readonly tlsServerName: string | undefined;
  readonly insecureSkipTlsVerify: boolean;
  /** `http://` or `https://` proxy for this cluster. */
  readonly proxyUrl: string | undefined;
  readonly credential: ClusterCredential;
  /** Impersonation headers (`as`, `as-groups`, `as-uid`), checked and ready. */
  readonly impersonation: Readonly<Record<string, string | readonly string[]>>;
  /** The namespace that a command means when it names none. */
  readonly namespace: string;
  /** Where this comes from, for logs: a file and context, or the service account. */
  readonly origin: string;
}

const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/**
 * The connection of a process in a pod: the service account's token, CA and namespace, and the address in
 * `KUBERNETES_SERVICE_HOST` and `_PORT` (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/).
 * `undefined` when this is no pod.
 *
 * A Windows HostProcess container has its volumes below `CONTAINER_SANDBOX_MOUNT_POINT` with containerd before 1.7.
 * @throws SallyportError E_CONFIG_INVALID in a pod without a service account token.
 */
export function inClusterConnection(
  environment: NodeJS.ProcessEnv,
  folder?: string,
): ClusterConnection | undefined {
  const host = environment["KUBERNETES_SERVICE_HOST"];
  const port = environment["KUBERNETES_SERVICE_PORT"];
  if (host === undefined || host === "" || port === undefined || port === "") return undefined;
  const sandbox = environment["CONTAINER_SANDBOX_MOUNT_POINT"];
  const candidates =
    folder !== undefined
      ? [folder]
      : [serviceAccountFolder, ...(sandbox === undefined ? [] : [join(sandbox, serviceAccountFolder)])];
  let namespace: string | undefined;
  let found = candidates[0] ?? serviceAccountFolder;
  for (const candidate of candidates) {
    try {
      readFileSync(join(candidate, "token"));
      found = candidate;
      namespace = readFileSync(join(candidate, "namespace"), "utf8").trim();
      break;
    } catch {
      continue;
    }
  }
  if (namespace === undefined) {
    throw configError([
      {
        setting: "service account",
        problem: `no token and namespace can be read in ${found}; does the pod set automountServiceAccountToken: false?`,
      },
    ]);
  }
  const server = serverUrl(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  if (server === undefined) {
    throw configError([
      { setting: "KUBERNETES_SERVICE_HOST", problem: "with KUBERNETES_SERVICE_PORT it makes no address" },
    ]);
  }
  return {
    server,
    certificateAuthority: { file: join(found, "ca.crt") },
    tlsServerName: undefined,
    insecureSkipTlsVerify: false,
    proxyUrl: undefined,
    credential: { type: "token", token: { file: join(found, "token") } },
    impersonation: {},
    namespace,
    origin: "the pod's service account",
  };
}

/** An API server's address: http or https, no credentials in it. */
export function serverUrl(text: string): URL | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  if ((url.protocol !== "https:" && url.protocol !== "http:") || url.username !== "" || url.password !== "")
    return undefined;
  return url;
}

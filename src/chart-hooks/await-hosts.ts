/**
 * Waits until a DaemonSet whose init container does something once has done it on every node, and says what came of it.
 * Nodes that are down, or gone meanwhile, keep nobody waiting for longer than the time that is given.
 * @module
 */
import { delay, type Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import type { ClusterClient } from "../kubernetes/cluster-client.ts";

/** What became of one node. */
export interface HostOutcome {
  readonly node: string;
  /** `failed`: it was tried several times there. `unreached`: the pod has not come so far. */
  readonly outcome: "done" | "failed" | "unreached";
  /** The last words of the container, or why it is not there yet. */
  readonly detail: string;
}

export interface AwaitHostsOptions {
  readonly namespace: string;
  readonly daemonSet: string;
  /** Milliseconds for all nodes together. */
  readonly timeoutMs: number;
  /** Between two looks, milliseconds. */
  readonly intervalMs: number;
  /** How often the container may fail on a node before that is its outcome. */
  readonly attempts: number;
}

export type AwaitedHosts =
  | { readonly ok: true; readonly hosts: readonly HostOutcome[] }
  /** The API server would not say. */
  | { readonly ok: false; readonly problem: string };

/** Resolves when every node has an outcome, or when the time is over. Never rejects. */
export async function awaitHosts(
  { client, clock }: { readonly client: ClusterClient; readonly clock: Clock },
  options: AwaitHostsOptions,
): Promise<AwaitedHosts> {
  const end = clock.now() + options.timeoutMs;
  for (;;) {
    let look: Look | undefined;
    let problem = "";
    try {
      look = await lookAt(client, options);
    } catch (error) {
      problem = reasonOf(error);
    }
    if (look?.complete === true) return { ok: true, hosts: look.hosts };
    if (clock.now() >= end) {
      return look === undefined ? { ok: false, problem } : { ok: true, hosts: look.hosts };
    }
    await delay(clock, options.intervalMs);
  }
}

interface Look {
  readonly complete: boolean;
  readonly hosts: readonly HostOutcome[];
}

/** The fields of a DaemonSet and of its pods that count here (Kubernetes API, apps/v1 and core/v1). */
interface DaemonSet {
  readonly metadata: { readonly uid: string; readonly generation: number };
  readonly spec: { readonly selector: { readonly matchLabels: Readonly<Record<string, string>> } };
  readonly status: { readonly observedGeneration?: number; readonly desiredNumberScheduled?: number };
}
interface ContainerStatus {
  readonly restartCount: number;
  readonly state?: {
    readonly terminated?: { readonly exitCode: number; readonly message?: string };
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: object;
  };
  readonly lastState?: { readonly terminated?: { readonly exitCode: number; readonly message?: string } };
}
export interface HostPod {
  readonly metadata: {
    readonly ownerReferences?: readonly { readonly uid: string }[];
    readonly deletionTimestamp?: string;
  };
  readonly spec: {
    readonly nodeName?: string;
    readonly affinity?: {
      readonly nodeAffinity?: {
        readonly requiredDuringSchedulingIgnoredDuringExecution?: {
          readonly nodeSelectorTerms?: readonly {
            readonly matchFields?: readonly { readonly key: string; readonly values?: readonly string[] }[];
          }[];
        };
      };
    };
  };
  readonly status: { readonly initContainerStatuses?: readonly ContainerStatus[]; readonly reason?: string };
}

async function lookAt(client: ClusterClient, options: AwaitHostsOptions): Promise<Look> {
  const namespace = encodeURIComponent(options.namespace);
  const daemonSet = (await ask(
    client,
    `/apis/apps/v1/namespaces/${namespace}/daemonsets/${encodeURIComponent(options.daemonSet)}`,
  )) as DaemonSet;
  const { generation, uid } = daemonSet.metadata;
  const { observedGeneration = 0, desiredNumberScheduled = 0 } = daemonSet.status;
  const labelSelector = Object.entries(daemonSet.spec.selector.matchLabels)
    .map(([name, value]) => `${name}=${value}`)
    .join(",");
  const list = (await ask(client, `/api/v1/namespaces/${namespace}/pods`, { labelSelector })) as {
    readonly items: readonly HostPod[];
  };
  const hosts = list.items
    .filter(
      ({ metadata }) =>
        metadata.deletionTimestamp === undefined &&
        metadata.ownerReferences?.some((owner) => owner.uid === uid) === true,
    )
    .map((pod) => outcomeOf(pod, options.attempts))
    .toSorted((a, b) => (a.node < b.node ? -1 : 1));
  return {
    complete:
      observedGeneration >= generation &&
      hosts.length >= desiredNumberScheduled &&
      hosts.every(({ outcome }) => outcome !== "unreached"),
    hosts,
  };
}

/** What a pod's status says of the one thing that its init container does. */
export function outcomeOf(pod: HostPod, attempts: number): HostOutcome {
  const node = pod.spec.nodeName ?? intendedNode(pod) ?? "a node that was not chosen yet";
  const status = pod.status.initContainerStatuses?.[0];
  const now = status?.state?.terminated;
  if (now?.exitCode === 0) return { node, outcome: "done", detail: lastLine(now.message) };
  const failure = now ?? status?.lastState?.terminated;
  const failures = (status?.restartCount ?? 0) + (now === undefined ? 0 : 1);
  if (failure !== undefined && failures >= attempts) {
    const said = lastLine(failure.message);
    return { node, outcome: "failed", detail: said === "" ? `exit code ${failure.exitCode}` : said };
  }
  const waiting = status?.state?.waiting;
  const detail =
    status?.state?.running !== undefined
      ? "it is still at it"
      : [waiting?.reason ?? pod.status.reason ?? "no container was started", waiting?.message]
          .filter((part) => part !== undefined)
          .join(": ");
  return { node, outcome: "unreached", detail };
}

/** Where the DaemonSet controller wants a pod that no scheduler has bound yet. */
function intendedNode(pod: HostPod): string | undefined {
  return pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms
    ?.flatMap((term) => term.matchFields ?? [])
    .find((field) => field.key === "metadata.name")?.values?.[0];
}

function lastLine(message: string | undefined): string {
  return (message ?? "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "")
    .join(" ")
    .slice(-500);
}

async function ask(
  client: ClusterClient,
  path: string,
  query?: Readonly<Record<string, string>>,
): Promise<unknown> {
  const answer = await client.request({ path, ...(query === undefined ? {} : { query }), timeoutMs: 10_000 });
  if (answer.status !== 200) throw new Error(`the API server answered ${answer.status} to ${path}`);
  return JSON.parse(answer.body.toString("utf8"));
}

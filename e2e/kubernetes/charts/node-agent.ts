/**
 * Nodes for the pods of the charts. The bed has no kubelet; this does for pods what scheduler and kubelet do: binds them to
 * a node, runs what their containers run, as processes with the pod's own service-account token, restarts
 * init containers that fail, and reports all of it in the pod's status, so that Jobs end and Helm waits for real.
 *
 * What is different from a node: the image is this checkout, whose entry point is `sallyport`; what a pod sees under a
 * mount path or under `/var/lib` of its host lies in a folder of its node, so paths in arguments are rewritten; a pod's
 * address is one of this machine's loopback addresses; Windows containers run on Linux. Unless asked for `services`, only
 * pods of hooks are touched; the rest stays Pending, as does whatever cannot run on Linux at all.
 * @module
 */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { GuardedProcess } from "../../guarded-process.ts";
import type { KubernetesObject } from "../api-client.ts";
import { writeKubeconfigFile } from "../cluster.ts";
import type { Cluster } from "../cluster.ts";

const program = join(import.meta.dirname, "../../../src/main.ts");
const hookComponents = new Set(["cleanup", "cleanup-wait", "crds"]);
/** The plugin's pods are for Windows alone. */
const serviceCharts = new Set(["gmsa-webhook", "gmsa-account-provider", "authenticator"]);
const restartAfterMs = 200;

interface AgentNode {
  readonly name: string;
  readonly os: "linux" | "windows";
  /** What the node's own root folder is. */
  readonly root: string;
  /** Down: its pods are bound and nothing more happens to them. */
  readonly down: boolean;
}

/** The nodes of a cluster; stop them after the tests. */
export class NodeAgent {
  readonly #cluster: Cluster;
  readonly #folder: string;
  readonly #nodes = new Map<string, AgentNode>();
  readonly #pods = new Map<string, AbortController>();
  readonly #running = new Set<GuardedProcess>();
  #log = "";
  #started = 0;
  #addresses = 0;
  #services = false;
  #stopped = false;
  #loop: Promise<void> = Promise.resolve();

  private constructor(cluster: Cluster) {
    this.#cluster = cluster;
    this.#folder = mkdtempSync(join(cluster.directory, "nodes-"));
  }

  /** With one Linux node. `services`: the pods that stay run, too. */
  static async start(cluster: Cluster, options: { readonly services?: boolean } = {}): Promise<NodeAgent> {
    const agent = new NodeAgent(cluster);
    agent.#services = options.services === true;
    await agent.addNode("linux-1", "linux");
    agent.#loop = agent.#run();
    return agent;
  }

  /** Resolves to the folder that stands for the node's file system. */
  async addNode(
    name: string,
    os: "linux" | "windows",
    options: { readonly down?: boolean; readonly labels?: Readonly<Record<string, string>> } = {},
  ): Promise<string> {
    const root = join(this.#folder, name);
    mkdirSync(root, { recursive: true });
    const { admin } = this.#cluster;
    await admin.expect("POST", "/api/v1/nodes", {
      apiVersion: "v1",
      kind: "Node",
      metadata: {
        name,
        labels: { "kubernetes.io/os": os, "kubernetes.io/hostname": name, ...options.labels },
      },
    });
    // A new node is tainted until the controllers find it ready; they taint one that is silent.
    const silent = ["NoSchedule", "NoExecute"].map((effect) => ({
      key: "node.kubernetes.io/unreachable",
      effect,
    }));
    await admin.expect(
      "PATCH",
      `/api/v1/nodes/${name}`,
      { spec: { taints: options.down === true ? silent : null } },
      "application/merge-patch+json",
    );
    await admin.expect(
      "PATCH",
      `/api/v1/nodes/${name}/status`,
      {
        status: {
          conditions: [{ type: "Ready", status: options.down === true ? "Unknown" : "True", reason: "Bed" }],
          allocatable: { pods: "110", cpu: "8", memory: "16Gi" },
          capacity: { pods: "110", cpu: "8", memory: "16Gi" },
        },
      },
      "application/merge-patch+json",
    );
    this.#nodes.set(name, { name, os, root, down: options.down === true });
    return root;
  }

  async removeNode(name: string): Promise<void> {
    this.#nodes.delete(name);
    await this.#cluster.admin.expect("DELETE", `/api/v1/nodes/${name}`);
  }

  /** What every container printed, each line after its node, pod and container. */
  get log(): string {
    return this.#log;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const stop of this.#pods.values()) stop.abort();
    await Promise.all([...this.#running].map((child) => child.stop("SIGKILL")));
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        const { items } = await this.#cluster.admin.expect("GET", "/api/v1/pods");
        for (const pod of items as readonly KubernetesObject[]) await this.#look(pod);
      } catch {
        // The API server may be away; it is asked again.
      }
      await sleep(100);
    }
  }

  async #look(pod: KubernetesObject): Promise<void> {
    const { name, namespace, uid, labels = {}, deletionTimestamp } = pod.metadata;
    const isHook = hookComponents.has(labels["app.kubernetes.io/component"] as string);
    const isService = this.#services && serviceCharts.has(labels["app.kubernetes.io/name"] as string);
    if (!isHook && !isService) return;
    const path = `/api/v1/namespaces/${String(namespace)}/pods/${String(name)}`;
    if (deletionTimestamp !== undefined) {
      this.#pods.get(uid as string)?.abort();
      await this.#cluster.admin.request("DELETE", path, { gracePeriodSeconds: 0 });
      return;
    }
    const bound = pod.spec.nodeName as string | undefined;
    if (bound === undefined) {
      const node = this.#nodeFor(pod);
      if (node === undefined) return;
      await this.#cluster.admin.request("POST", `${path}/binding`, {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name },
        target: { apiVersion: "v1", kind: "Node", name: node.name },
      });
      return;
    }
    const node = this.#nodes.get(bound);
    if (node === undefined || node.down || this.#pods.has(uid as string)) return;
    const stop = new AbortController();
    this.#pods.set(uid as string, stop);
    this.#runPod(pod, path, node, stop.signal).catch((cause: unknown) => {
      this.#log += `${String(name)}: ${(cause as Error).message}\n`;
    });
  }

  /** The DaemonSet controller names the node; for others any of the right system will do. */
  #nodeFor(pod: KubernetesObject): AgentNode | undefined {
    const terms =
      pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ??
      [];
    const named = (terms as readonly KubernetesObject[])
      .flatMap((term) => (term.matchFields ?? []) as readonly KubernetesObject[])
      .find((field) => field.key === "metadata.name")?.values[0] as string | undefined;
    if (named !== undefined) return this.#nodes.get(named);
    return [...this.#nodes.values()].find(
      ({ os, down }) => !down && os === pod.spec.nodeSelector?.["kubernetes.io/os"],
    );
  }

  async #runPod(pod: KubernetesObject, path: string, node: AgentNode, stopped: AbortSignal): Promise<void> {
    const environment = await this.#environmentOf(pod);
    const mounts = await this.#mountsOf(pod, node);
    this.#addresses += 1;
    const address = pod.spec.hostNetwork === true ? "127.0.0.1" : `127.0.91.${String(this.#addresses)}`;
    const status: {
      phase: string;
      podIP: string;
      podIPs: readonly { readonly ip: string }[];
      conditions?: readonly KubernetesObject[];
      initContainerStatuses: KubernetesObject[];
      containerStatuses: KubernetesObject[];
    } = {
      phase: "Pending",
      podIP: address,
      podIPs: [{ ip: address }],
      initContainerStatuses: [],
      containerStatuses: [],
    };
    const report = async (): Promise<void> => {
      if (stopped.aborted) return;
      await this.#cluster.admin.request(
        "PATCH",
        `${path}/status`,
        { status: { startTime: new Date().toISOString(), ...status } },
        "application/merge-patch+json",
      );
    };
    const run = async (
      container: KubernetesObject,
      statuses: KubernetesObject[],
      restart: boolean,
    ): Promise<number> => {
      const entry: KubernetesObject = {
        name: container.name,
        image: container.image,
        imageID: "",
        ready: false,
        restartCount: 0,
        state: { running: { startedAt: new Date().toISOString() } },
      };
      statuses.push(entry);
      for (;;) {
        await report();
        const running = new AbortController();
        void this.#untilReady(container, address, AbortSignal.any([running.signal, stopped])).then(
          async () => {
            entry.ready = true;
            status.conditions = ["Initialized", "ContainersReady", "Ready"].map((type) => ({
              type,
              status: "True",
            }));
            await report();
          },
          () => undefined,
        );
        const ended = await this.#runContainer(pod, container, node, {
          address,
          environment,
          mounts,
          stopped,
        }).finally(() => running.abort());
        const terminated = {
          exitCode: ended.code,
          // As terminationMessagePolicy: FallbackToLogsOnError has it.
          ...(ended.code === 0 ? {} : { message: ended.output.slice(-2_048) }),
          reason: ended.code === 0 ? "Completed" : "Error",
        };
        if (ended.code === 0 || !restart || stopped.aborted) {
          entry.state = { terminated };
          return ended.code;
        }
        entry.state = { waiting: { reason: "CrashLoopBackOff" } };
        entry.lastState = { terminated };
        await report();
        await sleep(restartAfterMs);
        entry.restartCount += 1;
        entry.state = { running: { startedAt: new Date().toISOString() } };
      }
    };
    const restarts = pod.spec.restartPolicy === "Always";
    for (const container of (pod.spec.initContainers ?? []) as readonly KubernetesObject[]) {
      await run(container, status.initContainerStatuses, restarts);
      if (stopped.aborted) return;
    }
    status.phase = "Running";
    const codes = await Promise.all(
      (pod.spec.containers as readonly KubernetesObject[]).map((container) =>
        run(container, status.containerStatuses, container.readinessProbe !== undefined),
      ),
    );
    status.phase = codes.every((code) => code === 0) ? "Succeeded" : "Failed";
    await report();
  }

  async #runContainer(
    pod: KubernetesObject,
    container: KubernetesObject,
    node: AgentNode,
    context: {
      readonly address: string;
      readonly environment: Readonly<Record<string, string>>;
      readonly mounts: ReadonlyMap<string, string>;
      readonly stopped: AbortSignal;
    },
  ): Promise<{ readonly code: number; readonly output: string }> {
    const places = (container.volumeMounts ?? []) as readonly KubernetesObject[];
    const args = ((container.args ?? []) as readonly string[]).map((argument) => {
      for (const { name, mountPath } of places) {
        const folder = context.mounts.get(name as string);
        const at = argument.indexOf(mountPath as string);
        if (folder !== undefined && (at === 0 || argument[at - 1] === "=")) {
          return argument.replace(mountPath as string, folder);
        }
      }
      return argument.replace(/=\/var\/lib\//u, `=${node.root}/var/lib/`).replace("[::]", context.address);
    });
    // All pods share this machine: each webhook listens on its pod's address alone.
    if (args[0] === "admission") args.push(`--host=${context.address}`);
    // Where a pod would find its service account by itself.
    if (container.readinessProbe !== undefined)
      args.push(`--kubeconfig=${context.environment["KUBECONFIG"] ?? ""}`);
    this.#started += 1;
    const logFile = join(
      this.#folder,
      "logs",
      `${String(pod.metadata.name)}-${String(container.name)}-${String(this.#started)}.log`,
    );
    const child = new GuardedProcess(process.execPath, [program, ...args], {
      logFile,
      environment: context.environment,
    });
    this.#running.add(child);
    const stop = (): void => child.signal("SIGTERM");
    context.stopped.addEventListener("abort", stop, { once: true });
    const { code } = await child.exited;
    context.stopped.removeEventListener("abort", stop);
    this.#running.delete(child);
    const output = readFileSync(logFile, "utf8");
    this.#log += output.replaceAll(
      /^(?=.)/gmu,
      `${node.name} ${String(pod.metadata.name)} ${String(container.name)}: `,
    );
    return { code: code ?? 143, output };
  }

  /** Resolves when the readiness probe is answered with 200; never where there is none; rejects when stopped. */
  async #untilReady(container: KubernetesObject, address: string, stopped: AbortSignal): Promise<void> {
    const probe: KubernetesObject = container.readinessProbe?.httpGet;
    if (probe === undefined) return new Promise(() => undefined);
    const ports = (container.ports ?? []) as readonly KubernetesObject[];
    const port = (ports.find(({ name }) => name === probe.port)?.containerPort ?? probe.port) as number;
    const url = `http://${String(probe.host ?? address)}:${String(port)}${String(probe.path)}`;
    for (;;) {
      const ready = await fetch(url, { signal: stopped }).then(
        (answer) => answer.ok,
        () => false,
      );
      stopped.throwIfAborted();
      if (ready) return;
      await sleep(100);
    }
  }

  /** The pod's service account, where it is mounted. */
  async #environmentOf(pod: KubernetesObject): Promise<Readonly<Record<string, string>>> {
    if (pod.spec.automountServiceAccountToken !== true) return { KUBECONFIG: "" };
    const { name, namespace } = pod.metadata;
    const file = join(this.#folder, `${String(name)}.kubeconfig`);
    writeKubeconfigFile(file, {
      server: this.#cluster.server,
      authority: this.#cluster.authority,
      namespace: namespace as string,
      user: { token: await this.#cluster.token(namespace as string, pod.spec.serviceAccountName as string) },
    });
    return { KUBECONFIG: file };
  }

  /** ConfigMaps as folders, the host's folders as those of the node's root; nothing else is mounted. */
  async #mountsOf(pod: KubernetesObject, node: AgentNode): Promise<ReadonlyMap<string, string>> {
    const mounts = new Map<string, string>();
    for (const volume of (pod.spec.volumes ?? []) as readonly KubernetesObject[]) {
      if (volume.hostPath !== undefined) {
        const folder = join(node.root, volume.hostPath.path as string);
        mkdirSync(folder, { recursive: true });
        mounts.set(volume.name as string, folder);
      }
      if (volume.configMap === undefined) continue;
      const map = await this.#cluster.admin.expect(
        "GET",
        `/api/v1/namespaces/${String(pod.metadata.namespace)}/configmaps/${String(volume.configMap.name)}`,
      );
      const folder = mkdtempSync(join(this.#folder, "volume-"));
      for (const [name, text] of Object.entries(map.data as Record<string, string>)) {
        writeFileSync(join(folder, name), text);
      }
      mounts.set(volume.name as string, folder);
    }
    return mounts;
  }
}

/**
 * The API server's calling side of the admission bench, in a process of its own: takes its orders on standard input as
 * JSON, a line each, creates that many pods (mutate, patch, validate) and answers with what it took.
 * @module
 */
import { Agent, request } from "node:https";
import { createInterface } from "node:readline";
import { applyPatch } from "../src/admission/pod-template.ts";
import type { PatchOperation } from "../src/admission/review.ts";
import type { PodLoad, PodOrder } from "./admission.bench.ts";

const agents = new Map<number, Agent>();

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await load(JSON.parse(line) as PodOrder))}\n`);
}

async function load(order: PodOrder): Promise<PodLoad> {
  const agent = agents.get(order.port) ?? new Agent({ keepAlive: true, maxSockets: order.atOnce });
  agents.set(order.port, agent);
  const latencies: number[] = [];
  let next = 0;
  const began = performance.now();
  const caller = async (): Promise<void> => {
    while (next < order.pods) {
      const pod = podOf(order, next++);
      const asked = performance.now();
      for (const patch of await review(order, agent, "mutate", pod)) applyPatch(pod, patch);
      await review(order, agent, "validate", pod);
      latencies.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: order.atOnce }, caller));
  const seconds = (performance.now() - began) / 1_000;
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? NaN;
  return { perSecond: order.pods / seconds, p50: at(0.5), p99: at(0.99) };
}

/** Four containers that name two specs; no two pods of a load share a service account. */
function podOf(order: PodOrder, at: number): Record<string, unknown> {
  const container = (number: number): object => ({
    name: `container-${number}`,
    image: "example.invalid/app:1",
    securityContext: {
      windowsOptions: { gmsaCredentialSpecName: `spec-${(at * 2 + (number % 2)) % order.specs}` },
    },
  });
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `pod-${at}`, namespace: "bench" },
    spec: {
      serviceAccountName: `account-${order.round}-${at}`,
      containers: [0, 1, 2, 3].map(container),
    },
  };
}

function review(
  order: PodOrder,
  agent: Agent,
  webhook: "mutate" | "validate",
  pod: Readonly<Record<string, unknown>>,
): Promise<readonly PatchOperation[]> {
  const body = JSON.stringify({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: { uid: "bench", kind: { kind: "Pod" }, operation: "CREATE", namespace: "bench", object: pod },
  });
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: "127.0.0.1",
        servername: "localhost",
        port: order.port,
        method: "POST",
        path: `/${webhook}?timeout=10s`,
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
        ca: order.ca,
        agent,
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("error", reject).on("end", () => {
          const answer = JSON.parse(text) as { response: { allowed: boolean; patch?: string } };
          const { allowed, patch } = answer.response;
          const patches =
            patch === undefined
              ? []
              : (JSON.parse(Buffer.from(patch, "base64").toString()) as readonly PatchOperation[]);
          if (allowed && patches.length === (webhook === "mutate" ? 4 : 0)) resolve(patches);
          else reject(new Error(`/${webhook} answered ${text.slice(0, 300)}`));
        });
      },
    );
    call.on("error", reject).end(body);
  });
}

/**
 * The API server's side of the authenticator's bench, in a process of its own: takes its orders on standard input as JSON,
 * a line each, and answers every one with a line.
 * @module
 */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { createInterface } from "node:readline";
import type { ReviewLoad, ReviewOrder } from "./authenticator.bench.ts";

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await load(JSON.parse(line) as ReviewOrder))}\n`);
}

async function load(order: ReviewOrder): Promise<ReviewLoad> {
  const bodies = readFileSync(order.tokensFile, "utf8")
    .split("\n")
    .map((token) =>
      JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: { token } }),
    );
  const agent = new Agent({ keepAlive: true, maxSockets: order.connections, scheduling: "fifo" });
  const latencies: number[] = [];
  let sent = 0;
  const began = performance.now();
  const caller = async (): Promise<void> => {
    while (sent < order.reviews) {
      const body = bodies[sent++ % bodies.length] ?? "";
      const asked = performance.now();
      await ask(order, agent, body);
      latencies.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: order.connections }, caller));
  const seconds = (performance.now() - began) / 1_000;
  agent.destroy();
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? NaN;
  return { perSecond: latencies.length / seconds, p50: at(0.5), p99: at(0.99) };
}

function ask(order: ReviewOrder, agent: Agent, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: "127.0.0.1",
        servername: "localhost",
        port: order.port,
        method: "POST",
        path: "/authenticate",
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
        ca: order.ca,
        agent,
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("error", reject).on("end", () => {
          if (response.statusCode === 200 && text.includes(order.expected)) resolve();
          else reject(new Error(`answered ${response.statusCode}: ${text.slice(0, 300)}`));
        });
      },
    );
    call.on("error", reject).end(body);
  });
}

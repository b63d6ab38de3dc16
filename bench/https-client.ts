/**
 * The client of the account provider's bench, in a process of its own: takes its orders on standard input as JSON, a line
 * each, and answers every one with a line.
 * @module
 */
import { Agent, request } from "node:https";
import { createInterface } from "node:readline";
import type { Load, Order } from "./account-provider.bench.ts";

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await load(JSON.parse(line) as Order))}\n`);
}

async function load(order: Order): Promise<Load> {
  const agent = order.kept
    ? new Agent({ keepAlive: true, maxSockets: order.callers, scheduling: "fifo" })
    : new Agent({ keepAlive: false, maxCachedSessions: 0 });
  const latencies: number[] = [];
  const deadline = performance.now() + order.milliseconds;
  const began = performance.now();
  const caller = async (): Promise<void> => {
    while (performance.now() < deadline) {
      const asked = performance.now();
      await ask(order, agent);
      latencies.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: order.callers }, caller));
  const seconds = (performance.now() - began) / 1_000;
  agent.destroy();
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? NaN;
  return { perSecond: latencies.length / seconds, p50: at(0.5), p99: at(0.99) };
}

function ask(order: Order, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: "127.0.0.1",
        servername: "localhost",
        port: order.port,
        path: "/provider",
        headers: { object: order.object },
        ca: order.ca,
        cert: order.cert,
        key: order.key,
        agent,
      },
      (response) => {
        let body = "";
        response.setEncoding("utf8").on("data", (text: string) => (body += text));
        response.on("error", reject).on("end", () => {
          if (body === order.expected) resolve();
          else reject(new Error(`answered ${response.statusCode} with ${body.length} characters`));
        });
      },
    );
    call.on("error", reject).end();
  });
}

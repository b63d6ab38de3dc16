/**
 * The Azure simulator for a program that knows nothing of it: an HTTP proxy takes it to the simulated vaults, two
 * variables of its environment to the simulated metadata service and authority.
 * @module
 */
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { startAzureSimulator, type AzureSimulator } from "../../src/azure-simulator/azure-simulator.ts";
import type { AzureDocument } from "../../src/azure-simulator/content.ts";

export interface SimulatedAzure {
  readonly simulator: AzureSimulator;
  /** For the accounts file: leads to the simulator, and nowhere else. */
  readonly proxy: string;
  /** `HOST:PORT` of every tunnel that was asked for, those that were refused as well. */
  readonly tunnels: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  close(): Promise<void>;
}

/** @param folder where the simulator's authority is written for the program to trust. */
export async function startSimulatedAzure(content: AzureDocument, folder: string): Promise<SimulatedAzure> {
  const simulator = await startAzureSimulator({ content });
  const authority = join(folder, "simulated-azure.pem");
  writeFileSync(authority, simulator.certificateAuthority);
  const tunnels: string[] = [];
  const sockets = new Set<Socket>();
  const proxy = createServer((_, response) => response.writeHead(405).end());
  proxy.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined).on("close", () => sockets.delete(socket));
  });
  proxy.on("connect", (request, client) => {
    const target = request.url ?? "";
    tunnels.push(target);
    const [host = "", port = ""] = target.split(":");
    let address: ReturnType<AzureSimulator["dial"]>;
    try {
      address = simulator.dial(host, Number(port));
    } catch {
      client.end("HTTP/1.1 502 Bad Gateway\r\n\r\n");
      return;
    }
    const upstream = connect(address.port, address.host, () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(client).pipe(upstream);
    });
    upstream.on("error", () => client.destroy());
    client.on("close", () => upstream.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    simulator,
    proxy: `http://127.0.0.1:${String((proxy.address() as AddressInfo).port)}`,
    tunnels,
    environment: {
      // Microsoft's libraries ask this address in place of 169.254.169.254.
      AZURE_POD_IDENTITY_AUTHORITY_HOST: simulator.addresses.metadata,
      NODE_EXTRA_CA_CERTS: authority,
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
      await simulator.close();
    },
  };
}

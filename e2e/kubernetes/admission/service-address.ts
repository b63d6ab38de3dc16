/**
 * What a Service does for its endpoints: one address, new connections go to whichever endpoints it has now, connections
 * that exist stay where they are.
 * @module
 */
import { connect, createServer, type AddressInfo, type Server, type Socket } from "node:net";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export class ServiceAddress {
  /** Addresses of the endpoints; a number is a port of 127.0.0.1. */
  endpoints: readonly (number | Endpoint)[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Connections so far. */
  connections = 0;
  #next = 0;

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (client) => this.#forward(client));
  }

  static async listen(host = "127.0.0.1", port = 0): Promise<ServiceAddress> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, host, resolve));
    return new ServiceAddress(server);
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #forward(client: Socket): void {
    this.connections++;
    const endpoint = this.endpoints[this.#next++ % this.endpoints.length];
    if (endpoint === undefined) {
      client.destroy();
      return;
    }
    const { host, port } = typeof endpoint === "number" ? { host: "127.0.0.1", port: endpoint } : endpoint;
    const upstream = connect(port, host);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      this.#sockets.add(from);
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => this.#sockets.delete(from));
    }
  }
}

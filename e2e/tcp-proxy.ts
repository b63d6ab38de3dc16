/**
 * A TCP proxy that fails the way networks do: a connection that still stands
 * but carries nothing any more (a NAT entry that expired, a node that lost its
 * power), which no error ever tells the client.
 * @module
 */
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";

interface Link {
  readonly client: Socket;
  readonly upstream: Socket;
}

/** Forwards connections on a loopback port to another until told to stop doing so. */
export class TcpProxy {
  readonly #server: Server;
  readonly #links = new Set<Link>();

  private constructor(server: Server) {
    this.#server = server;
  }

  /** Listens on a free port of 127.0.0.1 and forwards to `port` there. */
  static async listen(port: number): Promise<TcpProxy> {
    const server = createServer();
    const proxy = new TcpProxy(server);
    server.on("connection", (client) => {
      proxy.#forward(client, port);
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(0, "127.0.0.1", resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How many connections it carries, frozen ones included. */
  get connections(): number {
    return this.#links.size;
  }

  /**
   * From now on the connections that exist carry nothing, in either direction,
   * and are not closed either; connections made later are forwarded as usual.
   */
  freeze(): void {
    for (const { client, upstream } of this.#links) {
      client.unpipe(upstream).pause();
      upstream.unpipe(client).pause();
    }
  }

  /** Breaks every connection that exists; the port stays open. */
  cut(): void {
    for (const { client, upstream } of this.#links) {
      client.resetAndDestroy();
      upstream.resetAndDestroy();
    }
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) =>
      this.#server.close(() => {
        resolve();
      }),
    );
    this.cut();
    await closed;
  }

  #forward(client: Socket, port: number): void {
    const upstream = connect(port, "127.0.0.1");
    const link: Link = { client, upstream };
    this.#links.add(link);
    const end = (): void => {
      this.#links.delete(link);
      client.destroy();
      upstream.destroy();
    };
    client.on("error", end).on("close", end);
    upstream.on("error", end).on("close", end);
    client.pipe(upstream);
    upstream.pipe(client);
  }
}

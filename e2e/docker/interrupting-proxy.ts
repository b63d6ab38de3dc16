/**
 * Stands between a client and the engine's socket and interrupts the client at a chosen request: before the engine got it,
 * or after the engine has done it and before the client knows.
 * @module
 */
import { rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";

export interface Interruption {
  /** Which request, from 1. */
  readonly at: number;
  readonly when: "before" | "after";
}

export class InterruptingProxy {
  readonly socket: string;
  /** Requests so far: the client opens a connection for each. */
  requests = 0;
  readonly #server: Server;

  private constructor(server: Server, socket: string) {
    this.#server = server;
    this.socket = socket;
  }

  /** @param interrupt ends the client; called once. */
  static async start(
    socket: string,
    engineSocket: string,
    interruption: Interruption,
    interrupt: () => void,
  ): Promise<InterruptingProxy> {
    rmSync(socket, { force: true });
    const server = createServer();
    const proxy = new InterruptingProxy(server, socket);
    server.on("connection", (client) => {
      client.on("error", () => undefined);
      const mine = ++proxy.requests === interruption.at;
      if (mine && interruption.when === "before") {
        interrupt();
        client.destroy();
        return;
      }
      const engine = connect(engineSocket);
      engine.on("error", () => client.destroy());
      client.pipe(engine, { end: false });
      client.on("close", () => engine.destroy());
      if (!mine) {
        engine.pipe(client);
        return;
      }
      // The engine answers when it has done it.
      engine.once("data", () => {
        interrupt();
        client.destroy();
      });
    });
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    return proxy;
  }

  async close(): Promise<void> {
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

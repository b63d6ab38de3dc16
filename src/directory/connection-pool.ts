/**
 * Open connections kept for the next operation: TLS and a bind cost several times what a search does. The service account
 * and people's binds have a pool each, so that no search ever runs as whoever logged in last.
 * @module
 */
import type { CancelTimer, Clock } from "../clock.ts";
import { SallyportError } from "../errors.ts";
import type { DirectoryConnection } from "./connection.ts";
import { serverName, type DirectoryServer } from "./transport.ts";

export interface ConnectionPoolOptions {
  readonly clock: Clock;
  /** Most connections to one server at a time; further operations wait their turn. */
  readonly maxConnections: number;
  /** Idle connections are closed after this time; domain controllers do it after 15 minutes (MaxConnIdleTime). */
  readonly idleMs: number;
  /** Makes a connection ready for its first use. */
  readonly open: (server: DirectoryServer, signal: AbortSignal) => Promise<DirectoryConnection>;
}

/** A connection in the hands of one operation. Exactly one of the two methods ends it. */
export interface Lease {
  readonly connection: DirectoryConnection;
  /** It had been idle, so that the server may have closed it without our having noticed. */
  readonly reused: boolean;
  /** All went well: the next may use it. */
  release(): void;
  /** Something is wrong with it. */
  discard(): void;
}

interface Idle {
  readonly connection: DirectoryConnection;
  readonly cancel: CancelTimer;
}

interface ServerPool {
  open: number;
  readonly idle: Idle[];
  readonly waiting: (() => void)[];
}

export class ConnectionPool {
  readonly #options: ConnectionPoolOptions;
  readonly #servers = new Map<string, ServerPool>();
  #closed = false;

  constructor(options: ConnectionPoolOptions) {
    this.#options = options;
  }

  /** A connection to this server; what opening one throws, or `E_DIRECTORY_TIMEOUT` when the signal comes first. */
  async acquire(server: DirectoryServer, signal: AbortSignal): Promise<Lease> {
    const pool = this.#poolOf(server);
    for (;;) {
      if (this.#closed)
        throw new SallyportError("E_DIRECTORY_UNREACHABLE", { detail: "the directory is closed" });
      // The one used last is the likeliest to live.
      const idle = pool.idle.pop();
      if (idle !== undefined) {
        idle.cancel();
        if (!idle.connection.closed) return this.#lease(pool, idle.connection, true);
        continue;
      }
      if (pool.open < this.#options.maxConnections) break;
      await this.#turn(pool, server, signal);
    }
    pool.open += 1;
    try {
      const connection = await this.#options.open(server, signal);
      if (connection.closed)
        throw new SallyportError("E_DIRECTORY_UNREACHABLE", {
          detail: `${serverName(server)} closed the connection`,
        });
      connection.onClose(() => this.#gone(pool, connection));
      return this.#lease(pool, connection, false);
    } catch (thrown) {
      pool.open -= 1;
      pool.waiting.shift()?.();
      throw thrown;
    }
  }

  /** Closes idle connections now and those in use when they are released. */
  close(): void {
    this.#closed = true;
    for (const pool of this.#servers.values()) {
      for (const idle of pool.idle.splice(0)) {
        idle.cancel();
        idle.connection.close();
      }
      for (const wake of pool.waiting.splice(0)) wake();
    }
  }

  #lease(pool: ServerPool, connection: DirectoryConnection, reused: boolean): Lease {
    let ended = false;
    const end = (keep: boolean): void => {
      if (ended) return;
      ended = true;
      if (keep && !this.#closed && !connection.closed) {
        const cancel = this.#options.clock.after(this.#options.idleMs, () => connection.close());
        pool.idle.push({ connection, cancel });
        pool.waiting.shift()?.();
      } else {
        connection.close();
      }
    };
    return { connection, reused, release: () => end(true), discard: () => end(false) };
  }

  #gone(pool: ServerPool, connection: DirectoryConnection): void {
    pool.open -= 1;
    const at = pool.idle.findIndex((idle) => idle.connection === connection);
    if (at >= 0) pool.idle.splice(at, 1)[0]?.cancel();
    pool.waiting.shift()?.();
  }

  #turn(pool: ServerPool, server: DirectoryServer, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        signal.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = (): void => {
        const at = pool.waiting.indexOf(wake);
        if (at >= 0) pool.waiting.splice(at, 1);
        reject(
          new SallyportError("E_DIRECTORY_TIMEOUT", {
            detail: `all connections to ${serverName(server)} are in use`,
          }),
        );
      };
      if (signal.aborted) return giveUp();
      signal.addEventListener("abort", giveUp, { once: true });
      pool.waiting.push(wake);
      return undefined;
    });
  }

  #poolOf(server: DirectoryServer): ServerPool {
    const name = serverName(server);
    const known = this.#servers.get(name);
    if (known !== undefined) return known;
    const pool: ServerPool = { open: 0, idle: [], waiting: [] };
    this.#servers.set(name, pool);
    return pool;
  }
}

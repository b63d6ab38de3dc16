/**
 * Work done as the service account: on whichever domain controller is healthy, tried again where that is harmless, and
 * never again after a refused bind, which would count towards the account's lock-out.
 * @module
 */
import type { Clock } from "../clock.ts";
import { SallyportError, type ErrorCode } from "../errors.ts";
import type { Secret } from "../secret.ts";
import { bindNameOfConfiguration, bindPassword, type BindName, type BindPassword } from "./bind-name.ts";
import { ConnectionPool, type Lease } from "./connection-pool.ts";
import { openConnection, type ConnectionLimits, type DirectoryConnection } from "./connection.ts";
import type { Controllers } from "./controllers.ts";
import { startDeadline } from "./deadline.ts";
import { serverName, type DirectoryServer, type TlsTrust } from "./transport.ts";

/** The account that searches; its password may change while we run. */
export interface ServiceAccount {
  /** A DN, `user@domain` or `DOMAIN\user`. */
  readonly name: string;
  readonly password: Secret | (() => Secret);
}

export interface SessionOptions {
  readonly clock: Clock;
  readonly controllers: Controllers;
  readonly trust: TlsTrust;
  readonly limits?: ConnectionLimits;
  readonly account: ServiceAccount;
  readonly connectTimeoutMs: number;
  readonly idleMs: number;
  readonly maxConnections: number;
}

/** One controller's turn at an operation. */
export interface Turn {
  readonly server: DirectoryServer;
  /** Runs work on a service connection to this controller, once more on a fresh one when an idle one had died. */
  readonly asService: <Result>(work: (connection: DirectoryConnection) => Promise<Result>) => Promise<Result>;
  /** A connection for one person's bind. */
  readonly forUser: () => Promise<Lease>;
  /** From here on a failure must not lead to another try elsewhere: a password has been sent. */
  readonly commit: () => void;
}

const firstRefusalPauseMs = 60_000;
const longestRefusalPauseMs = 30 * 60_000;

export class ServiceSession {
  readonly #options: SessionOptions;
  readonly #service: ConnectionPool;
  readonly #users: ConnectionPool;
  /** The last password that the directory refused: not sent again until the pause is over or it changes. */
  #refused:
    | {
        readonly password: Secret;
        readonly until: number;
        readonly pause: number;
        readonly error: SallyportError;
      }
    | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    const { clock, maxConnections, idleMs } = options;
    this.#service = new ConnectionPool({
      clock,
      maxConnections,
      idleMs,
      open: (server, signal) => this.#openBound(server, signal),
    });
    this.#users = new ConnectionPool({
      clock,
      maxConnections,
      idleMs,
      open: (server, signal) => this.#open(server, signal),
    });
  }

  /** Runs an operation on one controller after another until one succeeds; throws the last failure. */
  async run<Result>(signal: AbortSignal, operation: (turn: Turn) => Promise<Result>): Promise<Result> {
    const { controllers } = this.#options;
    let failure: unknown;
    for (const server of await controllers.candidates(signal)) {
      let committed = false;
      const turn: Turn = {
        server,
        asService: (work) => this.#onPooled(this.#service, server, signal, work),
        forUser: () => this.#users.acquire(server, signal),
        commit: () => (committed = true),
      };
      try {
        const result = await operation(turn);
        controllers.succeeded(server);
        return result;
      } catch (thrown) {
        failure = thrown;
        if (!isControllersFault(thrown)) throw thrown;
        controllers.failed(server);
        if (committed || signal.aborted) throw thrown;
      }
    }
    throw failure;
  }

  close(): void {
    this.#service.close();
    this.#users.close();
  }

  async #onPooled<Result>(
    pool: ConnectionPool,
    server: DirectoryServer,
    signal: AbortSignal,
    work: (connection: DirectoryConnection) => Promise<Result>,
  ): Promise<Result> {
    for (;;) {
      const lease = await pool.acquire(server, signal);
      try {
        const result = await work(lease.connection);
        lease.release();
        return result;
      } catch (thrown) {
        const died = lease.connection.closed;
        // An error of the work itself (too many groups, say) leaves the connection as good as it was.
        if (died) lease.discard();
        else lease.release();
        if (!(died && lease.reused && !signal.aborted && isControllersFault(thrown))) throw thrown;
      }
    }
  }

  async #open(server: DirectoryServer, signal: AbortSignal): Promise<DirectoryConnection> {
    const { clock, trust, limits, connectTimeoutMs } = this.#options;
    const deadline = startDeadline(clock, connectTimeoutMs, signal);
    try {
      return await openConnection(server, trust, deadline.signal, limits);
    } finally {
      deadline.release();
    }
  }

  async #openBound(server: DirectoryServer, signal: AbortSignal): Promise<DirectoryConnection> {
    const { name, password } = this.#credentials(server);
    const connection = await this.#open(server, signal);
    const bound = await connection.bind(name, password, signal);
    if (bound.outcome === "bound") {
      this.#refused = undefined;
      return connection;
    }
    connection.close();
    const reason = `${bound.refusal}${bound.dataCode === undefined ? "" : ` (data ${bound.dataCode})`}`;
    const error = new SallyportError("E_DIRECTORY_SERVICE_ACCOUNT", { server: serverName(server), reason });
    const pause = Math.min((this.#refused?.pause ?? firstRefusalPauseMs / 2) * 2, longestRefusalPauseMs);
    this.#refused = { password, error, pause, until: this.#options.clock.now() + pause };
    throw error;
  }

  #credentials(server: DirectoryServer): { readonly name: BindName; readonly password: BindPassword } {
    const { account, clock } = this.#options;
    const fail = (reason: string): SallyportError =>
      new SallyportError("E_DIRECTORY_SERVICE_ACCOUNT", { server: serverName(server), reason });
    const name = bindNameOfConfiguration(account.name);
    if (name === undefined) throw fail("its name is neither a DN, nor user@domain, nor DOMAIN\\user");
    const current = typeof account.password === "function" ? account.password() : account.password;
    const refused = this.#refused;
    if (refused !== undefined && clock.now() < refused.until && refused.password.equals(current))
      throw refused.error;
    const password = bindPassword(current);
    if (!password.ok) throw fail("its password is empty or malformed");
    return { name, password: password.password };
  }
}

/** Whether the failure is the controller's or the way's to it, so that another one may do better. */
export function isControllersFault(thrown: unknown): boolean {
  if (!(thrown instanceof SallyportError)) return false;
  // busy, unavailable (RFC 4511, appendix A.2).
  const asksForPatience = thrown.data["result"] === 51 || thrown.data["result"] === 52;
  return controllersFaults.has(thrown.code) || (thrown.code === "E_DIRECTORY_RESULT" && asksForPatience);
}

const controllersFaults: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "E_DIRECTORY_UNREACHABLE",
  "E_DIRECTORY_TLS",
  "E_DIRECTORY_TIMEOUT",
  "E_DIRECTORY_PROTOCOL",
]);

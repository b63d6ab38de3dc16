/**
 * Sockets of a service: one HTTP or HTTPS listener on one or more addresses with limits, certificate replacement and a
 * bounded drain. What is answered is the handler's business; what may be held open, and how long, is decided here.
 * @module
 */
import { constants as cryptoConstants } from "node:crypto";
import {
  createServer as createHttpServer,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { SecureContextOptions } from "node:tls";
import type { Secret } from "../secret.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import { certificatesIn } from "../pki/pem.ts";

/** A certificate chain (PEM, leaf first) and the leaf's private key (PEM). */
export interface TlsIdentity {
  readonly chainPem: string;
  readonly privateKeyPem: Secret;
}

/** What a TLS listener presents, and whom it asks for a certificate. */
export interface TlsMaterial {
  /** One identity for each kind of key (EC, RSA); the client's abilities choose. */
  readonly identities: readonly TlsIdentity[];
  /**
   * PEM of the authorities whose client certificates may be accepted; absent: no client certificate is asked for. A
   * handshake never fails for a wrong one: the handler refuses with `client-certificate.ts`, so that the client can
   * tell a refusal from a crash.
   */
  readonly clientAuthoritiesPem?: string;
  /** Oldest version of TLS that is spoken; TLS 1.2 when left out. */
  readonly minVersion?: "TLSv1.2" | "TLSv1.3";
}

export interface ListenAddress {
  readonly host: string;
  /** 0: any free port, the same one on all addresses. */
  readonly port: number;
  /** An address that this machine does not have is left out instead of being an error. */
  readonly optional?: boolean;
}

export interface ListenerLimits {
  /** Connections held at once; one more ends the connection that has been idle longest. */
  readonly connections: number;
  /** Bytes of a request's head. */
  readonly headerBytes: number;
  /** Milliseconds for the TLS handshake. */
  readonly handshakeMs: number;
  /** Milliseconds for a request's head. */
  readonly headersMs: number;
  /** Milliseconds for a whole request. */
  readonly requestMs: number;
  /** Milliseconds that a kept connection may be idle. */
  readonly keepAliveMs: number;
}

const defaultLimits: ListenerLimits = {
  connections: 512,
  headerBytes: 8 * 1024,
  handshakeMs: 5_000,
  headersMs: 5_000,
  requestMs: 10_000,
  keepAliveMs: 30_000,
};

export interface ListenerOptions {
  /** Name of the listener in the log. */
  readonly name: string;
  readonly addresses: readonly ListenAddress[];
  readonly handler: RequestListener;
  readonly tls?: TlsMaterial;
  readonly limits?: Partial<ListenerLimits>;
  readonly log: Log;
}

export interface Listener {
  readonly port: number;
  /** `host:port` of each address, IPv6 in brackets. */
  readonly addresses: readonly string[];
  /** Connections open now. */
  connections(): number;
  /** New connections get this material; open ones go on undisturbed. */
  replaceTls(material: TlsMaterial): void;
  /** Accepts nothing more, lets running requests end for at most `drainMs`, then cuts what is left. */
  close(drainMs: number): Promise<void>;
}

/** Both loopback families, where the machine has them, on one port. */
export function loopbackAddresses(port: number): readonly ListenAddress[] {
  return [
    { host: "127.0.0.1", port },
    { host: "::1", port, optional: true },
  ];
}

/** @throws {SallyportError} `E_LISTEN_FAILED` when an address that is not optional cannot be had. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const limits = { ...defaultLimits, ...options.limits };
  // A port that is free on the first address may be taken on the second: then all of them are chosen anew.
  for (let attempt = 1; ; attempt++) {
    try {
      return await bindAll(options, limits);
    } catch (error) {
      const anyPort = options.addresses.every((address) => address.port === 0);
      if (!(anyPort && attempt < 5 && error instanceof SallyportError)) throw error;
    }
  }
}

async function bindAll(options: ListenerOptions, limits: ListenerLimits): Promise<Listener> {
  const tracker = new ConnectionTracker(limits.connections, options.log.with({ listener: options.name }));
  const servers: (Server | HttpsServer)[] = [];
  let port = 0;
  let draining = false;
  const running = new Set<ServerResponse>();
  const handler: RequestListener = (request, response) => {
    if (draining) response.setHeader("connection", "close");
    running.add(response);
    tracker.busy(request.socket);
    response.once("close", () => {
      running.delete(response);
      tracker.idle(request.socket);
      // Its head may have been sent before the drain began, promising to keep the connection.
      if (draining) request.socket.destroySoon();
    });
    options.handler(request, response);
  };
  try {
    for (const address of options.addresses) {
      const server = createServer(options, limits, handler);
      server.on("connection", (socket: Socket) => tracker.add(socket));
      const wanted = address.port === 0 ? port : address.port;
      const bound = await bind(server, address.host, wanted);
      if (bound.ok) {
        servers.push(server);
        port = bound.port;
      } else if (!(address.optional === true && bound.absent)) {
        throw new SallyportError(
          "E_LISTEN_FAILED",
          { address: display(address.host, wanted), detail: reasonOf(bound.error) },
          { cause: bound.error },
        );
      }
    }
  } catch (error) {
    for (const server of servers) server.close();
    throw error;
  }
  const addresses = servers.map((server) => {
    const bound = server.address() as AddressInfo;
    return display(bound.address, bound.port);
  });
  options.log.info("service.listening", { listener: options.name, addresses });

  return {
    port,
    addresses,
    connections: () => tracker.size,
    replaceTls(material) {
      for (const server of servers) {
        if ("setSecureContext" in server) server.setSecureContext(secureContextOptions(material));
      }
      options.log.debug("service.tls-replaced", { listener: options.name });
    },
    async close(drainMs) {
      draining = true;
      for (const response of running) if (!response.headersSent) response.setHeader("connection", "close");
      const closed = Promise.all(
        servers.map((server) => {
          // Node would also cut connections whose first request is on the way; which ones go is decided below.
          server.closeIdleConnections = () => undefined;
          return new Promise<void>((resolve) => server.close(() => resolve()));
        }),
      );
      tracker.closeIdle();
      // A connection that was accepted but has not asked yet gets a moment: its request is on the way.
      const fresh = setTimeout(() => tracker.closeFresh(), Math.min(drainMs, 1_000));
      const deadline = setTimeout(() => {
        options.log.warn("service.drain-timed-out", { listener: options.name, connections: tracker.size });
        tracker.closeAll();
      }, drainMs);
      await closed;
      clearTimeout(fresh);
      clearTimeout(deadline);
    },
  };
}

function createServer(
  options: ListenerOptions,
  limits: ListenerLimits,
  handler: RequestListener,
): Server | HttpsServer {
  const common = {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersMs,
    requestTimeout: limits.requestMs,
    keepAliveTimeout: limits.keepAliveMs,
    // How often Node looks for late heads and requests.
    connectionsCheckingInterval: Math.min(1_000, limits.headersMs),
    noDelay: true,
  };
  if (options.tls === undefined) return createHttpServer(common, handler);
  const server = createHttpsServer(
    {
      ...common,
      ...secureContextOptions(options.tls),
      requestCert: options.tls.clientAuthoritiesPem !== undefined,
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeMs,
      ALPNProtocols: ["http/1.1"],
    },
    handler,
  );
  server.on("tlsClientError", (error: Error & { code?: string }, socket: Socket) => {
    options.log.debug("service.request-failed", { listener: options.name, reason: error.code ?? "TLS" });
    socket.destroy();
  });
  return server;
}

function secureContextOptions(material: TlsMaterial): SecureContextOptions {
  return {
    cert: material.identities.map((identity) => identity.chainPem),
    key: material.identities.map((identity) => identity.privateKeyPem.reveal()),
    // Node takes an empty text for its own list of public authorities; this throws.
    ...(material.clientAuthoritiesPem === undefined
      ? {}
      : { ca: [...certificatesIn(material.clientAuthoritiesPem)] }),
    minVersion: material.minVersion ?? "TLSv1.2",
    // No resumption: a resumed session would carry a client certificate's acceptance past its end.
    secureOptions: cryptoConstants.SSL_OP_NO_TICKET | cryptoConstants.SSL_OP_NO_RENEGOTIATION,
  };
}

/** Of both families. */
const everyAddress = "::";

type Bound =
  | { readonly ok: true; readonly port: number }
  | { readonly ok: false; readonly absent: boolean; readonly error: Error };

async function bind(server: Server | HttpsServer, host: string, port: number): Promise<Bound> {
  const bound = await bindOnce(server, host, port);
  // What is meant is every address, also of a machine whose kernel has no IPv6.
  return !bound.ok && bound.absent && host === everyAddress ? bindOnce(server, "0.0.0.0", port) : bound;
}

function bindOnce(server: Server | HttpsServer, host: string, port: number): Promise<Bound> {
  return new Promise((resolve) => {
    const onError = (error: Error & { code?: string }): void => {
      const absent =
        error.code === "EADDRNOTAVAIL" || error.code === "EAFNOSUPPORT" || error.code === "EINVAL";
      resolve({ ok: false, absent, error });
    };
    server.once("error", onError);
    // Both families share a port only when each socket keeps to its own.
    const ipv6Only = host.includes(":") && host !== everyAddress;
    server.listen({ host, port, ipv6Only, backlog: 1024 }, () => {
      server.off("error", onError);
      resolve({ ok: true, port: (server.address() as AddressInfo).port });
    });
  });
}

function display(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Peer address and port: the same for a TLS socket and the raw socket below it. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress ?? ""} ${socket.remotePort ?? 0}`;
}

/**
 * Knows which connections wait for a request. When there are too many, the one that has been idle longest goes: a
 * process that opens a thousand connections and says nothing cannot keep the next honest caller out.
 */
class ConnectionTracker {
  readonly #limit: number;
  readonly #log: Log;
  /** Idle ones in the order in which they became idle. */
  readonly #idle = new Map<string, Socket>();
  /** Of these, the ones that have never had a request. */
  readonly #fresh = new WeakSet<Socket>();
  readonly #busy = new Map<string, Socket>();

  constructor(limit: number, log: Log) {
    this.#limit = limit;
    this.#log = log;
  }

  get size(): number {
    return this.#idle.size + this.#busy.size;
  }

  add(socket: Socket): void {
    const peer = peerOf(socket);
    this.#idle.set(peer, socket);
    this.#fresh.add(socket);
    socket.once("close", () => {
      if (this.#idle.get(peer) === socket) this.#idle.delete(peer);
      if (this.#busy.get(peer) === socket) this.#busy.delete(peer);
    });
    if (this.size <= this.#limit) return;
    const longestIdle = this.#idle.values().next().value;
    longestIdle?.destroy();
    this.#log.debug("service.connection-evicted", { limit: this.#limit });
  }

  busy(socket: Socket): void {
    this.#move(peerOf(socket), this.#idle, this.#busy);
  }

  idle(socket: Socket): void {
    this.#move(peerOf(socket), this.#busy, this.#idle);
  }

  closeIdle(): void {
    for (const socket of this.#idle.values()) if (!this.#fresh.has(socket)) socket.destroy();
  }

  closeFresh(): void {
    for (const socket of this.#idle.values()) socket.destroy();
  }

  closeAll(): void {
    this.closeFresh();
    for (const socket of this.#busy.values()) socket.destroy();
  }

  #move(peer: string, from: Map<string, Socket>, to: Map<string, Socket>): void {
    const socket = from.get(peer);
    if (socket === undefined) return;
    from.delete(peer);
    this.#fresh.delete(socket);
    to.set(peer, socket);
  }
}

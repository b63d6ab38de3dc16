/**
 * The network side of the simulator: LDAP over TLS from the first octet or after StartTLS, never in clear text.
 * @module
 */
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from "node:net";
import { TLSSocket, type SecureContext } from "node:tls";
import { FrameSplitter } from "../directory/message-frames.ts";
import { decodeRequest, extendedResponse, resultCode, type LdapRequest } from "./ldap-messages.ts";

/** One client's connection. */
export interface LdapSession {
  /** What the handler wants to remember about it. */
  readonly memory: Map<string, unknown>;
  /** The socket that carries the encrypted stream. */
  readonly socket: Socket;
  send(...messages: readonly Buffer[]): void;
  end(): void;
}

export type LdapHandler = (request: LdapRequest, session: LdapSession) => void | Promise<void>;

export interface LdapServerOptions {
  readonly host: string;
  readonly port: number;
  readonly security: "ldaps" | "starttls";
  /** Asked at each handshake. */
  readonly secureContext: () => SecureContext;
  readonly handler: LdapHandler;
}

export interface RunningLdapServer {
  readonly port: number;
  /** Connections so far. */
  readonly accepted: () => number;
  close(): Promise<void>;
}

const startTlsOid = "1.3.6.1.4.1.1466.20037";
const limits = { maxMessageBytes: 1024 * 1024, maxEntries: 1 };

export function startLdapServer(options: LdapServerOptions): Promise<RunningLdapServer> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server: Server = createTcpServer((socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    socket.on("close", () => sockets.delete(socket));
    if (options.security === "ldaps") encrypt(socket, options);
    else awaitStartTls(socket, options);
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, () =>
      resolve({
        port: (server.address() as AddressInfo).port,
        accepted: () => accepted,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed());
            for (const socket of sockets) socket.destroy();
          }),
      }),
    );
  });
}

function encrypt(socket: Socket, options: LdapServerOptions): void {
  const secure = new TLSSocket(socket, { isServer: true, secureContext: options.secureContext() });
  secure.on("error", () => socket.destroy());
  const session: LdapSession = {
    memory: new Map(),
    socket: secure,
    send: (...messages) => void (secure.destroyed || secure.write(Buffer.concat(messages))),
    end: () => secure.end(),
  };
  serve(secure, session, options.handler);
}

function serve(socket: Socket, session: LdapSession, handler: LdapHandler): void {
  const splitter = new FrameSplitter(limits);
  let turn = Promise.resolve();
  socket.on("data", (chunk: Buffer) => {
    try {
      for (const frame of splitter.push(chunk)) {
        const request = decodeRequest(frame.bytes);
        if (request === undefined || request.kind === "unbind") return session.end();
        turn = turn.then(() => handler(request, session));
        turn.catch(() => socket.destroy());
      }
    } catch {
      socket.destroy();
    }
    return undefined;
  });
}

/** In clear text nothing but StartTLS is understood. */
function awaitStartTls(socket: Socket, options: LdapServerOptions): void {
  const splitter = new FrameSplitter(limits);
  const onData = (chunk: Buffer): void => {
    try {
      const [frame] = splitter.push(chunk);
      if (frame === undefined) return;
      const request = decodeRequest(frame.bytes);
      if (request?.kind !== "extended" || request.oid !== startTlsOid) {
        socket.destroy();
        return;
      }
      socket.removeListener("data", onData);
      socket.write(extendedResponse(request.id, resultCode.success), () => encrypt(socket, options));
    } catch {
      socket.destroy();
    }
  };
  socket.on("data", onData);
}

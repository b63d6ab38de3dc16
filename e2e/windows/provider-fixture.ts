/**
 * What the plugin meets on a host, made wrong on purpose: certificates of every kind, and servers that misbehave in one
 * way each.
 * @module
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer, type TLSSocket, type TlsOptions } from "node:tls";
import { systemClock, type Clock } from "../../src/clock.ts";
import {
  createAuthority,
  type CertificateAuthority,
  type CertificateRequest,
  type IssuedCertificate,
} from "../../src/pki/authority.ts";
import type { Wine } from "./wine.ts";

const day = 24 * 60 * 60 * 1000;

/** A clock that is `offset` milliseconds away from the real one. */
export function shiftedClock(offset: number): Clock {
  return { ...systemClock, now: () => systemClock.now() + offset };
}

/** An authority as the account provider makes it: for localhost alone, unless `open`. */
export function makeAuthority(
  options: {
    readonly open?: boolean;
    readonly clock?: Clock;
    readonly commonName?: string;
    readonly rsa?: boolean;
  } = {},
): Promise<CertificateAuthority> {
  return createAuthority({
    commonName: options.commonName ?? "account provider",
    keyType: options.rsa === true ? "rsa-2048" : "ec-p256",
    lifetimeMs: 30 * day,
    clock: options.clock ?? systemClock,
    ...(options.open === true ? {} : { permittedDnsNames: ["localhost"] }),
  });
}

export function issue(
  authority: CertificateAuthority,
  usage: "server" | "client",
  request: Partial<CertificateRequest> = {},
): Promise<IssuedCertificate> {
  return authority.issue({
    commonName: usage === "server" ? "localhost" : "ccg-plugin",
    ...(usage === "server" ? { dnsNames: ["localhost"] } : {}),
    usage,
    keyType: "ec-p256",
    lifetimeMs: day,
    ...request,
  });
}

/** What a host directory holds; a file that is undefined is not there. */
export interface HostFiles {
  readonly port: string | undefined;
  readonly authority: string | undefined;
  readonly certificate: string | undefined;
  readonly key: string | undefined;
}

export function hostDirectory(wine: Wine, namespace: string): string {
  return wine.path(`C:\\var\\lib\\rancher\\gmsa\\${namespace}`);
}

/** The host directory of the account provider that answers Key Vault input. */
export const keyVaultDirectory = "_azure-key-vault";

/** Writes a host directory anew. */
export function writeHostFiles(wine: Wine, namespace: string, files: HostFiles): void {
  const directory = hostDirectory(wine, namespace);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(join(directory, "ssl", "ca"), { recursive: true });
  mkdirSync(join(directory, "ssl", "client"), { recursive: true });
  const entries = [
    ["port.txt", files.port],
    ["ssl/ca/ca.crt", files.authority],
    ["ssl/client/tls.crt", files.certificate],
    ["ssl/client/tls.key", files.key],
  ] as const;
  for (const [name, text] of entries) {
    if (text !== undefined) writeFileSync(join(directory, name), text);
  }
}

/** A server of one test: its port, the requests it read, and its end. */
export interface FixtureServer {
  readonly port: number;
  readonly requests: string[];
  readonly connections: number;
  close(): Promise<void>;
}

/** How a server answers once the head of a request has come in; `reset` breaks the TCP connection below TLS. */
export type Answer = (socket: TLSSocket, reset: () => void) => void;

/** A TLS server with one behaviour; asks for a client certificate and lets `answer` judge it. */
export async function startTlsServer(options: TlsOptions, answer: Answer): Promise<FixtureServer> {
  const requests: string[] = [];
  const transports = new Map<number | undefined, Socket>();
  const server = createTlsServer({ requestCert: true, rejectUnauthorized: false, ...options }, (socket) => {
    let text = "";
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      const before = text.includes("\r\n\r\n");
      text += chunk.toString("latin1");
      if (before || !text.includes("\r\n\r\n")) return;
      requests.push(text);
      answer(socket, () => transports.get(socket.remotePort)?.resetAndDestroy());
    });
  });
  server.on("tlsClientError", () => undefined);
  server.on("connection", (socket: Socket) => transports.set(socket.remotePort, socket));
  return listen(server, requests);
}

/** A server below TLS: it gets the raw connection. */
export async function startTcpServer(onConnection: (socket: Socket) => void): Promise<FixtureServer> {
  const server = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  return listen(server, []);
}

async function listen(server: Server, requests: string[]): Promise<FixtureServer> {
  const sockets = new Set<Socket>();
  let connections = 0;
  server.on("connection", (socket: Socket) => {
    connections++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    get connections() {
      return connections;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => {
          resolve();
        });
      }),
  };
}

/** A whole HTTP answer. */
export function httpAnswer(status: string, body: string | Buffer, headers: readonly string[] = []): Buffer {
  const bytes = Buffer.from(body);
  const head = [`HTTP/1.1 ${status}`, `Content-Length: ${String(bytes.length)}`, ...headers, "", ""].join(
    "\r\n",
  );
  return Buffer.concat([Buffer.from(head, "latin1"), bytes]);
}

export const goodBody = JSON.stringify({
  username: "svc-gmsa",
  password: 'Pä55 "wörd" €😀',
  domainName: "contoso.com",
});

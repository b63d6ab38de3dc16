/**
 * The encrypted byte stream to a domain controller: LDAPS, or StartTLS done here before anything else is said. There is no
 * way to get a stream in clear text out of this module.
 * @module
 */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { checkServerIdentity, connect as connectTls, type SecureVersion, type TLSSocket } from "node:tls";
import { reasonOf, SallyportError } from "../errors.ts";
import { ber, berInteger, berTag, readBerHeader, readBerSequence } from "./ber.ts";
import { operationTag } from "./message-frames.ts";

/** A domain controller's address. */
export interface DirectoryServer {
  readonly host: string;
  readonly port: number;
  /** `ldaps`: TLS from the first octet. `starttls`: on the plain port, TLS before the first request. */
  readonly security: "ldaps" | "starttls";
}

export interface TlsTrust {
  /** Certificates of the authorities to trust, PEM; default: those Node trusts. */
  readonly certificateAuthority?: string | undefined;
  /** Default: TLS 1.2. */
  readonly minimumVersion?: SecureVersion | undefined;
  /** Name that the certificate must hold, where it is not the host that is dialled. */
  readonly certificateName?: string | undefined;
}

const startTlsOid = "1.3.6.1.4.1.1466.20037";
const startTlsRequest = ber(
  berTag.sequence,
  berInteger(1),
  ber(operationTag.extendedRequest, ber(0x80, startTlsOid)),
);
const longestStartTlsReply = 4096;

/** `dc1.contoso.test:636` */
export function serverName(server: DirectoryServer): string {
  return `${isIP(server.host) === 6 ? `[${server.host}]` : server.host}:${server.port}`;
}

/**
 * Connects, encrypts and checks the certificate. Throws `E_DIRECTORY_UNREACHABLE`, `E_DIRECTORY_TLS`,
 * `E_DIRECTORY_PROTOCOL`, or `E_DIRECTORY_TIMEOUT` when the signal comes first; nothing stays open then.
 */
export async function openTransport(
  server: DirectoryServer,
  trust: TlsTrust,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const tcp = await dial(server, signal);
  try {
    if (server.security === "starttls") await startTls(tcp, server, signal);
    return await encrypt(tcp, server, trust, signal);
  } catch (thrown) {
    tcp.destroy();
    throw thrown;
  }
}

function dial(server: DirectoryServer, signal: AbortSignal): Promise<Socket> {
  const socket = connectTcp({ host: server.host, port: server.port });
  socket.setNoDelay(true);
  return until(socket, signal, server, "connect", (listen, resolve, reject) => {
    listen("connect", () => resolve(socket));
    listen("error", (error: Error) =>
      reject(
        new SallyportError(
          "E_DIRECTORY_UNREACHABLE",
          { detail: `${serverName(server)}: ${reasonOf(error)}` },
          { cause: error },
        ),
      ),
    );
  });
}

/** RFC 4511, 4.14: one request, one reply, then TLS; whatever came in clear text beyond the reply is refused. */
function startTls(socket: Socket, server: DirectoryServer, signal: AbortSignal): Promise<void> {
  return until(socket, signal, server, "StartTLS", (listen, resolve, reject) => {
    const broken = (detail: string): void =>
      reject(new SallyportError("E_DIRECTORY_PROTOCOL", { server: serverName(server), detail }));
    let received = Buffer.alloc(0);
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      const header = readBerHeader(received, 0);
      if (
        header === "malformed" ||
        (header !== undefined && header.tag !== berTag.sequence) ||
        received.length > longestStartTlsReply
      )
        return broken("its answer to StartTLS cannot be read");
      if (header === undefined) return undefined;
      const length = header.headerLength + header.contentLength;
      if (length > longestStartTlsReply) return broken("its answer to StartTLS is too long");
      if (received.length < length) return undefined;
      if (received.length > length) return broken("it sent more than the answer to StartTLS in clear text");
      socket.pause();
      const parts = readBerSequence(received.subarray(header.headerLength));
      const answer =
        parts?.[1]?.tag === operationTag.extendedResponse ? readBerSequence(parts[1].content) : undefined;
      const code = answer?.[0]?.tag === berTag.enumerated ? answer[0].content[0] : undefined;
      if (code === 0) return resolve();
      return broken(
        code === undefined
          ? "its answer to StartTLS cannot be read"
          : `it refused StartTLS with result ${code}`,
      );
    };
    listen("data", onData);
    listen("error", (error: Error) => broken(reasonOf(error)));
    listen("close", () => broken("it closed the connection instead of answering StartTLS"));
    socket.write(startTlsRequest);
  });
}

function encrypt(
  tcp: Socket,
  server: DirectoryServer,
  trust: TlsTrust,
  signal: AbortSignal,
): Promise<TLSSocket> {
  const name = trust.certificateName ?? server.host;
  const socket = connectTls({
    socket: tcp,
    ...(isIP(name) === 0 ? { servername: name } : {}),
    // Always against the name we dialled or were told: without one, Node would compare with "localhost".
    checkServerIdentity: (_, certificate) => checkServerIdentity(name, certificate),
    rejectUnauthorized: true,
    minVersion: trust.minimumVersion ?? "TLSv1.2",
    ...(trust.certificateAuthority === undefined ? {} : { ca: trust.certificateAuthority }),
  });
  return until(socket, signal, server, "the TLS handshake", (listen, resolve, reject) => {
    const untrusted = (detail: string, cause?: unknown): void =>
      reject(new SallyportError("E_DIRECTORY_TLS", { server: serverName(server), detail }, { cause }));
    listen("secureConnect", () => resolve(socket));
    listen("error", (error: Error) => untrusted(reasonOf(error), error));
    listen("close", () => untrusted("it closed the connection during the TLS handshake"));
  });
}

interface Listen {
  (event: "error", listener: (error: Error) => void): void;
  (event: "data", listener: (chunk: Buffer) => void): void;
  (event: "connect" | "secureConnect" | "close", listener: () => void): void;
}

/** One step on a socket: settles once, leaves no listener of its own behind, and destroys the socket when it fails. */
function until<Result>(
  socket: Socket,
  signal: AbortSignal,
  server: DirectoryServer,
  step: string,
  begin: (listen: Listen, resolve: (result: Result) => void, reject: (error: SallyportError) => void) => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const ours: (readonly [string, (argument: never) => void])[] = [];
    const settle = (): void => {
      signal.removeEventListener("abort", onAbort);
      for (const [event, listener] of ours) socket.removeListener(event, listener as () => void);
      // A socket without an error listener would end the process when its peer resets it.
      socket.on("error", () => undefined);
    };
    const fail = (error: SallyportError): void => {
      settle();
      socket.destroy();
      reject(error);
    };
    const onAbort = (): void =>
      fail(new SallyportError("E_DIRECTORY_TIMEOUT", { detail: `${step}, ${serverName(server)}` }));
    const listen: Listen = (event: string, listener: (argument: never) => void): void => {
      ours.push([event, listener]);
      socket.on(event, listener as () => void);
    };
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener("abort", onAbort, { once: true });
    begin(
      listen,
      (result) => {
        settle();
        resolve(result);
      },
      fail,
    );
  });
}

/**
 * SRV records (RFC 2782) by a small DNS client of our own: AD's DNS servers compress the targets, which Node's resolver
 * refuses as malformed. One question over UDP, again over TCP when the answer did not fit.
 * @module
 */
import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { getServers } from "node:dns";
import { connect, isIP } from "node:net";
import { reasonOf } from "../errors.ts";

export interface ServiceRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** Asks DNS for SRV records; empty when the name has none; rejects when there is no answer. */
export type LookUpServices = (name: string, signal: AbortSignal) => Promise<readonly ServiceRecord[]>;

interface NameServer {
  readonly host: string;
  readonly port: number;
}

export type ServiceAnswer =
  | { readonly outcome: "records"; readonly records: readonly ServiceRecord[] }
  /** It did not fit into a datagram. */
  | { readonly outcome: "truncated" }
  | { readonly outcome: "failed"; readonly code: number };

const srvType = 33;
const internetClass = 1;
const datagramTimeoutMs = 1500;
const largestAnswer = 65_535;

/** A client of these name servers; by default of those the system is configured with. */
export function createServiceLookUp(servers: () => readonly NameServer[] = systemServers): LookUpServices {
  return async (name, signal) => {
    let failure = "there is no name server";
    for (const server of servers()) {
      try {
        const id = randomInt(65_536);
        const query = encodeServiceQuery(id, name);
        const answer = decodeServiceAnswer(await askByDatagram(query, server, signal), id, name);
        const whole =
          answer?.outcome === "truncated"
            ? decodeServiceAnswer(await askByStream(query, server, signal), id, name)
            : answer;
        if (whole?.outcome === "records") return whole.records;
        failure =
          whole?.outcome === "failed"
            ? `name server ${server.host} answers with code ${whole.code}`
            : `name server ${server.host} answers something that cannot be read`;
        // That the name does not exist is an answer; another server would say the same.
        if (whole?.outcome === "failed" && whole.code === 3) return [];
      } catch (thrown) {
        failure = `name server ${server.host}: ${reasonOf(thrown)}`;
      }
      if (signal.aborted) break;
    }
    throw new Error(failure);
  };
}

export const lookUpServices: LookUpServices = createServiceLookUp();

function systemServers(): readonly NameServer[] {
  return getServers().map((text) => {
    const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(text);
    return { host: match?.[1] ?? match?.[2] ?? text, port: Number(match?.[3] ?? 53) };
  });
}

/** A question for the SRV records of a name (RFC 1035, 4.1). */
export function encodeServiceQuery(id: number, name: string): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2);
  header.writeUInt16BE(1, 4);
  const labels = name.split(".").filter((label) => label !== "");
  if (labels.some((label) => Buffer.byteLength(label) > 63)) throw new RangeError(`"${name}" is no DNS name`);
  const question = labels.flatMap((label) => [Buffer.from([Buffer.byteLength(label)]), Buffer.from(label)]);
  return Buffer.concat([header, ...question, Buffer.from([0, 0, srvType, 0, internetClass])]);
}

/** Reads an answer; `undefined` when it is none to this question. */
export function decodeServiceAnswer(message: Buffer, id: number, name: string): ServiceAnswer | undefined {
  if (message.length < 12 || message.readUInt16BE(0) !== id) return undefined;
  const flags = message.readUInt16BE(2);
  if ((flags & 0x8000) === 0 || message.readUInt16BE(4) !== 1) return undefined;
  const question = readName(message, 12);
  if (question === undefined || question.name.toLowerCase() !== name.replace(/\.$/, "").toLowerCase())
    return undefined;
  if ((flags & 0x0200) !== 0) return { outcome: "truncated" };
  if ((flags & 0xf) !== 0) return { outcome: "failed", code: flags & 0xf };
  const records: ServiceRecord[] = [];
  let at = question.end + 4;
  for (let left = message.readUInt16BE(6); left > 0; left--) {
    const owner = readName(message, at);
    if (owner === undefined || owner.end + 10 > message.length) return undefined;
    const type = message.readUInt16BE(owner.end);
    const data = owner.end + 10;
    const end = data + message.readUInt16BE(owner.end + 8);
    if (end > message.length) return undefined;
    if (type === srvType && message.readUInt16BE(owner.end + 2) === internetClass) {
      const target = end - data < 7 ? undefined : readName(message, data + 6);
      if (target === undefined || target.end !== end) return undefined;
      // A target of "." says that the service is decidedly not there.
      if (target.name !== "") {
        records.push({
          priority: message.readUInt16BE(data),
          weight: message.readUInt16BE(data + 2),
          port: message.readUInt16BE(data + 4),
          name: target.name,
        });
      }
    }
    at = end;
  }
  return { outcome: "records", records };
}

/** A name with its compression pointers followed (RFC 1035, 4.1.4), each backwards only, so that none can run in circles. */
function readName(
  message: Buffer,
  start: number,
): { readonly name: string; readonly end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  let end: number | undefined;
  let length = 0;
  for (;;) {
    const octet = message[at];
    if (octet === undefined) return undefined;
    if (octet === 0) return { name: labels.join("."), end: end ?? at + 1 };
    if (octet >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) return undefined;
      end ??= at + 2;
      const target = ((octet & 0x3f) << 8) | low;
      if (target >= at) return undefined;
      at = target;
    } else {
      const label = message.subarray(at + 1, at + 1 + octet);
      length += octet + 1;
      if (octet > 63 || label.length < octet || length > 254) return undefined;
      labels.push(label.toString("latin1"));
      at += 1 + octet;
    }
  }
}

function askByDatagram(query: Buffer, server: NameServer, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIP(server.host) === 6 ? "udp6" : "udp4");
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", give);
      socket.close();
      settle();
    };
    const give = (): void => end(() => reject(new Error("no answer")));
    const timer = setTimeout(give, datagramTimeoutMs);
    signal.addEventListener("abort", give, { once: true });
    socket.on("error", (error) => end(() => reject(error)));
    // Connected, so that only this server's answers come in.
    socket.connect(server.port, server.host, () => socket.send(query));
    socket.on("message", (message) => {
      if (message.length >= 2 && message.readUInt16BE(0) === query.readUInt16BE(0))
        end(() => resolve(message));
    });
  });
}

function askByStream(query: Buffer, server: NameServer, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, server.host);
    let received = Buffer.alloc(0);
    const end = (settle: () => void): void => {
      signal.removeEventListener("abort", give);
      socket.destroy();
      settle();
    };
    const give = (): void => end(() => reject(new Error("no answer")));
    socket.setTimeout(5000, give);
    signal.addEventListener("abort", give, { once: true });
    socket.on("error", (error) => end(() => reject(error)));
    socket.on("close", give);
    const prefix = Buffer.alloc(2);
    prefix.writeUInt16BE(query.length);
    socket.write(Buffer.concat([prefix, query]));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length > largestAnswer + 2) give();
      else if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const message = received.subarray(2, 2 + received.readUInt16BE(0));
        end(() => resolve(message));
      }
    });
  });
}

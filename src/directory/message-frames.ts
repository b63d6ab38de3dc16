/**
 * LDAP messages cut out of a byte stream, each looked at before the client library sees it: bounded in size and number,
 * and free of what that library would misread. Cutting costs time in proportion to the octets, whatever their chunks.
 * @module
 */
import { Duplex } from "node:stream";
import type { TLSSocket } from "node:tls";
import { berTag, berToInteger, readBer, readBerHeader, readBerSequence } from "./ber.ts";

export interface FrameLimits {
  /** Largest message, octets. */
  readonly maxMessageBytes: number;
  /** Most entries that one search may return. */
  readonly maxEntries: number;
}

/** Application tags of the messages that are looked at (RFC 4511, 4.2 to 4.12). */
export const operationTag = {
  bindRequest: 0x60,
  bindResponse: 0x61,
  unbindRequest: 0x42,
  searchRequest: 0x63,
  searchEntry: 0x64,
  searchDone: 0x65,
  searchReference: 0x73,
  abandonRequest: 0x50,
  extendedRequest: 0x77,
  extendedResponse: 0x78,
} as const;

export const pagedResultsOid = "1.2.840.113556.1.4.319";

/** One complete message. */
export interface Frame {
  readonly bytes: Buffer;
  readonly messageId: number;
  readonly operation: number;
  /** Cookie of the paged-results control (RFC 2696), where the message carries one. */
  readonly pageCookie: Buffer | undefined;
}

/** The peer sent what LDAP, or our limits, do not allow. The message never quotes what came. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

export class FrameSplitter {
  readonly #limits: FrameLimits;
  #chunks: Buffer[] = [];
  #buffered = 0;
  /** Length of the message that is being collected, once its header has come. */
  #wanted: number | undefined;
  #entriesOf = { messageId: -1, count: 0 };

  constructor(limits: FrameLimits) {
    this.#limits = limits;
  }

  /** The messages that this chunk completes. Throws {@link FrameError}, after which the stream is of no use. */
  push(chunk: Buffer): readonly Frame[] {
    if (chunk.length === 0) return [];
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    const frames: Frame[] = [];
    for (;;) {
      this.#wanted ??= this.#readLength();
      if (this.#wanted === undefined || this.#buffered < this.#wanted) return frames;
      frames.push(this.#inspect(this.#take(this.#wanted)));
      this.#wanted = undefined;
    }
  }

  #readLength(): number | undefined {
    if (this.#buffered === 0) return undefined;
    // At most six octets hold a header: only the first chunks need joining, and only while they are that small.
    if ((this.#chunks[0]?.length ?? 0) < 6 && this.#chunks.length > 1)
      this.#chunks = [Buffer.concat(this.#chunks)];
    const first = this.#chunks[0];
    const header = first === undefined ? undefined : readBerHeader(first, 0);
    if (header === undefined) return undefined;
    if (header === "malformed" || header.tag !== berTag.sequence)
      throw new FrameError("it sent no LDAP message");
    const length = header.headerLength + header.contentLength;
    if (length > this.#limits.maxMessageBytes) {
      throw new FrameError(
        `it announced a message of ${length} octets, more than ${this.#limits.maxMessageBytes}`,
      );
    }
    return length;
  }

  #take(length: number): Buffer {
    const [only] = this.#chunks;
    const joined = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks);
    const rest = joined.subarray(length);
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#buffered = rest.length;
    return joined.subarray(0, length);
  }

  #inspect(bytes: Buffer): Frame {
    const message = readBer(bytes, 0);
    const id = message === undefined ? undefined : readBer(message.content, 0);
    const operation =
      id === undefined || message === undefined ? undefined : readBer(message.content, id.end);
    const messageId = id?.tag === berTag.integer ? berToInteger(id.content) : undefined;
    if (message === undefined || operation === undefined || messageId === undefined) {
      throw new FrameError("it sent a message that cannot be read");
    }
    // The only unsolicited message of RFC 4511 is the Notice of Disconnection (4.4.1).
    if (messageId === 0) throw new FrameError("it announced that it disconnects");
    if (operation.tag === operationTag.searchEntry) this.#inspectEntry(messageId, operation.content);
    const controls = readBer(message.content, operation.end);
    const pageCookie = controls?.tag === 0xa0 ? pageCookieOf(controls.content) : undefined;
    return { bytes, messageId, operation: operation.tag, pageCookie };
  }

  #inspectEntry(messageId: number, content: Buffer): void {
    if (this.#entriesOf.messageId !== messageId) this.#entriesOf = { messageId, count: 0 };
    if (++this.#entriesOf.count > this.#limits.maxEntries) {
      throw new FrameError(`it sent more than ${this.#limits.maxEntries} entries`);
    }
    const [name, attributes] = readBerSequence(content) ?? [];
    const list = attributes === undefined ? undefined : readBerSequence(attributes.content);
    if (name?.tag !== berTag.octetString || list === undefined)
      throw new FrameError("it sent an entry that cannot be read");
    const seen = new Set<string>();
    for (const attribute of list) {
      const parts = readBerSequence(attribute.content);
      const [type, values] = parts ?? [];
      const readable =
        type?.tag === berTag.octetString &&
        values?.tag === berTag.set &&
        readBerSequence(values.content)?.every((value) => value.tag === berTag.octetString) === true;
      if (!readable) throw new FrameError("it sent an attribute that cannot be read");
      const key = type.content.toString("latin1").toLowerCase();
      // The library keeps an entry in a plain object: these names would replace the DN or the object's prototype, and
      // the second of two would hide the first.
      if (key === "dn" || key === "__proto__" || seen.has(key))
        throw new FrameError(`it sent an attribute twice or of an impossible name`);
      seen.add(key);
    }
  }
}

function pageCookieOf(controls: Buffer): Buffer | undefined {
  for (const control of readBerSequence(controls) ?? []) {
    const parts = readBerSequence(control.content);
    if (parts?.[0]?.content.toString("latin1") !== pagedResultsOid) continue;
    const value = parts.find((part, index) => index > 0 && part.tag === berTag.octetString);
    const inner = value === undefined ? undefined : readBer(value.content, 0);
    return (inner === undefined ? undefined : readBerSequence(inner.content))?.[1]?.content;
  }
  return undefined;
}

/** Answers to the operations that are used here. */
const answers: ReadonlySet<number> = new Set([
  operationTag.bindResponse,
  operationTag.searchEntry,
  operationTag.searchDone,
  operationTag.searchReference,
  operationTag.extendedResponse,
]);

/**
 * What the client library takes for its socket: whole messages out of an established TLS socket, one per `data` event.
 * Ends for good with the socket, or at the first message that is not allowed.
 */
export class MessageStream extends Duplex {
  /** As `net.Socket` has it: the stream is established from the start. */
  readonly connecting = false;
  readonly #socket: TLSSocket;
  readonly #splitter: FrameSplitter;
  readonly #onFrame: (frame: Frame) => void;

  constructor(socket: TLSSocket, limits: FrameLimits, onFrame: (frame: Frame) => void) {
    super({ readableObjectMode: true, allowHalfOpen: false });
    this.#socket = socket;
    this.#splitter = new FrameSplitter(limits);
    this.#onFrame = onFrame;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", (error) => this.destroy(error));
    socket.on("end", () => this.destroy());
    socket.on("close", () => this.destroy());
  }

  get readyState(): "open" | "closed" {
    return this.destroyed ? "closed" : "open";
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#socket.destroyed) done(new Error("the connection is closed"));
    else this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #receive(chunk: Buffer): void {
    if (this.destroyed) return;
    try {
      for (const frame of this.#splitter.push(chunk)) {
        if (!answers.has(frame.operation))
          throw new FrameError("it sent a message that answers nothing we ask");
        this.#onFrame(frame);
        if (!this.push(frame.bytes)) this.#socket.pause();
      }
    } catch (thrown) {
      this.destroy(thrown instanceof Error ? thrown : new Error("unreadable"));
    }
  }
}

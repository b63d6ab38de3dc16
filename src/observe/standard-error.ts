/**
 * Standard error as the place for log lines: written beside the work and in pieces, since a service that answers thousands of
 * requests a second must not wait for its log reader at each. A line waits a tenth of a second at most, and none is left
 * when the process ends. Neither a reader that has gone nor a full disk stops or ends the service.
 *
 * pino's own destination waits for ever at the end of a process whose reader has gone, and takes a full disk for fatal.
 * @module
 */
import { write, writeSync } from "node:fs";
import type { LogEvent } from "./events.ts";
import type { LogSink } from "./log.ts";

const descriptor = 2;
/** Characters that are written at once instead of waiting for more. */
const enough = 32_768;
const longestWaitMs = 100;
/** How long a write that failed is put off. */
const pauseMs = 1_000;
/** Characters that are kept while nothing can be written; what comes then is counted. */
const mostKept = 1_048_576;
/** How long the end of the process waits for a reader that is busy. */
const lastTriesMs = 1_000;

class StandardError implements LogSink {
  #lines: string[] = [];
  #length = 0;
  /** What a write left over. */
  #rest: Buffer = Buffer.alloc(0);
  #writing = false;
  /** The last write failed: the next one has its time. */
  #failing = false;
  /** Nobody reads any more, for good. */
  #closed = false;
  #dropped = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor() {
    process.on("exit", () => this.#writeLast());
  }

  write(line: string): void {
    if (this.#closed) return;
    if (this.#length + line.length > mostKept) {
      this.#dropped += 1;
      return;
    }
    this.#lines.push(line);
    this.#length += line.length;
    if (this.#length >= enough && !this.#failing) this.#flush();
    else this.#plan(longestWaitMs);
  }

  #plan(milliseconds: number): void {
    if (this.#writing) return;
    this.#timer ??= setTimeout(() => this.#flush(), milliseconds).unref();
  }

  #flush(): void {
    if (this.#writing) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const chunk = this.#take();
    if (chunk.length === 0) return;
    this.#writing = true;
    write(descriptor, chunk, (error, written) => {
      this.#writing = false;
      this.#failing = error !== null;
      if (error === null) this.#rest = chunk.subarray(written);
      else if (isClosed(error)) this.#closed = true;
      else this.#rest = chunk;
      if (this.#closed) this.#lines = [];
      else if (this.#rest.length > 0 || this.#lines.length > 0) this.#plan(error === null ? 0 : pauseMs);
    });
  }

  #take(): Buffer {
    if (this.#dropped > 0) {
      const event = "log.lines-dropped" satisfies LogEvent;
      const time = new Date().toISOString();
      this.#lines.push(`${JSON.stringify({ level: "warn", time, lines: this.#dropped, event })}\n`);
      this.#dropped = 0;
    }
    const chunk = Buffer.concat([this.#rest, Buffer.from(this.#lines.join(""), "utf8")]);
    this.#rest = Buffer.alloc(0);
    this.#lines = [];
    this.#length = 0;
    return chunk;
  }

  /** Without an event loop. What a write under way has taken along is not written again. */
  #writeLast(): void {
    if (this.#closed) return;
    const end = performance.now() + lastTriesMs;
    for (let left = this.#take(); left.length > 0;) {
      try {
        left = left.subarray(writeSync(descriptor, left));
      } catch (error) {
        // Any other error stays: there is no place left to say so.
        if ((error as NodeJS.ErrnoException).code !== "EAGAIN" || performance.now() > end) return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
      }
    }
  }
}

function isClosed(error: NodeJS.ErrnoException): boolean {
  return error.code === "EPIPE" || error.code === "EBADF";
}

let shared: LogSink | undefined;

/** One for the process, so that lines of several logs keep their order. */
export function standardError(): LogSink {
  shared ??= new StandardError();
  return shared;
}

/**
 * Structured logs: one JSON line per event, an event name of `events.ts` plus fields. Field values are plain
 * primitives by type, so a `Secret` or a whole request cannot slip in.
 * @module
 */
import { pino } from "pino";
import type { LogEvent } from "./events.ts";
import { standardError } from "./standard-error.ts";

/** What may stand in a log line. No free text typed by a user at level info or above. */
export type LogFields = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export interface Log {
  debug(event: LogEvent, fields?: LogFields): void;
  info(event: LogEvent, fields?: LogFields): void;
  warn(event: LogEvent, fields?: LogFields): void;
  error(event: LogEvent, fields?: LogFields): void;
  /** A log whose lines all carry these fields. */
  with(fields: LogFields): Log;
}

export const logLevels = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof logLevels)[number];

/** Where lines go: anything with a `write`, standard error by default (standard output belongs to a command's result). */
export interface LogSink {
  write(line: string): void;
}

export function createLog(options: { readonly level?: LogLevel; readonly sink?: LogSink } = {}): Log {
  const sink = options.sink ?? standardError();
  return wrap(
    pino(
      {
        level: options.level ?? "info",
        base: {},
        messageKey: "event",
        timestamp: () => `,"time":"${new Date().toISOString()}"`,
        formatters: { level: (label) => ({ level: label }) },
      },
      { write: (line: string) => sink.write(line) },
    ),
  );
}

/** A log that keeps nothing, for tests and one-shot commands. */
export const silentLog: Log = createLog({ level: "silent", sink: { write: () => undefined } });

interface PinoLike {
  debug(fields: object, event: string): void;
  info(fields: object, event: string): void;
  warn(fields: object, event: string): void;
  error(fields: object, event: string): void;
  child(fields: object): PinoLike;
}

function wrap(logger: PinoLike): Log {
  return {
    debug: (event, fields = {}) => logger.debug(fields, event),
    info: (event, fields = {}) => logger.info(fields, event),
    warn: (event, fields = {}) => logger.warn(fields, event),
    error: (event, fields = {}) => logger.error(fields, event),
    with: (fields) => wrap(logger.child(fields)),
  };
}

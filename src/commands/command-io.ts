/**
 * Standard input and output as a port, so that a command runs in a test without a process of its own.
 * @module
 */
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { buffer } from "node:stream/consumers";

export interface CommandIo {
  out(text: string): void;
  err(text: string): void;
  /** A file's bytes; `-` is standard input. */
  read(path: string): Promise<Uint8Array>;
  /** Asks a person; absent when nobody sits there. */
  readonly ask?: (question: string) => Promise<string>;
}

/** The process's own streams. */
export function processIo(): CommandIo {
  const streams: CommandIo = {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    read: async (path) => (path === "-" ? await buffer(process.stdin) : await readFile(path)),
  };
  if (!process.stdin.isTTY) return streams;
  return { ...streams, ask };
}

async function ask(question: string): Promise<string> {
  // Questions go to standard error: standard output belongs to the result.
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await terminal.question(question)).trim();
  } finally {
    terminal.close();
  }
}

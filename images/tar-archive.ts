/**
 * The layers of an image are tar archives. Ours have no time, owner or order of the machine they were made on, so that the
 * same files make the same bytes.
 * @module
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";

interface EntryBase {
  /** Relative, with `/`, without one at either end. */
  readonly path: string;
}

export interface FileEntry extends EntryBase {
  readonly kind: "file";
  readonly mode: number;
  readonly content: Uint8Array;
}

export interface DirectoryEntry extends EntryBase {
  readonly kind: "directory";
  readonly mode: number;
}

export interface LinkEntry extends EntryBase {
  readonly kind: "link";
  readonly target: string;
}

export type Entry = FileEntry | DirectoryEntry | LinkEntry;

export interface TarOptions {
  /** Seconds since 1970 that every entry carries. */
  readonly modified: number;
  /** Extended attributes (pax records) of an entry. */
  readonly attributes?: (entry: Entry) => Readonly<Record<string, string>>;
}

const block = 512;

/** Everything below a folder, parents first, each folder's entries in the order of their bytes. */
export function readTree(folder: string): readonly Entry[] {
  const entries: Entry[] = [];
  const walk = (path: string): void => {
    const children = readdirSync(join(folder, path), { withFileTypes: true }).sort((a, b) =>
      Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)),
    );
    for (const child of children) {
      const inner = path === "" ? child.name : `${path}/${child.name}`;
      const full = join(folder, inner);
      if (child.isSymbolicLink()) entries.push({ kind: "link", path: inner, target: readlinkSync(full) });
      else if (child.isDirectory()) {
        entries.push({ kind: "directory", path: inner, mode: statSync(full).mode & 0o7777 });
        walk(inner);
      } else {
        const mode = statSync(full).mode & 0o7777;
        entries.push({ kind: "file", path: inner, mode, content: readFileSync(full) });
      }
    }
  };
  walk("");
  return entries;
}

/** POSIX ustar with pax headers where a name is long or attributes are asked for; everything belongs to root. */
export function writeTar(entries: readonly Entry[], options: TarOptions): Buffer {
  const parts: Uint8Array[] = [];
  const add = (header: Uint8Array, content?: Uint8Array): void => {
    parts.push(header);
    if (content === undefined) return;
    parts.push(content, new Uint8Array((block - (content.length % block)) % block));
  };
  for (const entry of entries) {
    const name = entry.kind === "directory" ? `${entry.path}/` : entry.path;
    const target = entry.kind === "link" ? entry.target : "";
    const records = {
      ...options.attributes?.(entry),
      ...(Buffer.byteLength(name) > 100 ? { path: name } : {}),
      ...(Buffer.byteLength(target) > 100 ? { linkpath: target } : {}),
    };
    if (Object.keys(records).length > 0) {
      const content = paxRecords(records);
      add(
        headerBlock(
          { name: "pax", type: "x", mode: 0o644, size: content.length, target: "" },
          options.modified,
        ),
        content,
      );
    }
    const type = { file: "0", directory: "5", link: "2" }[entry.kind];
    const mode = entry.kind === "link" ? 0o777 : entry.mode;
    const content = entry.kind === "file" ? entry.content : undefined;
    add(headerBlock({ name, type, mode, size: content?.length ?? 0, target }, options.modified), content);
  }
  parts.push(new Uint8Array(2 * block));
  return Buffer.concat(parts);
}

interface Header {
  readonly name: string;
  readonly type: string;
  readonly mode: number;
  readonly size: number;
  readonly target: string;
}

function headerBlock({ name, type, mode, size, target }: Header, modified: number): Buffer {
  const bytes = Buffer.alloc(block);
  const text = (value: string, offset: number, length: number): void => {
    Buffer.from(value).copy(bytes, offset, 0, length);
  };
  const octal = (value: number, offset: number, length: number): void =>
    text(value.toString(8).padStart(length - 1, "0"), offset, length);
  text(name, 0, 100);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(size, 124, 12);
  octal(modified, 136, 12);
  text("        ", 148, 8);
  text(type, 156, 1);
  text(target, 157, 100);
  text("ustar\u000000", 257, 8);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  text(`${sum.toString(8).padStart(6, "0")}\u0000 `, 148, 8);
  return bytes;
}

/** Each record begins with its own length, which counts its own digits. */
function paxRecords(records: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries(records)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      const bare = Buffer.byteLength(rest);
      let length = bare + String(bare).length;
      if (bare + String(length).length !== length) length = bare + String(length).length;
      return `${length}${rest}`;
    });
  return Buffer.from(lines.join(""));
}

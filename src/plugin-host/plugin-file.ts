/**
 * What a DLL file says of itself: read from its headers (the PE format of Microsoft's specification), so that nothing has
 * to be loaded to know it.
 * @module
 */
import { createHash } from "node:crypto";

export interface PluginFile {
  /** Lower-case hex SHA-256 of the whole file. */
  readonly sha256: string;
  readonly architecture: "x64" | "x86" | "arm64" | "unknown";
  /** Whether an Authenticode signature is attached. It is not verified here. */
  readonly signed: boolean;
  /** From the version resource, such as `0.1.0`. */
  readonly version: string | undefined;
}

const machines: Readonly<Record<number, PluginFile["architecture"]>> = {
  0x8664: "x64",
  0x014c: "x86",
  0xaa64: "arm64",
};

/** @returns `undefined` for bytes that are no DLL. */
export function readPluginFile(bytes: Buffer): PluginFile | undefined {
  if (bytes.length < 64 || bytes.readUInt16LE(0) !== 0x5a4d) return undefined;
  const header = bytes.readUInt32LE(0x3c);
  // Signature, file header (20 bytes), and the optional header up to its fifth data directory.
  if (header + 24 + 152 > bytes.length || bytes.readUInt32LE(header) !== 0x4550) return undefined;
  const isDll = (bytes.readUInt16LE(header + 22) & 0x2000) !== 0;
  if (!isDll) return undefined;
  const optional = header + 24;
  const directories = optional + (bytes.readUInt16LE(optional) === 0x20b ? 112 : 96);
  return {
    sha256: createHash("sha256").update(bytes).digest("hex"),
    architecture: machines[bytes.readUInt16LE(header + 4)] ?? "unknown",
    signed: bytes.readUInt32LE(directories + 4 * 8 + 4) > 0,
    version: readVersion(bytes),
  };
}

/** The text behind `ProductVersion` in the version resource (VS_VERSIONINFO): UTF-16, on a multiple of four. */
function readVersion(bytes: Buffer): string | undefined {
  const name = Buffer.from("ProductVersion\0", "utf16le");
  const at = bytes.indexOf(name);
  if (at < 0) return undefined;
  const text = bytes.subarray(at + name.length, at + name.length + 64).toString("utf16le");
  return /^\0?([0-9][0-9A-Za-z.+-]*)\0/.exec(text)?.[1];
}

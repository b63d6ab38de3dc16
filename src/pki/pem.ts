/**
 * PEM text (RFC 7468): the armour that certificates and keys travel in between files, Secrets and TLS.
 * @module
 */
import { SallyportError } from "../errors.ts";

/** One armoured block. Its contents are not looked at: see `certificate.ts`. */
export interface PemBlock {
  /** What stands behind BEGIN, such as `CERTIFICATE` or `PRIVATE KEY`. */
  readonly label: string;
  readonly der: Buffer;
}

const label = "[A-Z0-9](?:[A-Z0-9 ]*[A-Z0-9])?";
const boundary = new RegExp(`^-----(BEGIN|END) (${label})-----$`);

/** Armours `der` in lines of 64 characters, with a newline at the end. */
export function encodePem(name: string, der: Uint8Array): string {
  const base64 = Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString("base64");
  const lines = base64.match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${name}-----`, ...lines, `-----END ${name}-----`, ""].join("\n");
}

/**
 * Every block of a file, in its order. Text between blocks is skipped (RFC 7468 §2), either line ending and a byte
 * order mark are accepted. A file without a block gives an empty list.
 *
 * Throws `E_PEM_INVALID` for a block that does not end, ends under another name or is no base64; the message has the
 * line number and never what stands there, since it may be a key.
 */
export function parsePem(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { readonly label: string; readonly line: number; readonly body: string[] } | undefined;
  for (const [index, raw] of text
    .replace(/^\uFEFF/, "")
    .split(/\r\n|\n|\r/)
    .entries()) {
    const line = raw.trim();
    const [, edge, name] = boundary.exec(line) ?? [];
    if (edge === "BEGIN" && name !== undefined) {
      if (open !== undefined) throw invalid(`the block that begins on line ${open.line} does not end`);
      open = { label: name, line: index + 1, body: [] };
    } else if (edge === "END") {
      if (open?.label !== name) throw invalid(`line ${index + 1} ends a block that was not begun`);
      blocks.push({ label: open?.label ?? "", der: decodeBody(open?.body ?? [], open?.line ?? 0) });
      open = undefined;
    } else {
      open?.body.push(line);
    }
  }
  if (open !== undefined) throw invalid(`the block that begins on line ${open.line} does not end`);
  return blocks;
}

/**
 * The certificates of a bundle (a chain or a trust store file), each as PEM of its own. Blocks of another kind are
 * skipped. Throws `E_PEM_INVALID` when the text holds no certificate at all.
 */
export function certificatesIn(bundle: string): readonly string[] {
  const certificates = parsePem(bundle).filter((block) => block.label === "CERTIFICATE");
  if (certificates.length === 0) throw invalid("it holds no certificate");
  return certificates.map((block) => encodePem(block.label, block.der));
}

function decodeBody(lines: readonly string[], line: number): Buffer {
  const base64 = lines.join("");
  const wellFormed = /^[A-Za-z0-9+/]+={0,2}$/.test(base64) && base64.length % 4 === 0;
  if (!wellFormed) throw invalid(`the block that begins on line ${line} is not base64`);
  return Buffer.from(base64, "base64");
}

function invalid(detail: string): SallyportError {
  return new SallyportError("E_PEM_INVALID", { detail });
}

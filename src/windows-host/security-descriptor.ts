/**
 * Security descriptors as the registry keeps them: self-relative octets (MS-DTYP section 2.4.6), read into what they grant.
 * Only what such a value of COM's has is understood; anything else is no descriptor, so that it never counts as a match.
 * @module
 */
import { sidFromBytes, type Sid } from "../directory/sid.ts";

/** An entry that grants: an access mask for an account. */
export interface Grant {
  readonly account: Sid;
  readonly mask: number;
}

export interface SecurityDescriptor {
  readonly owner: Sid | undefined;
  readonly group: Sid | undefined;
  /** In the order of the list. */
  readonly grants: readonly Grant[];
}

const selfRelative = 0x8000;
const listPresent = 0x0004;
const headerSize = 20;
const accessAllowed = 0;

/**
 * @returns `undefined` for octets that are no self-relative descriptor, that have no access list (which grants
 * everything), or whose list has entries of another kind than plain grants.
 */
export function readSecurityDescriptor(bytes: Buffer): SecurityDescriptor | undefined {
  if (bytes.length < headerSize || bytes[0] !== 1) return undefined;
  const control = bytes.readUInt16LE(2);
  if ((control & selfRelative) === 0 || (control & listPresent) === 0) return undefined;
  const owner = sidAt(bytes, bytes.readUInt32LE(4));
  const group = sidAt(bytes, bytes.readUInt32LE(8));
  const list = bytes.readUInt32LE(16);
  if (list < headerSize || list + 8 > bytes.length) return undefined;
  const end = list + bytes.readUInt16LE(list + 2);
  if (end > bytes.length) return undefined;
  const grants: Grant[] = [];
  let at = list + 8;
  for (let entry = 0; entry < bytes.readUInt16LE(list + 4); entry++) {
    if (at + 8 > end) return undefined;
    const size = bytes.readUInt16LE(at + 2);
    if (size < 8 || at + size > end || bytes[at] !== accessAllowed || bytes[at + 1] !== 0) return undefined;
    const account = sidFromBytes(bytes.subarray(at + 8, at + size));
    if (account === undefined) return undefined;
    grants.push({ account, mask: bytes.readUInt32LE(at + 4) });
    at += size;
  }
  return { owner, group, grants };
}

/** A SID tells its own length in its second octet. */
function sidAt(bytes: Buffer, at: number): Sid | undefined {
  if (at < headerSize || at + 8 > bytes.length) return undefined;
  return sidFromBytes(bytes.subarray(at, at + 8 + 4 * (bytes[at + 1] ?? 0)));
}

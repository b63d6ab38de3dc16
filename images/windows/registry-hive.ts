/**
 * An empty registry hive. Windows imports the lowest layer of an image only when five hives lie in it; since Windows Server
 * 2025 they have to be well-formed. Format: one base block and one bin with a root key and its security descriptor
 * ("regf" 1.5, as described by the Windows registry file format specification of the libyal project).
 * @module
 */

const baseBlockSize = 4096;
const binSize = 4096;
const rootOffset = 0x20;
const nowhere = 0xffff_ffff;

/** Owner and group Administrators; full access for Administrators and SYSTEM, read for Everyone (MS-DTYP 2.4.6). */
function securityDescriptor(): Buffer {
  const sid = (authority: number, ...subauthorities: readonly number[]): Buffer => {
    const bytes = Buffer.alloc(8 + 4 * subauthorities.length);
    bytes.writeUInt8(1, 0);
    bytes.writeUInt8(subauthorities.length, 1);
    bytes.writeUInt8(authority, 7);
    for (const [index, value] of subauthorities.entries()) bytes.writeUInt32LE(value, 8 + 4 * index);
    return bytes;
  };
  const administrators = sid(5, 32, 544);
  const allow = (mask: number, whom: Buffer): Buffer => {
    const head = Buffer.alloc(8);
    // ACCESS_ALLOWED_ACE, inherited by keys below.
    head.writeUInt8(0, 0);
    head.writeUInt8(2, 1);
    head.writeUInt16LE(head.length + whom.length, 2);
    head.writeUInt32LE(mask, 4);
    return Buffer.concat([head, whom]);
  };
  const entries = [allow(0xf003f, administrators), allow(0xf003f, sid(5, 18)), allow(0x20019, sid(1, 0))];
  const list = Buffer.alloc(8);
  list.writeUInt8(2, 0);
  list.writeUInt16LE(8 + entries.reduce((sum, entry) => sum + entry.length, 0), 2);
  list.writeUInt16LE(entries.length, 4);
  const head = Buffer.alloc(20);
  head.writeUInt8(1, 0);
  // SE_SELF_RELATIVE | SE_DACL_PRESENT
  head.writeUInt16LE(0x8004, 2);
  head.writeUInt32LE(20, 4);
  head.writeUInt32LE(20 + administrators.length, 8);
  head.writeUInt32LE(20 + 2 * administrators.length, 16);
  return Buffer.concat([head, administrators, administrators, list, ...entries]);
}

/** A hive with a root key and nothing in it; always the same bytes. */
export function emptyHive(): Buffer {
  const rootName = Buffer.from("ROOT", "latin1");
  const rootSize = roundUp(4 + 76 + rootName.length);
  const descriptor = securityDescriptor();
  const securityOffset = rootOffset + rootSize;
  const securitySize = roundUp(4 + 20 + descriptor.length);

  const bin = Buffer.alloc(binSize);
  bin.write("hbin", 0, "latin1");
  bin.writeUInt32LE(binSize, 8);

  const root = bin.subarray(rootOffset);
  // A cell in use has a negative size.
  root.writeInt32LE(-rootSize, 0);
  root.write("nk", 4, "latin1");
  // KEY_HIVE_ENTRY | KEY_NO_DELETE | KEY_COMP_NAME
  root.writeUInt16LE(0x2c, 6);
  // Lists of keys, volatile keys and values: none.
  for (const field of [32, 36, 44, 52]) root.writeUInt32LE(nowhere, field);
  root.writeUInt32LE(nowhere, 20);
  root.writeUInt32LE(securityOffset, 48);
  root.writeUInt16LE(rootName.length, 76);
  rootName.copy(root, 80);

  const security = bin.subarray(securityOffset);
  security.writeInt32LE(-securitySize, 0);
  security.write("sk", 4, "latin1");
  // The only one in its ring.
  security.writeUInt32LE(securityOffset, 8);
  security.writeUInt32LE(securityOffset, 12);
  security.writeUInt32LE(1, 16);
  security.writeUInt32LE(descriptor.length, 20);
  descriptor.copy(security, 24);

  const free = securityOffset + securitySize;
  bin.writeInt32LE(binSize - free, free);

  const base = Buffer.alloc(baseBlockSize);
  base.write("regf", 0, "latin1");
  // Both sequence numbers alike: the last write was finished.
  base.writeUInt32LE(1, 4);
  base.writeUInt32LE(1, 8);
  base.writeUInt32LE(1, 20);
  base.writeUInt32LE(5, 24);
  base.writeUInt32LE(1, 32);
  base.writeUInt32LE(rootOffset, 36);
  base.writeUInt32LE(binSize, 40);
  base.writeUInt32LE(1, 44);
  let checksum = 0;
  for (let offset = 0; offset < 508; offset += 4) checksum ^= base.readUInt32LE(offset);
  base.writeUInt32LE(checksum >>> 0, 508);
  return Buffer.concat([base, bin]);
}

function roundUp(size: number): number {
  return Math.ceil(size / 8) * 8;
}

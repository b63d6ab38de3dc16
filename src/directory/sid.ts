/**
 * Security identifiers: the name AD gives to everything that can hold a permission, as text (`S-1-5-21-…`) and as the
 * octets that `objectSid` and `tokenGroups` carry.
 * @module
 */

declare const sidBrand: unique symbol;

/** A SID as text in its one canonical form (MS-DTYP 2.4.2.1). */
export type Sid = string & { readonly [sidBrand]: true };

const largestSubAuthorityCount = 15;

/** From its octets (MS-DTYP 2.4.2.2); `undefined` when they are not exactly one SID of revision 1. */
export function sidFromBytes(bytes: Uint8Array): Sid | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.length < 8 || view[0] !== 1) return undefined;
  const count = view[1] ?? 0;
  if (count > largestSubAuthorityCount || view.length !== 8 + 4 * count) return undefined;
  const authority = view.readUIntBE(2, 6);
  const parts = ["S", "1", authorityText(authority)];
  for (let index = 0; index < count; index++) parts.push(String(view.readUInt32LE(8 + 4 * index)));
  return parts.join("-") as Sid;
}

/** From text, in any case and with a decimal or hexadecimal authority; `undefined` when it is not a SID. */
export function parseSid(text: string): Sid | undefined {
  const match = /^s-1-(\d{1,15}|0x[0-9a-f]{1,12})((?:-\d{1,10}){0,15})$/i.exec(text);
  if (match === null) return undefined;
  const authority = Number(match[1]);
  if (authority >= 2 ** 48) return undefined;
  const subAuthorities = (match[2] ?? "").split("-").slice(1).map(Number);
  if (subAuthorities.some((value) => value > 0xffff_ffff)) return undefined;
  return ["S", "1", authorityText(authority), ...subAuthorities.map(String)].join("-") as Sid;
}

/** The octets of a SID, as an LDAP filter on `objectSid` wants them. */
export function sidToBytes(sid: Sid): Buffer {
  const [, , authority = "0", ...subAuthorities] = sid.split("-");
  const bytes = Buffer.alloc(8 + 4 * subAuthorities.length);
  bytes[0] = 1;
  bytes[1] = subAuthorities.length;
  bytes.writeUIntBE(Number(authority), 2, 6);
  for (const [index, value] of subAuthorities.entries()) bytes.writeUInt32LE(Number(value), 8 + 4 * index);
  return bytes;
}

/** The domain's SID and the relative identifier of a SID in it; `undefined` for one without sub-authority. */
export function splitSid(sid: Sid): { readonly domain: Sid; readonly rid: number } | undefined {
  const cut = sid.lastIndexOf("-");
  if (sid.split("-").length < 4) return undefined;
  return { domain: sid.slice(0, cut) as Sid, rid: Number(sid.slice(cut + 1)) };
}

/** The SID of an object of a domain from its relative identifier (as `primaryGroupID` gives it). */
export function sidInDomain(domain: Sid, rid: number): Sid {
  return `${domain}-${rid}` as Sid;
}

function authorityText(authority: number): string {
  return authority < 2 ** 32
    ? String(authority)
    : `0x${authority.toString(16).toUpperCase().padStart(12, "0")}`;
}

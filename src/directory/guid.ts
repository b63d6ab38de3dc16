/**
 * GUIDs as AD stores them: the first three groups little-endian, the last two as they are read (MS-DTYP 2.3.4).
 * @module
 */

declare const guidBrand: unique symbol;

/** A GUID as text: lower case, with dashes and without braces. */
export type Guid = string & { readonly [guidBrand]: true };

/** From the 16 octets of `objectGUID`; `undefined` for any other length. */
export function guidFromBytes(bytes: Uint8Array): Guid | undefined {
  if (bytes.length !== 16) return undefined;
  const hex = Buffer.from(swapped(bytes)).toString("hex");
  return dashed(hex);
}

/** From text, in any case, with or without braces; `undefined` when it is not a GUID. */
export function parseGuid(text: string): Guid | undefined {
  const match = /^(?:\{([0-9a-f-]{36})\}|([0-9a-f-]{36}))$/i.exec(text);
  const inner = (match?.[1] ?? match?.[2])?.toLowerCase();
  if (inner === undefined || !/^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(inner)) return undefined;
  return inner as Guid;
}

export function guidToBytes(guid: Guid): Buffer {
  return Buffer.from(swapped(Buffer.from(guid.replaceAll("-", ""), "hex")));
}

function swapped(bytes: Uint8Array): readonly number[] {
  return [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15].map((index) => bytes[index] ?? 0);
}

function dashed(hex: string): Guid {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join(
    "-",
  ) as Guid;
}

/**
 * The plugin input of Microsoft's Key Vault plugin, `ObjectId=…;SecretUri=…`: pairs separated by `;`, keys in any case and
 * any order, unknown keys ignored, nothing trimmed.
 * @module
 */

/** Longest object that the CCG plugin sends to the account provider, bytes. */
export const longestObject = 2048;

export type KeyVaultInputProblem =
  | "not printable ASCII"
  | "longer than 2048 characters"
  | "without an ObjectId"
  | "without a SecretUri"
  | "with a key twice"
  | "with a part that is no pair"
  | "an ObjectId that is no GUID";

export type ReadKeyVaultInput =
  | {
      readonly ok: true;
      /** The identity's principal id, in lower case. */
      readonly objectId: string;
      /** Not checked yet. */
      readonly secretUri: string;
    }
  | { readonly ok: false; readonly problem: KeyVaultInputProblem };

const guid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function readKeyVaultInput(text: string): ReadKeyVaultInput {
  const refuse = (problem: KeyVaultInputProblem): ReadKeyVaultInput => ({ ok: false, problem });
  if (!/^[\x20-\x7e]*$/.test(text)) return refuse("not printable ASCII");
  if (text.length > longestObject) return refuse("longer than 2048 characters");
  const values = new Map<string, string>();
  for (const pair of text.split(";")) {
    if (pair === "") continue;
    const at = pair.indexOf("=");
    if (at < 0) return refuse("with a part that is no pair");
    const key = pair.slice(0, at).toLowerCase();
    if (key !== "objectid" && key !== "secreturi") continue;
    if (values.has(key)) return refuse("with a key twice");
    values.set(key, pair.slice(at + 1));
  }
  const objectId = values.get("objectid")?.toLowerCase() ?? "";
  const secretUri = values.get("secreturi") ?? "";
  if (objectId === "") return refuse("without an ObjectId");
  if (secretUri === "") return refuse("without a SecretUri");
  if (!guid.test(objectId)) return refuse("an ObjectId that is no GUID");
  return { ok: true, objectId, secretUri };
}

/** The one spelling in which the CCG plugin asks the account provider. */
export function keyVaultObject(input: { readonly objectId: string; readonly secretUri: string }): string {
  return `ObjectId=${input.objectId};SecretUri=${input.secretUri}`;
}

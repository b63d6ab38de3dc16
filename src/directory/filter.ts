/**
 * Search filters as trees (RFC 4511, 4.5.1.7). What a user typed enters a filter as an assertion value and nothing else,
 * and goes to the wire as octets; text is made only for people to read, and escaped in one place.
 * @module
 */

export type Filter =
  | { readonly kind: "and" | "or"; readonly of: readonly Filter[] }
  | { readonly kind: "not"; readonly of: Filter }
  | { readonly kind: "equals"; readonly attribute: string; readonly value: string | Buffer }
  | { readonly kind: "present"; readonly attribute: string }
  | {
      readonly kind: "extensible";
      readonly attribute: string;
      readonly rule: string;
      readonly value: string;
    };

/** All of these. An empty list is RFC 4526's "true". */
export const all = (...of: readonly Filter[]): Filter => ({ kind: "and", of });
/** Any of these. An empty list is RFC 4526's "false". */
export const any = (...of: readonly Filter[]): Filter => ({ kind: "or", of });
export const not = (of: Filter): Filter => ({ kind: "not", of });
export const equals = (attribute: string, value: string | Buffer): Filter => ({
  kind: "equals",
  attribute,
  value,
});
export const present = (attribute: string): Filter => ({ kind: "present", attribute });

/** Every bit of `bits` is set in the attribute (LDAP_MATCHING_RULE_BIT_AND, MS-ADTS 3.1.1.3.4.4.1). */
export const hasBits = (attribute: string, bits: number): Filter => ({
  kind: "extensible",
  attribute,
  rule: "1.2.840.113556.1.4.803",
  value: String(bits),
});

/** The attribute links to this DN, directly or through others (LDAP_MATCHING_RULE_TRANSITIVE_EVAL, MS-ADTS 3.1.1.3.4.4.3). */
export const linksTo = (attribute: string, dn: string): Filter => ({
  kind: "extensible",
  attribute,
  rule: "1.2.840.113556.1.4.1941",
  value: dn,
});

/** RFC 4515 text, to be read by people and by `ldapsearch`. */
export function filterToText(filter: Filter): string {
  switch (filter.kind) {
    case "and":
      return `(&${filter.of.map(filterToText).join("")})`;
    case "or":
      return `(|${filter.of.map(filterToText).join("")})`;
    case "not":
      return `(!${filterToText(filter.of)})`;
    case "equals":
      return `(${filter.attribute}=${escapeAssertionValue(filter.value)})`;
    case "present":
      return `(${filter.attribute}=*)`;
    case "extensible":
      return `(${filter.attribute}:${filter.rule}:=${escapeAssertionValue(filter.value)})`;
  }
}

/** The one place that escapes: RFC 4515's specials and control characters in text, every octet in binary values. */
function escapeAssertionValue(value: string | Buffer): string {
  if (typeof value !== "string") return [...value].map(hexPair).join("");
  return value.replace(/[*()\\\p{Cc}]/gu, (character) =>
    [...Buffer.from(character, "utf8")].map(hexPair).join(""),
  );
}

function hexPair(octet: number): string {
  return `\\${octet.toString(16).padStart(2, "0")}`;
}

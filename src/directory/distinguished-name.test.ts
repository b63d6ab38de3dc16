import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  domainOf,
  domainToDistinguishedName,
  formatDistinguishedName,
  isWithin,
  parseDistinguishedName,
  sameDistinguishedName,
  type DistinguishedName,
} from "./distinguished-name.ts";

const parsed = (text: string): DistinguishedName => {
  const name = parseDistinguishedName(text);
  assert.ok(name !== undefined, text);
  return name;
};

const values = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 12 })
  .filter((value) => !value.includes("\0"));
const nasty = fc.string({
  unit: fc.constantFrom(...Array.from(' #,+"\\<>;=aÜ\n*()')),
  minLength: 1,
  maxLength: 8,
});
const names = fc.array(
  fc.array(
    fc.record(
      { type: fc.constantFrom("CN", "OU", "dc", "2.5.4.3"), value: fc.oneof(values, nasty) },
      { noNullPrototype: true },
    ),
    { minLength: 1, maxLength: 2 },
  ),
  { minLength: 1, maxLength: 4 },
);

test("every name that is written can be read again", () => {
  fc.assert(fc.property(names, (name) => assert.deepEqual(parsed(formatDistinguishedName(name)), name)));
});

test("no text whatever makes the parser fail", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => void parseDistinguishedName(text)),
  );
});

// RFC 4514, section 4, and names that AD makes.
const readings: readonly (readonly [string, DistinguishedName | undefined])[] = [
  ["", []],
  [
    "UID=jsmith,DC=example,DC=net",
    [[{ type: "UID", value: "jsmith" }], [{ type: "DC", value: "example" }], [{ type: "DC", value: "net" }]],
  ],
  [
    "OU=Sales+CN=J.  Smith",
    [
      [
        { type: "OU", value: "Sales" },
        { type: "CN", value: "J.  Smith" },
      ],
    ],
  ],
  ['CN=James \\"Jim\\" Smith\\, III', [[{ type: "CN", value: 'James "Jim" Smith, III' }]]],
  ["CN=Before\\0dAfter", [[{ type: "CN", value: "Before\rAfter" }]]],
  ["1.3.6.1.4.1.1466.0=#04024869", [[{ type: "1.3.6.1.4.1.1466.0", value: "04024869", hexadecimal: true }]]],
  ["CN=Lu\\C4\\8Di\\C4\\87", [[{ type: "CN", value: "Lučić" }]]],
  ["cn = a b  , dc=x", [[{ type: "cn", value: "a b" }], [{ type: "dc", value: "x" }]]],
  ["CN=a\\ ", [[{ type: "CN", value: "a " }]]],
  // Only the ASCII space may stand around a separator: another one belongs to the value.
  ["CN=\u2003a\u00a0", [[{ type: "CN", value: "\u2003a\u00a0" }]]],
  ["CN=", [[{ type: "CN", value: "" }]]],
  ["CN", undefined],
  ["CN=a,", undefined],
  ["=a", undefined],
  ["CN=a\\", undefined],
  ["CN=\\C4", undefined],
  ['CN="a"', undefined],
  ["CN=#0", undefined],
];
for (const [text, expected] of readings) {
  test(`"${text}" ${expected === undefined ? "is no name" : "is read as RFC 4514 says"}`, () => {
    assert.deepEqual(parseDistinguishedName(text), expected);
  });
}

test("names are the same whatever their case, their spaces and the order within a level", () => {
  assert.ok(sameDistinguishedName(parsed("CN=Ann  Lee+OU=X,DC=a"), parsed("ou=x + cn=ann lee,dc=A")));
  assert.ok(!sameDistinguishedName(parsed("CN=a,DC=b"), parsed("DC=b,CN=a")));
});

test("a name lies within its parents and itself, and not within a neighbour", () => {
  const name = parsed("CN=a,OU=People,DC=contoso,DC=test");

  assert.ok(isWithin(name, parsed("ou=people,dc=contoso,dc=test")));
  assert.ok(isWithin(name, name));
  assert.ok(!isWithin(name, parsed("OU=Groups,DC=contoso,DC=test")));
});

test("the domain is spelt by the DC levels", () => {
  assert.equal(domainOf(parsed("CN=a,OU=b,DC=Corp,DC=contoso,DC=test")), "corp.contoso.test");
  assert.equal(domainOf(parsed("CN=a")), undefined);
  assert.equal(domainToDistinguishedName("corp.contoso.test"), "DC=corp,DC=contoso,DC=test");
});

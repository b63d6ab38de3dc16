import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { all, any, equals, filterToText, hasBits, linksTo, not, present } from "./filter.ts";

test("a filter is written as RFC 4515 has it", () => {
  const filter = all(
    equals("objectClass", "user"),
    not(present("mail")),
    any(hasBits("userAccountControl", 2), linksTo("memberOf", "CN=a")),
  );

  assert.equal(
    filterToText(filter),
    "(&(objectClass=user)(!(mail=*))(|(userAccountControl:1.2.840.113556.1.4.803:=2)(memberOf:1.2.840.113556.1.4.1941:=CN=a)))",
  );
  assert.equal(filterToText(all()), "(&)");
});

test("no value can end its assertion or begin another", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: fc.constantFrom(...Array.from("*()\\\0ab=&|!")) }),
        fc.string({ unit: "binary" }),
      ),
      (value) => {
        const text = filterToText(equals("sAMAccountName", value));
        const inside = text.slice("(sAMAccountName=".length, -1);
        assert.ok(!/[*()\0]/.test(inside));
        const octets = inside.replace(/\\([0-9a-f]{2})/g, (_, pair: string) =>
          String.fromCodePoint(Number.parseInt(pair, 16)),
        );
        const plain = Array.from(value).every((character) => character.charCodeAt(0) < 0x80);
        if (plain) assert.equal(octets, value);
      },
    ),
  );
});

test("binary values are escaped octet by octet", () => {
  assert.equal(filterToText(equals("objectGUID", Buffer.from([0, 0x28, 0xff]))), "(objectGUID=\\00\\28\\ff)");
});

test("letters beyond ASCII stay as they are", () => {
  assert.equal(filterToText(equals("cn", "müller")), "(cn=müller)");
});

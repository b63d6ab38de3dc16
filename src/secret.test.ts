/**
 * A secret shows itself to nobody but the caller of `reveal()`.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { format, inspect } from "node:util";
import * as fc from "fast-check";
import { Secret } from "./secret.ts";

const value = "Correct-Horse-42";
const secret = new Secret(value);
/** The same, past the types that would forbid it to be printed. */
const slipped = secret as unknown as string;

for (const [way, shown] of [
  ["a template string", `password: ${slipped}`],
  ["String()", String(secret)],
  ["concatenation", "password: " + slipped],
  ["JSON", JSON.stringify({ password: secret, list: [secret] })],
  ["inspect with every option open", inspect({ secret }, { showHidden: true, depth: 9, getters: true })],
  ["inspect without custom functions", inspect(secret, { customInspect: false, showHidden: true })],
  ["format", format("%s %o %j %O", secret, secret, secret, secret)],
  ["its own properties", JSON.stringify(Object.getOwnPropertyNames(secret))],
  ["its entries", JSON.stringify(Object.entries(secret))],
  ["a copy of its fields", JSON.stringify(Object.assign({}, secret))],
  ["an error's text", new Error(`refused ${slipped}`, { cause: secret }).stack ?? ""],
] as const) {
  test(`a secret does not show in ${way}`, () => {
    assert.ok(!shown.includes(value), shown);
  });
}

test("a structured clone carries nothing of a secret", () => {
  assert.ok(!inspect(structuredClone(secret), { showHidden: true }).includes(value));
});

test("reveal gives the value unchanged and length counts its UTF-16 code units", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      assert.equal(new Secret(text).reveal(), text);
      assert.equal(new Secret(text).length, text.length);
    }),
  );
});

test("two secrets are equal exactly when their values are", () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (one, other) => {
      assert.equal(new Secret(one).equals(new Secret(other)), one === other);
      assert.ok(new Secret(one).equals(new Secret(one)));
    }),
  );
});

/** @module */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { SallyportError } from "../errors.ts";
import { certificatesIn, encodePem, parsePem } from "./pem.ts";

const blocks = fc.array(
  fc.record(
    {
      label: fc.constantFrom("CERTIFICATE", "PRIVATE KEY", "EC PRIVATE KEY", "X509 CRL"),
      der: fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 5 },
);

test("a bundle is read back as it was written, whatever stands between its blocks", () => {
  fc.assert(
    fc.property(
      blocks,
      fc.constantFrom("\n", "\r\n"),
      fc.constantFrom("", "subject=CN = x\n", "\n\n", "\uFEFF# x\n"),
      (list, newline, between) => {
        const text =
          between +
          list.map((block) => encodePem(block.label, block.der)).join(between.replace("\uFEFF", ""));

        assert.deepEqual(parsePem(text.replaceAll("\n", newline)), list);
      },
    ),
  );
});

test("any text is either read or refused with E_PEM_INVALID", () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom(
      "-----BEGIN CERTIFICATE-----",
      "-----END CERTIFICATE-----",
      "-----END KEY-----",
      "AAAA",
      "=",
    ),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      try {
        parsePem(pieces.join("\n"));
      } catch (error) {
        assert.ok(error instanceof SallyportError && error.code === "E_PEM_INVALID");
      }
    }),
  );
});

const begin = "-----BEGIN PRIVATE KEY-----";
const end = "-----END PRIVATE KEY-----";
const faults: readonly (readonly [string, string])[] = [
  ["a block without an end", `${begin}\nAAAA\n`],
  ["a block inside another", `${begin}\n${begin}\nAAAA\n${end}\n${end}`],
  ["an end without a beginning", end],
  ["a block that ends under another name", `${begin}\nAAAA\n-----END CERTIFICATE-----`],
  ["an empty block", `${begin}\n${end}`],
  ["characters that are no base64", `${begin}\nhunter2!\n${end}`],
  ["base64 of a wrong length", `${begin}\nhunter2\n${end}`],
];
for (const [what, text] of faults) {
  test(`${what} is refused without quoting it`, () => {
    assert.throws(
      () => parsePem(text),
      (error) =>
        error instanceof SallyportError &&
        error.code === "E_PEM_INVALID" &&
        !error.message.includes("hunter2"),
    );
  });
}

test("a bundle's certificates are found among its other blocks", () => {
  const first = encodePem("CERTIFICATE", Buffer.from([1]));
  const second = encodePem("CERTIFICATE", Buffer.from([2]));

  const found = certificatesIn(first + encodePem("PRIVATE KEY", Buffer.from([3])) + second);

  assert.deepEqual(found, [first, second]);
});

test("a bundle without a certificate is refused", () => {
  assert.throws(() => certificatesIn(encodePem("PRIVATE KEY", Buffer.from([3]))), { code: "E_PEM_INVALID" });
});

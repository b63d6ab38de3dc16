/**
 * The error table, its sentences and what a user is shown.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import {
  SallyportError,
  asSallyportError,
  configError,
  describeForOperator,
  errorTable,
  reasonOf,
  type ErrorCode,
} from "./errors.ts";

const rows = Object.entries(errorTable) as [ErrorCode, (typeof errorTable)[ErrorCode]][];

for (const [code, row] of rows) {
  test(`${code} has a sentence, a remedy and an exit code`, () => {
    assert.match(code, /^E(_[A-Z0-9]+)+$/);
    assert.match(row.message, /^[A-Z]/, "a sentence begins with a capital");
    assert.match(row.remedy, /\.$/, "a remedy ends with a full stop");
    assert.ok(row.exitCode === 1 || row.exitCode === 2);
  });
}

test("places in both sentences are filled from the data", () => {
  const error = new SallyportError("E_HOST_DIRECTORY", {
    action: "write",
    path: "/h/port.txt",
    detail: "EACCES",
    directory: "/h",
  });

  assert.equal(error.message, "Cannot write /h/port.txt: EACCES");
  assert.match(error.remedy, /\(\/h\)\.$/);
  assert.equal(error.exitCode, 1);
  assert.equal(error.name, "SallyportError");
});

test("a place without data stays as it is instead of saying undefined", () => {
  assert.equal(new SallyportError("E_INTERNAL").message, "Sallyport met a fault of its own: {detail}");
});

test("data is put in as it is, whatever characters it has", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (detail) => {
      const { message } = new SallyportError("E_INTERNAL", { detail });

      assert.equal(message, `Sallyport met a fault of its own: ${detail}`);
    }),
  );
});

test("all faults of a configuration are told at once and end with exit code 2", () => {
  const error = configError([
    { setting: "--port", problem: "is no port" },
    { setting: "--secret", problem: "is missing" },
  ]);

  assert.equal(error.code, "E_CONFIG_INVALID");
  assert.equal(error.exitCode, 2);
  assert.equal(
    error.message,
    "The configuration has 2 fault(s):\n  --port: is no port\n  --secret: is missing",
  );
});

test("an error of ours stays itself, anything else becomes a fault of our own with its cause", () => {
  const ours = new SallyportError("E_INTERNAL");
  const foreign = new TypeError("x is not a function");

  assert.equal(asSallyportError(ours), ours);
  const wrapped = asSallyportError(foreign);
  assert.equal(wrapped.code, "E_INTERNAL");
  assert.equal(wrapped.cause, foreign);
  assert.match(wrapped.message, /x is not a function$/);
});

for (const [name, thrown, reason] of [
  ["an error with a message", new Error("no route"), "no route"],
  ["an error without one", new RangeError(""), "RangeError"],
  ["several failed addresses", new AggregateError([new Error("a"), new Error("b")], ""), "a; b"],
  ["several with a message of their own", new AggregateError([new Error("a")], "both failed"), "both failed"],
  [
    "an unknown authority",
    new Error(
      "self-signed certificate; if the root CA is installed locally, try running Node.js with --use-system-ca",
    ),
    "self-signed certificate",
  ],
  ["a string", "gone", "gone"],
  ["nothing", undefined, "undefined"],
] as const) {
  test(`the reason of ${name} is "${reason}"`, () => {
    assert.equal(reasonOf(thrown), reason);
  });
}

test("an operator is told what happened, what to do and the code, and sees no stack", () => {
  const text = describeForOperator(asSallyportError(new Error("boom")));

  assert.equal(
    text,
    "sallyport: Sallyport met a fault of its own: boom\n" +
      "  Please report it with the log lines around it; no secret is in them. [E_INTERNAL]",
  );
  assert.doesNotMatch(text, /\n\s+at /);
});

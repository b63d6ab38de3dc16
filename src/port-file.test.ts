import assert from "node:assert/strict";
import { suite, test } from "node:test";
import * as fc from "fast-check";
import { portOfFile } from "./port-file.ts";

suite("the port of a port.txt", () => {
  for (const [text, expected] of [
    ["1", 1],
    ["65535", 65_535],
    ["65536", undefined],
    ["99999", undefined],
    ["0", undefined],
    ["080", undefined],
    ["80\n", undefined],
    ["", undefined],
    ["-1", undefined],
  ] as const) {
    test(`${JSON.stringify(text)} is ${expected ?? "none"}`, () => {
      assert.equal(portOfFile(text), expected);
    });
  }

  test("is one that can be connected to, whatever the text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.integer().map(String)), (text) => {
        const port = portOfFile(text);
        assert.ok(port === undefined || (Number.isInteger(port) && port > 0 && port < 65_536));
      }),
    );
  });
});

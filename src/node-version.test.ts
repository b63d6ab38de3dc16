/**
 * An old Node is named as what it is.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkNodeVersion } from "./node-version.ts";

test("a Node that is too old is named, with the one to use", () => {
  assert.throws(() => checkNodeVersion("20.19.4"), { code: "E_NODE_VERSION", message: /Node 26.*20\.19\.4/ });
});

test("the Node that runs this is not", () => {
  checkNodeVersion(process.versions.node);
});

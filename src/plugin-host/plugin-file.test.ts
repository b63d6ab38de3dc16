import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import * as fc from "fast-check";
import { makePluginFile } from "../../test/fakes/fake-plugin-host.ts";
import { readPluginFile } from "./plugin-file.ts";
import {
  keyVaultClassId,
  pluginAppId,
  pluginClassId,
  pluginName,
  replacedClassId,
} from "./plugin-identity.ts";

test("architecture, version and signature are read from the headers", () => {
  const signed = makePluginFile("1.2.3");
  signed.writeUInt32LE(4_096, 88 + 112 + 36);

  assert.deepEqual(
    { ...readPluginFile(signed), sha256: "" },
    { sha256: "", architecture: "x64", signed: true, version: "1.2.3" },
  );
  assert.equal(readPluginFile(makePluginFile("1", 0x14c))?.architecture, "x86");
  assert.equal(readPluginFile(makePluginFile())?.signed, false);
});

test("bytes that are no DLL are none, and no bytes make it throw", () => {
  assert.equal(readPluginFile(Buffer.from("text")), undefined);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), fc.nat(500), (bytes, at) => {
      readPluginFile(Buffer.from(bytes));
      const spoilt = makePluginFile();
      spoilt.set(bytes.subarray(0, spoilt.length - at), at);
      readPluginFile(spoilt);
    }),
  );
});

test("the ids are the ones that the DLL has", () => {
  const header = readFileSync(join(import.meta.dirname, "../../native/ccg-plugin/src/identity.h"), "utf8");
  const names = new Map(
    [...header.matchAll(/#define (\w+) L"([^"]*)"/g)].map(([, name = "", value]) => [name, value]),
  );

  assert.equal(names.get("PLUGIN_CLASS_ID"), pluginClassId);
  assert.equal(names.get("REPLACED_CLASS_ID"), replacedClassId);
  assert.equal(names.get("KEY_VAULT_CLASS_ID"), keyVaultClassId);
  assert.equal(names.get("PLUGIN_APP_ID"), pluginAppId);
  assert.equal(names.get("PLUGIN_NAME"), pluginName);
  assert.equal(names.get("EVENT_SOURCE"), pluginName);
});

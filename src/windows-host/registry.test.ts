import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { parseProcessList } from "./programs.ts";
import { parseRegistryQuery } from "./registry.ts";

test("keys and values come out of what reg.exe prints, in any display language", () => {
  const output = [
    "",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Sallyport",
    "    (Standard)    REG_SZ    a name",
    "    Count    REG_DWORD    0x7",
    "    Empty    REG_SZ",
    "    Path With Blanks    REG_SZ    C:\\Program Files\\x    y",
    "",
    "HKEY_LOCAL_MACHINE\\SOFTWARE\\Sallyport\\Below",
    "",
  ].join("\r\n");

  const contents = parseRegistryQuery(output);

  const values = contents.get("hklm\\software\\sallyport");
  assert.deepEqual(
    [...(values ?? [])],
    [
      ["", { type: "REG_SZ", data: "a name" }],
      ["count", { type: "REG_DWORD", data: "0x7" }],
      ["empty", { type: "REG_SZ", data: "" }],
      ["path with blanks", { type: "REG_SZ", data: "C:\\Program Files\\x    y" }],
    ],
  );
  assert.equal(contents.get("hklm\\software\\sallyport\\below")?.size, 0);
});

test("no output of a program makes the readers throw", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      parseRegistryQuery(text);
      parseRegistryQuery(`HKEY_LOCAL_MACHINE\\x\n    ${text}`);
      parseProcessList(text);
    }),
  );
});

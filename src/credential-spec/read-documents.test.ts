/**
 * Tests of finding specs in files.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { stringify } from "yaml";
import { sampleSpec } from "../../test/samples/credential-spec.ts";
import { canonicalJson } from "./canonical-json.ts";
import { nodeOf } from "./json.ts";
import { readDocuments } from "./read-documents.ts";

const canonicalSample = canonicalJson(nodeOf(sampleSpec()));
const resource = {
  apiVersion: "windows.k8s.io/v1",
  kind: "GMSACredentialSpec",
  metadata: { name: "webapp01" },
  credspec: sampleSpec(),
};
const text = JSON.stringify(sampleSpec(), null, 4);
const swapped = (bytes: Buffer): Buffer => Buffer.from(bytes).swap16();

const readable: readonly (readonly [name: string, bytes: Buffer, findings: readonly string[]])[] = [
  ["a plain file", Buffer.from(text), []],
  ["a file with a byte order mark", Buffer.from(`\ufeff${text}`), ["byte-order-mark"]],
  ["UTF-16 with a mark", Buffer.from(`\ufeff${text}`, "utf16le"), ["not-utf-8"]],
  ["UTF-16 without a mark", Buffer.from(text, "utf16le"), ["not-utf-8"]],
  ["big-endian UTF-16", swapped(Buffer.from(`\ufeff${text}`, "utf16le")), ["not-utf-8"]],
  ["a resource in YAML", Buffer.from(stringify(resource)), []],
  ["a resource in JSON", Buffer.from(JSON.stringify(resource)), []],
  ["a resource among others", Buffer.from(`kind: Secret\n---\n${stringify(resource)}---\n`), []],
  ["a list of resources", Buffer.from(JSON.stringify({ kind: "List", items: [resource] })), []],
  [
    "the output of docker config inspect",
    Buffer.from(
      JSON.stringify([{ ID: "x", Spec: { Name: "webapp01", Data: Buffer.from(text).toString("base64") } }]),
    ),
    [],
  ],
];

for (const [name, bytes, findings] of readable) {
  test(`a spec is found in ${name}`, () => {
    const reading = readDocuments(bytes);

    assert.deepEqual(
      reading.specs.map(({ spec }) => canonicalJson(spec)),
      [canonicalSample],
    );
    assert.deepEqual(
      reading.findings.map(({ rule }) => rule),
      findings,
    );
  });
}

const unreadable: readonly (readonly [name: string, bytes: Buffer, findings: readonly string[]])[] = [
  ["nothing", Buffer.alloc(0), ["not-a-spec"]],
  ["a manifest of another kind", Buffer.from("kind: Secret"), ["not-a-spec"]],
  ["broken JSON", Buffer.from('{"CmsPlugins":'), ["not-json"]],
  ["broken YAML", Buffer.from("a: [1"), ["not-json"]],
  [
    "a resource whose spec stands in `spec`",
    Buffer.from(stringify({ ...resource, credspec: undefined, spec: sampleSpec() })),
    ["resource-shape"],
  ],
  ["a resource without a name", Buffer.from(stringify({ ...resource, metadata: {} })), ["resource-shape"]],
  [
    "a resource of another group",
    Buffer.from(stringify({ ...resource, apiVersion: "v1" })),
    ["resource-shape"],
  ],
  [
    "a Docker config of something else",
    Buffer.from(JSON.stringify({ Spec: { Data: "bm8=" } })),
    ["not-json"],
  ],
  ["aliases that expand without end", Buffer.from(bomb()), ["not-json"]],
];

function bomb(): string {
  const levels = Array.from(
    { length: 9 },
    (_, level) => `l${level + 1}: &l${level + 1} [${`*l${level},`.repeat(9)}]`,
  );
  return `l0: &l0 [x]\n${levels.join("\n")}\n`;
}

for (const [name, bytes, findings] of unreadable) {
  test(`${name} is told as ${findings.join()}`, () => {
    assert.deepEqual(
      readDocuments(bytes).findings.map(({ rule }) => rule),
      findings,
    );
  });
}

test("a duplicate key of a YAML manifest is noticed", () => {
  const yaml = stringify(resource).replace("    Sid:", "    Sid: S-1-5-21-1-2-3\n    Sid:");

  const [found] = readDocuments(Buffer.from(yaml)).specs;

  assert.deepEqual(
    found?.duplicates.map(({ pointer }) => pointer),
    ["/credspec/DomainJoinConfig/Sid"],
  );
});

test("no bytes make the reader throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      readDocuments(bytes);
    }),
  );
});

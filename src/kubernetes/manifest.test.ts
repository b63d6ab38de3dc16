/**
 * What a manifest may hold, what is refused, and that no refusal quotes a secret.
 * @module
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { stringify } from "yaml";
import { readManifest } from "./manifest.ts";
import type { KubernetesObject } from "./resource-source.ts";

const head = "apiVersion: v1\nkind: Secret\nmetadata: {name: web, namespace: apps}\n";

function objectsOf(text: string): readonly KubernetesObject[] {
  const read = readManifest(text);
  assert.equal(read.ok ? "" : read.problem, "");
  return read.ok ? read.objects : [];
}

function problemOf(text: string): string {
  const read = readManifest(text);
  assert.equal(read.ok, false);
  return read.ok ? "" : read.problem;
}

describe("a manifest", () => {
  test("may hold several documents, empty ones, comments, lists and JSON", () => {
    const objects = objectsOf(
      [
        "# nothing but a comment\n",
        head,
        "",
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n",
        '{"apiVersion":"windows.k8s.io/v1","kind":"GMSACredentialSpec","metadata":{"name":"spec"},"credspec":{}}\n',
      ].join("---\n"),
    );

    assert.deepEqual(
      objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? "-"} ${metadata.name}`),
      ["Secret apps web", "ConfigMap default a", "ConfigMap default b", "GMSACredentialSpec - spec"],
    );
  });

  for (const [apiVersion, kind, namespace] of [
    ["v1", "Namespace", undefined],
    ["rbac.authorization.k8s.io/v1", "ClusterRole", undefined],
    ["rbac.authorization.k8s.io/v1", "Role", "default"],
    ["windows.k8s.io/v1", "GMSACredentialSpec", undefined],
    ["ramauthenticator.k8s.alibabacloud/v1alpha1", "RAMIdentityMapping", undefined],
    ["example.org/v1", "ClusterRole", "default"],
    ["example.org/v1", "Namespace", "default"],
  ] as const) {
    test(`places a ${kind} of ${apiVersion} ${namespace === undefined ? "in no namespace" : "in the namespace default"}`, () => {
      const [object] = objectsOf(`{apiVersion: ${apiVersion}, kind: ${kind}, metadata: {name: a}}`);

      assert.equal(object?.metadata.namespace, namespace);
    });
  }

  for (const text of ["", "\n", "# a comment", "---\n---\n", "\uFEFF"]) {
    test(`${JSON.stringify(text)} holds nothing`, () => {
      assert.deepEqual(objectsOf(text), []);
    });
  }

  test("may begin with a byte order mark and end lines as Windows does", () => {
    assert.equal(objectsOf(`\uFEFF${head}`.replaceAll("\n", "\r\n"))[0]?.metadata.name, "web");
  });

  test("stringData is written over data, in base64, and gone", () => {
    const [secret] = objectsOf(`${head}data: {a: YQ==, b: Yg==}\nstringData: {b: "β", c: ""}\n`);

    assert.deepEqual(secret?.["data"], { a: "YQ==", b: Buffer.from("β").toString("base64"), c: "" });
    assert.equal("stringData" in (secret ?? {}), false);
  });

  test("keeps 0123 and yes as the text they are when quoted", () => {
    const [secret] = objectsOf(`${head}stringData: {a: "0123", b: "yes", c: 'null'}\n`);

    assert.deepEqual(
      Object.values(secret?.["data"] ?? {}).map((value) => Buffer.from(String(value), "base64").toString()),
      ["0123", "yes", "null"],
    );
  });

  test("takes base64 in several lines, as kubectl writes long values", () => {
    const [secret] = objectsOf(`${head}data:\n  a: |\n    aGVs\n    bG8=\n`);

    assert.equal(
      Buffer.from((secret?.["data"] as { a: string } | undefined)?.a ?? "", "base64").toString(),
      "hello",
    );
  });

  test("an ordinary alias is followed", () => {
    const [map] = objectsOf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx: &x {k: v}\ny: *x\n");

    assert.deepEqual(map?.["y"], { k: "v" });
  });

  const bombs = `a: &a [x,x,x,x,x,x,x,x,x,x]\n${"bcdefghi"
    .split("")
    .map((letter, index) => `${letter}: &${letter} [${`*${"abcdefgh"[index]},`.repeat(10)}]\n`)
    .join("")}`;

  const refused: readonly (readonly [string, string, RegExp])[] = [
    ["no YAML", "a: [1, 2", /^line \d+: it is no YAML/],
    ["tabs for indentation", "a:\n\tb: 1", /^line 2: it is no YAML/],
    ["a duplicate key", `${head}data: {}\ndata: {}\n`, /^line 5: a key occurs twice$/],
    ["a scalar", "hello", /no Kubernetes object/],
    ["a sequence", "- 1", /no Kubernetes object/],
    ["no apiVersion", "kind: Secret\nmetadata: {name: a}", /apiVersion/],
    ["no kind", "apiVersion: v1\nmetadata: {name: a}", /kind/],
    ["no metadata", "apiVersion: v1\nkind: Secret", /metadata/],
    ["no name", "apiVersion: v1\nkind: Secret\nmetadata: {}", /metadata\.name/],
    ["a number as a name", "apiVersion: v1\nkind: Secret\nmetadata: {name: 1}", /metadata\.name/],
    ["a name with a slash", "apiVersion: v1\nkind: Secret\nmetadata: {name: a/b}", /metadata\.name/],
    ["a name of dots", "apiVersion: v1\nkind: Secret\nmetadata: {name: ..}", /metadata\.name/],
    ["a name in upper case", "apiVersion: v1\nkind: Secret\nmetadata: {name: Web}", /metadata\.name/],
    ["a long name", `apiVersion: v1\nkind: Secret\nmetadata: {name: ${"a".repeat(254)}}`, /metadata\.name/],
    [
      "a bad namespace",
      "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: a.b}",
      /metadata\.namespace/,
    ],
    ["a number as a secret value", `${head}stringData: {pin: 0123}`, /stringData\.pin is no text/],
    ["a truth value as a secret value", `${head}stringData: {pin: true}`, /stringData\.pin is no text/],
    ["a mapping as a secret value", `${head}data: {pin: {a: b}}`, /data\.pin is no text/],
    ["data that is a list", `${head}data: [a]`, /data is no mapping/],
    ["bad base64", `${head}data: {password: "hunter2!"}`, /data\.password is not base64$/],
    ["base64 without padding", `${head}data: {password: YQ}`, /data\.password is not base64$/],
    [
      "a key that Kubernetes would refuse",
      `${head}stringData: {"a b": x}`,
      /key that Kubernetes would refuse/,
    ],
    ["an alias bomb", `${head}${bombs}`, /alias/i],
    ["an alias of nothing", `${head}x: *nowhere`, /YAML|alias/],
    ["deep nesting", `${head}x: ${"[".repeat(100)}${"]".repeat(100)}`, /nested too deeply/],
    ["very deep nesting", `${head}x: ${"[".repeat(20_000)}`, /./],
    ["a bad second document", `${head}---\nhello: [`, /^line \d+/],
    [
      "a password that looks like an alias",
      `${head}stringData: {password: *hunter2}`,
      /^an alias leads nowhere/,
    ],
    [
      "a password that looks like a tag",
      `${head}stringData: {password: !hunter2 }`,
      /^line 4: it is no YAML/,
    ],
    ["an alias inside what it refers to", `${head}x: &x [*x, *x]`, /^an alias stands inside/],
    ["a YAML set", `${head}x: !!set {a, b}`, /^line 4|JSON does not have/],
    ["a sequence as a key", `${head}x: {? [a] : b}`, /^line 4: a key is no plain text/],
    ["brackets by the hundred thousand", "[".repeat(1_000_000), /nested too deeply/],
    ["dashes by the hundred thousand", "- ".repeat(500_000), /nested too deeply/],
    ["documents by the hundred thousand", "---\n".repeat(250_000), /more than 1000 documents/],
    ["NUL bytes", "\0\0\0", /./],
  ];
  for (const [name, text, problem] of refused) {
    test(`${name} is refused as a whole`, () => {
      assert.match(problemOf(text), problem);
    });
  }

  test("the merge key works as for kubectl", () => {
    const [map] = objectsOf(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx: &x {k: v}\ny: {<<: *x, l: w}\n",
    );

    assert.deepEqual(map?.["y"], { k: "v", l: "w" });
  });

  test("an API server's list gives its items their type", () => {
    const [secret] = objectsOf('{"apiVersion":"v1","kind":"SecretList","items":[{"metadata":{"name":"a"}}]}');

    assert.deepEqual([secret?.apiVersion, secret?.kind], ["v1", "Secret"]);
  });

  test("keys by the ten thousand are compared in linear time", () => {
    const keys = Array.from({ length: 20_000 }, (_, index) => ` k${index}: ""\n`).join("");
    const began = performance.now();

    assert.equal(objectsOf(`${head}stringData:\n${keys}`).length, 1);
    // Comparing each key with every other takes some ten seconds.
    assert.ok(performance.now() - began < 5_000);
  });

  test("objects are frozen, and __proto__ is an ordinary key", () => {
    const [object] = objectsOf(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nspec: {__proto__: {polluted: true}, list: [{a: 1}]}\n",
    );

    assert.equal(Object.isFrozen((object?.["spec"] as { list: object[] } | undefined)?.list[0]), true);
    assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  });

  test("whatever the text, reading does not throw and gives frozen objects with names", () => {
    const yamlish = fc
      .array(
        fc.constantFrom(
          "apiVersion: v1\n",
          "kind: Secret\n",
          "metadata: ",
          "{name: a}\n",
          "---\n",
          "- ",
          "*a ",
          "&a ",
          "data: {",
          "}\n",
          "!!binary ",
          "? ",
          "<<: ",
          "\t",
          '"',
          "'",
          "|\n",
          "%YAML 1.1\n",
        ),
        { maxLength: 30 },
      )
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: "binary" }), yamlish), (text) => {
        const read = readManifest(text);
        if (!read.ok) return read.problem.length > 0 && read.problem.length < 300;
        return read.objects.every((object) => Object.isFrozen(object) && object.metadata.name !== "");
      }),
      { numRuns: 300 },
    );
  });

  test("a problem never holds a value of a Secret", () => {
    const token = "Zq7Secret7qZ";
    const value = fc.oneof(
      fc.constant<unknown>(token),
      fc.constant([token]),
      fc.constant({ [`k`]: token }),
      fc.constant(`${token}!`),
      fc.constant(`*${token}`),
      fc.constant(`\t${token}: [`),
    );
    fc.assert(
      fc.property(
        value,
        fc.constantFrom("data", "stringData"),
        fc.constantFrom("", "\n}", "\n  bad: [", "\ndata: {}\ndata: {}", "\n---\nx"),
        fc.constantFrom("", `${token}: [`, `*${token}`, `!${token} x`, `&${token} *${token}`, `"${token}`),
        (held, field, tail, raw) => {
          const body =
            raw !== "" ? `${field}:\n  password: ${raw}\n` : stringify({ [field]: { password: held } });
          const read = readManifest(`${head}${body}${tail}`);
          return read.ok || !read.problem.includes(token);
        },
      ),
      { numRuns: 500 },
    );
  });

  test("a Secret's key may have any name, that of an object's prototype among them", () => {
    const [secret] = objectsOf(
      '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"},"stringData":{"__proto__":"x","constructor":"y"}}',
    );

    assert.deepEqual(Object.entries(secret?.["data"] as object), [
      ["__proto__", "eA=="],
      ["constructor", "eQ=="],
    ]);
  });

  test("a Secret's values come back whatever they are", () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[-._a-z0-9]{1,20}$/), fc.string({ unit: "grapheme" })),
        (stringData) => {
          const [secret] = objectsOf(
            JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: { name: "a" }, stringData }),
          );
          const data = secret?.["data"] as Record<string, string>;
          return Object.entries(stringData).every(
            ([key, text]) =>
              Buffer.from(data[key] ?? "", "base64").toString() === Buffer.from(text).toString(),
          );
        },
      ),
      { numRuns: 300 },
    );
  });
});

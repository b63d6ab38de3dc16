/**
 * Tests of the renderers; the POSIX quoting is tested by a POSIX shell.
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import * as fc from "fast-check";
import { parse, parseAllDocuments } from "yaml";
import { sampleSpec } from "../../../test/samples/credential-spec.ts";
import { canonicalJson } from "../canonical-json.ts";
import { nodeOf } from "../json.ts";
import { renderCompose, rewriteCompose } from "./compose.ts";
import { renderConfigCreate, renderContainerCreate, renderDockerRun, renderServiceCreate } from "./docker.ts";
import { renderPodFragment, renderResource, renderUseGrant } from "./kubernetes.ts";
import { quote } from "./quoting.ts";
import { nameFor, type NamedSpec } from "./rendering.ts";
import { configNameFor, renderService, renderStack } from "./swarm.ts";

const spec = nodeOf(sampleSpec());
const named: NamedSpec = { name: "webapp01", spec };
const awkward: NamedSpec = {
  name: "webapp01",
  spec: nodeOf({ ...sampleSpec(), Note: 'a\'b"c $HOME `x` \\ %PATH% !y^ \\"' }),
};
const raw = `credentialspec=raw://${canonicalJson(spec)}`;

test("a POSIX shell hands over exactly the words that were quoted", () => {
  const words = [
    "",
    "a b",
    "it's",
    '"',
    "$HOME",
    "`id`",
    "\\",
    "a\nb",
    "*",
    "~",
    "#x",
    "!x",
    "-n",
    canonicalJson(awkward.spec),
  ];
  const script = `printf '%s\\0' ${words.map((word) => quote(word, "sh")).join(" ")}`;

  const printed = execFileSync("sh", ["-c", script], { encoding: "utf8" });

  assert.deepEqual(printed.split("\0").slice(0, -1), words);
});

const quoted: readonly (readonly [
  shell: "powershell" | "windows-powershell" | "cmd",
  text: string,
  expected: string,
])[] = [
  ["powershell", "it's", "'it''s'"],
  ["powershell", "it\u2019s", "'it\u2019\u2019s'"],
  ["powershell", '{"a":"$b"}', `'{"a":"$b"}'`],
  ["windows-powershell", '{"a":1}', `'{\\"a\\":1}'`],
  ["windows-powershell", 'a\\"', `'a\\\\\\"'`],
  ["cmd", '{"a":1}', '^"{\\^"a\\^":1}^"'],
  ["cmd", "a&b%c%", '^"a^&b^%c^%^"'],
  ["cmd", "back\\slash\\ ", '^"back\\slash\\ ^"'],
];

for (const [shell, text, expected] of quoted) {
  test(`${shell} gets ${JSON.stringify(text)} as ${expected}`, () => {
    assert.equal(quote(text, shell), expected);
  });
}

test("what a Windows program is given parses back to the same words, for any text", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...Array.from('ab "\\{}%^&|<>()!')) }), (text) => {
      const line = quote(text, "cmd").replace(/\^(.)/g, "$1");

      assert.equal(windowsWord(line), text);
    }),
  );
});

/** The one word of a command line, by the rules of CommandLineToArgvW. */
function windowsWord(line: string): string {
  let word = "";
  for (let at = 0; at < line.length; at++) {
    const slashes = /^\\*/.exec(line.slice(at))?.[0].length ?? 0;
    if (slashes > 0 && line[at + slashes] === '"') {
      word += "\\".repeat(Math.floor(slashes / 2));
      at += slashes;
      if (slashes % 2 === 1) word += '"';
    } else if (line[at] !== '"') word += line[at];
  }
  return word;
}

test("docker run carries the spec by value", () => {
  const rendering = renderDockerRun(named, { shell: "sh", image: "app:1" });

  assert.equal(rendering.text, `docker run --security-opt '${raw}' app:1\n`);
  assert.ok(rendering.warnings.some((warning) => warning.includes("docker inspect")));
});

test("the config's name carries a hash of the canonical contents and obeys Swarm's rules", () => {
  const other = nodeOf(JSON.parse(JSON.stringify(sampleSpec())));

  assert.match(configNameFor(named), /^webapp01-[0-9a-f]{12}$/);
  assert.equal(configNameFor({ name: "webapp01", spec: other }), configNameFor(named));
  assert.notEqual(configNameFor(awkward), configNameFor(named));
  for (const name of ["x".repeat(300), "-a/b-", "..", "äöü"]) {
    assert.match(configNameFor({ name, spec }), /^(?=.{1,64}$)[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$/);
  }
});

test("the swarm commands write the exact bytes into the config and constrain the service to Windows", () => {
  const { text } = renderService(awkward, { service: "web", image: "app:1", shell: "sh" });
  const [create = "", service = ""] = text.split("\n");

  const input = execFileSync("sh", ["-c", create.replace(/\| docker .*/, "")], { encoding: "utf8" });

  assert.equal(input, canonicalJson(awkward.spec));
  assert.equal(
    service,
    `docker service create --name web --credential-spec config://${configNameFor(awkward)} --constraint 'node.platform.os==windows' app:1`,
  );
});

test("the stack file names its config by the key, without a name of its own", () => {
  const stack = parse(renderStack(named, { service: "web", image: "app:1" }).text) as Record<
    string,
    Record<string, unknown>
  >;
  const config = configNameFor(named);

  assert.equal(stack["version"], "3.8");
  assert.deepEqual(stack["configs"], { [config]: { external: true } });
  assert.deepEqual(stack["services"]?.["web"], {
    image: "app:1",
    credential_spec: { config },
    deploy: { placement: { constraints: ["node.platform.os==windows"] } },
  });
});

test("a service by API refers to the config as a Runtime target with both id and name", () => {
  const { TaskTemplate: task } = JSON.parse(renderServiceCreate(named, "id1").text) as {
    readonly TaskTemplate: { readonly ContainerSpec: unknown };
  };

  assert.deepEqual(task.ContainerSpec, {
    Privileges: { CredentialSpec: { Config: "id1" } },
    Configs: [{ ConfigID: "id1", ConfigName: configNameFor(named), Runtime: {} }],
  });
});

test("a config by API holds the canonical bytes", () => {
  const body = JSON.parse(renderConfigCreate(named).text) as { readonly Name: string; readonly Data: string };

  assert.equal(body.Name, configNameFor(named));
  assert.equal(Buffer.from(body.Data, "base64").toString("utf8"), canonicalJson(spec));
});

test("a container by API has one security option", () => {
  assert.deepEqual(JSON.parse(renderContainerCreate(named).text), { HostConfig: { SecurityOpt: [raw] } });
});

test("Compose gets security_opt with every dollar doubled", () => {
  const { text } = renderCompose(awkward, { service: "web", image: "app:1" });
  const file = parse(text) as {
    readonly services: { readonly web: { readonly security_opt: readonly string[] } };
  };

  const [option = ""] = file.services.web.security_opt;
  assert.equal(option.replaceAll("$$", "$"), `credentialspec=raw://${canonicalJson(awkward.spec)}`);
  assert.ok(!/(?<!\$)\$(?!\$)/.test(option));
});

test("a Compose file keeps everything but the keys that Compose ignores", () => {
  const file = `# ours
services:
  web: # the site
    image: app:1
    security_opt: ["no-new-privileges"]
    credential_spec:
      config: spec
  old:
    credential_spec: { file: "file://old.json" }
  other:
    image: x
configs:
  spec: { external: true, name: webapp01 }
`;

  const rewriting = rewriteCompose(file, new Map([["webapp01", named]]));

  assert.ok(rewriting.ok);
  const parsed = parse(rewriting.text) as { readonly services: Record<string, unknown> };
  assert.deepEqual(parsed.services, {
    web: { image: "app:1", security_opt: ["no-new-privileges", raw] },
    old: { security_opt: ["credentialspec=file://old.json"] },
    other: { image: "x" },
  });
  assert.match(rewriting.text, /^# ours\n[^]*# the site/);
  assert.ok(rewriting.warnings.some((warning) => warning.includes("file://")));
});

const unusable: readonly (readonly [service: string, problem: RegExp])[] = [
  ["{credential_spec: {config: missing}}", /no credential spec is named missing/],
  ["{credential_spec: {file: 'C:\\spec.json'}}", /absolute path/],
  ["{credential_spec: {file: a.json, config: webapp01}}", /exactly one/],
  ["{credential_spec: {file: a.json}, security_opt: ['credentialspec=file://b.json']}", /take the last one/],
];

for (const [service, problem] of unusable) {
  test(`a Compose file with ${service} is not rewritten`, () => {
    const rewriting = rewriteCompose(`services: {web: ${service}}`, new Map([["webapp01", named]]));

    assert.ok(!rewriting.ok);
    assert.match(rewriting.problems.join(), problem);
  });
}

test("the resource has credspec beside metadata, and reads back the same", () => {
  const document = parse(renderResource(awkward).text) as Record<string, unknown>;

  assert.deepEqual(Object.keys(document), ["apiVersion", "kind", "metadata", "credspec"]);
  assert.equal(canonicalJson(nodeOf(document["credspec"])), canonicalJson(awkward.spec));
});

test("the pod fragment names the spec and leaves the contents to the webhook", () => {
  const pod = parse(renderPodFragment(named, "app").text) as { readonly spec: Record<string, unknown> };

  assert.deepEqual(pod.spec["securityContext"], { windowsOptions: { gmsaCredentialSpecName: "webapp01" } });
});

test("the right to use a spec is a Role in the pod's namespace for that spec alone", () => {
  const documents = parseAllDocuments(
    renderUseGrant(named, { namespace: "shop", serviceAccount: "app" }).text,
  );
  if (!Array.isArray(documents)) assert.fail();
  const [role, binding] = documents.map((document) => document.toJSON() as Record<string, unknown>);

  assert.deepEqual(role?.["rules"], [
    {
      apiGroups: ["windows.k8s.io"],
      resources: ["gmsacredentialspecs"],
      resourceNames: ["webapp01"],
      verbs: ["use"],
    },
  ]);
  assert.deepEqual(binding?.["subjects"], [{ kind: "ServiceAccount", name: "app", namespace: "shop" }]);
});

test("a spec without a name of its own is named after its account", () => {
  assert.equal(nameFor(nodeOf({ DomainJoinConfig: { MachineAccountName: "Web_App$" } })), "web-app");
  assert.equal(nameFor(nodeOf({})), undefined);
});

/**
 * Tests of `sallyport credspec` from flags to output and exit code.
 * @module
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { simulatedDirectory } from "../../test/fixtures/test-directory.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { openAccountDirectory } from "./credspec-directory.ts";
import { parse } from "yaml";
import { sampleSpec } from "../../test/samples/credential-spec.ts";
import type { CommandIo } from "./command-io.ts";
import { runCredspec, type CredspecDependencies } from "./credspec.ts";
import { SallyportError } from "../errors.ts";

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function credspec(
  args: readonly string[],
  files: Readonly<Record<string, string | Buffer>> = {},
  more: Partial<CredspecDependencies> & { readonly answers?: readonly string[] } = {},
): Promise<Ran> {
  let out = "";
  let err = "";
  const answers = [...(more.answers ?? [])];
  const io: CommandIo = {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    read: (path) => {
      const contents = files[path];
      return contents === undefined
        ? Promise.reject(new Error("no such file"))
        : Promise.resolve(Buffer.from(contents));
    },
    ...(more.answers === undefined ? {} : { ask: () => Promise.resolve(answers.shift() ?? "") }),
  };
  try {
    const code = await runCredspec(args, {
      clusterSpecs: () => Promise.resolve([]),
      openDirectory: openAccountDirectory,
      ...more,
      io,
    });
    return { code, out, err };
  } catch (error) {
    if (!(error instanceof SallyportError)) throw error;
    return { code: error.exitCode, out, err: `${err}${error.message}` };
  }
}

const good = JSON.stringify(sampleSpec());
const bad = good.replace("244818ae-87ac", "{244818ae-87ac");
const facts = {
  sid: "S-1-5-21-1-2-3",
  guid: "244818ae-87ac-4fcd-92ec-e79e5252348a",
  dnsName: "contoso.com",
  forestName: "contoso.com",
  netbiosName: "CONTOSO",
};
const factFlags = [
  ...["--sid", facts.sid, "--guid", `{${facts.guid}}`, "--dns-name", facts.dnsName],
  ...["--forest-name", facts.forestName, "--netbios-name", facts.netbiosName],
];

test("lint of a faultless spec exits 0", async () => {
  const ran = await credspec(["lint", "a.json"], { "a.json": good });

  assert.deepEqual([ran.code, ran.out], [0, "1 credential spec, no findings.\n"]);
});

test("lint of a faulty spec exits 1 and says where, what, why and how", async () => {
  const ran = await credspec(["lint", "a.json"], { "a.json": bad });

  assert.equal(ran.code, 1);
  assert.match(
    ran.out,
    /^a\.json:1:\d+: error: \/DomainJoinConfig\/Guid .* \[guid-malformed\]\n {2}why: .*\n {2}fix: /,
  );
});

test("lint without any source, or with files that are not there, exits 2 and names each", async () => {
  const [none, missing] = [await credspec(["lint"]), await credspec(["lint", "x.json", "y.json"])];

  assert.deepEqual([none.code, missing.code], [2, 2]);
  assert.match(missing.err, /x\.json[^]*y\.json/);
});

test("lint reads standard input and the cluster", async () => {
  const ran = await credspec(
    ["lint", "-", "--from-cluster", "--output", "json"],
    { "-": good },
    { clusterSpecs: () => Promise.resolve([{ name: "broken", resource: {} }]) },
  );

  const report = JSON.parse(ran.out) as {
    readonly sources: readonly { readonly source: string; readonly findings: readonly unknown[] }[];
  };
  assert.deepEqual(
    report.sources.map(({ source, findings }) => [source, findings.length]),
    [
      ["-", 0],
      ["gmsacredentialspecs/broken", 1],
    ],
  );
  assert.equal(ran.code, 1);
});

test("warnings fail only with --strict", async () => {
  const files = { "a.json": `\ufeff${good}` };

  assert.equal((await credspec(["lint", "a.json"], files)).code, 0);
  assert.equal((await credspec(["lint", "--strict", "a.json"], files)).code, 1);
});

test("the SARIF report names rule, level and region", async () => {
  const ran = await credspec(["lint", "--output", "sarif", "specs/a b.json"], { "specs/a b.json": bad });

  const { runs } = JSON.parse(ran.out) as {
    readonly runs: readonly {
      readonly results: readonly {
        readonly ruleId: string;
        readonly level: string;
        readonly locations: readonly unknown[];
      }[];
    }[];
  };
  const [result] = runs[0]?.results ?? [];
  assert.deepEqual([result?.ruleId, result?.level], ["guid-malformed", "error"]);
  assert.match(JSON.stringify(result?.locations), /"uri":"specs\/a%20b\.json"[^]*"startLine":1/);
});

test("create builds a spec from flags, whatever decoration they carry", async () => {
  const ran = await credspec(["create", "--account", "webapp01$", ...factFlags]);

  const spec = JSON.parse(ran.out) as ReturnType<typeof sampleSpec>;
  assert.equal(ran.code, 0);
  assert.deepEqual(spec, {
    ...sampleSpec(),
    DomainJoinConfig: { ...sampleSpec().DomainJoinConfig, Sid: facts.sid },
  });
});

test("create names every fact that is missing", async () => {
  const ran = await credspec(["create", "--account", "webapp01"]);

  assert.equal(ran.code, 2);
  for (const flag of ["--sid", "--guid", "--dns-name", "--forest-name", "--netbios-name"])
    assert.match(ran.err, new RegExp(flag));
});

test("create asks a person for what is missing", async () => {
  const ran = await credspec(
    ["create", "--output", "compact"],
    {},
    {
      answers: ["webapp01", "contoso.com", "CONTOSO", "contoso.com", facts.sid, facts.guid],
    },
  );

  assert.equal(ran.code, 0);
  assert.equal((JSON.parse(ran.out) as ReturnType<typeof sampleSpec>).DomainJoinConfig["Sid"], facts.sid);
});

test("create refuses facts that will not work", async () => {
  const ran = await credspec(["create", "--account", "webapp01", ...factFlags, "--sid", `${facts.sid}-1104`]);

  assert.deepEqual([ran.code, ran.out], [1, ""]);
  assert.match(ran.err, /SID of an account/);
});

/** Flags that reach the simulated directory of this test as its impersonation account. */
async function directoryFlags(t: TestContext): Promise<readonly string[]> {
  const { certificateAuthority, server } = await simulatedDirectory(t);
  const folder = temporaryFolder(t);
  const account = { username: "ccg-impersonator", password: "Imp3rson@te!", domainName: "contoso.test" };
  for (const [key, value] of Object.entries({ ...account, "ca.crt": certificateAuthority })) {
    writeFileSync(join(folder, key), value);
  }
  return [
    "--server",
    `ldaps://${server.host}:${server.port}`,
    "--ca",
    join(folder, "ca.crt"),
    "--credentials",
    folder,
  ];
}

test("create reads the facts from a directory, a flag corrects it, and lint finds nothing but the correction", async (t) => {
  const flags = await directoryFlags(t);

  const exact = await credspec(["create", "--from-directory", "--account", "WEBAPP01$", ...flags]);
  const corrected = await credspec([
    ...["create", "--from-directory", "--account", "webapp01", "--forest-name", "root.example"],
    ...flags,
  ]);
  const clean = await credspec(["lint", "a.json", "--directory", ...flags], { "a.json": exact.out });
  const faulty = await credspec(["lint", "b.json", "--directory", ...flags], { "b.json": corrected.out });

  const { DomainJoinConfig: domain } = JSON.parse(exact.out) as ReturnType<typeof sampleSpec>;
  assert.deepEqual(
    [domain["MachineAccountName"], domain["DnsName"], domain["NetBiosName"]],
    ["webapp01", "contoso.test", "CONTOSO"],
  );
  assert.equal(clean.code, 0, clean.out);
  assert.equal(faulty.code, 1);
  assert.match(faulty.out, /DnsTreeName/);
  assert.match(faulty.out, /the directory says contoso\.test/);
});

test("create and lint say that the directory has no such account", async (t) => {
  const flags = await directoryFlags(t);

  const created = await credspec(["create", "--from-directory", "--account", "ghost01", ...flags]);
  const linted = await credspec(["lint", "a.json", "--directory", ...flags], { "a.json": good });

  assert.deepEqual([created.code, created.out], [1, ""]);
  assert.match(created.err, /contoso\.test has no group managed service account ghost01/);
  assert.equal(linted.code, 1);
});

test("create from a directory needs the account's name", async () => {
  assert.equal((await credspec(["create", "--from-directory"])).code, 2);
});

test("import turns a UTF-16 file into a clean resource", async () => {
  const ran = await credspec(["import", "x.json"], { "x.json": Buffer.from(`\ufeff${good}`, "utf16le") });

  const document = parse(ran.out) as {
    readonly metadata: { readonly name: string };
    readonly credspec: unknown;
  };
  assert.deepEqual([ran.code, ran.err, document.metadata.name], [0, "", "webapp01"]);
  assert.deepEqual(document.credspec, sampleSpec());
});

test("import refuses a spec in which a key stands twice", async () => {
  const ran = await credspec(["import", "x.json"], {
    "x.json": good.replace('"Sid":', '"Sid":"S-1-5-21-1-2-3","Sid":'),
  });

  assert.deepEqual([ran.code, ran.out], [1, ""]);
});

test("render prints the rendering, its warnings aside", async () => {
  const ran = await credspec(["render", "docker-run", "a.json", "--image", "app:1"], { "a.json": good });

  assert.equal(ran.code, 0);
  assert.match(ran.out, /^docker run --security-opt 'credentialspec=raw:\/\/\{[^]*\}' app:1\n$/);
  assert.match(ran.err, /^warning: /);
});

test("render refuses a spec that will not work, and an unknown target", async () => {
  assert.equal((await credspec(["render", "swarm", "a.json"], { "a.json": bad })).code, 1);
  assert.equal((await credspec(["render", "nomad", "a.json"], { "a.json": good })).code, 2);
});

for (const target of [
  "resource",
  "pod",
  "rbac",
  "docker-run",
  "container-api",
  "config-api",
  "swarm",
  "stack",
  "compose",
]) {
  test(`render knows ${target}`, async () => {
    const ran = await credspec(["render", target, "a.json"], { "a.json": good });

    assert.equal(ran.code, 0);
    assert.notEqual(ran.out, "");
  });
}

test("render rewrites a Compose file", async () => {
  const compose = "services: {web: {credential_spec: {config: webapp01}}}";

  const ran = await credspec(["render", "compose", "a.json", "--rewrite", "compose.yaml"], {
    "a.json": good,
    "compose.yaml": compose,
  });

  assert.equal(ran.code, 0);
  assert.match(ran.out, /security_opt/);
});

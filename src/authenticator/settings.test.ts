import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { checkSettings, readConfigFile, readMountedMappings, type RawSettings } from "./settings.ts";

const documented = `
clusterID: c0123456789abcdef0123456789abcdef
defaultRole: acs:ram::1234567890123456:role/dev
server:
  port: 21363
  hostname: authenticator.local
  address: 127.0.0.2
  region: cn-hangzhou
  stateDir: /var/state
  generateKubeconfig: /etc/kubeconfig.yaml
  kubeconfigPregenerated: false
  kubeconfig: /etc/ack/kube/config
  master: https://127.0.0.1:6443
  backendMode: [MountedFile, CRD]
  dynamicFilePath: /etc/dynamic.json
  scrubbedAccounts: ["1111111111111111"]
  mapRoles:
    - roleARN: acs:ram::1234567890123456:role/admin
      username: admin:{{SessionName}}
      groups: [system:masters]
  mapUsers:
    - userARN: acs:ram::1234567890123456:user/Alice
      username: alice
      groups: [dev]
  mapAccounts: ["2222222222222222", 3333333333333333]
`;

function settingsOf(
  text: string,
  commandLine: RawSettings = {},
  path = "config.yaml",
): ReturnType<typeof checkSettings> {
  const read = readConfigFile(text, path);
  assert.ok(read.ok, read.ok ? "" : read.problem);
  const checked = checkSettings(read.config, commandLine);
  return { ...checked, faults: [...read.faults, ...checked.faults] };
}

describe("the documented configuration", () => {
  test("is honoured in every key", () => {
    const { settings, faults } = settingsOf(documented);

    assert.deepEqual(faults, []);
    assert.equal(settings.clusterId, "c0123456789abcdef0123456789abcdef");
    assert.deepEqual(settings.listen, { host: "127.0.0.2", port: 21_363 });
    assert.equal(settings.hostname, "authenticator.local");
    assert.equal(settings.stateDir, "/var/state");
    assert.equal(settings.generateKubeconfig, "/etc/kubeconfig.yaml");
    assert.equal(settings.kubeconfig, "/etc/ack/kube/config");
    assert.equal(settings.master, "https://127.0.0.1:6443");
    assert.equal(settings.stsOrigin, "https://sts-vpc.cn-hangzhou.aliyuncs.com");
    assert.equal(settings.dynamicFilePath, "/etc/dynamic.json");
    assert.deepEqual(settings.backends, ["MountedFile", "CRD"]);
    assert.deepEqual(settings.scrubbedAccounts, ["1111111111111111"]);
    assert.deepEqual(
      settings.mounted.mappings.map((mapping) => [mapping.arn.text, mapping.username, mapping.entry]),
      [
        ["acs:ram::1234567890123456:role/admin", "admin:{{SessionName}}", "server.mapRoles[0]"],
        ["acs:ram::1234567890123456:user/Alice", "alice", "server.mapUsers[0]"],
      ],
    );
    assert.deepEqual(settings.mounted.accounts, ["2222222222222222", "3333333333333333"]);
  });

  test("may spell its keys in any case", () => {
    const { settings, faults } = settingsOf(
      documented.replaceAll(
        /^( *)([a-zA-Z]+):/gm,
        (_all, pad: string, key: string) => `${pad}${key.toLowerCase()}:`,
      ),
    );
    assert.deepEqual(faults, []);
    assert.equal(settings.listen.port, 21_363);
    assert.equal(settings.mounted.mappings.length, 2);
  });

  test("is the same in JSON and TOML", () => {
    const json =
      '{"clusterID":"c1","server":{"port":1234,"mapUsers":[{"userARN":"acs:ram::1:user/a","username":"a"}]}}';
    const toml =
      'clusterID = "c1"\n[server]\nport = 1234\n[[server.mapUsers]]\nuserARN = "acs:ram::1:user/a"\nusername = "a"\n';
    for (const [text, path] of [
      [json, "c.json"],
      [toml, "c.toml"],
      [json, "c"],
    ] as const) {
      const { settings, faults } = settingsOf(text, {}, path);
      assert.deepEqual(faults, []);
      assert.equal(settings.listen.port, 1234);
      assert.equal(settings.mounted.mappings[0]?.username, "a");
    }
  });

  test("gives way to the command line", () => {
    const { settings } = settingsOf(documented, {
      clusterID: "c9",
      port: 1,
      bind: "0.0.0.0",
      kubeconfigPregenerated: true,
    });
    assert.equal(settings.clusterId, "c9");
    assert.deepEqual(settings.listen, { host: "0.0.0.0", port: 1 });
    assert.equal(settings.address, "127.0.0.2");
    assert.equal(settings.generateKubeconfig, undefined);
  });

  test("has the documented defaults", () => {
    const { settings } = settingsOf("clusterID: c1");
    assert.deepEqual(settings.listen, { host: "127.0.0.1", port: 21_362 });
    assert.equal(settings.hostname, "localhost");
    assert.equal(settings.stateDir, "/var/ack-ram-authenticator");
    assert.equal(settings.stsOrigin, "https://sts.aliyuncs.com");
    assert.deepEqual(settings.backends, ["MountedFile"]);
    assert.equal(settings.stsTimeoutMs, 3_000);
    assert.equal(settings.acceptV1, false);
    assert.equal(settings.wildcards, false);
  });
});

describe("a mistake", () => {
  const cases: readonly [name: string, text: string, setting: string, problem: RegExp][] = [
    ["an unknown key", "clusterId: c1\nserver: {prot: 1}", "server.prot", /nearest is server\.port$/],
    ["an unknown key at the top", "clusterID: c1\ncluster: x", "cluster", /nearest is clusterID$/],
    ["an unknown key like no other", "clusterID: c1\nqqqqqqqqqqqqq: x", "qqqqqqqqqqqqq", /no such key$/],
    ["a key twice", "clusterID: c1\nClusterID: c2", "clusterID", /twice/],
    ["no cluster id", "server: {}", "clusterID", /required/],
    ["a cluster id with spaces", "clusterID: a b", "clusterID", /form of a cluster id/],
    [
      "an unknown backend",
      "clusterID: c1\nserver: {backendMode: [Nope]}",
      "backendMode",
      /"Nope" is not a valid mode/,
    ],
    ["a backend twice", "clusterID: c1\nserver: {backendMode: [CRD, crd]}", "backendMode", /has duplicates/],
    [
      "an alias twice",
      "clusterID: c1\nserver: {backendMode: [File, MountedFile]}",
      "backendMode",
      /duplicates/,
    ],
    ["no backend", "clusterID: c1\nserver: {backendMode: []}", "backendMode", /at least one/],
    [
      "a dynamic file without a path",
      "clusterID: c1\nserver: {backendMode: [DynamicFile]}",
      "dynamicFilePath",
      /needs it/,
    ],
    ["a region of another form", "clusterID: c1\nserver: {region: 'a.b'}", "region", /form of a region/],
    [
      "a region that would be a host",
      "clusterID: c1\nserver: {region: 'x@evil'}",
      "region",
      /form of a region/,
    ],
    ["an endpoint with a path", "clusterID: c1\nserver: {stsEndpoint: 'sts/x'}", "sts-endpoint", /HOST/],
    ["a port as text", "clusterID: c1\nserver: {port: many}", "server.port", /number/],
    ["a port that is none", "clusterID: c1\nserver: {port: 99999}", "port", /no port/],
    ["a duration without a unit", "clusterID: c1\nserver: {stsTimeout: 3}", "server.stsTimeout", /duration/],
    [
      "a duration that no timer knows",
      "clusterID: c1\nserver: {stsTimeout: 597h}",
      "server.stsTimeout",
      /longer/,
    ],
    [
      "a mapping without a username",
      "clusterID: c1\nserver: {mapUsers: [{userARN: 'acs:ram::1:user/a'}]}",
      "server.mapUsers[0]",
      /username/,
    ],
    [
      "a role among users",
      "clusterID: c1\nserver: {mapUsers: [{userARN: 'acs:ram::1:role/a', username: a}]}",
      "server.mapUsers[0]",
      /not a user/,
    ],
    [
      "a wildcard that is not enabled",
      "clusterID: c1\nserver: {mapRoles: [{roleARN: 'acs:ram::1:role/*', username: a}]}",
      "server.mapRoles[0]",
      /not enabled/,
    ],
    [
      "an account that is a word",
      "clusterID: c1\nserver: {mapAccounts: [x]}",
      "server.mapAccounts[0]",
      /account id/,
    ],
    [
      "a scrubbed account that is a word",
      "clusterID: c1\nserver: {scrubbedAccounts: [x]}",
      "scrubbedAccounts",
      /account id/,
    ],
    [
      "a parameter that STS would act on",
      "clusterID: c1\nserver: {extraTokenParameters: [Action]}",
      "extraTokenParameters",
      /passed on/,
    ],
    [
      "a reserved name for no backend",
      "clusterID: c1\nserver: {allowReservedNames: [system:masters]}",
      "allowReservedNames",
      /BACKEND=NAME/,
    ],
    ["an old TLS", "clusterID: c1\nserver: {tlsMinimum: '1.1'}", "tlsMinimum", /neither/],
  ];
  for (const [name, text, setting, problem] of cases) {
    test(`such as ${name} is named`, () => {
      const fault = settingsOf(text).faults.find((each) => each.setting === setting);
      assert.ok(fault, JSON.stringify(settingsOf(text).faults));
      assert.match(fault.problem, problem);
    });
  }

  test("does not hide the next one", () => {
    assert.ok(settingsOf("server: {prot: 1, port: x, backendMode: [Nope]}").faults.length >= 4);
  });

  test("in the file as a whole is a sentence", () => {
    for (const [text, path] of [
      ["{", "c.json"],
      ["a: [", "c.yaml"],
      ["= 1", "c.toml"],
      ["- a", "c.yaml"],
    ] as const) {
      assert.equal(readConfigFile(text, path).ok, false);
    }
  });
});

describe("reserved names", () => {
  test("system:masters is allowed to the mounted file, and to others where they are listed", () => {
    const { settings } = settingsOf("clusterID: c1", {
      allowReservedNames: ["CRD=system:masters"],
      reservedPrefixes: ["ConfigMap=prod:"],
    });
    assert.deepEqual(settings.names.MountedFile.allowed, ["system:masters"]);
    assert.deepEqual(settings.names.CRD.allowed, ["system:masters"]);
    assert.deepEqual(settings.names.DynamicFile.allowed, []);
    assert.deepEqual(settings.names.ACKConfigMap.reservedPrefixes, ["system:", "prod:"]);
  });
});

describe("endpoints of STS", () => {
  const cases: readonly [raw: RawSettings, origin: string][] = [
    [{}, "https://sts.aliyuncs.com"],
    [{ region: "us-west-1" }, "https://sts-vpc.us-west-1.aliyuncs.com"],
    [{ region: "cn-hangzhou-finance" }, "https://sts-vpc.cn-hangzhou.aliyuncs.com"],
    [{ stsEndpoint: "sts.cloud.example:8443" }, "https://sts.cloud.example:8443"],
    [{ region: "cn-hangzhou", stsEndpoint: "https://sts.cloud.example" }, "https://sts.cloud.example"],
  ];
  for (const [raw, origin] of cases) {
    test(`${JSON.stringify(raw)} means ${origin}`, () => {
      assert.equal(settingsOf("clusterID: c1", raw).settings.stsOrigin, origin);
    });
  }
});

test("mappings are read again only from a file that is right as a whole", () => {
  assert.equal(readMountedMappings("server: {prot: 1}", "c.yaml", { wildcards: false }).ok, false);
  const good = readMountedMappings(documented, "c.yaml", { wildcards: false });
  assert.ok(good.ok);
  assert.equal(good.set.mappings.length, 2);
});

test("no text makes the reader throw", () => {
  fc.assert(
    fc.property(fc.string(), fc.constantFrom("c.yaml", "c.json", "c.toml"), (text, path) => {
      const read = readConfigFile(text, path);
      if (read.ok) checkSettings(read.config, {});
    }),
  );
});

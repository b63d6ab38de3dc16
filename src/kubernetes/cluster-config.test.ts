/**
 * Kubeconfigs, service accounts, rotating credentials, exec plugins and TLS.
 * @module
 */
import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { configMapKind } from "../../test/contracts/resource-source-contract.ts";
import { configOf, startFakeApiServer } from "../../test/fakes/fake-api-server.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { SallyportError } from "../errors.ts";
import { silentLog } from "../observe/log.ts";
import { createAuthority } from "../pki/authority.ts";
import { createClusterClient } from "./cluster-client.ts";
import { kubeconfigOfPerson, loadClusterConfig, type ClusterConfig } from "./cluster-config.ts";
import { createClusterSource } from "./cluster-source.ts";

const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const base64 = (text: string): string => Buffer.from(text).toString("base64");

async function folderOf(t: TestContext, files: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-kubeconfig-"));
  t.after(() => rm(folder, { recursive: true }));
  for (const [name, contents] of Object.entries(files)) {
    await mkdir(join(folder, name, ".."), { recursive: true });
    await writeFile(join(folder, name), typeof contents === "string" ? contents : JSON.stringify(contents));
  }
  return folder;
}

interface Parts {
  readonly cluster?: object;
  readonly user?: object;
  readonly context?: object;
  readonly top?: object;
}

function kubeconfig({ cluster = {}, user = { token: "t" }, context = {}, top = {} }: Parts = {}): object {
  return {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u", ...context } }],
    clusters: [{ name: "k", cluster: { server: "https://api.contoso.com:6443/", ...cluster } }],
    users: [{ name: "u", user }],
    ...top,
  };
}

async function load(path: string, clock = new FakeClock()): Promise<ClusterConfig> {
  return await loadClusterConfig({ kubeconfig: path, clock });
}

async function shown(config: ClusterConfig): Promise<object> {
  const { token, certificatePem, privateKeyPem } = await config.credentials();
  return {
    token: token?.reveal(),
    certificatePem,
    privateKeyPem: privateKeyPem?.reveal(),
  };
}

const nothing = { token: undefined, certificatePem: undefined, privateKeyPem: undefined };

describe("a kubeconfig", () => {
  test("says server, authority, namespace and token", async (t) => {
    const folder = await folderOf(t, {
      config: kubeconfig({
        cluster: { "certificate-authority-data": base64(pem), "tls-server-name": "api" },
        context: { namespace: "apps" },
      }),
    });

    const config = await load(join(folder, "config"));

    assert.equal(config.server, "https://api.contoso.com:6443");
    assert.equal(config.caPem, pem);
    assert.equal(config.tlsServerName, "api");
    assert.equal(config.namespace, "apps");
    assert.equal(config.skipTlsVerify, false);
    assert.deepEqual(await shown(config), { ...nothing, token: "t" });
    assert.doesNotMatch(config.describe(), /token|\bt\b$/);
  });

  const users: readonly (readonly [string, object, object])[] = [
    ["no credentials", {}, nothing],
    ["a token", { token: "abc" }, { ...nothing, token: "abc" }],
    ["a token file beside it", { tokenFile: "here/token" }, { ...nothing, token: "from file" }],
    [
      "a token file before a token",
      { tokenFile: "here/token", token: "x" },
      { ...nothing, token: "from file" },
    ],
    [
      "certificate files beside it",
      { "client-certificate": "here/crt", "client-key": "here/key" },
      { ...nothing, certificatePem: pem.trim(), privateKeyPem: pem.trim() },
    ],
    [
      "certificate data, which counts before a file",
      {
        "client-certificate": "nowhere",
        "client-certificate-data": base64(pem),
        "client-key-data": base64(pem),
      },
      { ...nothing, certificatePem: pem, privateKeyPem: pem },
    ],
  ];
  for (const [name, user, expected] of users) {
    test(`with ${name}`, async (t) => {
      const folder = await folderOf(t, {
        config: kubeconfig({ user }),
        "here/token": "from file\n",
        "here/crt": pem,
        "here/key": pem,
      });

      assert.deepEqual(await shown(await load(join(folder, "config"))), expected);
    });
  }

  test("of several files the first with an entry counts, paths start from its folder, absent ones are skipped", async (t) => {
    const folder = await folderOf(t, {
      "one/config": { "current-context": "c", users: [{ name: "u", user: { tokenFile: "token" } }] },
      "one/token": "one",
      "two/config": kubeconfig({ cluster: { "certificate-authority": "ca.crt" } }),
      "two/ca.crt": pem,
      "three/config": "",
    });
    const paths = ["one", "absent", "three", "two"].map((name) => join(folder, name, "config"));

    const config = await load(paths.join(delimiter));

    assert.equal(config.caPem, pem);
    assert.deepEqual(await shown(config), { ...nothing, token: "one" });
  });

  test("a context that is asked for counts instead of the current one, and has to be there", async (t) => {
    const other = { name: "other", context: { cluster: "k2", user: "", namespace: "there" } };
    const document = {
      ...kubeconfig(),
      contexts: [{ name: "c", context: { cluster: "k", user: "u" } }, other],
      clusters: [
        { name: "k", cluster: { server: "https://api.contoso.com" } },
        { name: "k2", cluster: { server: "https://other.contoso.com" } },
      ],
    };
    const path = join(await folderOf(t, { config: document }), "config");
    const loadOf = (context: string): Promise<ClusterConfig> =>
      loadClusterConfig({ kubeconfig: path, context, clock: new FakeClock() });

    const { server, namespace } = await loadOf("other");
    const refusal = loadOf("third");

    assert.deepEqual({ server, namespace }, { server: "https://other.contoso.com", namespace: "there" });
    await assert.rejects(refusal, /the context "third" is not among its contexts/);
  });

  const home = join(homedir(), ".kube", "config");
  const found: readonly (readonly [
    string,
    string | undefined,
    Record<string, string>,
    string | undefined,
  ])[] = [
    ["what was asked for", "/asked", { KUBECONFIG: "/named", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "/asked"],
    ["KUBECONFIG", undefined, { KUBECONFIG: "/named", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "/named"],
    [
      "a pod's service account",
      undefined,
      { KUBECONFIG: "", KUBERNETES_SERVICE_HOST: "10.0.0.1" },
      undefined,
    ],
    ["~/.kube/config", "", {}, home],
  ];
  for (const [what, asked, environment, expected] of found) {
    test(`a person's command takes ${what}, before what comes next`, () => {
      assert.equal(kubeconfigOfPerson(asked, environment), expected);
    });
  }

  const refused: readonly (readonly [string, unknown, RegExp])[] = [
    ["no YAML", "a: [", /it is no YAML/],
    ["nothing", "", /no current-context/],
    ["a list", "- 1", /expected object/],
    ["no current-context", kubeconfig({ top: { "current-context": "" } }), /no current-context/],
    [
      "an unknown context",
      kubeconfig({ top: { "current-context": "x" } }),
      /current-context "x" is not among/,
    ],
    ["an unknown cluster", kubeconfig({ context: { cluster: "x" } }), /cluster "x" is not among/],
    ["an unknown user", kubeconfig({ context: { user: "x" } }), /user "x" is not among/],
    [
      "a server that is no address",
      kubeconfig({ cluster: { server: "api:6443" } }),
      /is no http\(s\) address/,
    ],
    ["a server that is a number", kubeconfig({ cluster: { server: 1 } }), /clusters\.0\.cluster\.server/],
    ["a proxy", kubeconfig({ cluster: { "proxy-url": "http://p" } }), /proxy-url/],
    ["an absent authority", kubeconfig({ cluster: { "certificate-authority": "no" } }), /ENOENT/],
    [
      "an authority that is no PEM",
      kubeconfig({ cluster: { "certificate-authority-data": base64("x") } }),
      /certificate-authority-data holds no PEM/,
    ],
    ["an auth-provider", kubeconfig({ user: { "auth-provider": { name: "gcp" } } }), /auth-provider/],
    ["a password", kubeconfig({ user: { username: "a", password: "hunter2" } }), /name and password/],
    [
      "a certificate without its key",
      kubeconfig({ user: { "client-certificate-data": base64(pem) } }),
      /not both/,
    ],
    ["a key without its certificate", kubeconfig({ user: { "client-key": "k" } }), /not both/],
    [
      "an old exec plugin",
      kubeconfig({ user: { exec: { command: "x", apiVersion: "client.authentication.k8s.io/v1alpha1" } } }),
      /v1alpha1" is neither v1 nor v1beta1/,
    ],
    ["an exec plugin without a command", kubeconfig({ user: { exec: {} } }), /users\.0\.user\.exec\.command/],
  ];
  for (const [name, contents, message] of refused) {
    test(`with ${name} is refused`, async (t) => {
      const folder = await folderOf(t, { config: contents });

      await assert.rejects(load(join(folder, "config")), (error: unknown) => {
        assert.ok(error instanceof SallyportError);
        assert.equal(error.code, "E_CLUSTER_CONFIG");
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
    });
  }

  test("that is not there is refused", async (t) => {
    await assert.rejects(load(join(await folderOf(t), "config")), /ENOENT/);
  });
});

describe("credentials in files", () => {
  test("are read again after ten seconds, at once after a refusal, and kept while the file is away", async (t) => {
    const folder = await folderOf(t, { config: kubeconfig({ user: { tokenFile: "token" } }), token: "1" });
    const clock = new FakeClock();
    const config = await load(join(folder, "config"), clock);
    const token = async (): Promise<string | undefined> => (await config.credentials()).token?.reveal();
    assert.equal(await token(), "1");

    await writeFile(join(folder, "token"), "2");
    await clock.advance(9_999);
    assert.equal(await token(), "1");
    await clock.advance(1);
    assert.equal(await token(), "2");
    await writeFile(join(folder, "token"), "3");
    config.credentialsRefused?.();
    assert.equal(await token(), "3");
    await writeFile(join(folder, "token"), "");
    await clock.advance(60_000);
    assert.equal(await token(), "3");
    await rm(join(folder, "token"));
    assert.equal(await token(), "3");
  });

  test("that were never there are an error that names the file", async (t) => {
    const folder = await folderOf(t, { config: kubeconfig({ user: { tokenFile: "token" } }) });
    const config = await load(join(folder, "config"));

    await assert.rejects(config.credentials(), { code: "E_CLUSTER_CREDENTIALS", message: /token\): ENOENT/ });
  });
});

describe("an exec plugin", () => {
  async function withPlugin(
    t: TestContext,
    script: string,
    more: object = {},
  ): Promise<[ClusterConfig, string]> {
    const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "./plugin", ...more };
    const folder = await folderOf(t, {
      config: kubeconfig({ user: { exec }, cluster: { "certificate-authority-data": base64(pem) } }),
      plugin: `#!/bin/sh\ncd "$(dirname "$0")"\necho run >> runs\n${script}\n`,
    });
    await chmod(join(folder, "plugin"), 0o755);
    return [await load(join(folder, "config")), folder];
  }
  const answer = (status: object): string =>
    `echo '${JSON.stringify({ apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status })}'`;
  const runs = async (folder: string): Promise<number> =>
    (await readFile(join(folder, "runs"), "utf8")).trim().split("\n").length;

  test("is run from the kubeconfig's folder, once until it expires or is refused", async (t) => {
    const [config, folder] = await withPlugin(
      t,
      answer({ token: "fresh", expirationTimestamp: "2999-01-01T00:00:00Z" }),
    );
    assert.deepEqual(await shown(config), { ...nothing, token: "fresh" });
    await config.credentials();
    assert.equal(await runs(folder), 1);

    config.credentialsRefused?.();
    await config.credentials();

    assert.equal(await runs(folder), 2);
  });

  test("may give a certificate", async (t) => {
    const [config] = await withPlugin(t, answer({ clientCertificateData: "crt", clientKeyData: "key" }));

    assert.deepEqual(await shown(config), { ...nothing, certificatePem: "crt", privateKeyPem: "key" });
  });

  test("gets its arguments, its environment, and the cluster when it asks for it", async (t) => {
    const [config, folder] = await withPlugin(
      t,
      `echo "$1 $COLOUR" > args\necho "$KUBERNETES_EXEC_INFO" > info\n${answer({ token: "x" })}`,
      { args: ["hello"], env: [{ name: "COLOUR", value: "red" }], provideClusterInfo: true },
    );
    await config.credentials();

    assert.equal(await readFile(join(folder, "args"), "utf8"), "hello red\n");
    assert.deepEqual(JSON.parse(await readFile(join(folder, "info"), "utf8")), {
      apiVersion: "client.authentication.k8s.io/v1",
      kind: "ExecCredential",
      spec: {
        interactive: false,
        cluster: {
          server: "https://api.contoso.com:6443",
          "certificate-authority-data": base64(pem),
        },
      },
    });
  });

  test("that asks a question gets no answer instead of waiting for ever", async (t) => {
    const [config] = await withPlugin(t, `read -r line || line=nobody\n${answer({ token: "x" })}`);

    assert.deepEqual(await shown(config), { ...nothing, token: "x" });
  });

  for (const [name, script] of [
    ["fails", "echo 'not logged in' >&2; exit 1"],
    ["prints no JSON", "echo hello"],
    ["prints nothing", "true"],
    ["prints no status", "echo '{}'"],
  ] as const) {
    test(`that ${name} is an error that names it`, async (t) => {
      const [config] = await withPlugin(t, script);

      await assert.rejects(config.credentials(), {
        code: "E_CLUSTER_CREDENTIALS",
        message: /exec plugin \.\/plugin failed: ./,
      });
    });
  }
});

describe("in a pod", () => {
  const environment = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "6443" };

  test("the service account's files say everything", async (t) => {
    const folder = await folderOf(t, { "ca.crt": pem, namespace: "apps", token: "t" });

    const config = await loadClusterConfig({
      kubeconfig: undefined,
      clock: new FakeClock(),
      environment,
      serviceAccountFolder: folder,
    });

    assert.equal(config.server, "https://10.0.0.1:6443");
    assert.equal(config.caPem, pem);
    assert.equal(config.namespace, "apps");
    assert.deepEqual(await shown(config), { ...nothing, token: "t" });
  });

  test("an IPv6 address stands in brackets", async (t) => {
    const folder = await folderOf(t, { "ca.crt": pem, token: "t" });

    const config = await loadClusterConfig({
      kubeconfig: "",
      clock: new FakeClock(),
      environment: { KUBERNETES_SERVICE_HOST: "fd00::1" },
      serviceAccountFolder: folder,
    });

    assert.equal(config.server, "https://[fd00::1]:443");
    assert.equal(config.namespace, undefined);
  });

  for (const [name, files, env, code] of [
    ["no pod", { "ca.crt": pem, token: "t" }, {}, "E_CLUSTER_CONFIG"],
    ["no authority", { token: "t" }, environment, "E_CLUSTER_CONFIG"],
    ["no token", { "ca.crt": pem }, environment, "E_CLUSTER_CREDENTIALS"],
    ["an empty token", { "ca.crt": pem, token: "\n" }, environment, "E_CLUSTER_CREDENTIALS"],
  ] as const) {
    test(`${name} is refused`, async (t) => {
      const serviceAccountFolder = await folderOf(t, files);

      await assert.rejects(
        loadClusterConfig({
          kubeconfig: undefined,
          clock: new FakeClock(),
          environment: env,
          serviceAccountFolder,
        }),
        { code },
      );
    });
  }
});

describe("TLS to the API server", () => {
  test("its certificate is checked, and a client certificate is as good as a token", async (t) => {
    const { systemClock } = await import("../clock.ts");
    const authority = await createAuthority({
      commonName: "test",
      keyType: "ec-p256",
      permittedDnsNames: ["localhost"],
      clock: systemClock,
      lifetimeMs: 3_600_000,
    });
    const issue = async (usage: "server" | "client") =>
      await authority.issue({
        commonName: usage,
        usage,
        dnsNames: usage === "server" ? ["localhost"] : [],
        keyType: "ec-p256",
        lifetimeMs: 600_000,
      });
    const [serverPair, clientPair] = [await issue("server"), await issue("client")];
    const server = await startFakeApiServer({
      tokens: ["secret"],
      tls: {
        cert: serverPair.certificatePem,
        key: serverPair.privateKeyPem.reveal(),
        clientCa: authority.certificatePem,
      },
    });
    t.after(() => server.stop());
    const look = async (config: Partial<ClusterConfig>): Promise<string> => {
      const client = createClusterClient(
        configOf(server, {
          caPem: authority.certificatePem,
          tlsServerName: "localhost",
          credentials: () =>
            Promise.resolve({
              certificatePem: clientPair.certificatePem,
              privateKeyPem: clientPair.privateKeyPem,
            }),
          ...config,
        }),
        silentLog,
      );
      const source = createClusterSource(client, { clock: systemClock, log: silentLog });
      const found = await source.get({ kind: configMapKind, namespace: "apps", name: "none" });
      await source.close();
      return found.found ? "found" : `${found.reason}: ${found.detail}`;
    };

    assert.match(await look({}), /^absent/);
    assert.match(await look({ credentials: () => Promise.resolve({}) }), /^forbidden/);
    assert.match(await look({ caPem: undefined }), /^unavailable: .*certificate/);
    assert.match(await look({ tlsServerName: "elsewhere.contoso.com" }), /^unavailable: .*altnames/i);
    assert.match(await look({ skipTlsVerify: true, caPem: undefined }), /^absent/);
  });
});

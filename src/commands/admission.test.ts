/**
 * The command line of the webhook: windows-gmsa's words, every fault at once, and exit codes.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { temporaryFolder } from "../../test/temporary-folder.ts";

const program = join(import.meta.dirname, "../main.ts");
const contoso = join(import.meta.dirname, "../../examples/contoso");

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function admission(args: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const { HOME, PATH } = process.env;
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [program, "admission", ...args],
      { env: { HOME, PATH, ...environment }, timeout: 20_000 },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
  });
}

/** The settings that a faulty configuration was told about, in order. */
function faultsOf({ stderr }: Ended): readonly string[] {
  return [...stderr.matchAll(/^ {2}(\S.*?): /gm)].map(([, setting = ""]) => setting);
}

test("every fault of flags and environment is told at once, with exit code 2", async () => {
  const ended = await admission(
    [
      ...["--port", "70000", "--access-cache-ttl", "11s", "--drain", "soon", "--linger", "-1"],
      ...["--operations-address", "nowhere", "--log-level", "loud"],
    ],
    { RANDOM_HOSTNAME: "perhaps" },
  );

  assert.equal(ended.code, 2);
  assert.deepEqual(faultsOf(ended), [
    "--operations-address",
    "--drain",
    "--linger",
    "TLS_CRT, --tls-crt",
    "TLS_KEY, --tls-key",
    "--client-ca",
    "--access-cache-ttl",
    "LOG_LEVEL, --log-level",
    "--port",
    "RANDOM_HOSTNAME",
  ]);
  assert.match(ended.stderr, /E_CONFIG_INVALID/);
  assert.equal(ended.stdout, "");
});

test("every fault of self-managed certificates is told at once", async () => {
  const ended = await admission([
    ...["run", "--any-caller", "--ca-secret", "Not a name", "--tls-crt", "/tls/crt", "--manifests", contoso],
    ...["--mutating-configuration", "ok", "a/b", "--validating-configuration", "..", "--service", "UPPER"],
    ...["--ca-lifetime", "4s", "--certificate-lifetime", "2s"],
  ]);

  assert.equal(ended.code, 2);
  assert.deepEqual(faultsOf(ended), [
    "--ca-secret",
    "--ca-secret",
    "--ca-secret",
    "--mutating-configuration",
    "--validating-configuration",
    "--service",
    "--certificate-lifetime",
    "--ca-lifetime",
  ]);
});

for (const [what, args] of [
  ["an unknown flag", ["--nonsense"]],
  ["an unknown command", ["serve"]],
  ["a choice that is none", ["--missing-contents", "ignore"]],
  ["a check without a file", ["check"]],
] as const) {
  test(`${what} ends with exit code 2 and a hint`, async () => {
    const ended = await admission(args);

    assert.equal(ended.code, 2);
    assert.match(ended.stderr, /^sallyport: .*\n[\s\S]*--help/);
  });
}

for (const flag of ["--version", "-version"]) {
  test(`${flag} says the version in windows-gmsa's words`, async () => {
    const ended = await admission([flag]);

    assert.deepEqual([ended.code, ended.stderr], [0, ""]);
    assert.match(ended.stdout, /^windows-gmsa-webhook v\d+\.\d+\.\d+\n$/);
  });
}

for (const flag of ["-cert-reload", "--cert-reload=true", "-cert-reload=false"]) {
  test(`${flag}, which the released chart gives, is no fault`, async () => {
    assert.deepEqual(faultsOf(await admission([flag, "--any-caller", "--tls-crt", "/x"])), [
      "TLS_KEY, --tls-key",
    ]);
  });
}

test("a certificate that is not there ends with exit code 2 and says where it was looked for", async (t) => {
  const missing = join(temporaryFolder(t), "crt");

  const ended = await admission(["--any-caller", "--manifests", contoso], {
    TLS_CRT: missing,
    TLS_KEY: missing,
  });

  assert.equal(ended.code, 2);
  assert.ok(ended.stderr.includes(missing) && ended.stderr.includes("E_WEBHOOK_CERTIFICATE"));
});

test("--any-caller is warned about at the start, a named authority of callers is not", async (t) => {
  const missing = join(temporaryFolder(t), "file");
  const environment = { TLS_CRT: missing, TLS_KEY: missing };

  const [anybody, named] = [
    await admission(["--any-caller", "--manifests", contoso], environment),
    await admission(["--client-ca", missing, "--manifests", contoso], environment),
  ];

  const output = ({ stdout, stderr }: Ended): string => stdout + stderr;
  assert.match(output(anybody), /whoever reaches the port.*"admission\.any-caller"/);
  assert.doesNotMatch(output(named), /any-caller/);
});

test("an authority of callers that cannot be read is a fault of --client-ca", async (t) => {
  const missing = join(temporaryFolder(t), "ca.crt");

  const ended = await admission(["--client-ca", missing, "--manifests", contoso], {
    TLS_CRT: "/tls/crt",
    TLS_KEY: "/tls/key",
  });

  assert.equal(ended.code, 2);
  assert.deepEqual(faultsOf(ended), ["--client-ca"]);
});

test("self-managed certificates need a namespace to keep their Secret in", async (t) => {
  const kubeconfig = kubeconfigIn(t, "http://127.0.0.1:1");

  const ended = await admission(["--any-caller", "--ca-secret", "ca", "--kubeconfig", kubeconfig]);

  assert.equal(ended.code, 2);
  assert.deepEqual(faultsOf(ended), ["--ca-secret"]);
});

test("a --client-ca without a certificate is a fault: it would let every public authority's clients in", async (t) => {
  const path = join(temporaryFolder(t), "client-ca.crt");
  writeFileSync(path, "");
  const ended = await admission([
    ...["--client-ca", path, "--tls-crt", "/nowhere", "--tls-key", "/nowhere", "--manifests", contoso],
  ]);

  assert.equal(ended.code, 2, ended.stderr);
  assert.match(ended.stderr, /--client-ca: .*holds no certificate/);
});

function kubeconfigIn(t: TestContext, server: string): string {
  const path = join(temporaryFolder(t), "kubeconfig");
  const content = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server } }],
    users: [{ name: "u", user: {} }],
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    "current-context": "c",
  };
  writeFileSync(path, JSON.stringify(content));
  return path;
}

for (const [account, code, said] of [
  ["system:serviceaccount:contoso-web:web", 0, /allowed, uses webapp01/],
  ["system:serviceaccount:contoso-web:other", 1, /service account "other" is not authorized/],
] as const) {
  test(`check for ${account} ends with exit code ${code}`, async () => {
    const file = join(contoso, "web-application.yaml");

    const ended = await admission(["check", "-f", file, "--manifests", contoso, "--as", account]);

    assert.equal(ended.code, code);
    assert.match(ended.stdout, said);
  });
}

test("every fault of a check is told at once", async (t) => {
  const missing = join(temporaryFolder(t), "pod.yaml");

  const ended = await admission(["check", "-f", missing, "--as", "alice", "--manifests", contoso]);

  assert.equal(ended.code, 2);
  assert.deepEqual(faultsOf(ended), ["--as", "--filename"]);
});

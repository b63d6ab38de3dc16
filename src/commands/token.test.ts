import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, test } from "node:test";
import { alice, clusterId, developers } from "../../test/fakes/ram.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { parseToken } from "../authenticator/ram/parse-token.ts";
import { startStsSimulator } from "../authenticator/ram/sts-simulator.ts";
import { systemClock } from "../clock.ts";
import { silentLog } from "../observe/log.ts";

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const key = {
  ALIBABA_CLOUD_ACCESS_KEY_ID: alice.accessKeyId,
  ALIBABA_CLOUD_ACCESS_KEY_SECRET: alice.accessKeySecret.reveal(),
};

function token(args: readonly string[], environment: Readonly<Record<string, string>> = key): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(import.meta.dirname, "../main.ts"), "token", ...args],
      // Neither the files nor the metadata service of the machine that the tests run on.
      { env: { HOME: "/nonexistent", ALIBABA_CLOUD_ECS_METADATA_DISABLED: "true", ...environment } },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
  });
}

function tokenIn(text: string): ReturnType<typeof parseToken> {
  return parseToken(text, {
    clusterId,
    now: Date.now(),
    clockSkewMs: 0,
    maxLength: 8192,
    acceptV1: false,
    extraParameters: [],
  });
}

describe("the ExecCredential", () => {
  const info = (version: string): Record<string, string> => ({
    ...key,
    KUBERNETES_EXEC_INFO: JSON.stringify({
      apiVersion: `client.authentication.k8s.io/${version}`,
      kind: "ExecCredential",
      spec: { interactive: false },
    }),
  });
  const cases: readonly [
    name: string,
    args: readonly string[],
    environment: Record<string, string>,
    version: string,
  ][] = [
    ["is v1beta1 by itself", [], key, "v1beta1"],
    ["is v1 where kubectl says so", [], info("v1"), "v1"],
    ["is v1beta1 where kubectl says so", [], info("v1beta1"), "v1beta1"],
    [
      "is v1beta1 where kubectl says nothing that is known",
      [],
      { ...key, KUBERNETES_EXEC_INFO: "{" },
      "v1beta1",
    ],
    ["is what the option says", ["--api-version", "v1"], info("v1beta1"), "v1"],
    ["is what the option says in full", ["--api-version=client.authentication.k8s.io/v1"], key, "v1"],
  ];
  for (const [name, args, environment, version] of cases) {
    test(name, async () => {
      const { code, stdout, stderr } = await token(["-i", clusterId, ...args], environment);

      assert.equal(code, 0, stderr);
      const credential = JSON.parse(stdout) as {
        apiVersion: string;
        kind: string;
        status: { token: string; expirationTimestamp: string };
      };
      assert.equal(credential.apiVersion, `client.authentication.k8s.io/${version}`);
      assert.equal(credential.kind, "ExecCredential");
      assert.ok(tokenIn(credential.status.token).ok);
      const left = Date.parse(credential.status.expirationTimestamp) - Date.now();
      assert.ok(left > 9 * 60_000 && left <= 10 * 60_000);
    });
  }

  test("is the token alone when asked for", async () => {
    const { stdout } = await token(["--cluster-id", clusterId, "--token-only"]);
    assert.ok(tokenIn(stdout.trim()).ok);
  });
});

test("a role is assumed first, by option or by the configuration file's defaultRole", async (t) => {
  const folder = temporaryFolder(t);
  const sts = await startStsSimulator({
    accessKeys: [alice],
    roles: [developers],
    clock: systemClock,
    log: silentLog,
  });
  t.after(() => sts.stop());
  const ca = join(folder, "ca.pem");
  const config = join(folder, "config.yaml");
  await writeFile(ca, sts.authoritiesPem);
  await writeFile(config, `clusterID: ${clusterId}\ndefaultRole: ${developers.arn}\n`);
  const to = ["--sts-endpoint", sts.origin, "--sts-ca-file", ca];
  const environment = { ...key, SALLYPORT_CACHE_DIR: join(folder, "cache") };

  for (const args of [
    ["-i", clusterId, "-r", developers.arn, ...to],
    ["-c", config, ...to],
  ]) {
    const { code, stdout, stderr } = await token(["--token-only", ...args], environment);
    assert.equal(code, 0, stderr);
    const parsed = tokenIn(stdout.trim());
    assert.ok(parsed.ok);
    assert.match(parsed.token.accessKeyId, /^STS\./);
  }
  assert.equal(sts.calls()["AssumeRole"], 1);

  await token(["--token-only", "--no-cache", "-i", clusterId, "-r", developers.arn, ...to], environment);
  assert.equal(sts.calls()["AssumeRole"], 2);
});

describe("a mistake is a sentence and not a stack trace:", () => {
  const cases: readonly [
    name: string,
    args: readonly string[],
    environment: Record<string, string>,
    code: number,
    says: RegExp,
  ][] = [
    ["no cluster id", [], key, 2, /The cluster id cannot be used: it is missing/],
    [
      "a cluster id of another form",
      ["-i", "my cluster"],
      key,
      2,
      /"my cluster" is not the form of a cluster id/,
    ],
    ["no credentials", ["-i", "c1"], {}, 1, /Tried in this order:\n {2}1\. /],
    ["an unknown option", ["-i", "c1", "--wat"], key, 2, /there is no option "--wat"/],
    ["an option without its value", ["-i"], key, 2, /-i needs a value/],
    ["an option twice", ["-i", "c1", "--cluster-id=c2"], key, 2, /--cluster-id is given twice/],
    ["another API version", ["-i", "c1", "--api-version", "v2"], key, 2, /"v2" is neither v1 nor v1beta1/],
    [
      "a configuration that is not there",
      ["-c", "/nonexistent/c.yaml"],
      key,
      2,
      /--config: it cannot be read/,
    ],
    [
      "a profile file that is not there",
      ["-i", "c1", "--profile-file", "/nonexistent/p"],
      {},
      1,
      /nonexistent\/p cannot be used/,
    ],
  ];
  for (const [name, args, environment, code, says] of cases) {
    test(name, async () => {
      const ran = await token(args, environment);

      assert.equal(ran.code, code);
      assert.equal(ran.stdout, "");
      assert.match(ran.stderr, says);
      assert.doesNotMatch(ran.stderr, /\n {4}at /);
      assert.ok(!ran.stderr.includes(alice.accessKeySecret.reveal()));
    });
  }
});

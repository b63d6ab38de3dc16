import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFile, stat, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { account, alice, clusterId, root, tokenOf } from "../../test/fakes/ram.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { startStsSimulator } from "../authenticator/ram/sts-simulator.ts";
import { systemClock } from "../clock.ts";
import { silentLog } from "../observe/log.ts";

const program = join(import.meta.dirname, "../main.ts");

function sallyport(
  args: readonly string[],
  input = "",
): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, "authenticator", ...args], (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}

/** A configuration file whose STS is a simulator. */
async function world(t: TestContext): Promise<{ readonly folder: string; readonly config: string }> {
  const folder = temporaryFolder(t);
  const sts = await startStsSimulator({ accessKeys: [alice, root], clock: systemClock, log: silentLog });
  t.after(() => sts.stop());
  const ca = join(folder, "sts-ca.pem");
  await writeFile(ca, sts.authoritiesPem);
  const config = join(folder, "config.yaml");
  const server = {
    stsEndpoint: sts.origin,
    stsCAFile: ca,
    stateDir: join(folder, "state"),
    generateKubeconfig: join(folder, "webhook", "kubeconfig.yaml"),
    operationsAddress: "",
    mapUsers: [{ userARN: alice.arn, username: "alice", groups: ["dev"] }],
  };
  await writeFile(config, JSON.stringify({ clusterID: clusterId, server }));
  return { folder, config };
}

test("init makes a pair and a kubeconfig for the API server once, and keeps them", async (t) => {
  const folder = temporaryFolder(t);
  const args = ["init", "-i", clusterId, "--hostname", "ram.local", "--port", "1234", "--directory", folder];

  assert.match((await sallyport(args)).stdout, /^Made cert\.pem and key\.pem/);
  const kubeconfig = join(folder, "ack-ram-authenticator.kubeconfig");
  const before = await readFile(join(folder, "cert.pem"), "utf8");
  assert.match(await readFile(kubeconfig, "utf8"), /server: https:\/\/ram\.local:1234\/authenticate/);
  assert.equal((await stat(join(folder, "key.pem"))).mode & 0o777, 0o600);
  assert.equal((await stat(kubeconfig)).mode & 0o777, 0o644);

  assert.match((await sallyport(args)).stdout, /^Kept cert\.pem and key\.pem[\s\S]*Kept .*kubeconfig/);
  assert.equal(await readFile(join(folder, "cert.pem"), "utf8"), before);
});

describe("verify", () => {
  test("prints the identity and the mapping that it gets, from which backend", async (t) => {
    const { config } = await world(t);
    const { code, stdout, stderr } = await sallyport([
      "verify",
      "-c",
      config,
      "-o",
      "json",
      "-t",
      tokenOf(alice, Date.now()),
    ]);

    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout), {
      ARN: alice.arn,
      CanonicalARN: alice.arn,
      AccountID: account,
      UserID: alice.userId,
      SessionName: "",
      AccessKeyID: alice.accessKeyId,
      Mapping: { Backend: "MountedFile", Entry: "server.mapUsers[0]", Username: "alice", Groups: ["dev"] },
    });
  });

  test("reads the token from standard input, and says why somebody gets no mapping", async (t) => {
    const { config } = await world(t);
    const { stdout } = await sallyport(["verify", "-c", config, "-t", "-"], `${tokenOf(root, Date.now())}\n`);
    assert.match(stdout, /^ARN: acs:ram::1234567890123456:root\n[\s\S]*Mapping:\n {2}Denied: .*not mapped/);
  });

  test("refuses a token of another cluster with the reason", async (t) => {
    const { config } = await world(t);
    const { code, stderr } = await sallyport([
      "verify",
      "-c",
      config,
      "-t",
      tokenOf(alice, Date.now(), "cother"),
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /unexpected clusterid cother in token[\s\S]*E_RAM_TOKEN_REFUSED/);
  });
});

test("server writes the kubeconfig, reviews tokens, and ends on SIGTERM", async (t) => {
  const { folder, config } = await world(t);
  const child = spawn(process.execPath, [program, "authenticator", "server", "-c", config, "--port", "0"]);
  t.after(() => child.kill("SIGKILL"));
  let log = "";
  const port = await new Promise<number>((resolve, reject) => {
    child.once("exit", () => reject(new Error(log)));
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      log += text;
      const ready = log.split("\n").find((line) => line.includes('"service.ready"') && line.endsWith("}"));
      const address = /"addresses":\["([^"]+)"/.exec(ready ?? "")?.[1];
      if (address !== undefined) resolve(Number(address.split(":").at(-1)));
    });
  });
  assert.match(await readFile(join(folder, "webhook/kubeconfig.yaml"), "utf8"), /\/authenticate/);

  const body = JSON.stringify({ spec: { token: tokenOf(alice, Date.now()) } });
  const answer = await new Promise<string>((resolve, reject) => {
    void readFile(join(folder, "state/ca.pem")).then((ca) =>
      request(
        {
          host: "127.0.0.1",
          servername: "localhost",
          port,
          method: "POST",
          path: "/authenticate",
          ca,
          agent: false,
        },
        (response) => {
          let text = "";
          response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
          response.on("end", () => resolve(text));
        },
      )
        .on("error", reject)
        .end(body),
    );
  });
  assert.match(answer, /"username":"alice"/);

  const exit = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  assert.equal(await exit, 0);
  assert.ok(!log.includes(alice.accessKeySecret.reveal()));
});

describe("mistakes", () => {
  const cases: readonly [name: string, args: readonly string[], says: RegExp][] = [
    ["no cluster id", ["init"], /clusterID: it is required/],
    ["a port that is none", ["init", "-i", "c1", "--port", "x"], /--port: "x" is not a number/],
    ["an owner that is none", ["init", "-i", "c1", "--owner", "root"], /--owner: "root" is not UID:GID/],
    ["a configuration that is not there", ["server", "-c", "/nonexistent"], /--config: it cannot be read/],
    [
      "a backend that is none",
      ["server", "-i", "c1", "--backend-mode", "Nope"],
      /"Nope" is not a valid mode/,
    ],
    ["a region of another form", ["verify", "-i", "c1", "--region", "a.b", "-t", "x"], /form of a region/],
    ["no token", ["verify", "-i", "c1"], /--token/],
    ["no ARN", ["add", "user", "--username", "x", "--kubeconfig", "/nonexistent"], /--userarn/],
  ];
  for (const [name, args, says] of cases) {
    test(`such as ${name} end with 2 and a sentence`, async () => {
      const { code, stderr } = await sallyport(args);
      assert.equal(code, 2, stderr);
      assert.match(stderr, says);
      assert.doesNotMatch(stderr, /\n {4}at /);
    });
  }
});

test("add asks first, and does nothing without a yes", async () => {
  const args = ["add", "user", "--userarn", alice.arn, "--username", "alice", "--kubeconfig", "/nonexistent"];
  const { code, stderr } = await sallyport(args, "n\n");
  assert.equal(code, 1);
  assert.match(stderr, /Map acs:ram::.* to alice with no groups\? \[y\/N\] [\s\S]*Nothing was changed/);
});

test("add writes to the context that it is told, and to none when that is not there", async (t) => {
  const path = join(temporaryFolder(t), "kubeconfig");
  await writeFile(
    path,
    JSON.stringify({
      "current-context": "here",
      contexts: [{ name: "here", context: { cluster: "k", user: "" } }],
      clusters: [{ name: "k", cluster: { server: "https://127.0.0.1:1" } }],
    }),
  );
  const words = ["add", "user", "--userarn", alice.arn, "--username", "alice", "--prompt=false"];
  const { code, stderr } = await sallyport([
    ...words,
    `--kubeconfig=${path}`,
    "--kubeconfig-context=elsewhere",
  ]);
  assert.equal(code, 2, stderr);
  assert.match(stderr, /the context "elsewhere" is not among its contexts/);
});

test("version prints itself in three forms", async () => {
  assert.match((await sallyport(["version", "-s"])).stdout, /^\d+\.\d+\.\d+\n$/);
  assert.match((await sallyport(["version", "-o", "json"])).stdout, /^\{"version":"\d/);
  assert.match((await sallyport(["version", "-o", "yaml"])).stdout, /^version: \d/);
});

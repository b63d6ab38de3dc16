import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { connect as connectPlain } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { connect } from "node:tls";
import { startTestAuthenticator, type TestAuthenticator } from "../../test/fakes/authenticator.ts";
import { account, alice, root, tokenOf } from "../../test/fakes/ram.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { systemClock } from "../clock.ts";
import { createLog } from "../observe/log.ts";
import { createAuthority } from "../pki/authority.ts";

const lines: string[] = [];
let server: TestAuthenticator;

const mapUsers = [{ userARN: alice.arn, username: "alice", groups: ["dev", "system:masters"] }];

before(async () => {
  server = await startTestAuthenticator(
    { mapUsers },
    { parts: { log: createLog({ level: "debug", sink: { write: (line) => lines.push(line) } }) } },
  );
});

after(() => server.stop());

async function eventually(check: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 5000;
  while (!(await check())) {
    assert.ok(Date.now() < deadline, "it did not happen in time");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("a review", () => {
  for (const version of ["authentication.k8s.io/v1", "authentication.k8s.io/v1beta1"]) {
    test(`of version ${version} is answered in that version, with the mapped user`, async () => {
      const answer = await server.review(tokenOf(alice, Date.now()), version);

      assert.equal(answer.status, 200);
      assert.equal(answer.headers["content-type"], "application/json; charset=UTF-8");
      assert.deepEqual(JSON.parse(answer.body), {
        apiVersion: version,
        kind: "TokenReview",
        metadata: { creationTimestamp: null },
        spec: {},
        status: {
          authenticated: true,
          user: {
            username: "alice",
            uid: `ack-ram-authenticator:${account}:${alice.userId}`,
            groups: ["dev", "system:masters"],
            extra: {
              accessKeyId: [alice.accessKeyId],
              arn: [alice.arn],
              canonicalArn: [alice.arn],
              sessionName: [""],
            },
          },
        },
      });
    });
  }

  test("of an ARN without a mapping is denied with status 200", async () => {
    const answer = await server.review(tokenOf(root, Date.now()));

    assert.equal(answer.status, 200);
    assert.deepEqual(answer.review, {
      authenticated: false,
      user: {},
      error: "[ack-ram-authenticator] invalid token. ARN is not mapped",
    });
  });

  test("of a foreign token is denied without asking STS", async () => {
    const callsSoFar = server.sts.calls();

    const answer = await server.review("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.c2ln");

    assert.equal(answer.status, 200);
    assert.match(answer.review.error ?? "", /token is missing expected "k8s-ack-v2\." prefix$/);
    assert.deepEqual(server.sts.calls(), callsSoFar);
  });

  test("of a token for another cluster is denied", async () => {
    const answer = await server.review(tokenOf(alice, Date.now(), "cother"));
    assert.match(answer.review.error ?? "", /unexpected clusterid cother in token$/);
  });

  test("is told to come again while STS is in trouble, and succeeds afterwards", async () => {
    const known = tokenOf(alice, Date.now() - 1000);
    await server.review(known);
    let minutes = 1;
    for (const fault of [
      { fault: "server-error", status: 500 },
      { fault: "hang" },
      { fault: "throttling" },
    ] as const) {
      server.sts.setFault(fault);
      const answer = await server.review(tokenOf(alice, Date.now() - 60_000 * minutes++));
      assert.ok(answer.status === 503 || answer.status === 429, `${fault.fault}: ${answer.status}`);
      assert.match(String(answer.headers["retry-after"]), /^[1-9]/);
      assert.equal((await server.review(known)).review.authenticated, true);
    }
    server.sts.setFault({ fault: "none" });
    await eventually(async () => (await server.review(tokenOf(alice, Date.now() - 600_000))).status === 200);
  });
});

describe("a body that is no TokenReview", () => {
  const cases: readonly [name: string, body: string | undefined, status: number][] = [
    ["nothing", undefined, 400],
    ["empty", "", 400],
    ["not JSON", "token=x", 400],
    ["an array", "[]", 400],
    ["without a spec", '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview"}', 400],
    [
      "of version v2",
      '{"apiVersion":"authentication.k8s.io/v2","kind":"TokenReview","spec":{"token":"x"}}',
      400,
    ],
    ["of another kind", '{"apiVersion":"authentication.k8s.io/v1","kind":"Pod","spec":{"token":"x"}}', 400],
    ["with a token of another type", '{"apiVersion":"authentication.k8s.io/v1","spec":{"token":1}}', 400],
    ["too large", `{"spec":{"token":"${"x".repeat(300_000)}"}}`, 413],
  ];
  for (const [name, body, status] of cases) {
    test(`such as ${name} is answered ${status}`, async () => {
      const answer = await server.send("POST", "/authenticate", body);
      assert.equal(answer.status, status);
      if (status === 400) assert.equal(answer.body, "expected a request body to be a TokenReview\n");
    });
  }

  test("a TokenReview without a version is answered without one", async () => {
    const answer = await server.send("POST", "/authenticate", JSON.stringify({ spec: { token: "x" } }));
    assert.equal(answer.status, 200);
    assert.equal((JSON.parse(answer.body) as { apiVersion?: string }).apiVersion, undefined);
  });

  test("another method is answered 405", async () => {
    const answer = await server.send("GET", "/authenticate");
    assert.deepEqual([answer.status, answer.body], [405, "expected POST\n"]);
  });

  test("another path is not found", async () => {
    assert.equal((await server.send("POST", "/other", "{}")).status, 404);
  });
});

describe("connections", () => {
  test("an expectation that nobody can meet is answered 417", async () => {
    const answer = await server.send("POST", "/authenticate", "{}", { expect: "miracles" });
    assert.equal(answer.status, 417);
  });

  test("TLS 1.1 is refused", async () => {
    await assert.rejects(
      new Promise((resolve, reject) => {
        const socket = connect({
          port: server.port,
          host: "127.0.0.1",
          ca: server.trustPem,
          servername: "localhost",
          minVersion: "TLSv1.1",
          maxVersion: "TLSv1.1",
          ciphers: "DEFAULT@SECLEVEL=0",
        });
        socket.on("secureConnect", resolve);
        socket.on("error", reject);
      }),
    );
  });

  test("plain HTTP is not spoken", async () => {
    const closed = new Promise<string>((resolve) => {
      const socket = connectPlain(server.port, "127.0.0.1");
      let text = "";
      socket.on("data", (chunk) => (text += chunk.toString("latin1")));
      socket.on("error", () => undefined);
      socket.on("close", () => resolve(text));
      socket.write("POST /authenticate HTTP/1.1\r\nhost: x\r\n\r\n");
    });
    assert.doesNotMatch(await closed, /200/);
  });
});

test("an API server without the required client certificate is refused", async (t) => {
  const authority = await createAuthority({
    commonName: "clients",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    clock: systemClock,
  });
  const client = await authority.issue({
    commonName: "kube-apiserver",
    usage: "client",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
  });
  const caFile = join(temporaryFolder(t), "clients.pem");
  await writeFile(caFile, authority.certificatePem);
  const guarded = await startTestAuthenticator({ mapUsers }, { raw: { clientCAFile: caFile } });
  t.after(() => guarded.stop());
  const body = JSON.stringify({ spec: { token: tokenOf(alice, Date.now()) } });

  assert.equal((await guarded.send("POST", "/authenticate", body)).status, 403);
  const known = await guarded.send("POST", "/authenticate", body, {}, client);
  assert.match(known.body, /"username":"alice"/);
});

describe("operations", () => {
  test("health, readiness and metrics are served, the latter with the names that dashboards know", async () => {
    await server.review(tokenOf(alice, Date.now()));

    assert.deepEqual((await server.send("GET", "/healthz")).body, "ok\n");
    assert.match((await server.send("GET", "/readyz")).body, /\[\+\] mappings MountedFile\nready\n$/);
    const metrics = (await server.send("GET", "/metrics")).body;
    assert.match(
      metrics,
      /ack_ram_authenticator_authenticate_latency_seconds_count\{result="success"\} [1-9]/,
    );
    assert.match(metrics, /ack_ram_authenticator_sts_responses_total\{ResponseCode="200"\} [1-9]/);
    assert.match(metrics, /ack_ram_authenticator_sts_connection_failures_total [1-9]/);
    assert.match(metrics, /ack_ram_authenticator_configmap_watch_failures_total 0/);
  });

  test("every decision has one audit line, and no line has a token or a signature", async () => {
    lines.length = 0;
    const token = tokenOf(alice, Date.now() - 3000);
    await server.review(token);
    await server.review(tokenOf(root, Date.now()));

    const audit = lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter((line) => line["event"] === "authenticator.review");
    assert.equal(audit.length, 2);
    const [allowed, denied] = audit;
    assert.deepEqual(
      [
        allowed?.["decision"],
        allowed?.["arn"],
        allowed?.["canonicalArn"],
        allowed?.["user"],
        allowed?.["backend"],
      ],
      ["allowed", alice.arn, alice.arn, "alice", "MountedFile"],
    );
    assert.deepEqual([denied?.["decision"], denied?.["reason"]], ["denied", "not-mapped"]);
    const signature = /Signature=([0-9a-f]{64})/.exec(
      Buffer.from(token.slice("k8s-ack-v2.".length), "base64").toString(),
    )?.[1];
    assert.ok(signature);
    for (const line of lines) {
      assert.ok(!line.includes(signature) && !line.includes(token.slice(20, 60)));
    }
  });
});

test("of a scrubbed account neither the answer nor the log shows account or ARN", async (t) => {
  const log: string[] = [];
  const scrubbing = await startTestAuthenticator(
    { mapUsers, scrubbedAccounts: [account] },
    { parts: { log: createLog({ level: "debug", sink: { write: (line) => log.push(line) } }) } },
  );
  t.after(() => scrubbing.stop());

  const allowed = await scrubbing.review(tokenOf(alice, Date.now()));
  const denied = await scrubbing.review(tokenOf(root, Date.now()));

  assert.equal(allowed.review.user?.uid, "ack-ram-authenticator:administrative:alice");
  assert.ok(!allowed.body.includes(account) && !denied.body.includes(account));
  const audit = log.filter((line) => line.includes('"authenticator.review"'));
  assert.equal(audit.length, 2);
  for (const line of audit) {
    assert.ok(!line.includes(account) && !line.includes(alice.accessKeyId), line);
    assert.match(line, /"subject":"\(scrubbed\)"/);
  }
});

describe("the mounted file", () => {
  test("is followed, and a broken version leaves the last good one in force", async () => {
    const mapped = async (): Promise<string | undefined> =>
      (await server.review(tokenOf(root, Date.now()))).review.user?.username;
    assert.equal(await mapped(), undefined);

    await server.writeConfig({ mapUsers: [...mapUsers, { userARN: root.arn, username: "boss" }] });
    await eventually(async () => (await mapped()) === "boss");

    await writeFile(server.configPath, "{broken");
    await eventually(async () => (await server.send("GET", "/readyz")).body.includes("last good mappings"));
    assert.equal(await mapped(), "boss");

    await server.writeConfig({ mapUsers });
    await eventually(async () => (await mapped()) === undefined);
  });
});

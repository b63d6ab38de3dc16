import assert from "node:assert/strict";
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import {
  directoryAuthority,
  simulatedDirectory,
  type TestSimulator,
} from "../../../test/fixtures/test-directory.ts";
import { systemClock } from "../../clock.ts";
import { LoginClient, type LoginAnswer } from "./login-client.ts";
import { createLog } from "../../observe/log.ts";
import { createLoginMetrics } from "../../observe/login-metrics.ts";
import { createRegistry } from "../../observe/metrics.ts";
import { Secret } from "../../secret.ts";
import { readLoginSettings } from "./login-settings.ts";
import { startLogin, type RunningLogin } from "./login-service.ts";
import { rotateSessionKeys } from "./session-keys.ts";

interface Setup {
  readonly simulator: TestSimulator;
  readonly login: RunningLogin;
  readonly client: LoginClient;
  readonly lines: string[];
  readonly metrics: () => Promise<string>;
}

async function setUp(t: TestContext, extra = ""): Promise<Setup> {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-login-"));
  t.after(() => rm(folder, { recursive: true }));
  const simulator = await simulatedDirectory(t);
  const authority = await directoryAuthority();
  const issued = await authority.issue({
    commonName: "login",
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    ipAddresses: ["127.0.0.1"],
  });
  await mkdir(join(folder, "account"));
  const files: Readonly<Record<string, string>> = {
    "ca.pem": authority.certificatePem,
    "tls.crt": issued.chainPem,
    "tls.key": issued.privateKeyPem.reveal(),
    "keys.json": await rotateSessionKeys(undefined),
    "account/username": "ccg-impersonator",
    "account/password": "Imp3rson@te!",
    "account/domainName": "contoso.test",
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const { settings, faults } = readLoginSettings(`
directory:
  domain: contoso.test
  servers: ["ldaps://127.0.0.1:${simulator.server.port}"]
  certificateAuthority: ${folder}/ca.pem
  credentials: ${folder}/account
listen: 127.0.0.1:0
certificate: ${folder}/tls.crt
key: ${folder}/tls.key
sessionKeys: ${folder}/keys.json
cluster: c1
issuer: https://login.test
${extra}`);
  assert.deepEqual(faults, []);
  assert.ok(settings !== undefined);
  const lines: string[] = [];
  const registry = createRegistry("test");
  const login = await startLogin(settings, {
    clock: systemClock,
    metrics: createLoginMetrics(registry),
    log: createLog({ level: "debug", sink: { write: (line) => void lines.push(line) } }),
  });
  t.after(() => login.stop(0));
  return {
    simulator,
    login,
    client: new LoginClient(`https://127.0.0.1:${login.port}`, authority.certificatePem),
    lines,
    metrics: () => registry.metrics(),
  };
}

function sessionOf(answer: LoginAnswer) {
  assert.ok(answer.outcome === "session", JSON.stringify(answer));
  return answer.session;
}

test("a password buys a token that the review takes for the person and their groups", async (t) => {
  const { login, client } = await setUp(t);

  const session = sessionOf(await client.login("CONTOSO\\alice", new Secret("Al1ce-Passw0rd")));
  const verified = await login.verifier.verify(session.token);

  assert.ok(login.verifier.claims(session.token));
  assert.ok(verified.outcome === "verified");
  const decision = login.mapper.map(verified.identity);
  assert.ok(decision.outcome === "mapped");
  assert.equal(decision.user.username, "ad:alice@contoso.test");
  assert.equal(decision.user.uid, verified.identity.session.guid);
  assert.deepEqual(
    [...decision.user.groups].sort(),
    ["Domain Users", "Inner", "Middle", "Outer"].map((name) => `ad:${name}@contoso.test`),
  );
  assert.deepEqual(Object.keys(decision.user.extra).sort(), [
    "sallyport.dev/authenticated-at",
    "sallyport.dev/guid",
    "sallyport.dev/sid",
  ]);
});

test("a session is refreshed while the account is welcome, and not after", async (t) => {
  const { simulator, login, client } = await setUp(t);
  const first = sessionOf(await client.login("bob", new Secret("B0b-Passw0rd!")));

  const second = sessionOf(await client.refresh(first.refreshToken));
  assert.notEqual(second.token, first.token);
  assert.equal(second.sessionEndsAt, first.sessionEndsAt);
  simulator.domain.setDisabled("bob", true);
  const third = await client.refresh(second.refreshToken);

  assert.deepEqual([third.outcome, third.outcome === "refused" && third.status], ["refused", 401]);
  // Without recheck the token that is out lives its minutes.
  assert.equal((await login.verifier.verify(second.token)).outcome, "verified");
});

test("with recheck a disabled account is out at once", async (t) => {
  const { simulator, login, client } = await setUp(t, "recheck: true");
  const { token } = sessionOf(await client.login("bob", new Secret("B0b-Passw0rd!")));
  assert.equal((await login.verifier.verify(token)).outcome, "verified");

  simulator.domain.setDisabled("bob", true);

  const verified = await login.verifier.verify(token);
  assert.equal(verified.outcome === "refused" && verified.reason, "account-disabled");
});

test("with recheck a directory that is down means asking again, not 401", async (t) => {
  const { simulator, login, client } = await setUp(t, "recheck: true");
  const { token } = sessionOf(await client.login("bob", new Secret("B0b-Passw0rd!")));
  await simulator.running.close();

  const verified = await login.verifier.verify(token);

  assert.equal(verified.outcome, "unavailable");
});

test("a token for the cluster buys no refresh, and one for refreshing is no bearer token", async (t) => {
  const { login, client } = await setUp(t);
  const session = sessionOf(await client.login("alice", new Secret("Al1ce-Passw0rd")));

  assert.equal((await client.refresh(session.token)).outcome, "refused");
  assert.equal((await login.verifier.verify(session.refreshToken)).outcome, "refused");
});

test("every refusal reads the same, but for a password that was right", async (t) => {
  const { client, lines } = await setUp(t);
  const attempts: readonly (readonly [string, string])[] = [
    ["alice", "wrong"],
    ["nobody", "wrong"],
    ["disabled1", "D1sabled-Pass!"],
    ["locked1", "x"],
    ["alice", ""],
    ["*)(cn=*", "x"],
    ["FABRIKAM\\alice", "x"],
  ];

  const answers = await Promise.all(
    attempts.map(([name, password]) => client.login(name, new Secret(password))),
  );
  const expired = await client.login("expired1", new Secret("Exp1red-Passw0rd"));
  const guessed = await client.login("expired1", new Secret("wrong"));

  assert.equal(new Set(answers.map((answer) => JSON.stringify(answer))).size, 1);
  assert.deepEqual(guessed, answers[0]);
  assert.equal(expired.outcome === "refused" && expired.status, 403);
  const reasons = lines
    .filter((line) => line.includes("login.refused"))
    .map((line) => (JSON.parse(line) as { readonly reason: string }).reason);
  for (const reason of [
    "wrong-password",
    "unknown-account",
    "account-disabled",
    "locked-out",
    "empty-password",
    "other-domain",
    "password-expired",
  ])
    assert.ok(reasons.includes(reason), reason);
  assert.ok(!lines.join().includes("Passw0rd") && !lines.join().includes("(cn=*"));
});

test("the directory is never let to lock an account out, however often and fast somebody tries", async (t) => {
  const { simulator, client } = await setUp(t, "limits: { perAddress: 1000, overall: 1000 }");

  const answers = await Promise.all(
    Array.from({ length: 40 }, () => client.login("alice", new Secret("wrong"))),
  );

  const statuses = answers.map((answer) => (answer.outcome === "refused" ? answer.status : 200));
  assert.ok(statuses.includes(429));
  // The simulator locks after ten.
  assert.equal(statuses.filter((status) => status === 401).length, 9);
  assert.deepEqual(simulator.domain.bind("alice@contoso.test", "Al1ce-Passw0rd"), { accountName: "alice" });
});

test("names that do not exist are held back like those that do", async (t) => {
  const { client } = await setUp(t, "limits: { perAddress: 1000, overall: 1000 }");
  const statuses = async (name: string): Promise<readonly number[]> => {
    const list: number[] = [];
    for (let attempt = 0; attempt < 11; attempt++) {
      const answer = await client.login(name, new Secret("wrong"));
      list.push(answer.outcome === "refused" ? answer.status : 200);
    }
    return list;
  };

  const [present, absent] = await Promise.all([statuses("bob"), statuses("nobody")]);

  assert.deepEqual(absent, present);
});

test("one source has so many attempts a minute", async (t) => {
  const { client } = await setUp(t, "limits: { perAddress: 3 }");
  const statuses: (number | string)[] = [];
  for (let attempt = 0; attempt < 5; attempt++) {
    const answer = await client.login("alice", new Secret("Al1ce-Passw0rd"));
    statuses.push(answer.outcome === "refused" ? answer.status : "session");
  }

  assert.deepEqual(statuses, ["session", "session", "session", 429, 429]);
});

test("reserved names are refused at the login already", async (t) => {
  const { client } = await setUp(t, 'usernamePrefix: "system:"');

  const answer = await client.login("alice", new Secret("Al1ce-Passw0rd"));

  assert.equal(answer.outcome === "refused" && answer.status, 401);
});

test("plain HTTP, other methods, bodies too large and bodies of another kind get nowhere", async (t) => {
  const { login, client } = await setUp(t);
  await assert.rejects(
    new Promise((resolve, reject) => {
      const outgoing = httpRequest(
        { host: "127.0.0.1", port: login.port, path: "/login", method: "POST" },
        resolve,
      );
      outgoing.on("error", reject);
      outgoing.end("{}");
    }),
  );

  const large = await client.login("x".repeat(200_000), new Secret("x"));
  assert.equal(large.outcome === "refused" && large.status, 413);
  const longPassword = await client.login("alice", new Secret("x".repeat(2000)));
  assert.equal(longPassword.outcome === "refused" && longPassword.status, 400);
  const longName = await client.login("x".repeat(10_240), new Secret("x"));
  assert.equal(longName.outcome === "refused" && longName.status, 401);
});

test("all faults of a configuration are told at once, each by its key", () => {
  const { faults } = readLoginSettings(
    "directory: { domain: x, servers: [http://dc], credentials: c }\nlisten: here\ncertificate: a\nkey: b\nsessionKeys: c\ncluster: c1\nissuer: http://x\ntokenLifetime: 1h\nusername: nick\nunknown: 1",
  );

  assert.deepEqual([...new Set(faults.map(({ setting }) => setting))].sort(), [
    "directory.domain",
    "directory.servers.0",
    "issuer",
    "listen",
    "the file",
    "tokenLifetime",
    "username",
  ]);
});

test("metrics count what people were told, without their names", async (t) => {
  const { client, metrics } = await setUp(t);

  const session = sessionOf(await client.login("alice", new Secret("Al1ce-Passw0rd")));
  await client.refresh(session.refreshToken);
  await client.login("alice", new Secret("wrong"));

  const text = await metrics();
  for (const labels of [
    'operation="login",outcome="session"',
    'operation="refresh",outcome="session"',
    'operation="login",outcome="refused"',
  ]) {
    assert.match(text, new RegExp(`sallyport_login_duration_seconds_count\\{${labels}\\} 1`));
  }
  assert.match(text, /sallyport_login_files_read_timestamp_seconds \d/);
  assert.doesNotMatch(text, /alice/i);
});

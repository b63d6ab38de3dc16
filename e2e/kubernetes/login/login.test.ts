/**
 * Logging in to a cluster with a directory account, as people do it: kubectl runs `sallyport login --exec`, the login
 * endpoint asks a real domain controller, and kube-apiserver asks the authenticator. Needs what both beds need.
 * @module
 */
import assert from "node:assert/strict";
import { readdirSync, statSync, writeFileSync, mkdirSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";

import { systemClock } from "../../../src/clock.ts";
import { createAuthority } from "../../../src/pki/authority.ts";
import {
  domain,
  startDomainController,
  type DomainController,
} from "../../active-directory/domain-controller.ts";
import { eventually } from "../../../test/contracts/eventually.ts";
import { runCommand, type CommandResult } from "../../guarded-process.ts";
import { AuthenticatorHost, program } from "../authenticator/authenticator-process.ts";
import { startCluster, type ControlPlane } from "../control-plane.ts";

let controller: DomainController;
let host: AuthenticatorHost;
let cluster: ControlPlane;
let origin = "";
let home = "";

const inHost = (name: string): string => join(host.directory, name);

before(async () => {
  controller = await startDomainController("127.0.88.3");
  host = await AuthenticatorHost.prepare({ backendMode: ["MountedFile"] });
  home = inHost("home");
  const authority = await createAuthority({
    commonName: "Login CA",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    clock: systemClock,
  });
  const issued = await authority.issue({
    commonName: "login",
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    ipAddresses: ["127.0.0.1"],
  });
  mkdirSync(inHost("reader"));
  const files = {
    "login-ca.pem": authority.certificatePem,
    "login.crt": issued.chainPem,
    "login.key": issued.privateKeyPem.reveal(),
    "reader/username": "ccg-impersonator",
    "reader/password": "Imp3rson@te!",
    "reader/domainName": domain,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(inHost(name), text, { mode: 0o600 });
  await host.sallyport(["login-keys", "--file", inHost("keys.json")]);
  const port = await freePort();
  origin = `https://127.0.0.1:${port}`;
  writeLoginConfig(port, false);
  cluster = await startCluster({
    controllers: false,
    apiServerFlags: [
      `--authentication-token-webhook-config-file=${host.webhookKubeconfig}`,
      "--authentication-token-webhook-version=v1",
      // What it remembers of a review would hide what is asked here.
      "--authentication-token-webhook-cache-ttl=0s",
    ],
  });
  await host.start(await cluster.kubeconfig(), [`--login-config=${inHost("login.yaml")}`]);
});

after(async () => {
  await host?.stop();
  await cluster?.stop();
  await controller?.stop();
});

function writeLoginConfig(port: number, recheck: boolean): void {
  const settings = {
    directory: {
      domain,
      servers: [`ldaps://${controller.address}`],
      certificateAuthority: controller.authorityFile,
      credentials: inHost("reader"),
    },
    listen: `127.0.0.1:${port}`,
    certificate: inHost("login.crt"),
    key: inHost("login.key"),
    sessionKeys: inHost("keys.json"),
    cluster: "e2e",
    issuer: origin,
    // So short that every kubectl refreshes.
    tokenLifetime: recheck ? "15m" : "1m",
    recheck,
    limits: { perAddress: 500, overall: 500 },
  };
  writeFileSync(inHost("login.yaml"), JSON.stringify(settings));
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function kubeconfig(sessionHome = home): string {
  const path = inHost("kubeconfig-ad");
  const cluster_ = {
    server: cluster.server,
    "certificate-authority-data": Buffer.from(cluster.authority).toString("base64"),
  };
  const exec = {
    apiVersion: "client.authentication.k8s.io/v1",
    command: process.execPath,
    args: [program, "login", "--exec", "--server", origin, "--ca", inHost("login-ca.pem")],
    env: [{ name: "SALLYPORT_HOME", value: sessionHome }],
    interactiveMode: "IfAvailable",
  };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: cluster_ }],
    users: [{ name: "u", user: { exec } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  };
  writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
  return path;
}

function sallyport(args: readonly string[], stdin = ""): Promise<CommandResult> {
  return runCommand(process.execPath, [program, ...args], { environment: { SALLYPORT_HOME: home }, stdin });
}

function logIn(name: string, password: string): Promise<CommandResult> {
  return sallyport(
    ["login", "--server", origin, "--ca", inHost("login-ca.pem"), "--username", name, "--password-stdin"],
    `${password}\n`,
  );
}

interface UserInfo {
  readonly username: string;
  readonly uid: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

async function whoami(): Promise<UserInfo | string> {
  const result = await cluster.kubectl(["auth", "whoami", "-o", "json"], {
    kubeconfig: kubeconfig(),
    allowFailure: true,
  });
  return result.code === 0
    ? (JSON.parse(result.stdout) as { readonly status: { readonly userInfo: UserInfo } }).status.userInfo
    : result.stderr;
}

async function directoryTool(...words: readonly string[]): Promise<void> {
  const result = await controller.samba("samba-tool", ...words);
  assert.equal(result.code, 0, result.stderr);
}

test("kubectl is the person, with groups in groups, and asks for nothing again", async () => {
  const login = await logIn("CONTOSO\\alice", "Al1ce-Passw0rd");
  assert.equal(login.code, 0, login.stderr);

  const [first, second] = [await whoami(), await whoami()];

  assert.ok(typeof first !== "string", JSON.stringify(first));
  assert.equal(first.username, "ad:alice@contoso.test");
  for (const group of ["Inner", "Middle", "Outer"])
    assert.ok(first.groups.includes(`ad:${group}@contoso.test`), group);
  assert.deepEqual(first.extra["sallyport.dev/guid"], [first.uid]);
  assert.deepEqual(second, first);
  const [file] = readdirSync(join(home, "sessions"));
  assert.equal(statSync(join(home, "sessions", file ?? "")).mode & 0o777, 0o600);
});

test("a disabled account is refused at the next refresh, and has to log in again", async (t) => {
  t.after(() => controller.samba("samba-tool", "user", "enable", "alice"));
  await logIn("alice", "Al1ce-Passw0rd");
  assert.ok(typeof (await whoami()) !== "string");

  await directoryTool("user", "disable", "alice");

  const refused = await whoami();
  assert.match(JSON.stringify(refused), /session has ended|nobody to ask/);
  assert.notEqual((await logIn("alice", "Al1ce-Passw0rd")).code, 0);
});

test("wrong passwords through us never lock the account out", async () => {
  for (let attempt = 0; attempt < 8; attempt++) assert.notEqual((await logIn("bob", "wrong")).code, 0);

  const shown = await controller.samba(
    "samba-tool",
    "user",
    "show",
    "bob",
    "--attributes=badPwdCount,lockoutTime",
  );

  assert.match(shown.stdout, /badPwdCount: 4/);
  assert.doesNotMatch(shown.stdout, /lockoutTime: [1-9]/);
});

test("with recheck a disabled account is out at the next review, while its token is good for minutes", async (t) => {
  t.after(() => controller.samba("samba-tool", "user", "enable", "zoe"));
  await host.stop();
  writeLoginConfig(Number(new URL(origin).port), true);
  await host.start(await cluster.kubeconfig(), [`--login-config=${inHost("login.yaml")}`]);
  assert.equal((await logIn("zoe", "Z0e-Pässwörd")).code, 0);
  assert.ok(typeof (await whoami()) !== "string");

  await directoryTool("user", "disable", "zoe");

  // The API server itself remembers an accepted token for ten seconds, whatever its flags say.
  const deadline = Date.now() + 15_000;
  let answer = await whoami();
  while (typeof answer !== "string" && Date.now() < deadline) answer = await whoami();
  assert.match(JSON.stringify(answer), /Unauthorized|logged in/);
  await eventually("the refusal is in the log", () => host.log.includes("account-disabled"));
});

interface TerminalResult {
  /** Null: it did not end within a minute. Negative: the signal that ended it. */
  readonly code: number | null;
  readonly shown: string;
  readonly echo: boolean | null;
}

/** Runs a program at a terminal; `typed` is what to wait for and what to type then, null to hang up. */
async function atTerminal(
  command: readonly string[],
  typed: readonly (readonly [string, string | null])[],
  environment: Readonly<Record<string, string>>,
): Promise<TerminalResult> {
  const result = await runCommand("/usr/bin/python3", [join(import.meta.dirname, "../../terminal.py")], {
    stdin: JSON.stringify({ command, typed, environment }),
  });
  assert.equal(result.code, 0, result.stderr);
  return JSON.parse(result.stdout) as TerminalResult;
}

suite("at a terminal", () => {
  const loginWords = (): readonly string[] => [
    ...[process.execPath, program, "login", "--server", origin, "--ca", inHost("login-ca.pem")],
  ];
  const atHome = (name: string): Readonly<Record<string, string>> => ({ SALLYPORT_HOME: inHost(name) });

  test("name and password are asked for, and the password is not shown", async () => {
    const result = await atTerminal(
      loginWords(),
      [
        ["User name for", "alicx\u007fe\r"],
        ["Password: ", "Al1ce-Pasx\u007fsw0rd\r"],
      ],
      atHome("typed"),
    );

    assert.equal(result.code, 0, result.shown);
    assert.doesNotMatch(result.shown, /Al1ce|sw0rd|\*/);
    assert.equal(result.echo, true);
    assert.equal(readdirSync(join(inHost("typed"), "sessions")).length, 1);
  });

  test("kubectl asks in the same way, though its output is piped", async () => {
    const kubectl = `${cluster.program("kubectl")} --kubeconfig ${kubeconfig(inHost("kubectl"))} auth whoami -o json | cat`;

    const result = await atTerminal(
      ["/bin/sh", "-c", kubectl],
      [
        ["User name for", "alice\r"],
        ["Password: ", "Al1ce-Passw0rd\r"],
      ],
      { HOME: inHost("kubectl") },
    );

    assert.match(result.shown, /"username": "ad:alice@contoso.test"/);
    assert.doesNotMatch(result.shown, /Al1ce/);
  });

  for (const [what, key] of [
    ["Ctrl-C", "\u0003"],
    ["Ctrl-D", "\u0004"],
    ["hanging up", null],
  ] as const) {
    test(`${what} at the password ends it, with the terminal as it was`, async () => {
      const result = await atTerminal(
        [...loginWords(), "--username", "alice"],
        [["Password: ", key]],
        atHome("given-up"),
      );

      assert.ok(result.code !== null && result.code !== 0, result.shown);
      if (key !== null) assert.equal(result.echo, true);
      assert.doesNotMatch(result.shown, /^\s+at /m);
    });
  }
});

test("after logging out nobody is asked silently", async () => {
  await sallyport(["logout", "--server", origin]);

  assert.deepEqual(readdirSync(join(home, "sessions")), []);
  assert.match(JSON.stringify(await whoami()), /no session/);
});

test("no password and no token is in the authenticator's log", () => {
  for (const secret of ["Al1ce-Passw0rd", "Z0e-P", "Imp3rson", "k8s-sallyport-v1."])
    assert.ok(!host.log.includes(secret), secret);
});

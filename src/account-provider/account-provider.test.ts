import assert from "node:assert/strict";
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { suite, test } from "node:test";
import {
  contosoAccount,
  startProvider,
  type ProviderUnderTest,
} from "../../test/running-account-provider.ts";
import { systemClock } from "../clock.ts";
import { createAuthority } from "../pki/authority.ts";
import { createSelfManagedCertificates } from "./self-managed-certificates.ts";
import { requestAsPlugin } from "./plugin-request.ts";

const answered = '{"username":"ccg","password":"s3cret","domainName":"contoso.example"}';

async function until(what: string, condition: () => Promise<boolean>, milliseconds = 5_000): Promise<void> {
  const deadline = Date.now() + milliseconds;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Sends bytes to the provider's TLS port without TLS and gives back what comes. */
function sendPlain(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    let received = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(text));
    socket.setEncoding("latin1").on("data", (part: string) => (received += part));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(received));
  });
}

suite("the account provider answers", () => {
  test("the contract's bytes and headers", async (t) => {
    const { ask } = await startProvider(t);

    const { status, headers, body } = await ask();

    assert.equal(status, 200);
    assert.equal(headers["content-type"], "application/json; charset=utf-8");
    assert.equal(headers["content-length"], String(answered.length));
    assert.equal(body, answered);
  });

  test("with TLS 1.2 and with TLS 1.3", async (t) => {
    const { ask } = await startProvider(t);

    assert.equal((await ask({ maxVersion: "TLSv1.2" })).status, 200);
    assert.equal((await ask({ minVersion: "TLSv1.3" })).status, 200);
  });

  for (const identity of ["plugin", "released-plugin"] as const) {
    test(`a request made as the ${identity} makes it`, async (t) => {
      const { provider } = await startProvider(t, { legacyPlugin: true });

      const result = await requestAsPlugin({
        directory: provider.hostDirectory,
        object: "web-creds",
        identity,
      });

      assert.ok(result.ok, JSON.stringify(result.links));
      assert.equal(result.account.password.reveal(), "s3cret");
      assert.ok(!JSON.stringify(result).includes("s3cret"), "the password shows");
    });
  }

  test("with 400 and an empty body when no account is named", async (t) => {
    const { ask } = await startProvider(t);

    for (const headers of [{}, { object: "" }]) {
      const { status, body } = await ask({ headers });
      assert.deepEqual({ status, body }, { status: 400, body: "" });
    }
  });

  for (const name of ["other", "a/b", "..", "cr\u00E9ds", "Web-Creds", "a".repeat(300)]) {
    test(`with 404 and an empty body for ${JSON.stringify(name.slice(0, 12))}`, async (t) => {
      const { ask } = await startProvider(t);

      const { status, body } = await ask({ headers: { object: name } });

      assert.deepEqual({ status, body }, { status: 404, body: "" });
    });
  }

  test("with 404 for two names, and without JSON for a head of more than 8 KiB", async (t) => {
    const { ask } = await startProvider(t);

    assert.equal(
      (await ask({ headers: ["host", "localhost", "object", "web-creds", "object", "web-creds"] })).status,
      404,
    );
    const { status, body } = await ask({ headers: { object: "a".repeat(8192) } });

    assert.deepEqual({ status, body }, { status: 431, body: "" });
  });

  for (const [method, path] of [
    ["GET", "/"],
    ["GET", "/provider/"],
    ["GET", "/Provider"],
    ["GET", "/healthz"],
    ["HEAD", "/provider"],
    ["POST", "/provider"],
    ["PUT", "/provider"],
    ["OPTIONS", "/provider"],
  ] as const) {
    test(`with 404 in plain text to ${method} ${path}, never with a redirect`, async (t) => {
      const { ask } = await startProvider(t);

      const { status, headers, body } = await ask({ method, path });

      assert.equal(status, 404);
      assert.match(String(headers["content-type"]), /^text\/plain/);
      assert.equal(headers.location, undefined);
      assert.equal(body, method === "HEAD" ? "" : "404 page not found\n");
    });
  }

  test("nothing to plain HTTP on its TLS port", async (t) => {
    const { provider } = await startProvider(t);

    const received = await sendPlain(
      provider.port,
      "GET /provider HTTP/1.1\r\nobject: web-creds\r\nHost: x\r\n\r\n",
    );

    assert.ok(!received.includes("{"));
  });
});

suite("the account provider refuses with 403 and an empty body", () => {
  test("a client without a certificate", async (t) => {
    const { ask } = await startProvider(t);

    const { status, body } = await ask({ cert: undefined, key: undefined });

    assert.deepEqual({ status, body }, { status: 403, body: "" });
  });

  test("a client of another authority, for every path", async (t) => {
    const { ask } = await startProvider(t);
    const other = await createAuthority({
      commonName: "other",
      keyType: "ec-p256",
      lifetimeMs: 3_600_000,
      clock: systemClock,
    });
    const stranger = await other.issue({
      commonName: "x",
      usage: "client",
      keyType: "ec-p256",
      lifetimeMs: 3_600_000,
    });

    for (const path of ["/provider", "/"]) {
      const { status, body } = await ask({
        path,
        cert: stranger.chainPem,
        key: stranger.privateKeyPem.reveal(),
      });
      assert.deepEqual({ status, body }, { status: 403, body: "" });
    }
  });

  test("the server's own certificate used as a client's", async (t) => {
    const { ask, certificates } = await startProvider(t);
    const [server] = certificates?.current().tls.identities ?? [];

    const { status } = await ask({ cert: server?.chainPem ?? "", key: server?.privateKeyPem.reveal() ?? "" });

    assert.equal(status, 403);
  });
});

suite("the account provider follows its secret", () => {
  test("to a new value within a second", async (t) => {
    const { ask, writeSecret } = await startProvider(t);

    writeSecret({ ...contosoAccount, password: "changed" });

    await until("the new value was not served", async () => (await ask()).body.includes("changed"), 1_000);
  });

  test("not into a file that is broken: the old value stays and readiness says why", async (t) => {
    const { ask, manifests, operations } = await startProvider(t);

    writeFileSync(join(manifests, "secret.yaml"), "kind: Secret\n  metadata: [");

    await until("readiness does not tell", async () =>
      (await operations("/readyz")).body.includes("secret.yaml"),
    );
    assert.equal((await ask()).body, answered);
    assert.equal((await operations("/readyz")).status, 200);
  });

  test("to 404 when it is deleted, and readiness says so", async (t) => {
    const { ask, manifests, operations } = await startProvider(t);

    rmSync(join(manifests, "secret.yaml"));

    await until("it is still served", async () => (await ask()).status === 404);
    const ready = await operations("/readyz");
    assert.equal(ready.status, 503);
    assert.match(ready.body, /\[-\] secret contoso\/web-creds: is not there/);
  });

  for (const [what, values, key, problem] of [
    ["a key is missing", { username: "u", password: "p" }, "domainName", "missing"],
    ["a value is empty", { ...contosoAccount, password: "" }, "password", "empty"],
    ["a value is only a newline", { ...contosoAccount, username: "\n" }, "username", "empty"],
  ] as const) {
    test(`to 404 when ${what}, naming the key in log and metrics`, async (t) => {
      const { ask, log, operations, writeSecret } = await startProvider(t);

      writeSecret(values);

      await until("it is still served", async () => (await ask()).status === 404);
      assert.ok(log.some((line) => line.includes('"secret.unusable"') && line.includes(`"key":"${key}"`)));
      const metrics = (await operations("/metrics")).body;
      assert.ok(
        metrics.includes(`secret_problem{secret="web-creds",key="${key}",problem="${problem}"} 1`),
        metrics,
      );
    });
  }

  test("with a trailing newline trimmed and a short domain served, each with a warning", async (t) => {
    const { ask, log, writeSecret } = await startProvider(t);

    writeSecret({ username: "ccg", password: "p\n", domainName: "CONTOSO" });

    await until("it is not served", async () =>
      (await ask()).body.includes('"password":"p","domainName":"CONTOSO"'),
    );
    const warnings = log.filter((line) => line.includes('"secret.suspicious"')).join("");
    assert.match(warnings, /"key":"password","problem":"trailing newline trimmed"/);
    assert.match(warnings, /"key":"domainName","problem":"not a fully qualified domain name"/);
  });
});

suite("the account provider", () => {
  test("never logs a value", async (t) => {
    const { ask, log } = await startProvider(t);
    await ask();
    await ask({ headers: { object: "other" } });

    assert.ok(
      log.some((line) => line.includes('"secret":"contoso/web-creds"') && line.includes('"requestId"')),
    );
    for (const value of Object.values(contosoAccount)) assert.ok(!log.join("").includes(value), value);
  });

  test("rotates both leaf certificates under load without a failed request", async (t) => {
    const { provider } = await startProvider(t, {
      certificates: (log) =>
        createSelfManagedCertificates({
          namespace: "contoso",
          leafLifetimeMs: 3_000,
          legacyPlugin: false,
          clock: systemClock,
          log,
        }),
    });
    const ports = new Set<string>();

    const end = Date.now() + 4_500;
    while (Date.now() < end) {
      const results = await Promise.all(
        [1, 2, 3, 4].map(() =>
          requestAsPlugin({ directory: provider.hostDirectory, object: "web-creds", identity: "plugin" }),
        ),
      );
      for (const result of results) assert.ok(result.ok, JSON.stringify(result.links));
      ports.add(await readFile(provider.hostDirectory.file("clientCertificate"), "utf8"));
    }

    assert.ok(ports.size >= 3, `only ${ports.size} certificates were seen`);
  });

  test("leaves no file behind at a clean stop", async (t) => {
    const { provider } = await startProvider(t, { legacyPlugin: true });
    assert.ok(statSync(provider.hostDirectory.file("clientPfx")).isFile());

    await provider.stop();

    assert.equal(existsSync(provider.hostDirectory.path), false);
  });

  test("does not take its successor's files with it", async (t) => {
    const first = await startProvider(t);
    const second = await startProvider(t, { settings: { hostDirectory: first.provider.hostDirectory.path } });

    await first.provider.stop();

    assert.equal(await second.provider.hostDirectory.readPort(), second.provider.port);
    assert.equal((await second.ask()).status, 200);
  });

  test("listens on both loopback families with one port", async (t) => {
    const { provider } = await startProvider(t);

    assert.ok(provider.addresses.includes(`127.0.0.1:${provider.port}`));
    for (const address of provider.addresses) assert.ok(address.endsWith(`:${provider.port}`), address);
  });

  test("answers while a thousand idle connections are open", async (t) => {
    const { ask, provider } = await startProvider(t);
    const sockets = Array.from({ length: 1_000 }, () =>
      connect(provider.port, "127.0.0.1").on("error", () => undefined),
    );
    t.after(() => sockets.forEach((socket) => socket.destroy()));
    await new Promise((resolve) => setTimeout(resolve, 300));

    assert.equal((await ask()).status, 200);
  });

  test("serves plain HTTP and writes the port alone when mutual TLS is switched off, and says so", async (t) => {
    const { log, operations, provider } = await startProvider(t, { settings: { mutualTls: false } });

    const received = await sendPlain(provider.port, "GET /provider HTTP/1.0\r\nobject: web-creds\r\n\r\n");

    assert.match(received, /^HTTP\/1\.1 200 /);
    assert.ok(received.endsWith(answered), received);
    assert.equal(existsSync(provider.hostDirectory.file("clientKey")), false);
    assert.ok(log.some((line) => line.includes("account-provider.mtls-disabled")));
    assert.match((await operations("/readyz")).body, /mutual TLS is off/);
  });

  test("does not start where it cannot write its host directory, and listens nowhere then", async (t) => {
    const blocked = join((await startProvider(t)).manifests, "file");
    writeFileSync(blocked, "");

    await assert.rejects(startProvider(t, { settings: { hostDirectory: join(blocked, "host") } }), {
      code: "E_HOST_DIRECTORY",
    });
  });
});

suite("probing names the broken link:", () => {
  const probe = async ({ provider }: ProviderUnderTest, object = "web-creds"): Promise<string> => {
    const result = await requestAsPlugin({ directory: provider.hostDirectory, object, identity: "plugin" });
    return result.ok ? "none" : result.broken;
  };

  test("none", async (t) => {
    assert.equal(await probe(await startProvider(t)), "none");
  });

  test("the port file when it is not there", async (t) => {
    const running = await startProvider(t);
    rmSync(running.provider.hostDirectory.file("port"));
    assert.equal(await probe(running), "port-file");
  });

  test("the port file when it is a directory", async (t) => {
    const running = await startProvider(t);
    rmSync(running.provider.hostDirectory.file("port"));
    mkdirSync(running.provider.hostDirectory.file("port"));
    assert.equal(await probe(running), "port-file");
  });

  for (const text of ["", "0", "65536", "12x", "-1", "443\n", "9".repeat(30)]) {
    test(`the port file when it says ${JSON.stringify(text.slice(0, 8))}`, async (t) => {
      const running = await startProvider(t);
      writeFileSync(running.provider.hostDirectory.file("port"), text);
      assert.equal(await probe(running), "port-file");
    });
  }

  test("the certificate files when one is missing, or is none", async (t) => {
    const running = await startProvider(t);
    writeFileSync(running.provider.hostDirectory.file("clientKey"), "junk");
    assert.equal(await probe(running), "certificate-files");
    rmSync(running.provider.hostDirectory.file("clientKey"));
    assert.equal(await probe(running), "certificate-files");
  });

  test("the connection when nobody listens", async (t) => {
    const running = await startProvider(t);
    writeFileSync(running.provider.hostDirectory.file("port"), "1");
    assert.equal(await probe(running), "connection");
  });

  test("the connection when the port speaks plain HTTP", async (t) => {
    const [running, plain] = [
      await startProvider(t),
      await startProvider(t, { settings: { mutualTls: false } }),
    ];
    writeFileSync(running.provider.hostDirectory.file("port"), String(plain.provider.port));
    assert.equal(await probe(running), "connection");
  });

  test("the server's certificate when another provider answers", async (t) => {
    const [running, other] = [await startProvider(t), await startProvider(t)];
    writeFileSync(running.provider.hostDirectory.file("port"), String(other.provider.port));
    assert.equal(await probe(running), "server-certificate");
  });

  test("the client's certificate when it is refused", async (t) => {
    const [running, other] = [await startProvider(t), await startProvider(t)];
    for (const name of ["clientCertificate", "clientKey"] as const) {
      writeFileSync(
        running.provider.hostDirectory.file(name),
        await readFile(other.provider.hostDirectory.file(name)),
      );
    }
    assert.equal(await probe(running), "client-certificate");
  });

  test("the account when there is none of that name", async (t) => {
    assert.equal(await probe(await startProvider(t), "other"), "account");
  });
});

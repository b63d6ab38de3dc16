/**
 * Who is let in over TLS: every kind of client certificate, on real connections, with TLS 1.2 and 1.3.
 * @module
 */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { createServer, request as httpRequest } from "node:http";
import { Agent, request, type RequestOptions } from "node:https";
import { connect, type AddressInfo } from "node:net";
import { after, before, test } from "node:test";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import {
  createTestAuthority,
  type TestAuthority,
  type TestIdentity,
} from "../../test/fixtures/test-authority.ts";
import { silentLog } from "../observe/log.ts";
import { publicKeySha256 } from "../pki/certificate.ts";
import { checkClientCertificate, type ClientCertificateCheck } from "./client-certificate.ts";
import { listen, loopbackAddresses, type Listener } from "./listener.ts";

const hour = 3_600_000;
const day = 24 * hour;

let ours: TestAuthority;
let others: TestAuthority;
let listener: Listener;
/** What the server thinks the time is, from now. */
let clockOffset = 0;
let pinned: string | undefined;

before(async () => {
  [ours, others] = await Promise.all([createTestAuthority(), createTestAuthority("somebody else")]);
  listener = await listen({
    name: "test",
    addresses: loopbackAddresses(0),
    log: silentLog,
    tls: await ours.serverMaterial(),
    handler: (incoming, response) => {
      const check = checkClientCertificate(
        incoming.socket,
        Date.now() + clockOffset,
        (certificate) => pinned === undefined || certificate.publicKeySha256 === pinned,
      );
      response.writeHead(check.accepted ? 200 : 403, { "content-type": "application/json" });
      response.end(JSON.stringify(check));
    },
  });
});

after(() => listener.close(0));

test("without an authority nobody listens: TLS would take every public one", async () => {
  const tls = { ...(await ours.serverMaterial()), clientAuthoritiesPem: "" };

  await assert.rejects(
    listen({ name: "test", addresses: loopbackAddresses(0), log: silentLog, tls, handler: () => undefined }),
    { code: "E_PEM_INVALID" },
  );
});

interface Answer {
  readonly status: number | undefined;
  readonly check: ClientCertificateCheck;
  readonly protocol: string | null;
}

function ask(identity: TestIdentity | undefined, options: RequestOptions = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: "127.0.0.1",
        servername: "localhost",
        port: listener.port,
        ca: ours.certificatePem,
        agent: false,
        ...(identity === undefined ? {} : { cert: identity.certificatePem, key: identity.privateKeyPem }),
        ...options,
      },
      (response) => {
        let body = "";
        const protocol = (response.socket as TLSSocket).getProtocol();
        response.setEncoding("utf8");
        response.on("data", (text: string) => (body += text));
        response.on("end", () =>
          resolve({
            status: response.statusCode,
            check: JSON.parse(body) as ClientCertificateCheck,
            protocol,
          }),
        );
      },
    );
    call.on("error", reject).end();
  });
}

const kinds: readonly (readonly [string, () => Promise<TestIdentity | undefined>, string])[] = [
  ["no certificate", () => Promise.resolve(undefined), "no-certificate"],
  ["a certificate from another authority", () => others.client(), "not-from-our-authority"],
  ["an expired certificate", () => ours.client(-2 * day, -day), "expired"],
  ["a certificate that is not valid yet", () => ours.client(day, 2 * day), "expired"],
  ["an expired certificate from another authority", () => others.client(-2 * day, -day), "expired"],
  ["a certificate without an extended key usage", () => ours.withoutUsage(), "wrong-usage"],
  ["a server's certificate", () => ours.server(), "wrong-usage"],
];

for (const protocol of ["TLSv1.2", "TLSv1.3"] as const) {
  const version = { minVersion: protocol, maxVersion: protocol };

  test(`a client with a certificate of ours is let in over ${protocol}`, async () => {
    const answer = await ask(await ours.client(), version);

    assert.equal(answer.status, 200);
    assert.equal(answer.protocol, protocol);
  });

  for (const [name, identity, reason] of kinds) {
    test(`a client with ${name} is refused in an answer over ${protocol}, not by a broken handshake`, async () => {
      const answer = await ask(await identity(), version);

      assert.deepEqual(answer.check, { accepted: false, reason });
      assert.equal(answer.status, 403);
    });
  }
}

test("an accepted client is known by its key, name and end of validity", async () => {
  const client = await ours.client();
  const leaf = new X509Certificate(client.certificatePem);

  const { check } = await ask(client);

  assert.deepEqual(check, {
    accepted: true,
    certificate: {
      publicKeySha256: publicKeySha256(leaf.publicKey.export({ type: "spki", format: "der" })),
      commonName: "plugin",
      notAfter: leaf.validToDate.getTime(),
    },
  });
});

test("a certificate of our authority whose key is not the pinned one is refused", async (t) => {
  t.after(() => (pinned = undefined));
  const [known, unknown] = await Promise.all([ours.client(), ours.client()]);
  const { publicKey } = new X509Certificate(known.certificatePem);
  pinned = publicKeySha256(publicKey.export({ type: "spki", format: "der" }));

  assert.equal((await ask(known)).status, 200);
  assert.deepEqual((await ask(unknown)).check, { accepted: false, reason: "unknown-key" });
});

test("a certificate that ends while its connection stays open is refused at the next request", async (t) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => {
    agent.destroy();
    clockOffset = 0;
  });
  const client = await ours.client(-hour, hour);

  assert.equal((await ask(client, { agent })).status, 200);
  clockOffset = hour - 60_000;
  assert.equal((await ask(client, { agent })).status, 200);
  clockOffset = hour + 60_000;
  const { check } = await ask(client, { agent });

  assert.deepEqual(check, { accepted: false, reason: "expired" });
  assert.equal(Object.values(agent.freeSockets).flat().length, 1, "it was the same connection");
});

test("a session is never resumed, so that no certificate's acceptance outlives it", async () => {
  const client = await ours.client();
  for (const protocol of ["TLSv1.2", "TLSv1.3"] as const) {
    const options = {
      port: listener.port,
      host: "127.0.0.1",
      servername: "localhost",
      ca: ours.certificatePem,
      cert: client.certificatePem,
      key: client.privateKeyPem,
      minVersion: protocol,
      maxVersion: protocol,
    };
    const sessions: Buffer[] = [];
    const first = tlsConnect(options);
    first.on("session", (session) => sessions.push(session));
    first.write("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    await new Promise((resolve) => first.resume().on("close", resolve));
    const session = sessions.at(-1) ?? first.getSession();
    assert.ok(session, "the client has a session to offer");

    const second = tlsConnect({ ...options, session });
    await new Promise((resolve, reject) => second.on("secureConnect", resolve).on("error", reject));
    const reused = second.isSessionReused();
    second.destroy();

    assert.equal(reused, false, protocol);
  }
});

test("TLS 1.1 is refused", async () => {
  const old = { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" } as const;

  await assert.rejects(ask(await ours.client(), old), /alert protocol version/);
});

test("TLS 1.2 cannot be renegotiated to bring another certificate", async () => {
  const client = await ours.client();
  const socket = tlsConnect({
    port: listener.port,
    host: "127.0.0.1",
    servername: "localhost",
    ca: ours.certificatePem,
    cert: client.certificatePem,
    key: client.privateKeyPem,
    maxVersion: "TLSv1.2",
  });
  socket.on("error", () => undefined);
  await new Promise((resolve) => socket.on("secureConnect", resolve));

  const renegotiated = await new Promise<boolean>((resolve) => {
    socket.on("close", () => resolve(false));
    socket.renegotiate({}, (error) => resolve(error === null));
  });
  socket.destroy();

  assert.equal(renegotiated, false);
});

test("a connection without TLS has no certificate to check", async (t) => {
  const checks: ClientCertificateCheck[] = [];
  const server = createServer((incoming, response) => {
    checks.push(checkClientCertificate(incoming.socket, Date.now(), () => true));
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());

  await new Promise((resolve) =>
    httpRequest(
      { host: "127.0.0.1", port: (server.address() as AddressInfo).port, agent: false },
      resolve,
    ).end(),
  );

  assert.deepEqual(checks, [{ accepted: false, reason: "no-tls" }]);
});

test("plain HTTP on the TLS port gets no HTTP answer, only the end of the connection", async () => {
  const socket = connect(listener.port, "127.0.0.1");
  const received: Buffer[] = [];
  socket.on("data", (bytes: Buffer) => received.push(bytes)).on("error", () => undefined);
  socket.write("GET /provider HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await new Promise((resolve) => socket.on("close", resolve));

  assert.doesNotMatch(Buffer.concat(received).toString("latin1"), /HTTP\//);
});

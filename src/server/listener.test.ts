/**
 * What may be held open, and how long: limits, eviction, certificate replacement and the drain, on real sockets.
 * @module
 */
import assert from "node:assert/strict";
import { get, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { Agent, get as httpsGet } from "node:https";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { before, test, type TestContext } from "node:test";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { createTestAuthority, type TestAuthority } from "../../test/fixtures/test-authority.ts";
import { createLog, silentLog, type Log } from "../observe/log.ts";
import { listen, loopbackAddresses, type Listener, type ListenerOptions } from "./listener.ts";

const hasIpv6 = Object.values(networkInterfaces())
  .flat()
  .some((address) => address?.address === "::1");

let authority: TestAuthority;

before(async () => {
  authority = await createTestAuthority();
});

const sayHello: RequestListener = (_request, response) => void response.end("hello\n");

async function start(t: TestContext, options: Partial<ListenerOptions> = {}): Promise<Listener> {
  const listener = await listen({
    name: "test",
    addresses: [{ host: "127.0.0.1", port: 0 }],
    handler: sayHello,
    log: silentLog,
    ...options,
  });
  t.after(() => listener.close(0));
  return listener;
}

interface Peer {
  readonly socket: Socket;
  /** Everything received so far. */
  text(): string;
  /** Resolves with everything when the connection is over. */
  readonly ended: Promise<string>;
  /** Resolves when the text received matches. */
  received(pattern: RegExp): Promise<void>;
}

function peerOn(socket: Socket): Peer {
  let text = "";
  const waiting = new Set<() => void>();
  socket.setEncoding("latin1");
  socket.on("data", (part: string) => {
    text += part;
    for (const look of waiting) look();
  });
  socket.on("error", () => undefined);
  return {
    socket,
    text: () => text,
    ended: new Promise((resolve) => socket.on("close", () => resolve(text))),
    received: (pattern) =>
      new Promise((resolve, reject) => {
        const look = (): void => {
          if (pattern.test(text)) resolve();
        };
        waiting.add(look);
        socket.on("close", () => reject(new Error(`closed after ${JSON.stringify(text)}`)));
        look();
      }),
  };
}

async function dial(port: number, host = "127.0.0.1"): Promise<Peer> {
  const socket = connect(port, host);
  const peer = peerOn(socket);
  await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  return peer;
}

const request = (path = "/"): string => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error("it never came true");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A handler whose answers are given when the test says so. */
function held(): { readonly handler: RequestListener; readonly waiting: ServerResponse[] } {
  const waiting: ServerResponse[] = [];
  return { waiting, handler: (_request, response) => void waiting.push(response) };
}

test(
  "both loopback families are served on one port",
  { skip: hasIpv6 ? false : "no ::1 here" },
  async (t) => {
    const listener = await start(t, { addresses: loopbackAddresses(0) });

    assert.deepEqual(listener.addresses, [`127.0.0.1:${listener.port}`, `[::1]:${listener.port}`]);
    for (const host of ["127.0.0.1", "::1"]) {
      const peer = await dial(listener.port, host);
      peer.socket.write(request());
      await peer.received(/hello/);
      peer.socket.destroy();
    }
  },
);

test(
  "on :: both families are served, as in a pod of either kind of cluster",
  { skip: hasIpv6 ? false : "no ::1 here" },
  async (t) => {
    const listener = await start(t, { addresses: [{ host: "::", port: 0 }] });

    for (const host of ["127.0.0.1", "::1"]) {
      const peer = await dial(listener.port, host);
      peer.socket.write(request());
      await peer.received(/hello/);
      peer.socket.destroy();
    }
  },
);

test("an optional address that this machine does not have is left out", async (t) => {
  const listener = await start(t, {
    addresses: [
      { host: "127.0.0.1", port: 0 },
      { host: "192.0.2.1", port: 0, optional: true },
    ],
  });

  assert.deepEqual(listener.addresses, [`127.0.0.1:${listener.port}`]);
});

test("an address that is not optional must be there", async () => {
  await assert.rejects(
    listen({
      name: "test",
      addresses: [{ host: "192.0.2.1", port: 0 }],
      handler: sayHello,
      log: silentLog,
    }),
    { code: "E_LISTEN_FAILED", message: /192\.0\.2\.1:0: .*EADDRNOTAVAIL/ },
  );
});

test("a port that is taken is an error, and the addresses bound before it are let go", async (t) => {
  const squatter = createServer();
  await new Promise<void>((resolve) => squatter.listen(0, "127.0.0.2", resolve));
  t.after(() => squatter.close());
  const { port } = squatter.address() as AddressInfo;

  await assert.rejects(
    listen({
      name: "test",
      addresses: [
        { host: "127.0.0.1", port },
        { host: "127.0.0.2", port, optional: true },
      ],
      handler: sayHello,
      log: silentLog,
    }),
    { code: "E_LISTEN_FAILED", message: new RegExp(`127\\.0\\.0\\.2:${port}: .*EADDRINUSE`) },
  );

  const again = await start(t, { addresses: [{ host: "127.0.0.1", port }] });
  assert.equal(again.port, port);
});

test("when any port will do, one that is taken on the second address is given up for another", async (t) => {
  let attempts = 0;
  const squatters: ReturnType<typeof createServer>[] = [];
  t.after(() => squatters.forEach((server) => server.close()));
  // The first address to be bound tells its port here, before the second one is bound.
  const addresses = [
    { host: "127.0.0.1", port: 0 },
    {
      port: 0,
      get host() {
        attempts++;
        return "127.0.0.2";
      },
    },
  ];

  const listener = await start(t, { addresses });

  assert.deepEqual(listener.addresses, [`127.0.0.1:${listener.port}`, `127.0.0.2:${listener.port}`]);
  assert.ok(attempts > 0);
});

test("HTTP/1.0 without a Host header is answered and the connection ended", async (t) => {
  const listener = await start(t);
  const peer = await dial(listener.port);

  peer.socket.write("GET / HTTP/1.0\r\n\r\n");

  assert.match(await peer.ended, /^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n[^]*hello\n$/);
});

for (const [name, bytes, status] of [
  ["a head over the limit", `GET / HTTP/1.1\r\nHost: x\r\nObject: ${"a".repeat(9_000)}\r\n\r\n`, 431],
  ["a path over the limit", `GET /${"a".repeat(9_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 431],
  ["no HTTP", "\u0016\u0003\u0001 hello\r\n\r\n", 400],
  ["a line feed inside a header", "GET / HTTP/1.1\r\nHost: x\r\nObject: a\nb\r\n\r\n", 400],
  ["two lengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400],
  [
    "a length and chunks",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    400,
  ],
] as const) {
  test(`${name} gets ${status} without a body, and the connection ends`, async (t) => {
    let handled = 0;
    const listener = await start(t, { handler: () => void handled++ });
    const peer = await dial(listener.port);

    peer.socket.write(bytes, "latin1");

    assert.match(
      await peer.ended,
      new RegExp(`^HTTP/1\\.1 ${status} [A-Za-z ]+\\r\\nConnection: close\\r\\n\\r\\n$`),
    );
    assert.equal(handled, 0);
  });
}

test("HTTP/1.1 without a Host is refused before any handler sees it", async (t) => {
  let handled = 0;
  const listener = await start(t, { handler: () => void handled++ });
  const peer = await dial(listener.port);

  peer.socket.write("GET / HTTP/1.1\r\n\r\n");

  assert.match(await peer.ended, /^HTTP\/1\.1 400 Bad Request\r\nConnection: close\r\n[^]*\r\n0\r\n\r\n$/);
  assert.equal(handled, 0);
});

test("a head that comes too slowly is cut off after its time", async (t) => {
  const listener = await start(t, { limits: { headersMs: 200, requestMs: 400 } });
  const peer = await dial(listener.port);
  const began = performance.now();

  peer.socket.write("GET / HTTP/1.1\r\nHo");
  const drip = setInterval(() => peer.socket.write("o"), 50);
  t.after(() => clearInterval(drip));
  const text = await peer.ended;

  const took = performance.now() - began;
  assert.match(text, /^(HTTP\/1\.1 408 |$)/);
  assert.ok(took >= 190 && took < 2_000, `${took} ms`);
});

test("a connection that never says a word is cut off after the time for a head", async (t) => {
  const listener = await start(t, { limits: { headersMs: 150, requestMs: 300 } });
  const peer = await dial(listener.port);

  assert.doesNotMatch(await peer.ended, /200/);
  await until(() => listener.connections() === 0);
});

test("a kept connection that is idle too long is closed", async (t) => {
  const listener = await start(t, { limits: { keepAliveMs: 100 } });
  const peer = await dial(listener.port);

  peer.socket.write(request());
  await peer.received(/hello/);

  await peer.ended;
});

test("a TLS handshake that never speaks is ended after its time", async (t) => {
  const listener = await start(t, {
    tls: await authority.serverMaterial(),
    limits: { handshakeMs: 150 },
  });
  const peers = await Promise.all(Array.from({ length: 20 }, () => dial(listener.port)));

  const texts = await Promise.all(peers.map((peer) => peer.ended));

  assert.deepEqual([...new Set(texts)], [""]);
  await until(() => listener.connections() === 0);
});

for (const secured of [false, true]) {
  const kind = secured ? "TLS" : "plain";

  test(`1,000 idle ${kind} connections do not keep the next caller out`, async (t) => {
    const limit = 200;
    const listener = await start(t, {
      ...(secured ? { tls: await authority.serverMaterial() } : {}),
      limits: { connections: limit },
    });
    const idle: Peer[] = [];
    t.after(() => idle.forEach((peer) => peer.socket.destroy()));
    for (let batch = 0; batch < 10; batch++) {
      idle.push(...(await Promise.all(Array.from({ length: 100 }, () => dial(listener.port)))));
    }

    const began = performance.now();
    const text = secured ? await askOverTls(listener.port) : await askPlainly(listener.port);

    assert.equal(text, "hello\n");
    assert.ok(performance.now() - began < 2_000);
    await until(() => listener.connections() <= limit);
  });
}

test("a request that is running is not evicted, an idle connection is", async (t) => {
  const { handler, waiting } = held();
  const listener = await start(t, { handler, limits: { connections: 2 } });
  const busy = await dial(listener.port);
  busy.socket.write(request());
  await until(() => waiting.length === 1);

  const first = await dial(listener.port);
  await until(() => listener.connections() === 2);
  const second = await dial(listener.port);
  await first.ended;
  second.socket.write(request());
  await until(() => waiting.length === 2);
  for (const response of waiting) response.end("at last\n");

  await Promise.all([busy.received(/at last/), second.received(/at last/)]);
});

test("when every connection is busy, the newcomer is the one that has to go", async (t) => {
  const { handler, waiting } = held();
  const listener = await start(t, { handler, limits: { connections: 1 } });
  const busy = await dial(listener.port);
  busy.socket.write(request());
  await until(() => waiting.length === 1);

  const newcomer = await dial(listener.port);
  assert.equal(await newcomer.ended, "");
  waiting[0]?.end("still here\n");

  await busy.received(/still here/);
});

for (const secured of [false, true]) {
  test(`${secured ? "TLS" : "plain"} connections are counted while they are open`, async (t) => {
    const listener = await start(t, secured ? { tls: await authority.serverMaterial() } : {});
    assert.equal(listener.connections(), 0);

    for (let round = 0; round < 3; round++) {
      await (secured ? askOverTls(listener.port) : askPlainly(listener.port));
    }

    await until(() => listener.connections() === 0);
  });
}

test("new connections get the new certificate, kept ones go on undisturbed", async (t) => {
  const [old, renewed] = [await authority.serverMaterial(), await authority.serverMaterial()];
  const listener = await start(t, { tls: old });
  const kept = new Agent({ keepAlive: true, maxSockets: 1, ca: authority.certificatePem });
  t.after(() => kept.destroy());

  const earlier = await presented(listener.port, kept);
  listener.replaceTls(renewed);
  const afterwards = await presented(listener.port, kept);
  const fresh = await presented(listener.port);

  assert.equal(afterwards.socket, earlier.socket, "the connection was kept");
  assert.equal(afterwards.fingerprint, earlier.fingerprint);
  assert.notEqual(fresh.fingerprint, earlier.fingerprint);
});

test("with identities of two kinds, the client's abilities choose", async (t) => {
  const [ec, rsa] = [await authority.serverMaterial("ec-p256"), await authority.serverMaterial("rsa-2048")];
  const listener = await start(t, {
    tls: { identities: [...ec.identities, ...rsa.identities] },
  });

  for (const [ciphers, bits] of [
    ["ECDHE-ECDSA-AES128-GCM-SHA256", 256],
    ["ECDHE-RSA-AES128-GCM-SHA256", 2048],
  ] as const) {
    const socket = tlsConnect({
      port: listener.port,
      host: "127.0.0.1",
      servername: "localhost",
      ca: authority.certificatePem,
      maxVersion: "TLSv1.2",
      ciphers,
    });
    await new Promise((resolve, reject) => socket.on("secureConnect", resolve).on("error", reject));
    assert.equal(socket.getPeerCertificate().bits, bits);
    socket.destroy();
  }
});

for (const secured of [false, true]) {
  const over = secured ? "over TLS" : "without TLS";

  test(`a drain lets a running request end and then its connection, ${over}`, async (t) => {
    const { handler, waiting } = held();
    const listener = await start(t, {
      handler,
      ...(secured ? { tls: await authority.serverMaterial() } : {}),
    });
    const busy = await (secured ? dialTls(listener.port) : dial(listener.port));
    busy.socket.write(request());
    await until(() => waiting.length === 1);

    const began = performance.now();
    const closed = listener.close(10_000);
    await assert.rejects(dial(listener.port), { code: "ECONNREFUSED" });
    waiting[0]?.end("last words\n");
    await closed;

    assert.match(await busy.ended, /last words/);
    assert.ok(performance.now() - began < 2_000, "it did not wait for the bound");
  });

  test(`a drain closes kept connections that are idle at once, ${over}`, async (t) => {
    const listener = await start(t, secured ? { tls: await authority.serverMaterial() } : {});
    const peer = await (secured ? dialTls(listener.port) : dial(listener.port));
    peer.socket.write(request());
    await peer.received(/hello/);

    const began = performance.now();
    await listener.close(10_000);
    await peer.ended;

    assert.ok(performance.now() - began < 900);
  });

  test(`a drain answers the first request of a connection that was just accepted, ${over}`, async (t) => {
    const listener = await start(t, secured ? { tls: await authority.serverMaterial() } : {});
    const peer = await (secured ? dialTls(listener.port) : dial(listener.port));
    await until(() => listener.connections() === 1);

    const began = performance.now();
    const closed = listener.close(10_000);
    peer.socket.write(request());
    await closed;

    assert.match(await peer.ended, /connection: close\r\n[^]*hello\n$/i);
    assert.ok(performance.now() - began < 900);
  });

  test(`a drain does not wait for a silent connection longer than a moment, ${over}`, async (t) => {
    const listener = await start(t, secured ? { tls: await authority.serverMaterial() } : {});
    const peer = await (secured ? dialTls(listener.port) : dial(listener.port));
    await until(() => listener.connections() === 1);

    const began = performance.now();
    await listener.close(10_000);

    assert.equal(await peer.ended, "");
    assert.ok(performance.now() - began < 2_500);
  });
}

for (const [name, headSent] of [
  ["whose answer had not begun", false],
  ["whose answer had begun", true],
] as const) {
  test(`a drain closes the connection of a long request ${name} as soon as it ends`, async (t) => {
    const { handler, waiting } = held();
    const listener = await start(t, { handler, limits: { keepAliveMs: 60_000 } });
    const busy = await dial(listener.port);
    busy.socket.write(request());
    await until(() => waiting.length === 1);
    if (headSent) waiting[0]?.write("first words, ");

    const closed = listener.close(20_000);
    // Longer than the moment that silent connections get.
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    const began = performance.now();
    waiting[0]?.end("last words\n");
    await closed;

    assert.match(await busy.ended, /last words/);
    assert.ok(performance.now() - began < 1_000, "the connection was not kept");
    if (!headSent) assert.match(busy.text(), /connection: close/i);
  });
}

test("a drain ends at its bound, cuts what still runs and says so", async (t) => {
  const lines: string[] = [];
  const log: Log = createLog({ sink: { write: (line) => lines.push(line) } });
  const { handler, waiting } = held();
  const listener = await start(t, { handler, log });
  const busy = await dial(listener.port);
  busy.socket.write(request());
  await until(() => waiting.length === 1);

  const began = performance.now();
  await listener.close(200);
  const took = performance.now() - began;

  assert.equal(await busy.ended, "");
  assert.ok(took >= 190 && took < 1_500, `${took} ms`);
  assert.ok(
    lines.some((line) => line.includes("service.drain-timed-out") && line.includes('"connections":1')),
  );
});

test("a second close, and one of a listener without connections, end at once", async (t) => {
  const listener = await start(t);
  const began = performance.now();

  await Promise.all([listener.close(5_000), listener.close(5_000)]);
  await listener.close(5_000);

  assert.ok(performance.now() - began < 500);
});

function askPlainly(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, agent: false }, (response) => resolve(bodyOf(response))).on(
      "error",
      reject,
    );
  });
}

function askOverTls(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    httpsGet({ ...tlsTo(port), agent: false }, (response) => resolve(bodyOf(response))).on("error", reject);
  });
}

function presented(
  port: number,
  agent: Agent | false = false,
): Promise<{ readonly fingerprint: string; readonly socket: Socket }> {
  return new Promise((resolve, reject) => {
    httpsGet({ ...tlsTo(port), agent }, (response) => {
      const socket = response.socket as TLSSocket;
      const { fingerprint256 } = socket.getPeerCertificate();
      response.resume().on("end", () => setImmediate(() => resolve({ fingerprint: fingerprint256, socket })));
    }).on("error", reject);
  });
}

async function dialTls(port: number): Promise<Peer> {
  const socket = tlsConnect(tlsTo(port));
  const peer = peerOn(socket);
  await new Promise((resolve, reject) => socket.once("secureConnect", resolve).once("error", reject));
  return peer;
}

function tlsTo(port: number) {
  return { host: "127.0.0.1", servername: "localhost", port, ca: authority.certificatePem };
}

async function bodyOf(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

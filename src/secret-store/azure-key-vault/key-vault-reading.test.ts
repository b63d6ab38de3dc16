/**
 * One secret read from the Azure simulator: identities, clouds, every way of failing, and what must never happen. The suite
 * "lacks the defects" goes through what is known of Microsoft's plugin (CCGAKV).
 * @module
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { join } from "node:path";
import { before, suite, test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { eventually } from "../../../test/contracts/eventually.ts";
import { FakeClock } from "../../../test/fakes/fake-clock.ts";
import { temporaryFolder } from "../../../test/temporary-folder.ts";
import {
  startAzureSimulator,
  type AzureFault,
  type AzureSimulator,
  type SimulatedService,
} from "../../azure-simulator/azure-simulator.ts";
import { silentLog } from "../../observe/log.ts";
import type { AzureIdentity } from "./azure-identity.ts";
import { errorCodes, retryAfter, type AzureNetwork } from "./azure-transport.ts";
import { createKeyVaultReader, type KeyVaultReading } from "./key-vault-reading.ts";
import { watchKeyVaultSecret } from "./key-vault-store.ts";
import { readSecretUri } from "./secret-uri.ts";

const vault = "contoso.vault.azure.net";
const uri = `https://${vault}/secrets/web`;
const value = "contoso.example\\svc-web:Größe-密码-🔑";
const tenantId = "0a5b0c1d-0000-4000-8000-000000000001";

// Loaded before, so that the tests' clocks do not run meanwhile.
before(() => import("./azure-sdk.ts"));

interface World {
  readonly simulator: AzureSimulator;
  readonly clock: FakeClock;
  readonly objectId: string;
  readonly clientId: string;
  readonly resourceId: string;
  /** Reads to the end, turning the clock. */
  read(changes?: {
    readonly uri?: string;
    readonly identity?: AzureIdentity;
    readonly network?: Partial<AzureNetwork>;
  }): Promise<KeyVaultReading>;
}

async function open(t: TestContext): Promise<World> {
  // MSAL remembers tokens of managed identities for the whole process: every test has its own.
  const [objectId, clientId] = [randomUUID(), randomUUID()];
  const resourceId = `/subscriptions/${randomUUID()}/userAssignedIdentities/web`;
  const simulator = await startAzureSimulator({
    content: {
      identities: [
        { objectId, clientId, resourceId, systemAssigned: true, clientSecret: "s", federatedToken: "jwt" },
      ],
      vaults: [vault, "contoso.vault.azure.cn", "contoso.vault.usgovcloudapi.net"].map((host) => ({
        host,
        readers: [objectId],
        secrets: [{ name: "web", value }],
      })),
    },
  });
  t.after(() => simulator.close());
  const clock = new FakeClock();
  return {
    simulator,
    clock,
    objectId,
    clientId,
    resourceId,
    async read(changes = {}) {
      const address = readSecretUri(changes.uri ?? uri);
      if (!address.ok) throw new Error(address.problem);
      const reader = createKeyVaultReader({
        address: address.address,
        identity: changes.identity ?? { type: "managedIdentity", objectId },
        network: {
          certificateAuthority: simulator.certificateAuthority,
          dial: simulator.dial,
          ...changes.network,
        },
        clock,
        random: () => 0.5,
        environment: {},
      });
      let reading: KeyVaultReading | undefined;
      const ending = reader.read(new AbortController().signal).then((each) => (reading = each));
      await eventually("it is read", () => reading !== undefined, clock, 50);
      return await ending;
    },
  };
}

function textOf(reading: KeyVaultReading): string {
  return reading.kind === "value" ? reading.value.reveal() : JSON.stringify(reading);
}

suite("a secret is read", () => {
  const identities: readonly (readonly [string, (world: World, t: TestContext) => AzureIdentity])[] = [
    ["the object id of a managed identity", ({ objectId }) => ({ type: "managedIdentity", objectId })],
    ["the client id of a managed identity", ({ clientId }) => ({ type: "managedIdentity", clientId })],
    ["the resource id of a managed identity", ({ resourceId }) => ({ type: "managedIdentity", resourceId })],
    [
      "workload identity federation",
      ({ clientId }, t) => {
        const tokenFile = join(temporaryFolder(t), "token");
        writeFileSync(tokenFile, "jwt");
        return { type: "workloadIdentity", clientId, tenantId, tokenFile };
      },
    ],
    [
      "a client secret in the environment",
      ({ clientId }, t) => {
        const given = { AZURE_TENANT_ID: tenantId, AZURE_CLIENT_ID: clientId, AZURE_CLIENT_SECRET: "s" };
        Object.assign(process.env, given);
        t.after(() => {
          for (const name of Object.keys(given)) delete process.env[name];
        });
        return { type: "environment" };
      },
    ],
  ];
  for (const [what, identityOf] of identities) {
    test(`as ${what}`, async (t) => {
      const world = await open(t);

      const reading = await world.read({ identity: identityOf(world, t) });

      assert.equal(textOf(reading), value);
    });
  }

  test("as the system-assigned identity, in each cloud with a token for that cloud", async (t) => {
    const world = await open(t);
    for (const suffix of ["azure.net", "azure.cn", "usgovcloudapi.net"]) {
      const reading = await world.read({
        identity: { type: "systemAssigned" },
        uri: `https://contoso.vault.${suffix}/secrets/web`,
      });

      assert.equal(textOf(reading), value);
      assert.equal(
        world.simulator.requests.findLast(({ service }) => service === "imds")?.query["resource"],
        `https://vault.${suffix}`,
      );
    }
  });

  test("in the version that is asked for, else in the newest", async (t) => {
    const world = await open(t);
    const first = await world.read();
    assert.equal(first.kind, "value");
    const newest = world.simulator.setSecret(vault, "web", "contoso.example\\svc-web:newer");

    const [current, old] = [
      await world.read(),
      await world.read({ uri: `${uri}/${first.kind === "value" ? first.version : ""}` }),
    ];

    assert.deepEqual(
      [current.kind === "value" && current.version, textOf(current)],
      [newest, "contoso.example\\svc-web:newer"],
    );
    assert.equal(textOf(old), value);
  });

  test("directly, whatever proxy the environment names", async (t) => {
    const world = await open(t);
    process.env["HTTPS_PROXY"] = "http://127.0.0.1:1";
    t.after(() => delete process.env["HTTPS_PROXY"]);

    assert.equal(textOf(await world.read()), value);
  });

  test("with its dates", async (t) => {
    const world = await open(t);
    world.simulator.setSecret(vault, "web", value, {}, { exp: 1_700_000_000, nbf: 1_600_000_000 });

    const reading = await world.read();

    assert.deepEqual(reading.kind === "value" && reading.validity, {
      expires: 1_700_000_000_000,
      notBefore: 1_600_000_000_000,
    });
  });

  test("through the proxy that is named, the metadata service directly", async (t) => {
    const world = await open(t);
    const asked: string[] = [];
    const proxy = createServer();
    proxy.on("connect", (request, socket) => {
      asked.push(request.url ?? "");
      const { host, port } = world.simulator.dial(vault, 443);
      const tunnel = connect(port, host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        tunnel.pipe(socket).pipe(tunnel);
      });
      tunnel.on("error", () => socket.destroy());
      socket.on("error", () => tunnel.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      proxy.closeAllConnections();
      proxy.close();
    });

    const reading = await world.read({
      network: {
        proxy: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
        dial: (host, port) =>
          host === "169.254.169.254" ? world.simulator.dial(host, port) : { host, port },
      },
    });

    assert.equal(textOf(reading), value);
    assert.deepEqual([...new Set(asked)], [`${vault}:443`]);
  });
});

suite("a reading that lacks the defects of CCGAKV", () => {
  const passing: readonly (readonly [string, SimulatedService, AzureFault, number])[] = [
    ["throttled", "imds", { kind: "status", status: 429, headers: { "retry-after": "3" } }, 3_000],
    ["broken", "imds", { kind: "status", status: 500 }, 400],
    ["being updated (404)", "imds", { kind: "status", status: 404 }, 400],
    ["being updated (410)", "imds", { kind: "status", status: 410 }, 400],
    ["cut off", "imds", { kind: "reset" }, 400],
    ["throttled", "vault", { kind: "status", status: 429, headers: { "retry-after": "4" } }, 4_000],
    [
      "throttled in milliseconds",
      "vault",
      { kind: "status", status: 429, headers: { "retry-after-ms": "1500" } },
      1_500,
    ],
    ["away", "vault", { kind: "status", status: 503, headers: { "retry-after": "2" } }, 2_000],
    ["broken", "vault", { kind: "status", status: 500 }, 400],
    ["cut off", "vault", { kind: "reset" }, 400],
  ];
  for (const [what, service, fault, atLeast] of passing) {
    test(`asks again when ${service === "imds" ? "the metadata service" : "the vault"} is ${what}, after ${atLeast} ms`, async (t) => {
      const world = await open(t);
      world.simulator.fail({ service, times: 1, fault });
      const began = world.clock.now();

      const reading = await world.read();

      assert.equal(textOf(reading), value);
      const took = world.clock.now() - began;
      assert.ok(took >= atLeast && took < 20_000, `${took} ms`);
    });
  }

  test("answers no later than 20 s, whatever is wrong", async (t) => {
    for (const fault of [{ kind: "hang" }, { kind: "status", status: 503 }] as const) {
      const world = await open(t);
      world.simulator.fail({ service: "vault", fault });
      const began = world.clock.now();

      const reading = await world.read();

      assert.equal(reading.kind === "failed" && reading.failure, "vault-unavailable");
      const took = world.clock.now() - began;
      assert.ok(took <= 20_500, `${took} ms`);
      assert.ok(world.simulator.count("vault") >= 3);
    }
  });

  test("does not wait longer than it may, but tells how long it should", async (t) => {
    const world = await open(t);
    const headers = { "retry-after": "60" };
    world.simulator.fail({ service: "vault", fault: { kind: "status", status: 429, headers } });
    const began = world.clock.now();

    const reading = await world.read();

    assert.equal(reading.kind === "failed" && reading.retryAfterMs, 60_000);
    assert.ok(world.clock.now() - began < 6_000);
    assert.equal(world.simulator.count("vault"), 1);
  });

  const failing: readonly (readonly [string, AzureFault])[] = [
    ["nothing at all", { kind: "status", status: 200, body: "" }],
    ["no JSON", { kind: "status", status: 200, body: "<html>a proxy's login page</html>" }],
    ["JSON without a value", { kind: "status", status: 200, body: "{}" }],
    ["a value that is a number", { kind: "status", status: 200, body: '{"value":1}' }],
    ["300 KB", { kind: "status", status: 200, body: `{"value":"${"x".repeat(300 * 1024)}"}` }],
    ["400", { kind: "status", status: 400, body: '{"error":{"code":"BadParameter"}}' }],
    ["404 of something else", { kind: "status", status: 404, body: "not here" }],
    ["403 of something else", { kind: "status", status: 403, body: "<html>blocked</html>" }],
    [
      "403 of the vault's firewall",
      {
        kind: "status",
        status: 403,
        body: '{"error":{"code":"Forbidden","innererror":{"code":"ForbiddenByFirewall"}}}',
      },
    ],
    ["a reset", { kind: "reset" }],
    [
      "a compressed answer that nobody asked for",
      {
        kind: "status",
        status: 404,
        headers: { "content-encoding": "gzip" },
        body: '{"error":{"code":"SecretNotFound"}}',
      },
    ],
  ];
  for (const [what, fault] of failing) {
    test(`never succeeds without an account, and calls nothing deleted or refused, when the vault answers ${what}`, async (t) => {
      const world = await open(t);
      world.simulator.fail({ service: "vault", fault });

      const reading = await world.read();

      assert.equal(reading.kind, "failed", textOf(reading));
      assert.doesNotMatch(textOf(reading), /login page|blocked|xxx/);
    });
  }

  test("keeps every character of escaped JSON", async (t) => {
    const world = await open(t);
    const body =
      '\uFEFF \n{"value":"contoso.example\\\\u:\\u00e4\\u0101\\u5bc6\\ud83d\\udd11","id":"https://contoso.vault.azure.net/secrets/web/0123456789abcdef0123456789abcdef","attributes":{"enabled":true}}';
    world.simulator.fail({ service: "vault", times: 2, fault: { kind: "status", status: 200, body } });

    assert.equal(textOf(await world.read()), "contoso.example\\u:äā密🔑");
  });

  test("takes for a version only what Azure's versions look like: it is logged with each request", async (t) => {
    const world = await open(t);
    for (const version of [
      `x${"a".repeat(10_000)}`,
      "0123456789abcdef",
      "0123456789ABCDEF0123456789ABCDEF",
    ]) {
      world.simulator.setSecret(vault, "web", value, { version });

      const reading = await world.read();

      assert.deepEqual([reading.kind === "value" && reading.version, textOf(reading)], [undefined, value]);
    }
  });

  test("has no memory between secrets: many at once get each their own", async (t) => {
    const world = await open(t);
    const names = Array.from({ length: 12 }, (_, index) => `web-${index}`);
    for (const name of names) world.simulator.setSecret(vault, name, `contoso.example\\u:${name}`);

    const readings = await Promise.all(
      names.map((name) => world.read({ uri: `https://${vault}/secrets/${name}` })),
    );

    assert.deepEqual(
      readings.map(textOf),
      names.map((name) => `contoso.example\\u:${name}`),
    );
  });
});

suite("a vault's answer about a secret", () => {
  test("that is not there is: missing", async (t) => {
    const world = await open(t);

    assert.deepEqual(await world.read({ uri: `https://${vault}/secrets/none` }), { kind: "missing" });
  });

  test("that is disabled is: refused", async (t) => {
    const world = await open(t);
    world.simulator.setEnabled(vault, "web", false);

    assert.deepEqual(await world.read(), { kind: "refused", reason: "disabled" });
  });

  test("that the identity may not read is: refused", async (t) => {
    const world = await open(t);
    world.simulator.setReader(vault, world.objectId, false);

    assert.deepEqual(await world.read(), { kind: "refused", reason: "forbidden" });
  });
});

test("what services would compress is asked for as it is, tokens and refusals alike", async (t) => {
  const world = await open(t);
  const tokenFile = join(temporaryFolder(t), "token");
  writeFileSync(tokenFile, "jwt");
  const identity = { type: "workloadIdentity", clientId: world.clientId, tenantId, tokenFile } as const;
  world.simulator.setEnabled(vault, "web", false);

  const reading = await world.read({ identity });

  assert.deepEqual(reading, { kind: "refused", reason: "disabled" });
  assert.deepEqual(
    [...new Set(world.simulator.requests.map(({ acceptEncoding }) => acceptEncoding))],
    ["identity"],
  );
});

suite("a proxy that lets nothing through ends a reading, and its connections", () => {
  const cases: readonly (readonly [string, (socket: Socket) => void, RegExp])[] = [
    [
      "by its silence",
      () => undefined,
      /cannot be asked: (?:no whole answer within 6000 ms|no answer within 20 s)/,
    ],
    [
      "with a 407 that keeps the connection",
      (socket) => {
        socket.write(
          "HTTP/1.1 407 Proxy Authentication Required\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
        );
      },
      /cannot be asked: the proxy answered 407/,
    ],
    ["in another language", (socket) => void socket.write("220 ready\r\n"), /cannot be asked: .*Parse/],
    ["by hanging up", (socket) => void socket.end(), /cannot be asked: .*/],
    [
      "after a tunnel in which nobody speaks TLS",
      (socket) => void socket.write("HTTP/1.1 200 OK\r\n\r\n"),
      /cannot be asked: no (?:whole )?answer within/,
    ],
  ];
  for (const [how, answer, reason] of cases) {
    test(how, { timeout: 20_000 }, async (t) => {
      const world = await open(t);
      const { proxy, open: connections, accepted } = await openProxy(t, answer);

      const reading = await world.read({ network: { proxy, dial: besideProxy(world) } });

      assert.equal(reading.kind === "failed" && reading.failure, "vault-unavailable");
      assert.match(textOf(reading), reason);
      assert.ok(accepted() >= 2);
      await eventually("no connection is left", () => connections() === 0);
    });
  }

  test("at once when the store is closed", { timeout: 20_000 }, async (t) => {
    const world = await open(t);
    const { proxy, open: connections, accepted } = await openProxy(t, () => undefined);
    const address = readSecretUri(uri);
    assert.ok(address.ok);
    const watched = watchKeyVaultSecret(
      { address: address.address, identity: { type: "managedIdentity", objectId: world.objectId } },
      {
        clock: world.clock,
        log: silentLog,
        network: {
          certificateAuthority: world.simulator.certificateAuthority,
          proxy,
          dial: besideProxy(world),
        },
      },
    );
    const reading = watched.refresh().catch(() => "ended");
    await eventually("the proxy is asked", () => accepted() === 1);

    await watched.close();

    assert.equal(await reading, "ended");
    await eventually("no connection is left", () => connections() === 0);
  });
});

/** The metadata service at the simulator, everything else under its own name: the proxy is told that. */
function besideProxy(world: World): NonNullable<AzureNetwork["dial"]> {
  return (host, port) => (host === "169.254.169.254" ? world.simulator.dial(host, port) : { host, port });
}

async function openProxy(
  t: TestContext,
  answer: (socket: Socket) => void,
): Promise<{ readonly proxy: string; readonly open: () => number; readonly accepted: () => number }> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createTcpServer((socket) => {
    accepted++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => undefined);
    socket.once("data", () => answer(socket));
    socket.on("end", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { proxy: `http://127.0.0.1:${port}`, open: () => sockets.size, accepted: () => accepted };
}

suite("an identity that gets no token", () => {
  const cases: readonly (readonly [string, AzureIdentity, string, RegExp])[] = [
    [
      "is not on this machine",
      { type: "managedIdentity", objectId: randomUUID() },
      "identity-refused",
      /^What gives tokens answered 400 invalid_request: it gives no token for this identity\.$/,
    ],
    [
      "is unknown to the authority",
      { type: "workloadIdentity", clientId: randomUUID(), tenantId, tokenFile: import.meta.filename },
      "identity-refused",
      /answered 400 unauthorized_client/,
    ],
    [
      "has no token file",
      { type: "workloadIdentity", clientId: randomUUID(), tenantId, tokenFile: "/nowhere/token" },
      "configuration",
      /^There is no token to ask with: .*\/nowhere\/token/,
    ],
    ["has no environment", { type: "environment" }, "configuration", /^There is no token to ask with: /],
  ];
  for (const [what, identity, failure, reason] of cases) {
    test(`because it ${what} says so`, async (t) => {
      const world = await open(t);

      const reading = await world.read({ identity });

      assert.equal(reading.kind === "failed" && reading.failure, failure);
      assert.match(reading.kind === "failed" ? reading.reason : "", reason);
    });
  }
});

suite("nothing leaves for anywhere else", () => {
  for (const status of [301, 302, 307, 308]) {
    test(`when the vault redirects with ${status}`, async (t) => {
      const world = await open(t);
      let reached = 0;
      const elsewhere = createServer((_request, response) => {
        reached++;
        response.end('{"value":"contoso.example\\\\u:stolen"}');
      });
      await new Promise<void>((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
      t.after(() => elsewhere.close());
      const { port } = elsewhere.address() as AddressInfo;
      const headers = { location: `http://127.0.0.1:${port}/secrets/web` };
      world.simulator.fail({ service: "vault", fault: { kind: "status", status, headers } });

      const reading = await world.read();

      assert.equal(reading.kind === "failed" && reading.failure, "redirected");
      assert.equal(reached, 0);
    });
  }

  test("when the vault asks for a token for somebody else", async (t) => {
    const world = await open(t);
    const headers = {
      "www-authenticate": 'Bearer authorization="https://login.evil.test/x", resource="https://evil.test"',
    };
    world.simulator.fail({ service: "vault", fault: { kind: "status", status: 401, headers, body: "{}" } });

    const reading = await world.read();

    assert.equal(reading.kind, "failed");
    assert.ok(world.simulator.requests.every(({ query }) => !(query["resource"] ?? "").includes("evil")));
    assert.ok(world.simulator.requests.every(({ authorized }) => !authorized));
  });

  test("with a certificate of somebody else", async (t) => {
    const world = await open(t);
    const stranger = await open(t);

    const reading = await world.read({
      network: { certificateAuthority: stranger.simulator.certificateAuthority },
    });

    assert.match(textOf(reading), /The vault cannot be asked: .*certificate/i);
    assert.equal(world.simulator.count("vault"), 0);
  });
});

suite("a service's wish to be left alone", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  for (const [headers, expected] of [
    [{ "retry-after": "7" }, 7_000],
    [{ "retry-after": "Thu, 01 Jan 2026 00:00:09 GMT" }, 9_000],
    [{ "retry-after": "Wed, 31 Dec 2025 00:00:00 GMT" }, 0],
    [{ "retry-after-ms": "120", "retry-after": "7" }, 120],
    [{ "x-ms-retry-after-ms": "80" }, 80],
    [{ "retry-after": "soon" }, undefined],
    [{ "retry-after": "-1" }, undefined],
    [{}, undefined],
  ] as const) {
    test(`${JSON.stringify(headers)} is ${expected} ms`, () => {
      assert.equal(retryAfter(headers, now), expected);
    });
  }
});

test("whatever a service writes, its error and its wish are read without an exception", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), fc.string(), (body, wish) => {
      const { code = "x", innerCode = "x" } = errorCodes(body);
      const wait = retryAfter({ "retry-after": wish }, 0);

      assert.match(`${code} ${innerCode}`, /^\w+ \w+$/);
      assert.ok(wait === undefined || wait >= 0);
    }),
  );
});

suite("the codes of an error", () => {
  for (const [body, expected] of [
    ['{"error":"invalid_request","error_description":"x"}', { code: "invalid_request" }],
    [
      '{"error":{"code":"Forbidden","innererror":{"code":"SecretDisabled"}}}',
      { code: "Forbidden", innerCode: "SecretDisabled" },
    ],
    ['{"error":{"code":"two words"}}', {}],
    ['{"error":{"code":1}}', {}],
    ["null", {}],
    ["", {}],
  ] as const) {
    test(`of ${JSON.stringify(body)}`, () => {
      assert.deepEqual(errorCodes(body), expected);
    });
  }
});

import assert from "node:assert/strict";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { test, type TestContext } from "node:test";
import * as fc from "fast-check";
import {
  directoryAuthority,
  directoryCertificate,
  scriptedDirectory,
  simulatedDirectory,
  type TestServer,
} from "../../test/fixtures/test-directory.ts";
import {
  bindResponse,
  extendedResponse,
  resultCode,
  searchDone,
  searchEntry,
  searchReference,
  type LdapRequest,
} from "../directory-simulator/ldap-messages.ts";
import type { LdapSession } from "../directory-simulator/ldap-server.ts";
import { SallyportError, type ErrorCode } from "../errors.ts";
import { Secret } from "../secret.ts";
import { ber, berInteger, berTag } from "./ber.ts";
import { bindNameOfConfiguration, bindPassword, type BindName, type BindPassword } from "./bind-name.ts";
import {
  defaultConnectionLimits,
  openConnection,
  type ConnectionLimits,
  type DirectoryConnection,
} from "./connection.ts";
import { all, any, equals, hasBits, linksTo, not, present, type Filter } from "./filter.ts";
import { createAuthority } from "../pki/authority.ts";
import { createSecureContext } from "node:tls";

const soon = (milliseconds = 5000): AbortSignal => AbortSignal.timeout(milliseconds);

function name(text: string): BindName {
  const checked = bindNameOfConfiguration(text);
  assert.ok(checked !== undefined);
  return checked;
}

function password(text: string): BindPassword {
  const checked = bindPassword(new Secret(text));
  assert.ok(checked.ok);
  return checked.password;
}

async function connect(
  context: TestContext,
  to: TestServer,
  limits?: Partial<ConnectionLimits>,
): Promise<DirectoryConnection> {
  const { server, certificateAuthority } = to;
  const connection = await openConnection(server, { certificateAuthority }, soon(), {
    ...defaultConnectionLimits,
    ...limits,
  });
  context.after(() => connection.close());
  return connection;
}

async function code(promise: Promise<unknown>): Promise<ErrorCode> {
  try {
    await promise;
  } catch (thrown) {
    assert.ok(thrown instanceof SallyportError, String(thrown));
    return thrown.code;
  }
  throw new assert.AssertionError({ message: "it was expected to fail" });
}

const anything = { base: "DC=contoso,DC=test", scope: "sub", attributes: ["cn"] } as const;

/** Binds succeed; everything else is up to the test. */
function after(bind: (request: LdapRequest, session: LdapSession) => void) {
  return (request: LdapRequest, session: LdapSession): void => {
    if (request.kind === "bind") session.send(bindResponse(request.id, resultCode.success));
    else bind(request, session);
  };
}

for (const security of ["ldaps", "starttls"] as const) {
  test(`${security}: binds, says who it is and searches`, async (t) => {
    const simulator = await simulatedDirectory(t, { security });
    const connection = await connect(t, simulator);

    const bound = await connection.bind(name("alice@contoso.test"), password("Al1ce-Passw0rd"), soon());
    const who = await connection.whoAmI(soon());
    const found = await connection.search(
      {
        ...anything,
        filter: equals("sAMAccountName", "bob"),
        attributes: ["mail", "objectGUID"],
        binary: ["objectGUID"],
      },
      soon(),
    );

    assert.deepEqual(bound, { outcome: "bound" });
    assert.equal(who, "u:CONTOSO\\alice");
    assert.equal(found[0]?.text("MAIL"), "bob@contoso.test");
    assert.equal(found[0]?.octets("objectguid")?.length, 16);
  });

  test(`${security}: a connection that dropped never comes back, and nothing more is sent`, async (t) => {
    const seen: string[] = [];
    const directory = await scriptedDirectory(
      t,
      (request, session) => {
        seen.push(request.kind);
        if (request.kind === "bind") session.send(bindResponse(request.id, resultCode.success));
        else session.socket.destroy();
      },
      { security },
    );
    const connection = await connect(t, directory);
    await connection.bind(name("a@b"), password("x"), soon());

    const first = await code(connection.search(anything, soon()));
    const second = await code(connection.bind(name("a@b"), password("secret"), soon()));
    const third = await code(connection.bind(name("a@b"), password("secret"), soon()));

    assert.deepEqual(
      [first, second, third],
      ["E_DIRECTORY_PROTOCOL", "E_DIRECTORY_PROTOCOL", "E_DIRECTORY_PROTOCOL"],
    );
    assert.equal(directory.running.accepted(), 1);
    assert.deepEqual(seen, ["bind", "search"]);
    assert.ok(connection.closed);
  });

  test(`${security}: an idle close is followed by an error, not by an anonymous search`, async (t) => {
    let close: (() => void) | undefined;
    const directory = await scriptedDirectory(
      t,
      (request, session) => {
        close = () => session.end();
        if (request.kind === "bind") session.send(bindResponse(request.id, resultCode.success));
      },
      { security },
    );
    const connection = await connect(t, directory);
    await connection.bind(name("a@b"), password("x"), soon());
    const closed = new Promise<void>((resolve) => connection.onClose(resolve));
    close?.();
    await closed;

    assert.equal(await code(connection.search(anything, soon())), "E_DIRECTORY_PROTOCOL");
    assert.equal(directory.running.accepted(), 1);
  });
}

test("nothing is said in clear text before or after a StartTLS that fails", async (t) => {
  const received: Buffer[] = [];
  const sockets = new Set<Socket>();
  const answers: readonly (readonly [string, Buffer])[] = [
    ["refused", extendedResponse(1, 52, "no")],
    ["garbage", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
    ["bytes injected before TLS", Buffer.concat([extendedResponse(1, 0), bindResponse(2, 0)])],
    ["a length without end", Buffer.from([0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02])],
    ["a close", Buffer.alloc(0)],
  ];
  let answer = Buffer.alloc(0);
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      received.push(chunk);
      if (answer.length === 0) socket.end();
      else socket.write(answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;

  for (const [what, bytes] of answers) {
    answer = Buffer.from(bytes);
    received.length = 0;
    const opening = openConnection({ host: "127.0.0.1", port, security: "starttls" }, {}, soon());

    assert.equal(await code(opening), "E_DIRECTORY_PROTOCOL", what);
    assert.equal(Buffer.concat(received).length, 31, what);
  }
});

test("a certificate of another name, of another authority or out of date is refused", async (t) => {
  const stranger = await createAuthority({
    commonName: "Stranger",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    clock: { now: Date.now, after: () => () => undefined },
  });
  const strange = await stranger.issue({
    commonName: "x",
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    ipAddresses: ["127.0.0.1"],
  });
  const past = await createAuthority({
    commonName: "Past",
    keyType: "ec-p256",
    lifetimeMs: 7_200_000,
    clock: { now: () => Date.now() - 7_000_000, after: () => () => undefined },
  });
  const expired = await past.issue({
    commonName: "x",
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: 600_000,
    ipAddresses: ["127.0.0.1"],
  });
  const context = (issued: typeof strange) =>
    createSecureContext({ cert: issued.chainPem, key: issued.privateKeyPem.reveal() });
  const ours = (await directoryAuthority()).certificatePem;
  const cases = [
    ["a name that is not dialled", await directoryCertificate({ dnsNames: ["dc1.contoso.test"] }), ours],
    ["localhost for an address", await directoryCertificate({ dnsNames: ["localhost"] }), ours],
    ["another authority", context(strange), ours],
    ["expired", context(expired), past.certificatePem],
  ] as const;

  for (const security of ["ldaps", "starttls"] as const) {
    for (const [what, certificate, certificateAuthority] of cases) {
      const directory = await scriptedDirectory(t, () => assert.fail("nothing may be asked"), {
        security,
        certificate,
      });
      const opening = openConnection(directory.server, { certificateAuthority }, soon());

      assert.equal(await code(opening), "E_DIRECTORY_TLS", `${security}: ${what}`);
    }
  }
});

test("a certificate is accepted for the name that configuration gives", async (t) => {
  const certificate = await directoryCertificate({ dnsNames: ["dc1.contoso.test"] });
  const directory = await scriptedDirectory(t, () => undefined, { certificate });

  const connection = await openConnection(
    directory.server,
    { certificateAuthority: directory.certificateAuthority, certificateName: "dc1.contoso.test" },
    soon(),
  );

  assert.ok(!connection.closed);
  connection.close();
});

test("TLS 1.1 is refused", async (t) => {
  const { certificatePem } = await directoryAuthority();
  const issued = await (
    await directoryAuthority()
  ).issue({
    commonName: "x",
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    ipAddresses: ["127.0.0.1"],
  });
  const certificate = createSecureContext({
    cert: issued.chainPem,
    key: issued.privateKeyPem.reveal(),
    minVersion: "TLSv1",
    maxVersion: "TLSv1.1",
    ciphers: "DEFAULT@SECLEVEL=0",
  });
  const directory = await scriptedDirectory(t, () => undefined, { certificate });

  assert.equal(
    await code(openConnection(directory.server, { certificateAuthority: certificatePem }, soon())),
    "E_DIRECTORY_TLS",
  );
});

test("an empty, blank or NUL-leading password cannot become a bind password", () => {
  for (const text of ["", " ", "\t\n", "\0", "\0secret", "\u00a0"]) {
    assert.deepEqual(
      bindPassword(new Secret(text)),
      { ok: false, problem: "empty-password" },
      JSON.stringify(text),
    );
  }
  assert.equal(bindPassword(new Secret("a\0b")).ok, false);
});

test("even a forged bind password that is empty is not sent", async (t) => {
  const seen: string[] = [];
  const directory = await scriptedDirectory(t, (request, session) => {
    seen.push(request.kind);
    session.send(bindResponse(request.id, resultCode.success));
  });
  const connection = await connect(t, directory);

  await assert.rejects(connection.bind(name("a@b"), new Secret("") as BindPassword, soon()), TypeError);
  assert.deepEqual(seen, []);
});

test("a name that the library would take for a SASL mechanism cannot be a bind name", () => {
  for (const text of ["PLAIN", "EXTERNAL", "DIGEST-MD5", "SCRAM-SHA-1", "alice", ""]) {
    assert.equal(bindNameOfConfiguration(text), undefined, text);
  }
});

test("a message larger than allowed ends the connection at its header", async (t) => {
  for (const header of [
    [0x30, 0x84, 0x7f, 0xff, 0xff, 0xff],
    [0x30, 0x80],
    [0x30, 0x89],
    [0x47, 0x45, 0x54],
  ]) {
    const directory = await scriptedDirectory(
      t,
      after((_, session) => void session.socket.write(Buffer.from(header))),
    );
    const connection = await connect(t, directory);
    await connection.bind(name("a@b"), password("x"), soon());
    const began = performance.now();

    assert.equal(await code(connection.search(anything, soon())), "E_DIRECTORY_PROTOCOL");
    assert.ok(performance.now() - began < 1000);
  }
});

test("a large message in small pieces costs time in proportion to its size", async (t) => {
  const value = Buffer.alloc(2_000_000, "x");
  const directory = await scriptedDirectory(
    t,
    after((request, session) => {
      const bytes = Buffer.concat([
        searchEntry(request.id, "CN=a", [["cn", [value]]]),
        searchDone(request.id),
      ]);
      for (let at = 0; at < bytes.length; at += 1024) session.socket.write(bytes.subarray(at, at + 1024));
    }),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());

  const found = await connection.search({ ...anything, binary: ["cn"] }, soon());

  assert.equal(found[0]?.octets("cn")?.length, value.length);
});

test("more entries than allowed end the connection", async (t) => {
  const directory = await scriptedDirectory(
    t,
    after((request, session) => {
      for (let index = 0; index < 60; index++)
        session.send(searchEntry(request.id, `CN=${index}`, [["cn", [String(index)]]]));
      session.send(searchDone(request.id));
    }),
  );
  const connection = await connect(t, directory, { maxEntries: 50 });
  await connection.bind(name("a@b"), password("x"), soon());

  assert.equal(await code(connection.search(anything, soon())), "E_DIRECTORY_PROTOCOL");
});

test("a directory that stalls in the middle of a message is left at the deadline", async (t) => {
  const directory = await scriptedDirectory(
    t,
    after((request, session) => {
      session.socket.write(searchEntry(request.id, "CN=a", [["cn", ["a"]]]).subarray(0, 9));
    }),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());

  assert.equal(await code(connection.search(anything, soon(200))), "E_DIRECTORY_TIMEOUT");
  assert.ok(connection.closed);
});

test("a directory that never answers the handshake is left at the deadline", async (t) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => sockets.push(socket.on("error", () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;

  for (const security of ["ldaps", "starttls"] as const) {
    assert.equal(
      await code(openConnection({ host: "127.0.0.1", port, security }, {}, soon(200))),
      "E_DIRECTORY_TIMEOUT",
    );
  }
});

test("a message that cannot be parsed ends the connection at once, with whatever follows it", async (t) => {
  const unreadable: readonly Buffer[] = [
    ber(berTag.sequence, berInteger(2), ber(0x6f, "?")),
    ber(berTag.sequence, berInteger(0), ber(0x78, berInteger(52, berTag.enumerated), ber(4), ber(4))),
    ber(berTag.sequence, ber(berTag.octetString, "id"), ber(0x64)),
    ber(
      berTag.sequence,
      berInteger(2),
      ber(0x64, ber(4, "CN=a"), ber(0x30, ber(0x30, ber(4, "cn"), ber(0x31, ber(2, "x"))))),
    ),
  ];
  for (const bytes of unreadable) {
    const directory = await scriptedDirectory(
      t,
      after((request, session) => session.send(bytes, searchDone(request.id))),
    );
    const connection = await connect(t, directory);
    await connection.bind(name("a@b"), password("x"), soon());

    assert.equal(await code(connection.search(anything, soon())), "E_DIRECTORY_PROTOCOL");
    assert.ok(connection.closed);
  }
});

test("attributes of impossible names, or given twice, are refused", async (t) => {
  const entries: readonly (readonly [string, readonly string[]])[][] = [
    [["dn", ["CN=somebody else"]]],
    [["__proto__", ["a", "b"]]],
    [
      ["cn", ["a"]],
      ["CN", ["b"]],
    ],
  ];
  for (const attributes of entries) {
    const directory = await scriptedDirectory(
      t,
      after((request, session) =>
        session.send(searchEntry(request.id, "CN=a", attributes), searchDone(request.id)),
      ),
    );
    const connection = await connect(t, directory);
    await connection.bind(name("a@b"), password("x"), soon());

    assert.equal(await code(connection.search(anything, soon())), "E_DIRECTORY_PROTOCOL");
  }
});

test("a binary attribute spelt differently is refused instead of being altered", async (t) => {
  const directory = await scriptedDirectory(
    t,
    after((request, session) =>
      session.send(
        searchEntry(request.id, "CN=a", [["objectguid", [Buffer.alloc(16, 0x41)]]]),
        searchDone(request.id),
      ),
    ),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());

  assert.equal(
    await code(
      connection.search({ ...anything, attributes: ["objectGUID"], binary: ["objectGUID"] }, soon()),
    ),
    "E_DIRECTORY_PROTOCOL",
  );
});

test("octets come exactly as they were sent", async (t) => {
  const values = [
    Buffer.from([0xef, 0xbb, 0xbf, 0x41]),
    Buffer.from([0xff, 0, 0x80]),
    Buffer.alloc(16, 0x41),
  ];
  const directory = await scriptedDirectory(
    t,
    after((request, session) =>
      session.send(searchEntry(request.id, "CN=a", [["tokenGroups", values]]), searchDone(request.id)),
    ),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());

  const [entry] = await connection.search(
    { ...anything, attributes: ["tokenGroups"], binary: ["tokenGroups"] },
    soon(),
  );

  assert.deepEqual(entry?.allOctets("tokenGroups"), values);
});

test("an attribute that comes in ranges is completed", async (t) => {
  const all3000 = Array.from({ length: 3000 }, (_, index) => `CN=${index}`);
  const directory = await scriptedDirectory(
    t,
    after((request, session) => {
      if (request.kind !== "search") return;
      const low = Number(/range=(\d+)-/.exec(request.search.attributes[0] ?? "")?.[1] ?? 0);
      const high = low + 1500 >= all3000.length ? "*" : String(low + 1499);
      session.send(
        searchEntry(request.id, "CN=g", [[`member;range=${low}-${high}`, all3000.slice(low, low + 1500)]]),
        searchDone(request.id),
      );
    }),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());

  const [entry] = await connection.search({ ...anything, attributes: ["member"] }, soon());

  assert.deepEqual(entry?.texts("member"), all3000);
});

test("a range that leads nowhere is an error, not a shorter list", async (t) => {
  const directory = await scriptedDirectory(
    t,
    after((request, session) => {
      session.send(
        searchEntry(request.id, "CN=g", [["member;range=0-1", ["CN=1", "CN=2"]]]),
        searchDone(request.id),
      );
    }),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());

  assert.equal(
    await code(connection.search({ ...anything, attributes: ["member"] }, soon())),
    "E_DIRECTORY_PROTOCOL",
  );
});

test("all pages of a search are read, one without entries among them", async (t) => {
  const pages = [["a", "b"], [], ["c"]];
  const directory = await scriptedDirectory(
    t,
    after((request, session) => {
      if (request.kind !== "search") return;
      const page = Number(request.search.page?.cookie.toString() || "0");
      const names = pages[page] ?? [];
      session.send(
        ...names.map((cn) => searchEntry(request.id, `CN=${cn}`, [["cn", [cn]]])),
        searchDone(request.id, 0, "", Buffer.from(page + 1 < pages.length ? String(page + 1) : "")),
      );
    }),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());

  const found = await connection.search({ ...anything, pageSize: 2 }, soon());

  assert.deepEqual(
    found.map((entry) => entry.text("cn")),
    ["a", "b", "c"],
  );
});

test("referrals to other servers are ignored, and one as the answer is an error", async (t) => {
  let dials = 0;
  const elsewhere = createServer(() => (dials += 1));
  await new Promise<void>((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
  t.after(() => elsewhere.close());
  const url = `ldap://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/DC=x`;
  let last = 0;
  const directory = await scriptedDirectory(
    t,
    after((request, session) => {
      for (let index = 0; index < 1000; index++) session.send(searchReference(request.id, url));
      session.send(searchEntry(request.id, "CN=a", [["cn", ["a"]]]), searchDone(request.id, last));
    }),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());

  assert.equal((await connection.search(anything, soon())).length, 1);
  last = resultCode.referral;
  assert.equal(await code(connection.search(anything, soon())), "E_DIRECTORY_RESULT");
  assert.equal(dials, 0);
});

test("the signal ends a search that is under way", async (t) => {
  const directory = await scriptedDirectory(
    t,
    after(() => undefined),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());
  const controller = new AbortController();
  const search = code(connection.search(anything, controller.signal));
  setImmediate(() => controller.abort());

  assert.equal(await search, "E_DIRECTORY_TIMEOUT");
});

test("every filter reaches the directory as it was built, whatever its values", async (t) => {
  let received: Filter | undefined;
  const directory = await scriptedDirectory(
    t,
    after((request, session) => {
      if (request.kind === "search") received = request.search.filter;
      session.send(searchDone(request.id));
    }),
  );
  const connection = await connect(t, directory);
  await connection.bind(name("a@b"), password("x"), soon());
  const text = fc.oneof(
    fc.string({ unit: fc.constantFrom(...Array.from("*()\\\0ab&|!=é")) }),
    fc.string({ unit: "grapheme" }),
  );
  const leaf = fc.oneof(
    text.map((value): Filter => equals("cn", Buffer.from(value))),
    fc.uint8Array({ minLength: 1 }).map((value): Filter => equals("objectGUID", Buffer.from(value))),
    fc.constant(present("mail")),
    fc.integer({ min: 0 }).map((bits) => hasBits("userAccountControl", bits)),
    text.map((value) => linksTo("memberOf", value)),
  );
  const { tree } = fc.letrec<{ tree: Filter }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3 },
      leaf,
      fc.array(tie("tree"), { maxLength: 3 }).map((of) => all(...of)),
      fc.array(tie("tree"), { maxLength: 3 }).map((of) => any(...of)),
      tie("tree").map(not),
    ),
  }));

  await fc.assert(
    fc.asyncProperty(tree, async (filter) => {
      await connection.search({ ...anything, filter }, soon());
      assert.deepEqual(received, filter);
    }),
    { numRuns: 200 },
  );
});

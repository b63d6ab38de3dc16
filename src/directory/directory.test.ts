import assert from "node:assert/strict";
import { createServer, type AddressInfo } from "node:net";
import { test } from "node:test";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import {
  directoryOf,
  scriptedDirectory,
  simulatedDirectory,
  testContent,
  type TestServer,
} from "../../test/fixtures/test-directory.ts";
import {
  bindResponse,
  extendedResponse,
  resultCode,
  searchDone,
  searchEntry,
  type LdapRequest,
} from "../directory-simulator/ldap-messages.ts";
import type { LdapHandler, LdapSession } from "../directory-simulator/ldap-server.ts";
import { createLog } from "../observe/log.ts";
import { Secret } from "../secret.ts";
import type { BindRefusal } from "./bind-diagnostic.ts";
import { sidToBytes, type Sid } from "./sid.ts";

const alicesDn = "CN=Alice,OU=People,DC=contoso,DC=test";
const alicesAttributes: readonly (readonly [string, readonly (string | Buffer)[]])[] = [
  ["objectGUID", [Buffer.alloc(16, 7)]],
  ["objectSid", [sidToBytes("S-1-5-21-1-2-3-1104" as Sid)]],
  ["sAMAccountName", ["alice"]],
  ["userAccountControl", ["512"]],
  ["msDS-User-Account-Control-Computed", ["0"]],
  ["pwdLastSet", ["134000000000000000"]],
  ["primaryGroupID", ["513"]],
];

interface Script {
  /** Answers a person's bind; the service account is always accepted. */
  readonly bind?: (request: Extract<LdapRequest, { kind: "bind" }>, session: LdapSession) => void;
  readonly search?: (request: Extract<LdapRequest, { kind: "search" }>, session: LdapSession) => void;
  readonly whoAmI?: string;
}

interface Recorded {
  readonly handler: LdapHandler;
  /** What was asked, in order: `bind alice's DN`, `search`, … */
  readonly asked: string[];
}

function script({ bind, search, whoAmI = "u:CONTOSO\\alice" }: Script): Recorded {
  const asked: string[] = [];
  const handler: LdapHandler = (request, session) => {
    switch (request.kind) {
      case "bind":
        if (request.name === "ccg-impersonator@contoso.test")
          return session.send(bindResponse(request.id, 0));
        asked.push(`bind ${request.name === alicesDn ? "alice" : "somebody"}`);
        return bind === undefined ? session.send(bindResponse(request.id, 0)) : bind(request, session);
      case "search":
        asked.push("search");
        return search === undefined
          ? session.send(searchEntry(request.id, alicesDn, alicesAttributes), searchDone(request.id))
          : search(request, session);
      case "extended":
        asked.push("whoami");
        return session.send(extendedResponse(request.id, 0, "", whoAmI));
      case "unbind":
      case "other":
        return session.end();
    }
  };
  return { handler, asked };
}

const refuseWith =
  (data: string): NonNullable<Script["bind"]> =>
  (request, session) =>
    session.send(
      bindResponse(
        request.id,
        resultCode.invalidCredentials,
        `80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data ${data}, v4563\0`,
      ),
    );

const diagnostics: readonly (readonly [string, BindRefusal, boolean])[] = [
  ["525", "unknown-account", false],
  ["52e", "wrong-password", false],
  ["530", "logon-hours", false],
  ["531", "workstation-restriction", false],
  ["532", "password-expired", true],
  ["533", "account-disabled", false],
  ["568", "too-many-groups", false],
  ["701", "account-expired", false],
  ["773", "must-change-password", true],
  ["775", "locked-out", false],
  ["dead", "unrecognised", false],
];
for (const [data, reason, passwordProven] of diagnostics) {
  test(`a bind refused with data ${data} is refused as ${reason}`, async (t) => {
    const directory = directoryOf(t, [
      await scriptedDirectory(t, script({ bind: refuseWith(data) }).handler),
    ]);

    const result = await directory.authenticate("alice", new Secret("x"), { groups: false });

    assert.equal(result.outcome, "refused");
    assert.deepEqual(result.outcome === "refused" && [result.reason, result.passwordProven], [
      reason,
      passwordProven,
    ]);
  });
}

test("an empty password is refused before anything is asked, even of a directory that would answer success", async (t) => {
  const { handler, asked } = script({});
  const directory = directoryOf(t, [await scriptedDirectory(t, handler)]);

  for (const password of ["", " ", "\t", "\0", "\0x"]) {
    const result = await directory.authenticate("alice", new Secret(password));
    assert.deepEqual(result, { outcome: "refused", reason: "empty-password", passwordProven: false });
  }
  assert.deepEqual(asked, []);
});

for (const whoAmI of ["", "u:CONTOSO\\bob", "dn:CN=somebody", "u:CONTOSO\\alice2"]) {
  test(`a bind that succeeded as "${whoAmI}" does not authenticate alice`, async (t) => {
    const directory = directoryOf(t, [await scriptedDirectory(t, script({ whoAmI }).handler)]);

    const result = await directory.authenticate("alice", new Secret("x"), { groups: false });

    assert.equal(result.outcome === "refused" && result.reason, "identity-mismatch");
  });
}

test("an absent person takes the same round trips as one with a wrong password", async (t) => {
  const present = script({ bind: refuseWith("52e") });
  const absent = script({
    bind: refuseWith("525"),
    search: (request, session) => session.send(searchDone(request.id)),
  });
  const kinds = (asked: readonly string[]): readonly string[] => asked.map((one) => one.split(" ")[0] ?? "");

  await directoryOf(t, [await scriptedDirectory(t, present.handler)]).authenticate("alice", new Secret("x"));
  await directoryOf(t, [await scriptedDirectory(t, absent.handler)]).authenticate("nobody", new Secret("x"));

  assert.deepEqual(kinds(absent.asked), kinds(present.asked));
  assert.deepEqual(absent.asked, ["search", "bind somebody"]);
});

test("what a user typed never reaches the decoy's bind", async (t) => {
  const sent: string[] = [];
  const { handler } = script({
    search: (request, session) => session.send(searchDone(request.id)),
    bind: (request, session) => {
      sent.push(request.name, request.password);
      session.send(bindResponse(request.id, resultCode.invalidCredentials));
    },
  });
  await directoryOf(t, [await scriptedDirectory(t, handler)]).authenticate("EXTERNAL", new Secret("typed"));

  assert.ok(!sent.join().includes("EXTERNAL") && !sent.join().includes("typed"));
});

test("a refusal is not told sooner than the floor", async (t) => {
  const simulator = await simulatedDirectory(t);
  const directory = directoryOf(t, [simulator], { refusalFloorMs: 120 });
  const took = async (name: string): Promise<number> => {
    const began = performance.now();
    await directory.authenticate(name, new Secret("wrong"));
    return performance.now() - began;
  };

  assert.ok((await took("alice")) >= 118);
  assert.ok((await took("nobody")) >= 118);
});

test("two accounts for one name are an error for the operator and a refusal for the user", async (t) => {
  const lines: string[] = [];
  const { handler, asked } = script({
    search: (request, session) =>
      session.send(
        searchEntry(request.id, alicesDn, alicesAttributes),
        searchEntry(request.id, "CN=Other,DC=contoso,DC=test", alicesAttributes),
        searchDone(request.id, resultCode.sizeLimitExceeded),
      ),
    bind: refuseWith("52e"),
  });
  const server = await scriptedDirectory(t, handler);
  const { Directory } = await import("./directory.ts");
  const directory = new Directory(
    {
      domain: "contoso.test",
      controllers: { from: "list", servers: [server.server] },
      trust: { certificateAuthority: server.certificateAuthority },
      serviceAccount: { name: "ccg-impersonator@contoso.test", password: new Secret("x") },
      refusalFloorMs: 0,
    },
    { log: createLog({ sink: { write: (line) => void lines.push(line) } }) },
  );
  t.after(() => directory.close());

  assert.deepEqual(await directory.resolve("alice"), { outcome: "ambiguous" });
  const result = await directory.authenticate("alice", new Secret("x"));

  assert.equal(result.outcome === "refused" && result.reason, "ambiguous-name");
  assert.deepEqual(asked.slice(1), ["search", "bind somebody"]);
  assert.ok(lines.some((line) => line.includes("directory.ambiguous")));
});

test("an entry without what identity rests on is an error, not a person", async (t) => {
  for (const missing of [
    "objectGUID",
    "objectSid",
    "userAccountControl",
    "msDS-User-Account-Control-Computed",
    "pwdLastSet",
  ]) {
    const { handler } = script({
      search: (request, session) =>
        session.send(
          searchEntry(
            request.id,
            alicesDn,
            alicesAttributes.filter(([name]) => name !== missing),
          ),
          searchDone(request.id),
        ),
    });
    const result = await directoryOf(t, [await scriptedDirectory(t, handler)]).authenticate(
      "alice",
      new Secret("x"),
    );

    assert.equal(result.outcome === "unavailable" && result.error.code, "E_DIRECTORY_ENTRY", missing);
  }
});

test("account problems are seen even when the directory accepts the bind", async (t) => {
  const { handler } = script({
    search: (request, session) =>
      session.send(
        searchEntry(
          request.id,
          alicesDn,
          alicesAttributes.map(([name, values]) => [name, name === "userAccountControl" ? ["514"] : values]),
        ),
        searchDone(request.id),
      ),
  });
  const result = await directoryOf(t, [await scriptedDirectory(t, handler)]).authenticate(
    "alice",
    new Secret("x"),
  );

  assert.equal(result.outcome === "refused" && result.reason, "disabled");
});

test("10,000 groups fail with a name instead of being cut short", async (t) => {
  const sids = Array.from({ length: 10_000 }, (_, index) =>
    sidToBytes(`S-1-5-21-1-2-3-${2000 + index}` as Sid),
  );
  const { handler } = script({
    search: (request, session) =>
      request.search.attributes.includes("tokenGroups")
        ? session.send(searchEntry(request.id, alicesDn, [["tokenGroups", sids]]), searchDone(request.id))
        : session.send(searchEntry(request.id, alicesDn, alicesAttributes), searchDone(request.id)),
  });
  const result = await directoryOf(t, [await scriptedDirectory(t, handler)]).authenticate(
    "alice",
    new Secret("x"),
  );

  assert.equal(result.outcome === "unavailable" && result.error.code, "E_DIRECTORY_TOO_MANY_GROUPS");
});

async function deadServer(): Promise<TestServer["server"]> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return { host: "127.0.0.1", port, security: "ldaps" };
}

test("a dead controller is passed over, and left alone while its pause lasts", async (t) => {
  const simulator = await simulatedDirectory(t);
  const dead = await deadServer();
  const directory = directoryOf(t, [simulator], {
    controllers: { from: "list", servers: [dead, simulator.server] },
  });

  assert.equal((await directory.resolve("alice")).outcome, "found");
  assert.deepEqual(
    directory.failingControllers().map(({ server }) => server),
    [`127.0.0.1:${dead.port}`],
  );
  const steps: string[] = [];
  await directory.resolve("alice", {
    onStep: ({ step, detail }) => void (step === "controller" && steps.push(detail)),
  });
  assert.deepEqual(steps, [`127.0.0.1:${simulator.server.port}`]);
});

test("without any controller the answer is unavailable, with the reason", async (t) => {
  const simulator = await simulatedDirectory(t);
  const directory = directoryOf(t, [simulator], {
    controllers: { from: "list", servers: [await deadServer()] },
  });

  const result = await directory.authenticate("alice", new Secret("x"));

  assert.equal(result.outcome === "unavailable" && result.error.code, "E_DIRECTORY_UNREACHABLE");
});

for (const code of [resultCode.busy, resultCode.unavailable]) {
  test(`a controller that answers ${code} is passed over`, async (t) => {
    const busy = await scriptedDirectory(
      t,
      script({ search: (request, session) => session.send(searchDone(request.id, code, "later")) }).handler,
    );
    const simulator = await simulatedDirectory(t);
    const directory = directoryOf(t, [busy, simulator]);

    assert.equal(
      (await directory.authenticate("alice", new Secret("Al1ce-Passw0rd"))).outcome,
      "authenticated",
    );
  });
}

test("a wrong password is never tried on another controller", async (t) => {
  const [one, two] = [script({ bind: refuseWith("52e") }), script({ bind: refuseWith("52e") })];
  const directory = directoryOf(t, [
    await scriptedDirectory(t, one.handler),
    await scriptedDirectory(t, two.handler),
  ]);

  await directory.authenticate("alice", new Secret("wrong"));

  assert.deepEqual(one.asked, ["search", "bind alice"]);
  assert.deepEqual(two.asked, []);
});

test("a password that was sent is not sent elsewhere when no answer comes", async (t) => {
  const one = script({ bind: (_, session) => void session.socket.destroy() });
  const two = script({});
  const directory = directoryOf(t, [
    await scriptedDirectory(t, one.handler),
    await scriptedDirectory(t, two.handler),
  ]);

  const result = await directory.authenticate("alice", new Secret("x"));

  assert.equal(result.outcome, "unavailable");
  assert.deepEqual([one.asked.filter((what) => what.startsWith("bind")).length, two.asked.length], [1, 0]);
});

test("a refused service account is not tried again until its pause is over or its password changes", async (t) => {
  const clock = new FakeClock();
  let binds = 0;
  const server = await scriptedDirectory(t, (request, session) => {
    if (request.kind === "bind") {
      binds += 1;
      return session.send(
        bindResponse(
          request.id,
          request.password === "right" ? 0 : resultCode.invalidCredentials,
          "data 52e",
        ),
      );
    }
    return session.send(searchDone(request.id));
  });
  let password = new Secret("old");
  const { Directory } = await import("./directory.ts");
  const directory = new Directory(
    {
      domain: "contoso.test",
      controllers: { from: "list", servers: [server.server] },
      trust: { certificateAuthority: server.certificateAuthority },
      serviceAccount: { name: "reader@contoso.test", password: () => password },
    },
    { clock },
  );
  t.after(() => directory.close());

  for (let attempt = 0; attempt < 5; attempt++)
    await assert.rejects(directory.resolve("alice"), { code: "E_DIRECTORY_SERVICE_ACCOUNT" });
  assert.equal(binds, 1);
  await clock.advance(61_000);
  await assert.rejects(directory.resolve("alice"));
  await assert.rejects(directory.resolve("alice"));
  assert.equal(binds, 2);
  await clock.advance(61_000);
  await assert.rejects(directory.resolve("alice"));
  assert.equal(binds, 2);
  password = new Secret("right");
  assert.equal((await directory.resolve("alice")).outcome, "absent");
});

test("the deadline holds for the whole operation", async (t) => {
  const directory = directoryOf(
    t,
    [await scriptedDirectory(t, script({ search: () => undefined }).handler)],
    { timeoutMs: 150 },
  );
  const began = performance.now();

  const result = await directory.authenticate("alice", new Secret("x"));

  assert.equal(result.outcome === "unavailable" && result.error.code, "E_DIRECTORY_TIMEOUT");
  assert.ok(performance.now() - began < 2000);
});

test("connections are used again, and searches never run as a person", async (t) => {
  const simulator = await simulatedDirectory(t);
  const directory = directoryOf(t, [simulator]);

  for (let round = 0; round < 20; round++) {
    const [name, password] = round % 2 === 0 ? ["alice", "Al1ce-Passw0rd"] : ["bob", "B0b-Passw0rd!"];
    const result = await directory.authenticate(name ?? "", new Secret(password ?? ""));
    assert.equal(result.outcome === "authenticated" && result.person.accountName, name);
  }

  assert.equal(simulator.running.accepted(), 2);
});

test("an idle connection that the server closed costs no failure", async (t) => {
  const sessions: LdapSession[] = [];
  const recorded = script({});
  const server = await scriptedDirectory(t, (request, session) => {
    if (!sessions.includes(session)) sessions.push(session);
    return recorded.handler(request, session);
  });
  const directory = directoryOf(t, [server]);
  assert.equal(
    (await directory.authenticate("alice", new Secret("x"), { groups: false })).outcome,
    "authenticated",
  );
  for (const session of sessions) session.socket.destroy();

  assert.equal(
    (await directory.authenticate("alice", new Secret("x"), { groups: false })).outcome,
    "authenticated",
  );
});

test("no more connections are opened than allowed, and everybody gets a turn", async (t) => {
  const simulator = await simulatedDirectory(t);
  const directory = directoryOf(t, [simulator], { maxConnections: 2 });

  const results = await Promise.all(
    Array.from({ length: 12 }, () => directory.authenticate("alice", new Secret("Al1ce-Passw0rd"))),
  );

  assert.ok(results.every(({ outcome }) => outcome === "authenticated"));
  assert.ok(simulator.running.accepted() <= 4);
});

test("no password is in the log, in the steps or in a result", async (t) => {
  const lines: string[] = [];
  const simulator = await simulatedDirectory(t);
  const { Directory } = await import("./directory.ts");
  const directory = new Directory(
    {
      domain: "contoso.test",
      controllers: { from: "list", servers: [simulator.server] },
      trust: { certificateAuthority: simulator.certificateAuthority },
      serviceAccount: { name: "ccg-impersonator@contoso.test", password: new Secret("Imp3rson@te!") },
      refusalFloorMs: 0,
    },
    { log: createLog({ level: "debug", sink: { write: (line) => void lines.push(line) } }) },
  );
  t.after(() => directory.close());

  for (const password of ["Al1ce-Passw0rd", "wr0ng-secret"]) {
    const result = await directory.authenticate("alice", new Secret(password), {
      onStep: (step) => void lines.push(JSON.stringify(step)),
    });
    lines.push(JSON.stringify(result));
  }

  assert.ok(lines.length > 8);
  for (const secret of ["Al1ce-Passw0rd", "wr0ng-secret", "Imp3rson@te!"])
    assert.ok(!lines.join("\n").includes(secret));
});

test("a typed name stands in no log line", async (t) => {
  const lines: string[] = [];
  const simulator = await simulatedDirectory(t);
  const { Directory } = await import("./directory.ts");
  const directory = new Directory(
    {
      domain: "contoso.test",
      controllers: { from: "list", servers: [simulator.server] },
      trust: { certificateAuthority: simulator.certificateAuthority },
      serviceAccount: { name: "ccg-impersonator@contoso.test", password: new Secret("Imp3rson@te!") },
      refusalFloorMs: 0,
    },
    { log: createLog({ level: "debug", sink: { write: (line) => void lines.push(line) } }) },
  );
  t.after(() => directory.close());

  // People type their password where the name belongs.
  await directory.authenticate("MyPassw0rd-by-mistake", new Secret("x"));

  assert.ok(lines.length > 0 && !lines.join("\n").includes("by-mistake"));
});

test("a direct membership that ends is seen at once, one in a chain of groups within a minute", async (t) => {
  const clock = new FakeClock();
  const memberOf = { alice: ["Inner"], inner: ["Middle"] };
  const content = (): typeof testContent => ({
    ...testContent,
    people: testContent.people.map((person) =>
      person.accountName === "alice" ? { ...person, memberOf: memberOf.alice } : person,
    ),
    groups: testContent.groups.map((group) =>
      group.name === "Inner" ? { ...group, memberOf: memberOf.inner } : group,
    ),
  });
  const simulator = await simulatedDirectory(t, { content: { ...content() } });
  const { Directory } = await import("./directory.ts");
  const directory = new Directory(
    {
      domain: "contoso.test",
      controllers: { from: "list", servers: [simulator.server] },
      trust: { certificateAuthority: simulator.certificateAuthority },
      serviceAccount: { name: "ccg-impersonator@contoso.test", password: new Secret("Imp3rson@te!") },
    },
    { clock },
  );
  t.after(() => directory.close());
  const names = async (): Promise<string> => {
    const found = await directory.resolve("alice");
    return found.outcome === "found"
      ? found.groups
          .map(({ name }) => name)
          .sort()
          .join()
      : found.outcome;
  };

  assert.equal(await names(), "Domain Users,Inner,Middle,Outer");
  memberOf.inner = [];
  simulator.domain.replaceContent(content());
  assert.equal(await names(), "Domain Users,Inner,Middle,Outer");
  await clock.advance(60_000);
  assert.equal(await names(), "Domain Users,Inner");
  memberOf.alice = [];
  simulator.domain.replaceContent(content());
  assert.equal(await names(), "Domain Users");
});

test("1,000 groups are resolved, and faster the second time", async (t) => {
  const names = Array.from({ length: 1000 }, (_, index) => `Team ${index}`);
  const simulator = await simulatedDirectory(t, {
    content: {
      ...testContent,
      groups: names.map((name) => ({ name })),
      people: testContent.people.map((person) =>
        person.accountName === "alice" ? { ...person, memberOf: names } : person,
      ),
    },
  });
  const directory = directoryOf(t, [simulator], { timeoutMs: 60_000 });

  const first = await directory.resolve("alice");
  const second = await directory.resolve("alice");

  for (const result of [first, second])
    assert.equal(result.outcome === "found" && result.groups.length, 1001);
});

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { account } from "../../../test/fakes/ram.ts";
import type { MappingDecision } from "../identity-mapper.ts";
import type { RamIdentity } from "../ram/ram-identity.ts";
import type { BackendMode, MappingBackend } from "./backend.ts";
import { MappingIndex } from "./mapping-index.ts";
import { readMapping, type Mapping } from "./mapping.ts";
import { createRamMapper } from "./ram-mapper.ts";
import type { NamePolicy } from "./reserved-names.ts";

const strict: NamePolicy = { reservedPrefixes: ["system:"], allowed: [] };

interface Spec {
  readonly arn: string;
  readonly username: string;
  readonly groups?: readonly string[];
  readonly pinnedId?: string;
}

function mappingOf(spec: Spec, entry = spec.arn): Mapping {
  const raw = { arn: spec.arn, username: spec.username, groups: spec.groups, pinnedId: spec.pinnedId };
  const read = readMapping(raw, { entry, rank: entry, wildcards: true });
  assert.ok(read.ok, read.ok ? "" : read.problem);
  return read.mapping;
}

function backend(
  specs: readonly Spec[],
  options: { mode?: BackendMode; accounts?: readonly string[]; names?: NamePolicy } = {},
): MappingBackend {
  const index = new MappingIndex();
  index.replace(
    specs.map((spec, at) => mappingOf(spec, `entry ${at}`)),
    options.accounts ?? [],
  );
  return {
    mode: options.mode ?? "MountedFile",
    index,
    names: options.names ?? strict,
    readiness: () => ({ ready: true }),
    close: () => Promise.resolve(),
  };
}

const user = (name: string, changed: Partial<RamIdentity> = {}): RamIdentity => ({
  verifier: "ram",
  subject: `acs:ram::${account}:user/${name}`,
  arn: `acs:ram::${account}:user/${name}`,
  canonicalArn: `acs:ram::${account}:user/${name}`,
  accountId: account,
  userId: "200000000000000001",
  sessionName: "",
  accessKeyId: "LTAI",
  ...changed,
});

const session = (role: string, sessionName: string): RamIdentity =>
  user("x", {
    arn: `acs:ram::${account}:assumed-role/${role}/${sessionName}`,
    canonicalArn: `acs:ram::${account}:role/${role}`,
    sessionName,
    userId: "300000000000000001",
  });

function decide(
  identity: RamIdentity,
  backends: readonly MappingBackend[],
  scrubbedAccounts: readonly string[] = [],
): MappingDecision {
  return createRamMapper(backends, { scrubbedAccounts }).map(identity);
}

function nameOf(decision: MappingDecision): string {
  return decision.outcome === "mapped" ? decision.user.username : decision.reason;
}

test("a mapped user has the names, uid and extra fields that RBAC and audit logs know", () => {
  const decision = decide(user("Alice"), [
    backend([{ arn: `acs:ram::${account}:user/Alice`, username: "alice", groups: ["dev", "ops"] }]),
  ]);

  assert.deepEqual(decision, {
    outcome: "mapped",
    backend: "MountedFile",
    entry: "entry 0",
    user: {
      username: "alice",
      groups: ["dev", "ops"],
      uid: `ack-ram-authenticator:${account}:200000000000000001`,
      extra: {
        accessKeyId: ["LTAI"],
        arn: [`acs:ram::${account}:user/Alice`],
        canonicalArn: [`acs:ram::${account}:user/Alice`],
        sessionName: [""],
      },
    },
  });
});

test("an identity without a mapping is denied with the documented sentence", () => {
  const decision = decide(user("Bob"), [backend([])]);

  assert.ok(decision.outcome === "unmapped");
  assert.equal(decision.message, "invalid token. ARN is not mapped");
});

describe("names of RAM", () => {
  test("are compared without regard to case", () => {
    const backends = [backend([{ arn: `acs:ram::${account}:role/DEV-team`, username: "dev" }])];
    assert.equal(nameOf(decide(session("dev-TEAM", "s1"), backends)), "dev");
  });

  test("may have a path", () => {
    const backends = [backend([{ arn: `acs:ram::${account}:role/corp/dev`, username: "dev" }])];
    assert.equal(nameOf(decide(session("corp/dev", "s1"), backends)), "dev");
    assert.equal(nameOf(decide(session("dev", "s1"), backends)), "not-mapped");
  });

  test("of another account do not match", () => {
    const backends = [backend([{ arn: "acs:ram::1111111111111111:user/Alice", username: "alice" }])];
    assert.equal(nameOf(decide(user("Alice"), backends)), "not-mapped");
  });
});

describe("templates", () => {
  const render = (username: string, identity: RamIdentity): string =>
    nameOf(decide(identity, [backend([{ arn: `acs:ram::${account}:role/dev`, username }])]));

  test("are filled from the session", () => {
    const caller = session("dev", "alice@corp");
    assert.equal(render("{{AccountID}}-{{SessionName}}", caller), `${account}-alice-corp`);
    assert.equal(render("{{SessionNameRaw}}", caller), "alice@corp");
    assert.equal(render("{{AccessKeyID}}", caller), "LTAI");
  });

  test("that are unknown make a mapping unusable", () => {
    const raw = {
      arn: `acs:ram::${account}:role/dev`,
      username: "{{Nobody}}",
      groups: [],
      pinnedId: undefined,
    };
    const read = readMapping(raw, { entry: "e", rank: "", wildcards: false });
    assert.ok(!read.ok);
    assert.match(read.problem, /\{\{Nobody\}\} is not known; there are \{\{AccountID\}\}/);
  });

  test("of groups are filled too", () => {
    const decision = decide(session("dev", "s1"), [
      backend([{ arn: `acs:ram::${account}:role/dev`, username: "u", groups: ["team-{{SessionName}}"] }]),
    ]);
    assert.ok(decision.outcome === "mapped");
    assert.deepEqual(decision.user.groups, ["team-s1"]);
  });

  test("that come out empty are refused", () => {
    assert.equal(
      nameOf(
        decide(user("Alice"), [
          backend([{ arn: `acs:ram::${account}:user/Alice`, username: "{{SessionName}}" }]),
        ]),
      ),
      "reserved-name",
    );
  });
});

describe("reserved names", () => {
  const mapping = { arn: `acs:ram::${account}:user/Alice`, username: "alice", groups: ["system:masters"] };

  test("deny what maps to them", () => {
    const decision = decide(user("Alice"), [backend([mapping])]);
    assert.equal(nameOf(decision), "reserved-name");
  });

  test("are possible where they are allowed", () => {
    const names = { reservedPrefixes: ["system:"], allowed: ["system:masters"] };
    assert.equal(nameOf(decide(user("Alice"), [backend([mapping], { names })])), "alice");
  });

  test("are found in a username that a template makes", () => {
    const backends = [
      backend([{ arn: `acs:ram::${account}:role/dev`, username: "system:node:{{SessionName}}" }]),
    ];
    assert.equal(nameOf(decide(session("dev", "n1"), backends)), "reserved-name");
  });
});

describe("several backends", () => {
  const mounted = backend([{ arn: `acs:ram::${account}:user/Alice`, username: "from-file" }]);
  const crd = backend(
    [
      { arn: `acs:ram::${account}:user/Alice`, username: "from-crd" },
      { arn: `acs:ram::${account}:user/Bob`, username: "bob" },
    ],
    { mode: "CRD" },
  );

  test("are asked in their order and the first that knows decides", () => {
    assert.equal(nameOf(decide(user("Alice"), [mounted, crd])), "from-file");
    assert.equal(nameOf(decide(user("Alice"), [crd, mounted])), "from-crd");
    assert.equal(nameOf(decide(user("Bob"), [mounted, crd])), "bob");
  });

  test("each one's accounts are tried after its own mappings", () => {
    const accounts = backend([], { accounts: [account] });
    assert.equal(nameOf(decide(user("Bob"), [accounts, crd])), `acs:ram::${account}:user/Bob`);
    assert.equal(nameOf(decide(user("Bob"), [crd, accounts])), "bob");
    assert.equal(nameOf(decide(session("dev", "s1"), [accounts])), `acs:ram::${account}:role/dev`);
  });

  test("a refusal of the first is not undone by the second", () => {
    const bad = backend([{ arn: `acs:ram::${account}:user/Bob`, username: "system:admin" }]);
    assert.equal(nameOf(decide(user("Bob"), [bad, crd])), "reserved-name");
  });
});

describe("a pin", () => {
  const pinned = { arn: `acs:ram::${account}:user/Alice`, username: "alice", pinnedId: "200000000000000001" };

  test("lets in the user it means and nobody who took the name later", () => {
    assert.equal(nameOf(decide(user("Alice"), [backend([pinned])])), "alice");
    assert.equal(nameOf(decide(user("Alice", { userId: "2999" }), [backend([pinned])])), "other-id");
  });

  test("also stands against a mapping of the same ARN without one, and against patterns and accounts", () => {
    const open = { arn: `acs:ram::${account}:user/Alice`, username: "anyone" };
    const pattern = { arn: `acs:ram::${account}:user/*`, username: "pattern" };
    const all = backend([open, pinned, pattern], { accounts: [account] });
    assert.equal(nameOf(decide(user("Alice", { userId: "2999" }), [all])), "other-id");
  });
});

describe("patterns", () => {
  const specs = [
    { arn: `acs:ram::${account}:role/*`, username: "any" },
    { arn: `acs:ram::${account}:role/dev-*`, username: "dev-any" },
    { arn: `acs:ram::${account}:role/dev-team`, username: "exact" },
    { arn: `acs:ram::${account}:role/Z*`, username: "z" },
  ];
  for (const [role, expected] of [
    ["dev-team", "exact"],
    ["DEV-ops", "dev-any"],
    ["other", "any"],
    ["path/other", "not-mapped"],
  ] as const) {
    test(`${role} gets the most specific one, ${expected}, in any order of mappings`, () => {
      assert.equal(nameOf(decide(session(role, "s1"), [backend(specs)])), expected);
      assert.equal(nameOf(decide(session(role, "s1"), [backend(specs.toReversed())])), expected);
    });
  }

  test("do not reach users when they are of roles", () => {
    assert.equal(nameOf(decide(user("dev-team"), [backend(specs)])), "not-mapped");
  });

  test("cannot be pinned", () => {
    const raw = { arn: `acs:ram::${account}:role/*`, username: "u", groups: [], pinnedId: "1" };
    assert.equal(readMapping(raw, { entry: "e", rank: "", wildcards: true }).ok, false);
  });
});

describe("an index that changes", () => {
  const arn = `acs:ram::${account}:role/dev`;

  test("keeps nothing of a pattern that was narrowed to one ARN", () => {
    const index = new MappingIndex();
    index.put("one", mappingOf({ arn: `acs:ram::${account}:role/*`, username: "u" }));
    index.put("one", mappingOf({ arn, username: "u" }));

    assert.equal(index.find(`acs:ram::${account}:role/other`, "1"), undefined);
    assert.equal(index.find(arn, "1")?.outcome, "found");
    index.delete("one");
    assert.equal(index.find(arn, "1"), undefined);
    assert.equal(index.size, 0);
  });

  test("reports two mappings of one ARN, and the smaller rank counts, in either order", () => {
    for (const order of [
      ["a", "b"],
      ["b", "a"],
    ]) {
      const index = new MappingIndex();
      const conflicts = order.flatMap((name) => index.put(name, mappingOf({ arn, username: name }, name)));

      assert.deepEqual(
        conflicts.map(({ winner, loser }) => [winner.entry, loser.entry]),
        [["a", "b"]],
      );
      assert.equal(index.find(arn, "1")?.mapping.username, "a");
    }
  });
});

test("identities of a scrubbed account show neither account nor ARN", () => {
  const decision = decide(
    user("Alice"),
    [backend([{ arn: `acs:ram::${account}:user/Alice`, username: "alice" }])],
    [account],
  );

  assert.ok(decision.outcome === "mapped");
  assert.equal(decision.scrubbed, true);
  assert.equal(decision.user.uid, "ack-ram-authenticator:administrative:alice");
  assert.deepEqual(decision.user.extra, {});
});

describe("a mapping that is wrong", () => {
  const good = { arn: `acs:ram::${account}:user/Alice`, username: "alice", groups: [], pinnedId: undefined };
  const cases: readonly [name: string, changed: object][] = [
    ["no ARN", { arn: undefined }],
    ["an ARN of another type", { arn: 1 }],
    ["a malformed ARN", { arn: "alice" }],
    ["an ARN of a group", { arn: `acs:ram::${account}:group/x` }],
    ["a wildcard that is not enabled", { arn: `acs:ram::${account}:user/*` }],
    ["no username", { username: "" }],
    ["groups that are a text", { groups: "dev" }],
    ["a group that is a number", { groups: [1] }],
    ["a group that is empty", { groups: [""] }],
    ["an id that is a number", { pinnedId: 2 }],
  ];
  for (const [name, changed] of cases) {
    test(`with ${name} is refused with a sentence`, () => {
      const read = readMapping({ ...good, ...changed }, { entry: "e", rank: "", wildcards: false });
      assert.ok(!read.ok);
      assert.ok(read.problem.length > 10);
    });
  }
});

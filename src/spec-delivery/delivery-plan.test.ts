/**
 * Tests of the plan: what is done, what is not, and why.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { offeredResource } from "../../test/samples/offered-spec.ts";
import type { EngineConfig, EngineService } from "../container-engine/container-engine.ts";
import { ownerLabel, planDelivery, specLabel, type SwarmPicture } from "./delivery-plan.ts";
import { parseOfferedSpec, type Offer, type OfferedSpec } from "./offered-specs.ts";

function offered(name: string, revision = 1, use: string | undefined = "web"): OfferedSpec {
  const parsed = parseOfferedSpec(offeredResource(name, revision, use));
  assert.ok(parsed.ok);
  return parsed.value;
}

function configOf(spec: OfferedSpec, more: Partial<EngineConfig> = {}): EngineConfig {
  return {
    id: `id-${spec.config}`,
    name: spec.config,
    labels: { [specLabel]: spec.name, [ownerLabel]: "us" },
    data: Buffer.from(spec.contents),
    createdAt: 1_000,
    ...more,
  };
}

function service(config: EngineConfig | undefined, more: Partial<EngineService> = {}): EngineService {
  return {
    id: "s1",
    version: "1",
    name: "web",
    labels: {},
    settings: {},
    identity: {
      config: config === undefined ? undefined : { id: config.id, name: config.name },
      elsewhere: undefined,
      configIds: config === undefined ? [] : [config.id],
    },
    runsContainers: true,
    constraints: ["node.platform.os == windows"],
    fallbackConfigIds: [],
    rolledBackAt: undefined,
    ...more,
  };
}

function swarm(more: Partial<SwarmPicture>): SwarmPicture {
  return { configs: [], services: [], taskConfigIds: new Set(), ...more };
}

/** One line per action and remark, config names without their hashes' noise. */
function decide(offer: Partial<Offer>, picture: Partial<SwarmPicture>): readonly string[] {
  const plan = planDelivery({ specs: [], gaps: [], ...offer }, swarm(picture), "us");
  const name = (config: string): string => config.replaceAll(v1.config, "v1").replaceAll(v2.config, "v2");
  return [
    ...plan.actions.map((action) =>
      name(
        action.kind === "update-service"
          ? `update ${action.service}: ${action.from ?? "-"} → ${action.config}`
          : `${action.kind === "create-config" ? "create" : "remove"} ${action.config}`,
      ),
    ),
    ...plan.remarks.map(({ kind, subject, reason }) => name(`${kind} ${subject}: ${reason}`)),
    ...plan.current.map((one) => name(`current ${one.service}: ${one.config}`)),
  ];
}

const v1 = offered("app", 1);
const v2 = offered("app", 2);
const [c1, c2] = [configOf(v1), configOf(v2)];
const asks = { labels: { [specLabel]: "app" } };
const broken: OfferedSpec = { ...v2, problems: ["/credspec/DomainJoinConfig/Sid is missing"] };

const table: readonly (readonly [
  name: string,
  offer: Partial<Offer>,
  picture: Partial<SwarmPicture>,
  expected: readonly (string | RegExp)[],
])[] = [
  ["nothing is offered, nothing is there", {}, {}, []],
  ["a new spec becomes a config", { specs: [v1] }, {}, ["create v1"]],
  [
    "a service that asks gets it",
    { specs: [v1] },
    { services: [service(undefined, asks)] },
    ["create v1", "update web: - → v1"],
  ],
  ["in step", { specs: [v1] }, { configs: [c1], services: [service(c1)] }, ["current web: v1"]],
  [
    "a new version: services follow, the old config waits for them",
    { specs: [v2] },
    { configs: [c1], services: [service(c1)] },
    ["create v2", "update web: v1 → v2", "kept config v1: used by web"],
  ],
  [
    "the old config goes when nothing uses it",
    { specs: [v2] },
    { configs: [c1, c2], services: [service(c2)] },
    ["remove v1", "current web: v2"],
  ],
  [
    "a crash after the config was made: it is used",
    { specs: [v2] },
    { configs: [c1, c2], services: [service(c1)] },
    ["update web: v1 → v2", "kept config v1: used by web"],
  ],
  [
    "back to an earlier version whose config is still there",
    { specs: [v1] },
    { configs: [c1, c2], services: [service(c2)] },
    ["update web: v2 → v1", "kept config v2: used by web"],
  ],
  [
    "tasks still have it",
    { specs: [v2] },
    { configs: [c1, c2], services: [service(c2)], taskConfigIds: new Set([c1.id]) },
    ["kept config v1: tasks that are not ended have it", "current web: v2"],
  ],
  [
    "Swarm may go back to it",
    { specs: [v2] },
    { configs: [c1, c2], services: [service(c2, { fallbackConfigIds: [c1.id] })] },
    [/^kept config v1: the update of web is not complete/, "current web: v2"],
  ],
  [
    "another service has it as a file",
    { specs: [v2] },
    {
      configs: [c1, c2],
      services: [
        service(undefined, {
          name: "tool",
          identity: { config: undefined, elsewhere: undefined, configIds: [c1.id] },
        }),
      ],
    },
    ["kept config v1: used by tool"],
  ],
  ["a spec that is gone, unused", {}, { configs: [c1] }, ["remove v1"]],
  [
    "a spec that is gone, used",
    {},
    { configs: [c1], services: [service(c1)] },
    ["kept config v1: used by web"],
  ],
  [
    "a folder that cannot be read: nothing goes",
    { gaps: ["a.yaml: it is empty"] },
    { configs: [c1] },
    ["gap folder: a.yaml: it is empty", "kept config v1: the folder cannot be read completely"],
  ],
  [
    "a broken spec: its versions stay, nobody is moved",
    { specs: [broken] },
    { configs: [c1], services: [service(c1)] },
    ["blocked spec app: /credspec/DomainJoinConfig/Sid is missing", "kept config v1: used by web"],
  ],
  [
    "a broken spec whose old version is unused",
    { specs: [broken] },
    { configs: [c1] },
    [/^blocked spec app/, "kept config v1: the spec app cannot be delivered now"],
  ],
  [
    "somebody else's config of ours by name, other contents",
    { specs: [v1] },
    { configs: [configOf(v1, { data: Buffer.from("{}") })], services: [service(undefined, asks)] },
    [/^blocked spec app: there is a config v1 with other contents/],
  ],
  [
    "contents that are no JSON",
    { specs: [v1] },
    { configs: [configOf(v1, { data: Buffer.from("{") })] },
    [/^blocked spec app: there is a config v1/],
  ],
  [
    "a config made by hand, with a line break",
    { specs: [v1] },
    {
      configs: [configOf(v1, { labels: {}, data: Buffer.from(`${v1.contents}\n`) })],
      services: [service(undefined, asks)],
    },
    ["update web: - → v1"],
  ],
  ["a config made by hand is nobody's to remove", {}, { configs: [configOf(v1, { labels: {} })] }, []],
  [
    "a config that render labelled is nobody's to remove",
    {},
    { configs: [configOf(v1, { labels: { [specLabel]: "app" } })] },
    [],
  ],
  [
    "another owner's config is not ours to remove",
    {},
    { configs: [configOf(v1, { labels: { [specLabel]: "app", [ownerLabel]: "them" } })] },
    [],
  ],
  [
    "a service with another owner's version is theirs to move",
    { specs: [v2] },
    {
      configs: [configOf(v1, { labels: { [specLabel]: "app", [ownerLabel]: "them" } }), c2],
      services: [service(c1)],
    },
    [],
  ],
  [
    "a service with a version made by hand is moved",
    { specs: [v2] },
    { configs: [c2], services: [service(configOf(v1, { labels: {} }))] },
    ["update web: v1 → v2"],
  ],
  [
    "a service with a config that looks like no version is left alone",
    { specs: [v2] },
    { configs: [c2], services: [service(configOf(v1, { name: "app-manual", labels: {} }))] },
    [],
  ],
  [
    "a service that asks, outside the list",
    { specs: [v1] },
    { configs: [c1], services: [service(undefined, { ...asks, name: "evil" })] },
    ["refused service evil: asks for the spec app, whose list of services does not name it"],
  ],
  [
    "a service that has it, outside the list",
    { specs: [v1] },
    { configs: [c1], services: [service(c1, { name: "evil" })] },
    ["refused service evil: uses the spec app, whose list of services does not name it"],
  ],
  [
    "a service that has an old one, outside the list",
    { specs: [v2] },
    { configs: [c1, c2], services: [service(c1, { name: "evil" })] },
    [
      "refused service evil: uses the spec app, whose list of services does not name it",
      "kept config v1: used by evil",
    ],
  ],
  [
    "no list: nobody",
    { specs: [offered("app", 1, "")] },
    { configs: [c1], services: [service(undefined, asks)] },
    [/^refused service web/],
  ],
  [
    "a list that cannot be read: nobody, and said so",
    { specs: [offered("app", 1, "we/b")] },
    { configs: [c1], services: [service(undefined, asks)] },
    [/^blocked spec app: the annotation/, /^refused service web/],
  ],
  [
    "a service that asks for what is not offered",
    { specs: [v1] },
    { configs: [c1], services: [service(undefined, { labels: { [specLabel]: "ap" } })] },
    ["unknown service web: asks for the spec ap, which the folder does not offer"],
  ],
  [
    "a service's label counts more than what it has",
    { specs: [v1, offered("other")] },
    { configs: [c1, configOf(offered("other"))], services: [service(configOf(offered("other")), asks)] },
    [`update web: ${offered("other").config} → v1`],
  ],
  [
    "a service with a file on the host gets what it asks for",
    { specs: [v1] },
    {
      configs: [c1],
      services: [
        service(undefined, {
          ...asks,
          identity: { config: undefined, elsewhere: "file://x.json", configIds: [] },
        }),
      ],
    },
    ["update web: file://x.json → v1"],
  ],
  [
    "a service without containers",
    { specs: [v1] },
    { configs: [c1], services: [service(undefined, { ...asks, runsContainers: false })] },
    [/^refused service web: runs no containers/],
  ],
  [
    "a service that may be placed on Linux",
    { specs: [v1] },
    { configs: [c1], services: [service(c1, { constraints: ["node.role==worker"] })] },
    [/^warning service web: has no constraint/, "current web: v1"],
  ],
  [
    "Swarm took it back after the config was made: not again",
    { specs: [v2] },
    { configs: [c1, c2], services: [service(c1, { rolledBackAt: 2_000 })] },
    [/^held service web: was rolled back after v2 had been there/, "kept config v1: used by web"],
  ],
  [
    "Swarm took something back before: that was another thing",
    { specs: [v2] },
    { configs: [c1, c2], services: [service(c1, { rolledBackAt: 500 })] },
    ["update web: v1 → v2", "kept config v1: used by web"],
  ],
  [
    "labels that are names of members of every object",
    { specs: [v1] },
    { configs: [c1], services: [service(undefined, { labels: { [specLabel]: "__proto__" } })] },
    [/^unknown service web: asks for the spec __proto__/],
  ],
];

for (const [name, offer, picture, expected] of table) {
  test(`plan: ${name}`, () => {
    const decided = decide(offer, picture);

    assert.equal(decided.length, expected.length, decided.join("\n"));
    expected.forEach((line, index) => {
      if (typeof line === "string") assert.equal(decided[index], line);
      else assert.match(decided[index] ?? "", line);
    });
  });
}

test("the contents of a config are the bytes that render gives, and a lint error blocks", () => {
  const resource = offeredResource("app");
  const faulty = parseOfferedSpec({
    ...resource,
    credspec: { ...(resource.credspec as object), CmsPlugins: [] },
  });

  assert.match(v1.contents, /^\{"ActiveDirectoryConfig":\{"GroupManagedServiceAccounts":\[/);
  assert.match(v1.config, new RegExp(`^app-${v1.hash.slice(0, 12)}$`));
  assert.ok(faulty.ok);
  assert.match(faulty.value.problems.join(), /^\/credspec\/CmsPlugins/);
});

for (const credspec of [undefined, null, "", 1, [], {}]) {
  test(`a resource whose credspec is ${JSON.stringify(credspec)} is offered, and blocked`, () => {
    const parsed = parseOfferedSpec({ ...offeredResource("app"), credspec });

    assert.ok(parsed.ok);
    assert.notDeepEqual(parsed.value.problems, []);
  });
}

/**
 * Tests of the comparison of containers with the specs.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { offeredResource } from "../../test/samples/offered-spec.ts";
import { checkContainers } from "./container-check.ts";
import { parseOfferedSpec, type OfferedSpec } from "./offered-specs.ts";

function offered(revision: number): OfferedSpec {
  const parsed = parseOfferedSpec(offeredResource("app", revision, "web*"));
  assert.ok(parsed.ok);
  return parsed.value;
}

const [old, now] = [offered(1), offered(2)];
const pretty = JSON.stringify(JSON.parse(now.contents), null, 2);
const twice = now.contents.replace("{", '{"CmsPlugins":[],');
const stranger = now.contents.replaceAll("webapp01", "other");
const raw = (contents: string): readonly string[] => [`raw://${contents}`];

for (const [name, container, asked, specs, expected] of [
  ["without any", "web", undefined, [], undefined],
  ["with the spec", "web", undefined, raw(now.contents), "current"],
  ["with the spec in other spacing", "web", undefined, raw(pretty), "current"],
  ["with an older version", "web", undefined, raw(old.contents), "outdated"],
  [
    "with two, of which the last counts",
    "web",
    undefined,
    [...raw(now.contents), ...raw(old.contents)],
    "outdated",
  ],
  ["that asks and has none", "web", "app", [], "outdated"],
  ["that asks and has another account's", "web", "app", raw(stranger), "outdated"],
  ["with a key twice", "web", "app", raw(twice), "outdated"],
  ["with contents that are no JSON", "web", "app", raw("{"), "outdated"],
  ["outside the list", "evil", undefined, raw(now.contents), "refused"],
  ["with a file of the host", "web", undefined, ["file://app.json"], "unreadable"],
  ["with a file of the host that asks", "web", "app", ["REGISTRY://app"], "unreadable"],
  ["that asks for what is not offered", "web", "other", [], "unknown"],
  ["with a spec of another account", "web", undefined, raw(stranger), "unknown"],
  ["with nonsense", "web", undefined, raw("{"), "unknown"],
] as const) {
  test(`a container ${name}: ${expected ?? "not mentioned"}`, () => {
    const found = checkContainers({ specs: [now], gaps: [] }, [
      {
        id: "1",
        name: container,
        running: true,
        labels: asked === undefined ? {} : { "sallyport.io/credential-spec": asked },
        credentialSpecs: specs,
      },
    ]);

    assert.equal(found[0]?.state, expected);
    assert.doesNotMatch(JSON.stringify(found), /S-1-5-21/);
  });
}

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { account } from "../../../test/fakes/ram.ts";
import { SallyportError } from "../../errors.ts";
import type { ClusterAnswer, ClusterClient, ClusterRequest } from "../../kubernetes/cluster-client.ts";
import { addMapping, withMapping } from "./add-mapping.ts";

const alice = {
  kind: "user",
  arn: `acs:ram::${account}:user/Alice`,
  username: "alice",
  groups: ["dev", "ops"],
} as const;

describe("a section's text", () => {
  test("that is empty becomes a list of one", () => {
    assert.equal(
      withMapping("", alice),
      `- userarn: acs:ram::${account}:user/Alice\n  username: alice\n  groups:\n    - dev\n    - ops\n`,
    );
  });

  test("keeps its comments and what it has", () => {
    const text = `# the team\n- userarn: acs:ram::${account}:user/Bob # boss\n  username: bob\n  groups: []\n`;
    const result = withMapping(text, alice);
    assert.ok(result.startsWith(text.trimEnd()));
    assert.match(result, /user\/Alice/);
  });

  const refused: readonly [name: string, text: string, changed: object, why: RegExp][] = [
    [
      "has the ARN already, in another case",
      `- userarn: acs:ram::${account}:user/ALICE\n  username: x\n`,
      {},
      /is mapped already/,
    ],
    ["is not a list", "a: b", {}, /not a YAML list/],
    ["is not YAML", "a: [", {}, /not a YAML list/],
    ["is to get a malformed ARN", "", { arn: "x" }, /five parts/],
    ["is to get a role's ARN for a user", "", { arn: `acs:ram::${account}:role/x` }, /not a user/],
    ["is to get an empty name", "", { username: "" }, /no username/],
  ];
  for (const [name, text, changed, why] of refused) {
    test(`that ${name} is left alone`, () => {
      assert.throws(
        () => withMapping(text, { ...alice, ...changed }),
        (error: unknown) =>
          error instanceof SallyportError && error.code === "E_MAPPING_NOT_ADDED" && why.test(error.message),
      );
    });
  }
});

describe("the ConfigMap", () => {
  /** An API server that answers these statuses in turn, and remembers what was written. */
  function server(...statuses: readonly number[]): { client: ClusterClient; asked: ClusterRequest[] } {
    const asked: ClusterRequest[] = [];
    const left = [...statuses];
    const client: ClusterClient = {
      request(request) {
        asked.push(request);
        const body = Buffer.from(
          JSON.stringify({
            metadata: { name: "alibabacloud-auth", resourceVersion: String(asked.length) },
            data: { other: "kept" },
          }),
        );
        return Promise.resolve<ClusterAnswer>({ status: left.shift() ?? 500, headers: {}, body });
      },
      stream: () => Promise.reject(new Error("not asked")),
      config: undefined as never,
      close: () => undefined,
    };
    return { client, asked };
  }

  test("is written with the version that was read, and starts again when somebody else was faster", async () => {
    const { client, asked } = server(200, 409, 200, 200);
    await addMapping(client, alice);

    assert.deepEqual(
      asked.map((each) => each.method ?? "GET"),
      ["GET", "PUT", "GET", "PUT"],
    );
    const written = asked[3]?.body as { metadata: { resourceVersion: string }; data: Record<string, string> };
    assert.equal(written.metadata.resourceVersion, "3");
    assert.equal(written.data["other"], "kept");
    assert.match(written.data["mapUsers"] ?? "", /username: alice/);
  });

  for (const [statuses, why] of [
    [[404], /is not there/],
    [[403], /answers 403/],
    [[200, 403], /answers 403/],
    [[200, 409, 200, 409, 200, 409, 200, 409, 200, 409], /others keep changing/],
  ] as const) {
    test(`is not written when the API server answers ${statuses.join(", ")}`, async () => {
      await assert.rejects(addMapping(server(...statuses).client, alice), why);
    });
  }
});

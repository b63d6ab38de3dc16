import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { FakeClock, settle } from "../../../test/fakes/fake-clock.ts";
import { account } from "../../../test/fakes/ram.ts";
import type { ClusterClient, ClusterRequest } from "../../kubernetes/cluster-client.ts";
import type { KubernetesObject } from "../../kubernetes/resource-source.ts";
import { silentLog } from "../../observe/log.ts";
import { createClusterReporter, type ClusterReporter } from "./cluster-reporter.ts";
import type { Understood } from "./crd-backend.ts";

const arn = `acs:ram::${account}:user/Alice`;
const synced: Understood = { outcome: "synced", canonicalArn: arn, pinnedId: "" };

let clock: FakeClock;
let asked: ClusterRequest[];
/** What the API server answers in turn; an error where it does not. */
let answers: (number | Error)[];
let reporter: ClusterReporter;

beforeEach(() => {
  clock = new FakeClock("2026-01-01T00:00:00Z");
  asked = [];
  answers = [];
  const client: ClusterClient = {
    request(request) {
      asked.push(request);
      const answer = answers.shift() ?? 200;
      if (answer instanceof Error) return Promise.reject(answer);
      return Promise.resolve({ status: answer, headers: {}, body: Buffer.alloc(0) });
    },
    stream: () => Promise.reject(new Error("not asked")),
    config: undefined as never,
    close: () => undefined,
  };
  reporter = createClusterReporter(client, { clock, log: silentLog });
});

/** The body of one of the requests, counted from the end when negative. */
function bodyOf(at: number): unknown {
  const request = asked.at(at);
  assert.ok(request !== undefined, `there is no request ${at}`);
  return request.body;
}

interface WrittenStatus {
  readonly status: {
    readonly canonicalARN: string;
    readonly conditions: readonly { readonly message: string; readonly lastTransitionTime: string }[];
  };
}

function mapping(status?: object): KubernetesObject {
  return {
    apiVersion: "ramauthenticator.k8s.alibabacloud/v1alpha1",
    kind: "RAMIdentityMapping",
    metadata: { name: "alice", uid: "u-1", resourceVersion: "7" },
    spec: { arn, username: "alice" },
    ...(status === undefined ? {} : { status }),
  };
}

const condition = {
  type: "Synced",
  status: "True",
  reason: "Synced",
  message: "Identity synced successfully",
  lastTransitionTime: "2026-01-01T00:00:00Z",
};

describe("what was understood of a mapping", () => {
  test("is written to its status and said in an event", async () => {
    reporter.report(mapping(), synced);
    await reporter.idle();

    const [status, event] = asked;
    assert.equal(status?.method, "PATCH");
    assert.equal(
      status?.path,
      "/apis/ramauthenticator.k8s.alibabacloud/v1alpha1/ramidentitymappings/alice/status",
    );
    assert.deepEqual(status?.body, { status: { canonicalARN: arn, userID: "", conditions: [condition] } });
    assert.equal(event?.path, "/api/v1/namespaces/default/events");
    const body = event?.body as Readonly<Record<string, unknown>>;
    assert.deepEqual(
      [body["type"], body["reason"], body["message"], body["source"]],
      ["Normal", "Synced", "Identity synced successfully", { component: "ack-ram-authenticator" }],
    );
  });

  test("is not written again when the object has it", async () => {
    reporter.report(mapping({ canonicalARN: arn, userID: "", conditions: [condition] }), synced);
    await reporter.idle();
    assert.equal(asked.length, 0);
  });

  test("keeps the time of the last change of the condition while that stays", async () => {
    await clock.advance(3_600_000);
    reporter.report(mapping({ canonicalARN: "old", userID: "", conditions: [condition] }), synced);
    await reporter.idle();
    const { status } = bodyOf(0) as WrittenStatus;
    assert.equal(status.conditions[0]?.lastTransitionTime, "2026-01-01T00:00:00Z");
  });

  test("is a warning with the reason when it cannot be used", async () => {
    reporter.report(mapping(), { outcome: "refused", problem: "it has no username" });
    await reporter.idle();

    const { status } = bodyOf(0) as WrittenStatus;
    assert.equal(status.canonicalARN, "");
    const event = asked[1]?.body as Readonly<Record<string, unknown>>;
    assert.deepEqual(
      [event["type"], event["reason"], event["message"]],
      ["Warning", "Refused", "it has no username"],
    );
  });

  test("has one event for all authenticators of a cluster", async () => {
    answers = [200, 409];
    reporter.report(mapping(), synced);
    await reporter.idle();
    reporter.report(mapping(), synced);
    await reporter.idle();

    const names = [1, 3].map((at) => (bodyOf(at) as { metadata: { name: string } }).metadata.name);
    assert.equal(names[0], names[1]);
  });
});

describe("an API server that", () => {
  test("is away is asked again later, with the newest report", async () => {
    answers = [new Error("refused"), 200, 201];
    reporter.report(mapping(), synced);
    await settle();
    reporter.report(mapping(), { outcome: "refused", problem: "newer" });
    await clock.advance(5_000);
    await reporter.idle();

    const { status } = bodyOf(-2) as WrittenStatus;
    assert.equal(status.conditions[0]?.message, "newer");
  });

  test("forbids it is not asked again", async () => {
    answers = [403];
    reporter.report(mapping(), synced);
    await reporter.idle();
    assert.equal(asked.length, 1);
    assert.equal(clock.waiting, 0);
  });

  test("no longer has the object is not asked again", async () => {
    answers = [404];
    reporter.report(mapping(), synced);
    await reporter.idle();
    assert.equal(asked.length, 2);
  });
});

test("nothing is written after the end", async () => {
  reporter.close();
  reporter.report(mapping(), synced);
  await reporter.idle();
  assert.equal(asked.length, 0);
});

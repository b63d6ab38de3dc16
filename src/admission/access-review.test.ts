/**
 * Who waits for an access review, and what becomes of one that nobody waits for.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeClock, settle } from "../../test/fakes/fake-clock.ts";
import type { ClusterClient, ClusterRequest } from "../kubernetes/cluster-client.ts";
import { createAccessReviewer } from "./access-review.ts";

const question = { namespace: "shop", serviceAccount: "app", specName: "webapp01" };

/** An API server that never answers: what it was asked, and what became of that. */
function silentServer() {
  const asked: ClusterRequest[] = [];
  const client: Pick<ClusterClient, "request"> = {
    request: (request) => {
      asked.push(request);
      return new Promise((_, reject) => {
        request.signal?.addEventListener("abort", () => reject(new Error("aborted")));
      });
    },
  };
  const reviewer = createAccessReviewer(client, { clock: new FakeClock(), cacheMs: 0 });
  return { asked, reviewer };
}

test("a review is dropped once the last one who waits for it gives up, and asked anew after that", async () => {
  const { asked, reviewer } = silentServer();
  const [first, second] = [new AbortController(), new AbortController()];
  const answers = [reviewer.review(question, first.signal), reviewer.review(question, second.signal)];

  first.abort();
  await settle();
  assert.deepEqual([asked.length, asked[0]?.signal?.aborted], [1, false]);
  second.abort();

  const unanswered = { allowed: false, reason: "error when checking authz access: no answer in time" };
  assert.deepEqual(await Promise.all(answers), [unanswered, unanswered]);
  assert.equal(asked[0]?.signal?.aborted, true);
  void reviewer.review(question, new AbortController().signal);
  assert.equal(asked.length, 2);
});

test("a request whose time is over asks nothing", async () => {
  const { asked, reviewer } = silentServer();

  const answer = await reviewer.review(question, AbortSignal.abort());

  assert.ok(!answer.allowed);
  assert.equal(asked.length, 0);
});

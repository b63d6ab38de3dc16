/**
 * The time of a request, which the framework itself would call 0.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fastify from "fastify";
import { timeRequests } from "./request-timer.ts";

test("a request's time begins with its headers and grows", async () => {
  const routes = fastify({ logger: false });
  const elapsedMs = timeRequests(routes);
  const times: number[] = [];
  routes.get("/", (request, reply) => {
    times.push(elapsedMs(request));
    for (const began = performance.now(); performance.now() - began < 5;);
    times.push(elapsedMs(request));
    return reply.send("");
  });

  await routes.inject("/");

  const [first = -1, second = -1] = times;
  assert.ok(first >= 0 && second - first >= 5, `${first} then ${second}`);
});

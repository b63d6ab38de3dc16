/**
 * What a cluster is told about a service.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { silentLog } from "../observe/log.ts";
import { createRegistry } from "../observe/metrics.ts";
import { createOperations, type Readiness, type ReadinessCheck } from "./operations.ts";

function operations(checks: readonly ReadinessCheck[] = []) {
  return createOperations({ log: silentLog, registry: createRegistry("9.9.9"), checks }).routes;
}

const check = (name: string, result: Readiness): ReadinessCheck => ({ name, check: () => result });

for (const path of ["/healthz", "/livez"]) {
  test(`${path} answers as long as the process does, whatever is not ready`, async () => {
    const answer = await operations([check("store", { ready: false, reason: "away" })]).inject(path);

    assert.equal(answer.statusCode, 200);
    assert.equal(answer.body, "ok\n");
  });
}

for (const [name, checks, status, body] of [
  ["nothing is to be checked", [], 200, "ready\n"],
  [
    "every check passes",
    [check("a", { ready: true }), check("b", { ready: true })],
    200,
    "[+] a\n[+] b\nready\n",
  ],
  [
    "something works but should be seen",
    [check("store", { ready: true, note: "40 s behind" })],
    200,
    "[!] store: 40 s behind\nready\n",
  ],
  [
    "one check fails",
    [check("a", { ready: true }), check("certificate", { ready: false, reason: "it has ended" })],
    503,
    "[+] a\n[-] certificate: it has ended\nnot ready\n",
  ],
] as const) {
  test(`/readyz answers ${status} when ${name}, a line a check`, async () => {
    const answer = await operations(checks).inject("/readyz");

    assert.equal(answer.statusCode, status);
    assert.equal(answer.body, body);
    assert.equal(answer.headers["content-type"], "text/plain; charset=utf-8");
  });
}

test("checks are made anew for every question", async () => {
  let ready = false;
  const routes = operations([
    { name: "store", check: () => (ready ? { ready } : { ready, reason: "syncing" }) },
  ]);

  assert.equal((await routes.inject("/readyz")).statusCode, 503);
  ready = true;
  assert.equal((await routes.inject("/readyz")).statusCode, 200);
});

test("a check that throws fails the probe instead of the process, and its reason stays in the log", async () => {
  const routes = operations([
    {
      name: "store",
      check() {
        throw new Error("inner details");
      },
    },
  ]);

  const answer = await routes.inject("/readyz");

  assert.equal(answer.statusCode, 500);
  assert.equal(answer.body, "");
});

test("/metrics is Prometheus text", async () => {
  const answer = await operations().inject("/metrics");

  assert.equal(answer.statusCode, 200);
  assert.match(String(answer.headers["content-type"]), /^text\/plain; version=0\.0\.4/);
  assert.match(answer.body, /^sallyport_build_info\{version="9\.9\.9"\} 1$/m);
});

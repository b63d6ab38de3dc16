/**
 * Log lines: one JSON object each, with an event name, and never a secret.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { Secret } from "../secret.ts";
import { createLog, logLevels, silentLog, type Log, type LogFields, type LogLevel } from "./log.ts";

function recorded(level?: LogLevel): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const sink = { write: (line: string) => lines.push(line) };
  return { log: createLog(level === undefined ? { sink } : { level, sink }), lines };
}

test("an event is one line of JSON with level, time, event name and its fields", () => {
  const { log, lines } = recorded();

  log.info("service.listening", { listener: "credentials", port: 1, addresses: ["127.0.0.1:1"] });

  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? "", /^\{.*\}\n$/);
  const { time, ...rest } = JSON.parse(lines[0] ?? "") as { time: string };
  assert.deepEqual(rest, {
    level: "info",
    listener: "credentials",
    port: 1,
    addresses: ["127.0.0.1:1"],
    event: "service.listening",
  });
  assert.equal(new Date(time).toISOString(), time);
});

test("a line says nothing of the machine and the process", () => {
  const { log, lines } = recorded();

  log.info("service.ready");

  assert.deepEqual(Object.keys(JSON.parse(lines[0] ?? "") as object).sort(), ["event", "level", "time"]);
});

for (const [level, kept] of [
  ["debug", ["debug", "info", "warn", "error"]],
  ["info", ["info", "warn", "error"]],
  ["warn", ["warn", "error"]],
  ["error", ["error"]],
  ["silent", []],
] as const) {
  test(`level ${level} keeps ${kept.join(", ") || "nothing"}`, () => {
    const { log, lines } = recorded(level);

    for (const each of ["debug", "info", "warn", "error"] as const) log[each]("service.ready");

    assert.deepEqual(
      lines.map((line) => (JSON.parse(line) as { level: string }).level),
      kept,
    );
  });
}

test("every level that a user may name is known, and info is the one when none is named", () => {
  for (const level of logLevels) createLog({ level, sink: { write: () => undefined } });
  const { log, lines } = recorded();

  log.debug("service.ready");
  log.info("service.ready");

  assert.equal(lines.length, 1);
});

test("fields given to a log stand in all of its lines and in none of its parent's", () => {
  const { log, lines } = recorded();

  log.with({ role: "account-provider" }).with({ namespace: "a" }).warn("service.draining", { bound: 1 });
  log.warn("service.draining");

  const [child, parent] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.deepEqual([child?.["role"], child?.["namespace"], child?.["bound"]], ["account-provider", "a", 1]);
  assert.equal(parent?.["role"], undefined);
});

test("a field without a value is left out", () => {
  const { log, lines } = recorded();

  log.info("service.ready", { reason: undefined });

  assert.ok(!("reason" in (JSON.parse(lines[0] ?? "") as object)));
});

test("a secret that slips past the types shows as a placeholder wherever it stands", () => {
  const value = "Correct-Horse-42";
  const secret = new Secret(value);
  const { log, lines } = recorded("debug");
  const slipped = [
    { password: secret },
    { list: [secret] },
    { nested: { deeper: { secret } } },
    { text: secret.toString() },
    { error: new Error(`refused ${secret.toString()}`, { cause: secret }) },
    { err: Object.assign(new Error("refused"), { secret }) },
  ] as unknown as LogFields[];

  for (const fields of slipped) {
    log.error("service.request-failed", fields);
    log.with(fields).debug("service.request-failed");
  }

  assert.equal(lines.length, slipped.length * 2);
  assert.ok(!lines.join("").includes(value), lines.join(""));
});

test("whatever a field holds, a line stays one line of JSON that gives it back", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (reason) => {
      const { log, lines } = recorded();

      log.info("service.request-failed", { reason });

      assert.equal(lines.length, 1);
      assert.equal((lines[0] ?? "").indexOf("\n"), (lines[0] ?? "").length - 1);
      assert.equal((JSON.parse(lines[0] ?? "") as { reason: string }).reason, reason.toWellFormed());
    }),
  );
});

test("fields cannot pass for another event", () => {
  const { log, lines } = recorded();

  log.info("service.request", { event: "service.stopped" });

  assert.equal((JSON.parse(lines[0] ?? "") as { event: string }).event, "service.request");
});

test("the silent log keeps nothing and never fails", () => {
  silentLog.with({ a: 1 }).error("service.request-failed", { reason: "x" });
});

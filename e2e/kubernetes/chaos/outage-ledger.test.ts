/**
 * That the ledger excuses nothing but what a component's outage explains.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { OutageLedger } from "./outage-ledger.ts";

const failing = (): Promise<string> => Promise.resolve("500");

test("a failure with nothing down is unexplained", async () => {
  const ledger = new OutageLedger();

  await ledger.request("pod", ["webhook"], failing);

  assert.match(ledger.unexplained().join(), /^pod: 500 \(took \d+ ms\)$/);
});

test("a failure while another component is down is unexplained", async () => {
  const ledger = new OutageLedger();

  await ledger.during("API server", () => ledger.request("credentials", ["account provider"], failing));

  assert.equal(ledger.unexplained().length, 1);
});

test("a failure while, or across the moment when, a component that it needs is down is explained", async () => {
  const ledger = new OutageLedger();
  const across = ledger.request("pod", ["webhook"], async () => {
    await sleep(20);
    throw new Error("reset");
  });

  await ledger.during("webhook", () => ledger.request("pod", ["webhook"], failing));
  await across;

  assert.equal(ledger.failures.length, 2);
  assert.deepEqual(ledger.unexplained(), []);
});

test("a failure after the component is back is unexplained, and says how long after", async () => {
  const ledger = new OutageLedger();
  await ledger.during("webhook", () => Promise.resolve());
  await sleep(5);

  await ledger.request("pod", ["webhook"], failing);

  assert.match(ledger.unexplained().join(), /\d+ ms after the webhook was back/);
});

/**
 * When a secret is read again.
 * @module
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { FakeClock, settle } from "../../../test/fakes/fake-clock.ts";
import { silentLog } from "../../observe/log.ts";
import type { KeyVaultReading } from "./key-vault-reading.ts";
import { WatchedSecret } from "./watched-secret.ts";

const throttled = (retryAfterMs?: number): KeyVaultReading => ({
  kind: "failed",
  failure: "vault-throttled",
  reason: "The vault answered 429.",
  ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
});

function watch(reading: KeyVaultReading): {
  readonly watched: WatchedSecret;
  readonly clock: FakeClock;
  readonly reads: () => number;
} {
  const clock = new FakeClock();
  let reads = 0;
  const watched = new WatchedSecret({
    reader: {
      read: () => {
        reads++;
        return Promise.resolve(reading);
      },
    },
    label: "contoso.vault.azure.net/secrets/web",
    useByMs: 300_000,
    clock,
    random: () => 0.5,
    log: silentLog,
    metrics: undefined,
  });
  return { watched, clock, reads: () => reads };
}

suite("a vault that throttles is asked again", () => {
  for (const [wish, least] of [
    [undefined, 15_000],
    [1_000, 15_000],
    [120_000, 120_000],
    [300_000, 300_000],
    [999_999_000, 300_000],
    [Number.MAX_SAFE_INTEGER, 300_000],
  ] as const) {
    test(`after ${least} ms when it asks for ${wish ?? "nothing"}`, async () => {
      const { clock, reads, watched } = watch(throttled(wish));
      await watched.refresh();

      await clock.advance(least - 1);
      assert.equal(reads(), 1);
      await clock.advance(1);
      await settle();

      assert.equal(reads(), 2);
      await watched.close();
    });
  }
});

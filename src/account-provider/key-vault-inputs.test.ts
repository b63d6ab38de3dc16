/**
 * Which Key Vault plugin inputs are followed, and how often the vault is asked for them, whoever asks for what.
 * @module
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { FakeClock, settle } from "../../test/fakes/fake-clock.ts";
import { createLog } from "../observe/log.ts";
import { Secret } from "../secret.ts";
import type { KeyVaultReading } from "../secret-store/azure-key-vault/key-vault-reading.ts";
import { WatchedSecret } from "../secret-store/azure-key-vault/watched-secret.ts";
import { KeyVaultInputs, type KeyVaultInputAnswer } from "./key-vault-inputs.ts";

const objectId = "11111111-2222-4333-8444-555555555555";
const vault = "contoso.vault.azure.net";

interface World {
  readonly clock: FakeClock;
  readonly log: string[];
  /** Readings so far, by name. */
  readonly reads: Map<string, number>;
  /** Answers from now on; without one, a secret is not there. `undefined` holds the answer back. */
  readonly answers: Map<string, KeyVaultReading | undefined>;
  /** Lets an answer that was held back go. */
  readonly held: ReadonlyMap<string, (reading: KeyVaultReading) => void>;
  readonly ask: (name: string) => Promise<KeyVaultInputAnswer>;
  readonly outcome: (name: string) => Promise<string>;
}

const found: KeyVaultReading = {
  kind: "value",
  value: new Secret("contoso.example\\svc-web:p"),
  version: undefined,
  validity: {},
};

function open(capacity: number): World {
  const clock = new FakeClock();
  const log: string[] = [];
  const reads = new Map<string, number>();
  const answers = new Map<string, KeyVaultReading | undefined>();
  const held = new Map<string, (reading: KeyVaultReading) => void>();
  const written = createLog({ level: "info", sink: { write: (line) => void log.push(line) } });
  const inputs = new KeyVaultInputs({
    vaults: new Set([vault]),
    identities: new Map([[objectId, { identity: { type: "managedIdentity", objectId } }]]),
    watch: ({ name }) =>
      new WatchedSecret({
        reader: {
          async read(signal) {
            reads.set(name, (reads.get(name) ?? 0) + 1);
            const answer = answers.has(name) ? answers.get(name) : { kind: "missing" as const };
            if (answer !== undefined) return answer;
            return await new Promise((resolve, reject) => {
              held.set(name, resolve);
              signal.addEventListener("abort", () => reject(new Error("closed")));
            });
          },
        },
        label: name,
        useByMs: 3_600_000,
        clock,
        random: () => 0.5,
        log: written,
        metrics: undefined,
      }),
    clock,
    log: written,
    capacity,
  });
  const ask = (name: string): Promise<KeyVaultInputAnswer> =>
    inputs.find(`ObjectId=${objectId};SecretUri=https://${vault}/secrets/${name}`);
  return {
    clock,
    log,
    reads,
    answers,
    held,
    ask,
    async outcome(name) {
      const answer = await ask(name);
      return answer.allowed ? answer.outcome.outcome : answer.reason;
    },
  };
}

suite("a secret that was never read, of a vault that throttles", () => {
  const throttled: KeyVaultReading = {
    kind: "failed",
    failure: "vault-throttled",
    reason: "The vault answered 429.",
    retryAfterMs: 60_000,
  };

  test("is not asked for before the vault's Retry-After, however often a plugin asks", async () => {
    const { answers, clock, outcome, reads } = open(4);
    answers.set("web", throttled);

    for (let second = 0; second < 59; second++) {
      assert.equal(await outcome("web"), "unavailable");
      await clock.advance(1_000);
    }
    assert.equal(reads.get("web"), 1);
    answers.set("web", found);
    await clock.advance(2_000);

    assert.equal(await outcome("web"), "found");
    assert.equal(reads.get("web"), 2);
  });
});

suite("when every place is taken", () => {
  test("a name that is not in the vault pushes no working secret out", async () => {
    const { answers, outcome, reads } = open(2);
    for (const name of ["one", "two"]) {
      answers.set(name, found);
      assert.equal(await outcome(name), "found");
    }

    for (let index = 0; index < 30; index++) assert.equal(await outcome(`none-${index}`), "missing");

    for (const name of ["one", "two"]) {
      assert.equal(await outcome(name), "found");
      assert.equal(reads.get(name), 1);
    }
  });

  test("a secret that is there takes the place of the one asked for longest ago, and the log says of which", async () => {
    const { answers, log, outcome, reads } = open(2);
    for (const name of ["one", "two", "three"]) {
      answers.set(name, found);
      assert.equal(await outcome(name), "found");
    }

    const line = log.find((each) => each.includes("key-vault.input-forgotten")) ?? "";
    assert.match(line, new RegExp(`${vault}/secrets/one`));
    assert.equal(await outcome("two"), "found");
    assert.equal(reads.get("two"), 1);
  });

  test("a first reading under way is not ended for a newcomer's sake", async () => {
    const { answers, ask, held, outcome } = open(2);
    for (const name of ["slow-1", "slow-2"]) answers.set(name, undefined);
    const waiting = [ask("slow-1"), ask("slow-2")];
    await settle();

    for (let index = 0; index < 10; index++) assert.equal(await outcome(`none-${index}`), "missing");

    for (const release of held.values()) release(found);
    for (const answer of await Promise.all(waiting))
      assert.equal(answer.allowed && answer.outcome.outcome, "found");
  });

  test("by readings under way, a newcomer is told so, and the vault is not asked", async () => {
    const { answers, ask, reads } = open(2);
    const names = Array.from({ length: 40 }, (_, index) => `slow-${index}`);
    for (const name of names) answers.set(name, undefined);
    for (const name of names) void ask(name);
    await settle();

    const answer = await ask("web");

    assert.deepEqual(answer.allowed && answer.outcome, {
      outcome: "unavailable",
      reason: "too many other secrets are being read",
    });
    assert.equal(reads.has("web"), false);
    assert.ok(reads.size < 20);
  });
});

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import * as fc from "fast-check";
import { FakeClock } from "../../../test/fakes/fake-clock.ts";
import {
  account,
  alice,
  clusterId,
  root,
  scriptedSts,
  testMetrics,
  tokenOf,
  type ScriptedSts,
} from "../../../test/fakes/ram.ts";
import { silentLog } from "../../observe/log.ts";
import type { IdentityVerifier } from "../identity-verifier.ts";
import type { RamIdentity } from "./ram-identity.ts";
import { signRpc } from "./sign.ts";
import { mintToken, v2Prefix } from "./token.ts";
import { createRamVerifier, ramVerifierDefaults, type RamVerifierOptions } from "./verifier.ts";

const minute = 60_000;
let clock: FakeClock;
let sts: ScriptedSts;

beforeEach(() => {
  clock = new FakeClock("2026-01-01T00:00:00Z");
  sts = scriptedSts(clock);
});

function verifier(options: Partial<RamVerifierOptions> = {}): IdentityVerifier<RamIdentity> {
  return createRamVerifier(
    { sts, clock, log: silentLog, metrics: testMetrics() },
    { clusterId, ...ramVerifierDefaults, ...options },
  );
}

describe("a verified identity", () => {
  test("is what STS says about the signer", async () => {
    const result = await verifier().verify(tokenOf(alice, clock.now()));

    assert.deepEqual(result, {
      outcome: "verified",
      identity: {
        verifier: "ram",
        subject: alice.arn,
        arn: alice.arn,
        canonicalArn: alice.arn,
        accountId: account,
        userId: alice.userId,
        sessionName: "",
        accessKeyId: alice.accessKeyId,
      },
    });
  });

  test("is remembered until the token's own end", async () => {
    const ram = verifier();
    const token = tokenOf(alice, clock.now());

    await ram.verify(token);
    await clock.advance(15 * minute - 1);
    assert.equal((await ram.verify(token)).outcome, "verified");
    assert.equal(sts.calls, 1);

    await clock.advance(2);
    const late = await ram.verify(token);
    assert.ok(late.outcome === "refused");
    assert.equal(late.reason, "too-old");
  });

  test("is remembered no longer than the option says", async () => {
    const ram = verifier({ identityTtlMs: minute });
    const token = tokenOf(alice, clock.now());

    await ram.verify(token);
    await clock.advance(minute);
    await ram.verify(token);

    assert.equal(sts.calls, 2);
  });

  test("costs one call however many ask for it at once", async () => {
    const ram = verifier();
    const token = tokenOf(alice, clock.now());

    const results = await Promise.all(Array.from({ length: 50 }, () => ram.verify(token)));

    assert.ok(results.every((result) => result.outcome === "verified"));
    assert.equal(sts.calls, 1);
  });

  test("does not carry over to another token of the same key", async () => {
    const ram = verifier();

    await ram.verify(tokenOf(alice, clock.now()));
    await ram.verify(tokenOf(alice, clock.now() - 1000));

    assert.equal(sts.calls, 2);
  });
});

describe("a definite refusal", () => {
  test("tells what STS said about the caller's own signature, and is remembered shortly", async () => {
    const ram = verifier();
    const forged = mintToken(
      clusterId,
      { accessKeyId: alice.accessKeyId, accessKeySecret: "wrong" },
      clock.now(),
      "x",
    );

    const result = await ram.verify(forged.token);
    await ram.verify(forged.token);

    assert.ok(result.outcome === "refused");
    assert.match(
      result.message,
      /^call sts\.GetCallerIdentity failed: Bad Request \(RequestId: .+, Code: SignatureDoesNotMatch, Message: .+\)$/,
    );
    assert.equal(sts.calls, 1);
    await clock.advance(10_000);
    await ram.verify(forged.token);
    assert.equal(sts.calls, 2);
  });

  test("of an unknown key names STS's code", async () => {
    const stranger = { ...alice, accessKeyId: "LTAIstranger" };
    const result = await verifier().verify(tokenOf(stranger, clock.now()));

    assert.ok(result.outcome === "refused");
    assert.match(result.message, /failed: Not Found \(RequestId: .+, Code: InvalidAccessKeyId\.NotFound/);
  });

  test("costs no call when the token itself is wrong", async () => {
    const ram = verifier();

    for (const token of [
      "k8s-ack-v2.!",
      tokenOf(alice, clock.now(), "c9"),
      `${v2Prefix}${"A".repeat(1_000_000)}`,
    ]) {
      assert.equal((await ram.verify(token)).outcome, "refused");
    }
    assert.equal(sts.calls, 0);
  });

  test("answers an identity that contradicts itself", async () => {
    sts.answer = () =>
      Promise.resolve({ outcome: "inconsistent", detail: "AccountId is not the account of the Arn" });

    const result = await verifier().verify(tokenOf(alice, clock.now()));

    assert.ok(result.outcome === "refused");
    assert.equal(result.message, "invalid token");
  });
});

describe("trouble that may pass", () => {
  const error = { status: 400, code: "Throttling.User", message: "m", requestId: "r" };

  test("is not remembered: the next review asks again and succeeds", async () => {
    const ram = verifier();
    const token = tokenOf(alice, clock.now());
    sts.answer = () => Promise.resolve({ outcome: "unreachable", detail: "no answer" });

    const first = await ram.verify(token);
    sts.answer = undefined;
    const second = await ram.verify(token);

    assert.ok(first.outcome === "unavailable");
    assert.equal(first.status, 503);
    assert.ok(first.retryAfterSeconds >= 1);
    assert.equal(second.outcome, "verified");
  });

  test("an STS that throttles is left alone for a moment", async () => {
    const ram = verifier();
    sts.answer = () => Promise.resolve({ outcome: "throttled", error });

    const first = await ram.verify(tokenOf(alice, clock.now()));
    sts.answer = undefined;
    const second = await ram.verify(tokenOf(root, clock.now()));
    await clock.advance(1000);
    const third = await ram.verify(tokenOf(root, clock.now()));

    assert.ok(first.outcome === "unavailable" && first.status === 429);
    assert.ok(second.outcome === "unavailable" && second.status === 429);
    assert.equal(third.outcome, "verified");
    assert.equal(sts.calls, 2);
  });

  test("an identity that is remembered goes on working while STS hangs, throttles and fails", async () => {
    const ram = verifier();
    const known = tokenOf(alice, clock.now());
    await ram.verify(known);
    const troubles: readonly ScriptedSts["answer"][] = [
      () => Promise.resolve({ outcome: "unreachable", detail: "no answer within 3000 ms" }),
      () => Promise.resolve({ outcome: "throttled", error }),
      () => Promise.resolve({ outcome: "unusable", detail: "status 500" }),
    ];

    for (const [at, trouble] of troubles.entries()) {
      sts.answer = trouble;
      await clock.advance(2000);
      assert.equal((await ram.verify(known)).outcome, "verified");
      const stranger = await ram.verify(tokenOf(root, clock.now() - at * 1000));
      assert.ok(stranger.outcome === "unavailable", "others are told to ask again");
    }

    sts.answer = undefined;
    await clock.advance(2000);
    assert.equal((await ram.verify(tokenOf(root, clock.now()))).outcome, "verified");
  });
});

describe("the own buckets", () => {
  test("one access key cannot spend the calls of the others", async () => {
    const ram = verifier({ accessKeyRate: { rate: 1, burst: 2 }, stsRate: { rate: 10, burst: 10 } });
    const spend = (n: number): Promise<{ outcome: string; status?: number }> =>
      ram.verify(tokenOf(alice, clock.now() - n * 1000));

    assert.equal((await spend(0)).outcome, "verified");
    assert.equal((await spend(1)).outcome, "verified");
    const third = await spend(2);
    assert.deepEqual([third.outcome, third.status], ["unavailable", 429]);
    assert.equal((await ram.verify(tokenOf(root, clock.now()))).outcome, "verified");
    await clock.advance(1000);
    assert.equal((await spend(3)).outcome, "verified");
  });

  test("an empty bucket answers 429 and calls nobody", async () => {
    const ram = verifier({ stsRate: { rate: 0.5, burst: 1 } });
    await ram.verify(tokenOf(alice, clock.now()));

    const held = await ram.verify(tokenOf(root, clock.now()));

    assert.ok(held.outcome === "unavailable");
    assert.deepEqual([held.status, held.retryAfterSeconds], [429, 2]);
    assert.equal(sts.calls, 1);
  });

  test("calls in flight are bounded while STS hangs", async () => {
    const ram = verifier({ stsConcurrency: 2 });
    let release: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    sts.answer = () => gate.then(() => ({ outcome: "unreachable", detail: "late" }) as const);
    const waiting = [0, 1].map((n) => ram.verify(tokenOf(alice, clock.now() - n * 1000)));

    const third = await ram.verify(tokenOf(alice, clock.now() - 5000));

    assert.ok(third.outcome === "unavailable" && third.status === 503);
    release();
    await Promise.all(waiting);
  });
});

describe("tokens of the first generation", () => {
  const v1Token = (now: number): string => {
    const parameters = {
      SignatureVersion: "1.0",
      Format: "JSON",
      Timestamp: `${new Date(now).toISOString().slice(0, 19)}Z`,
      AccessKeyId: alice.accessKeyId,
      SignatureMethod: "HMAC-SHA1",
      Version: "2015-04-01",
      SignatureNonce: crypto.randomUUID(),
      Action: "GetCallerIdentity",
      ClusterId: clusterId,
    };
    const signature = signRpc("GET", Object.entries(parameters), alice.accessKeySecret.reveal());
    const query = new URLSearchParams({ ...parameters, Signature: signature });
    return `k8s-ack-v1.${Buffer.from(`https://sts.aliyuncs.com/?${query.toString()}`).toString("base64")}`;
  };

  test("are refused by default", async () => {
    const result = await verifier().verify(v1Token(clock.now()));
    assert.ok(result.outcome === "refused");
    assert.equal(result.reason, "wrong-prefix");
  });

  test("are verified when switched on, and a second time from memory, for their nonce is spent", async () => {
    const ram = verifier({ acceptV1: true });
    const token = v1Token(clock.now());

    assert.equal((await ram.verify(token)).outcome, "verified");
    assert.equal((await ram.verify(token)).outcome, "verified");
    assert.equal(sts.calls, 1);
  });
});

describe("mutants of a valid token", () => {
  interface Envelope {
    query: Record<string, string>;
    headers: Record<string, string>;
    [other: string]: unknown;
  }
  const signed = [
    "x-acs-action",
    "x-acs-version",
    "x-acs-date",
    "x-acs-content-sha256",
    "Authorization",
  ] as const;
  const unlimited = { rate: 1e9, burst: 1e9 };

  function decode(token: string): Envelope {
    return JSON.parse(Buffer.from(token.slice(v2Prefix.length), "base64").toString()) as Envelope;
  }

  test("none is accepted that changes a signed value in one place", async () => {
    const ram = verifier({ stsRate: unlimited, accessKeyRate: unlimited });
    const original = decode(tokenOf(alice, clock.now()));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<"ACKClusterId" | (typeof signed)[number]>("ACKClusterId", ...signed),
        fc.nat(),
        fc.constantFrom("replace", "insert", "delete"),
        fc.string({ unit: "grapheme-ascii", minLength: 1, maxLength: 1 }),
        async (name, position, how, character) => {
          const mutant = structuredClone(original);
          const holder = name === "ACKClusterId" ? mutant.query : mutant.headers;
          const text = holder[name] ?? "";
          const at = position % text.length;
          holder[name] =
            text.slice(0, at) +
            (how === "delete" ? "" : character) +
            text.slice(how === "insert" ? at : at + 1);
          fc.pre(holder[name] !== text);

          const result = await ram.verify(v2Prefix + Buffer.from(JSON.stringify(mutant)).toString("base64"));

          assert.equal(result.outcome, "refused");
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("of the encoded text, only those are accepted that say the same request", async () => {
    const ram = verifier({ stsRate: unlimited, accessKeyRate: unlimited });
    const token = tokenOf(alice, clock.now());
    const { clusterId: _unsigned, method: _method, path: _path, ...original } = decode(token);
    const signedPart = ({ query, headers }: Envelope): unknown => {
      const { "user-agent": _agent, ...rest } = Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
      );
      // Members with names that mean nothing are not part of the request.
      const known = signed.map((name) => [name, rest[name.toLowerCase()]]);
      return { query, known };
    };
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.integer({ min: 0, max: 255 }), async (position, byte) => {
        const bytes = Buffer.from(token.slice(v2Prefix.length), "base64");
        const at = position % bytes.length;
        fc.pre(bytes[at] !== byte);
        bytes[at] = byte;
        const mutant = v2Prefix + bytes.toString("base64");

        const result = await ram.verify(mutant);

        if (result.outcome === "refused") return;
        assert.equal(result.outcome, "verified");
        assert.deepEqual(signedPart(decode(mutant)), signedPart(original));
      }),
      { numRuns: 3000 },
    );
  });
});

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { account, alice, clusterId, developers, tokenOf } from "../../../test/fakes/ram.ts";
import { systemClock } from "../../clock.ts";
import { silentLog } from "../../observe/log.ts";
import { parseToken, type RamToken } from "./parse-token.ts";
import { createStsClient, rebuildRequest, type StsCall, type StsClient } from "./sts-client.ts";
import { startStsSimulator, type StsFault, type StsSimulator } from "./sts-simulator.ts";

let simulator: StsSimulator;
let client: StsClient;

before(async () => {
  simulator = await startStsSimulator({
    accessKeys: [alice],
    roles: [developers],
    clock: systemClock,
    log: silentLog,
  });
  client = createStsClient({
    origin: simulator.origin,
    clusterId,
    userAgent: "test",
    timeoutMs: 300,
    authoritiesPem: simulator.authoritiesPem,
    maxIdleConnections: 4,
  });
});

after(async () => {
  client.close();
  await simulator.stop();
});

function token(): RamToken {
  const parsed = parseToken(tokenOf(alice, Date.now()), {
    clusterId,
    now: Date.now(),
    clockSkewMs: 300_000,
    maxLength: 8192,
    acceptV1: false,
    extraParameters: [],
  });
  assert.ok(parsed.ok);
  return parsed.token;
}

async function ask(fault: StsFault): Promise<StsCall> {
  simulator.setFault(fault);
  try {
    return await client.getCallerIdentity(token());
  } finally {
    simulator.setFault({ fault: "none" });
  }
}

test("a rebuilt request is what the client signed: STS names the caller", async () => {
  const call = await ask({ fault: "none" });

  assert.ok(call.outcome === "identity");
  assert.equal(call.identity.arn, alice.arn);
});

describe("an STS that", () => {
  const cases: readonly [name: string, fault: StsFault, outcome: StsCall["outcome"], detail?: RegExp][] = [
    ["hangs is given up after the time limit", { fault: "hang" }, "unreachable", /no answer within 300 ms/],
    ["answers too late is given up", { fault: "latency", milliseconds: 600 }, "unreachable"],
    ["answers 500 is in trouble", { fault: "server-error", status: 500 }, "unusable", /500/],
    ["answers 503 is in trouble", { fault: "server-error", status: 503 }, "unusable", /503/],
    ["throttles", { fault: "throttling" }, "throttled"],
    [
      "redirects is not followed",
      { fault: "redirect", location: "https://127.0.0.1:1/" },
      "unusable",
      /redirect/,
    ],
    ["answers HTML is not believed", { fault: "content-type", contentType: "text/html" }, "unusable"],
    ["breaks off is not believed", { fault: "truncated" }, "unreachable"],
    ["answers too much is cut off", { fault: "oversized", bytes: 100_000 }, "unreachable", /larger than/],
    [
      "names another account than the ARN's is not believed",
      { fault: "identity", fields: { AccountId: "1111111111111111" } },
      "inconsistent",
    ],
    ["leaves the ARN out is not believed", { fault: "identity", fields: { Arn: null } }, "unusable"],
    [
      "names a session for a user is not believed",
      { fault: "identity", fields: { Arn: `acs:ram::${account}:assumed-role/x/yy` } },
      "inconsistent",
    ],
  ];
  for (const [name, fault, outcome, detail] of cases) {
    test(name, async () => {
      const call = await ask(fault);

      assert.equal(call.outcome, outcome);
      if (detail !== undefined) assert.match("detail" in call ? call.detail : "", detail);
    });
  }

  test("is certified by a stranger is not talked to", async () => {
    const strict = createStsClient({
      origin: simulator.origin,
      clusterId,
      userAgent: "test",
      timeoutMs: 1000,
      maxIdleConnections: 1,
    });
    const callsSoFar = simulator.calls()["GetCallerIdentity"];

    const call = await strict.getCallerIdentity(token());
    strict.close();

    assert.equal(call.outcome, "unreachable");
    assert.equal(simulator.calls()["GetCallerIdentity"], callsSoFar);
  });
});

test("of a token only signature, date, security token, nonce and listed parameters reach STS", () => {
  const parts = {
    generation: 2,
    accessKeyId: "LTAI",
    authorization: "ACS3-HMAC-SHA256 Credential=LTAI,SignedHeaders=x,Signature=y",
    date: "2026-01-01T00:00:00Z",
    signedAt: 0,
    securityToken: "CAIS",
    nonce: "n-1",
    extraQuery: { env: "a b&c" },
    userAgent: "ack-ram-tool/1",
  } as const;

  assert.deepEqual(rebuildRequest(parts, { clusterId: "c1", userAgent: "us/1" }), {
    method: "POST",
    path: "/?ACKClusterId=c1&env=a%20b%26c",
    headers: {
      accept: "application/json",
      "user-agent": "us/1 ack-ram-tool/1",
      "content-length": "0",
      "x-acs-action": "GetCallerIdentity",
      "x-acs-version": "2015-04-01",
      "x-acs-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "x-acs-date": "2026-01-01T00:00:00Z",
      "x-acs-security-token": "CAIS",
      "x-acs-signature-nonce": "n-1",
      authorization: parts.authorization,
    },
  });
});

test("an STS that recovers is believed again on the same client", async () => {
  await ask({ fault: "hang" });
  await ask({ fault: "server-error", status: 500 });

  assert.equal((await ask({ fault: "none" })).outcome, "identity");
});

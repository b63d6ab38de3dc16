/**
 * A small RAM world for tests: accounts, keys, roles, and an STS client that asks a simulator without sockets.
 * @module
 */
import { rebuildRequest, type StsCall, type StsClient } from "../../src/authenticator/ram/sts-client.ts";
import { parseStsAnswer } from "../../src/authenticator/ram/sts-answer.ts";
import {
  createSimulatedSts,
  type SimulatedAccessKey,
  type SimulatedRole,
  type SimulatedSts,
} from "../../src/authenticator/ram/sts-simulator.ts";
import { mintToken } from "../../src/authenticator/ram/token.ts";
import { createRegistry } from "../../src/observe/metrics.ts";
import {
  createAuthenticatorMetrics,
  type AuthenticatorMetrics,
} from "../../src/observe/authenticator-metrics.ts";
import { Secret } from "../../src/secret.ts";
import type { FakeClock } from "./fake-clock.ts";

export const account = "1234567890123456";
export const clusterId = "c0123456789abcdef0123456789abcdef";

export const alice: SimulatedAccessKey = {
  accessKeyId: "LTAIexamplealice",
  accessKeySecret: new Secret("alice-secret"),
  arn: `acs:ram::${account}:user/Alice`,
  userId: "200000000000000001",
};

export const root: SimulatedAccessKey = {
  accessKeyId: "LTAIexampleroot",
  accessKeySecret: new Secret("root-secret"),
  arn: `acs:ram::${account}:root`,
  userId: account,
};

export const developers: SimulatedRole = {
  arn: `acs:ram::${account}:role/Dev-Team`,
  roleId: "300000000000000001",
};

export function tokenOf(key: SimulatedAccessKey, now: number, cluster = clusterId): string {
  return mintToken(
    cluster,
    { accessKeyId: key.accessKeyId, accessKeySecret: key.accessKeySecret.reveal() },
    now,
    "sallyport/test",
  ).token;
}

export function testMetrics(): AuthenticatorMetrics {
  return createAuthenticatorMetrics(createRegistry("test"));
}

/** An STS client whose answers a test can hold back or replace. */
export interface ScriptedSts extends StsClient {
  readonly sts: SimulatedSts;
  calls: number;
  /** Replaces the answer to the next calls; `undefined`: the simulator answers. */
  answer: (() => Promise<StsCall>) | undefined;
}

export function scriptedSts(clock: FakeClock): ScriptedSts {
  const sts = createSimulatedSts({ accessKeys: [alice, root], roles: [developers], clock });
  return {
    sts,
    calls: 0,
    answer: undefined,
    async getCallerIdentity(token) {
      this.calls++;
      if (this.answer !== undefined) return await this.answer();
      const { method, path, headers } = rebuildRequest(token, { clusterId, userAgent: "test" });
      const { status, body } = sts.answer({
        method,
        query: [...new URL(path, "https://sts.invalid").searchParams],
        headers: Object.entries(headers),
        form: [],
      });
      return parseStsAnswer({ status, contentType: "application/json", body: JSON.stringify(body) });
    },
    close: () => undefined,
  };
}

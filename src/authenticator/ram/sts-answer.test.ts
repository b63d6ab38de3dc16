import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as fc from "fast-check";
import { describeStsError, parseStsAnswer, type StsAnswer } from "./sts-answer.ts";

const account = "1234567890123456";
const user = {
  IdentityType: "RAMUser",
  AccountId: account,
  Arn: `acs:ram::${account}:user/Alice`,
  PrincipalId: "200000000000000001",
  UserId: "200000000000000001",
  RequestId: "R-1",
};
const role = {
  IdentityType: "AssumedRoleUser",
  AccountId: account,
  Arn: `acs:ram::${account}:assumed-role/Dev/alice@corp`,
  PrincipalId: "300000000000000001:alice@corp",
  RoleId: "300000000000000001",
  RequestId: "R-2",
};
const root = {
  IdentityType: "Account",
  AccountId: account,
  Arn: `acs:ram::${account}:root`,
  PrincipalId: account,
  UserId: account,
  RequestId: "R-3",
};

function answer(body: unknown, status = 200, contentType = "application/json;charset=utf-8"): StsAnswer {
  return parseStsAnswer({
    status,
    contentType,
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

describe("an identity", () => {
  for (const [body, canonical, id, session] of [
    [user, user.Arn, "200000000000000001", ""],
    [role, `acs:ram::${account}:role/Dev`, "300000000000000001", "alice@corp"],
    [root, root.Arn, account, ""],
  ] as const) {
    test(`of the type ${body.IdentityType} is read`, () => {
      const parsed = answer(body);

      assert.ok(parsed.outcome === "identity");
      assert.equal(parsed.identity.canonicalArn, canonical);
      assert.equal(parsed.identity.principalId, id);
      assert.equal(parsed.identity.sessionName, session);
    });
  }

  const inconsistent: readonly [name: string, body: object][] = [
    ["an account that is not the Arn's", { ...user, AccountId: "1111111111111111" }],
    ["an account that is no number", { ...user, AccountId: "x" }],
    ["the type of another Arn", { ...user, IdentityType: "AssumedRoleUser" }],
    ["an unknown type", { ...user, IdentityType: "Robot" }],
    ["an Arn of the wrong form", { ...user, Arn: "Alice" }],
    ["an Arn of a role itself", { ...user, Arn: `acs:ram::${account}:role/x` }],
    ["a principal of another session", { ...role, PrincipalId: "300000000000000001:bob@corp" }],
    ["a principal without the session", { ...role, PrincipalId: "300000000000000001" }],
    ["a principal with two sessions", { ...role, PrincipalId: "3:x:alice@corp" }],
    ["a user id that is not the principal's", { ...user, UserId: "2999" }],
    ["a role id that is not the principal's", { ...role, RoleId: "3999" }],
    ["a user id for a role", { ...role, UserId: "3" }],
    ["a root that is not its account", { ...root, PrincipalId: "1", UserId: "1" }],
  ];
  for (const [name, body] of inconsistent) {
    test(`with ${name} contradicts itself`, () => {
      assert.equal(answer(body).outcome, "inconsistent");
    });
  }
});

describe("an answer that is not STS's", () => {
  const unusable: readonly [name: string, StsAnswer][] = [
    ["HTML", answer("<html>", 200, "text/html")],
    ["XML", answer("<Error/>", 400, "application/xml")],
    ["no content type", answer(user, 200, "")],
    ["half a body", answer(JSON.stringify(user).slice(0, 40))],
    ["an array", answer([user])],
    ["a redirect", answer({}, 302)],
    ["a name that stands twice", answer(JSON.stringify(user).replace("{", '{"arn":"x",'))],
    ["an identity without an Arn", answer({ ...user, Arn: undefined })],
    ["an identity with an Arn of another type", answer({ ...user, Arn: [user.Arn] })],
    ["a refusal without a code", answer({ Message: "no" }, 403)],
    ["a server error", answer({ Code: "InternalError", RequestId: "R" }, 500)],
    ["another success", answer(user, 206)],
  ];
  for (const [name, parsed] of unusable) {
    test(`such as ${name} is trouble, not a refusal`, () => {
      assert.equal(parsed.outcome, "unusable");
    });
  }
});

describe("an error", () => {
  test("of the caller's making is a refusal", () => {
    assert.equal(answer({ Code: "SignatureDoesNotMatch", RequestId: "R" }, 400).outcome, "refused");
    assert.equal(answer({ Code: "Forbidden.RAM", RequestId: "R" }, 403).outcome, "refused");
  });

  test("of too many calls is throttling", () => {
    assert.equal(answer({ Code: "Throttling.User", RequestId: "R" }, 400).outcome, "throttled");
    assert.equal(answer({ Code: "Throttling", RequestId: "R" }, 503).outcome, "throttled");
    assert.equal(answer({ Code: "Anything", RequestId: "R" }, 429).outcome, "throttled");
  });

  const error = { status: 400, code: "InvalidTimeStamp.Expired", message: "late", requestId: "R" };
  test("shows the codes that speak about the caller, and no others", () => {
    assert.equal(
      describeStsError(error, "Bad Request"),
      "call sts.GetCallerIdentity failed: Bad Request (RequestId: R, Code: InvalidTimeStamp.Expired, Message: late)",
    );
    assert.equal(
      describeStsError({ ...error, code: "Forbidden.RAM" }, "Forbidden"),
      "call sts.GetCallerIdentity failed: Forbidden",
    );
  });
});

test("never throws and never invents an identity", () => {
  fc.assert(
    fc.property(fc.json(), fc.integer({ min: 100, max: 599 }), (body, status) => {
      assert.notEqual(answer(body, status).outcome, "identity");
    }),
  );
});

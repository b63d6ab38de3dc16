import assert from "node:assert/strict";
import { test } from "node:test";
import { SignJWT, UnsecuredJWT, generateKeyPair } from "jose";
import { FakeClock } from "../../../test/fakes/fake-clock.ts";
import { guidFromBytes } from "../../directory/guid.ts";
import type { Sid } from "../../directory/sid.ts";
import { Secret } from "../../secret.ts";
import { readSessionKeys, rotateSessionKeys, type SessionKeys } from "./session-keys.ts";
import { SessionTokens, sessionTokenPrefix, type SessionSubject } from "./session-tokens.ts";

const minute = 60_000;
const guid = guidFromBytes(Buffer.alloc(16, 1));
assert.ok(guid !== undefined);
const subject: SessionSubject = {
  guid,
  sid: "S-1-5-21-1-2-3-1104" as Sid,
  accountName: "alice",
  domain: "contoso.test",
  principalName: "alice@contoso.test",
  passwordSet: "134000000000000000",
  authenticatedAt: Date.parse("2026-01-01T00:00:00Z"),
  groups: ["Inner@contoso.test"],
};

async function keysOf(text?: string): Promise<SessionKeys> {
  return readSessionKeys(new Secret(text ?? (await rotateSessionKeys(undefined))));
}

async function tokensOf(
  options: {
    readonly cluster?: string;
    readonly issuer?: string;
    readonly keys?: SessionKeys;
    readonly clock?: FakeClock;
  } = {},
) {
  const keys = options.keys ?? (await keysOf());
  const clock = options.clock ?? new FakeClock();
  return {
    tokens: new SessionTokens({
      keys: () => keys,
      issuer: options.issuer ?? "https://login.test",
      cluster: options.cluster ?? "c1",
      clock,
    }),
    clock,
    keys,
  };
}

test("a token says at the review what was put into it", async () => {
  const { tokens, clock } = await tokensOf();

  const issued = await tokens.issue("cluster", subject, clock.now() + 15 * minute);
  const check = await tokens.check("cluster", issued.token);

  assert.deepEqual(check, { ok: true, subject, expiresAt: clock.now() + 15 * minute });
});

test("an expired token is refused, after a tolerance of half a minute", async () => {
  const { tokens, clock } = await tokensOf();
  const { token } = await tokens.issue("cluster", subject, clock.now() + minute);

  await clock.advance(minute + 29_000);
  assert.ok((await tokens.check("cluster", token)).ok);
  await clock.advance(2000);
  assert.deepEqual(await tokens.check("cluster", token), { ok: false, problem: "expired" });
});

test("a token for another cluster, of another issuer or of the other kind is refused", async () => {
  const keys = await keysOf();
  const { tokens, clock } = await tokensOf({ keys });
  const end = clock.now() + minute;
  const others = [
    (await (await tokensOf({ keys, cluster: "c2" })).tokens.issue("cluster", subject, end)).token,
    (await (await tokensOf({ keys, issuer: "https://else.test" })).tokens.issue("cluster", subject, end))
      .token,
    (await tokens.issue("refresh", subject, end)).token,
  ];

  for (const token of others) assert.equal((await tokens.check("cluster", token)).ok, false);
  const { token } = await tokens.issue("cluster", subject, end);
  assert.equal((await tokens.check("refresh", token)).ok, false);
});

test("a token of an unknown key, of a foreign key under a known name, or of none at all is refused", async () => {
  const { tokens, clock, keys } = await tokensOf();
  const stranger = await tokensOf();
  const end = clock.now() + minute;
  const { token: foreign } = await stranger.tokens.issue("cluster", subject, end);
  const { privateKey } = await generateKeyPair("EdDSA");
  const forged = new SignJWT({ sid: subject.sid, acc: "a", dom: "d", pws: "1", grp: [], auth_time: 1 })
    .setProtectedHeader({ alg: "EdDSA", kid: keys.signing.kid, typ: "sallyport+jwt" })
    .setIssuer("https://login.test")
    .setAudience("cluster:c1")
    .setSubject(subject.guid)
    .setIssuedAt(1)
    .setExpirationTime(end / 1000)
    .setJti("x");
  const unsigned = new UnsecuredJWT({ sub: subject.guid })
    .setIssuer("https://login.test")
    .setAudience("cluster:c1")
    .encode();
  const [, payload] = unsigned.split(".");
  const none = `${Buffer.from(JSON.stringify({ alg: "none", kid: keys.signing.kid })).toString("base64url")}.${payload}.`;
  const hmac = await new SignJWT({ sub: subject.guid })
    .setProtectedHeader({ alg: "HS256", kid: keys.signing.kid })
    .sign(Buffer.alloc(32, 1));

  assert.deepEqual(await tokens.check("cluster", foreign), { ok: false, problem: "unknown-key" });
  assert.deepEqual(await tokens.check("cluster", sessionTokenPrefix + (await forged.sign(privateKey))), {
    ok: false,
    problem: "signature",
  });
  for (const jwt of [unsigned, none, hmac])
    assert.equal((await tokens.check("cluster", sessionTokenPrefix + jwt)).ok, false);
});

test("a token altered anywhere is refused, and garbage never makes the check fail", async () => {
  const { tokens, clock } = await tokensOf();
  const { token } = await tokens.issue("cluster", subject, clock.now() + minute);

  for (let at = sessionTokenPrefix.length; at < token.length; at += 7) {
    // The last character of a part may hold unused bits: change one that matters.
    if (token[at] === "." || token[at + 1] === "." || at + 1 >= token.length) continue;
    const altered = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    assert.equal((await tokens.check("cluster", altered)).ok, false, String(at));
  }
  for (const garbage of [
    "",
    "x",
    sessionTokenPrefix,
    `${sessionTokenPrefix}a.b.c`,
    `${sessionTokenPrefix}${"x".repeat(100_000)}`,
    `${sessionTokenPrefix}..`,
  ]) {
    assert.deepEqual((await tokens.check("cluster", garbage)).ok, false);
  }
});

test("a rotated key set signs with the new key and still checks the old one's tokens", async () => {
  const first = await rotateSessionKeys(undefined);
  const second = await rotateSessionKeys(new Secret(first));
  const third = await rotateSessionKeys(new Secret(second));
  const { tokens, clock } = await tokensOf({ keys: await keysOf(first) });
  const { token } = await tokens.issue("cluster", subject, clock.now() + minute);
  const [one, two, three] = await Promise.all([first, second, third].map((text) => keysOf(text)));
  assert.ok(one !== undefined && two !== undefined && three !== undefined);

  assert.equal(two.ids.length, 2);
  assert.equal(two.ids[1], one.signing.kid);
  assert.ok((await (await tokensOf({ keys: two, clock })).tokens.check("cluster", token)).ok);
  assert.deepEqual(await (await tokensOf({ keys: three, clock })).tokens.check("cluster", token), {
    ok: false,
    problem: "unknown-key",
  });
});

test("key sets that cannot be used are refused without being quoted", async () => {
  const good = JSON.parse(await rotateSessionKeys(undefined)) as { keys: Record<string, unknown>[] };
  const [key] = good.keys;
  assert.ok(key !== undefined);
  const bad: readonly unknown[] = [
    {},
    { keys: [] },
    { keys: [{ ...key, d: undefined }] },
    { keys: [{ ...key, kid: undefined }] },
    { keys: [key, key] },
    { keys: [{ kty: "oct", k: "AAAA", kid: "a" }] },
    { keys: [{ kty: "RSA", n: "AA", e: "AQAB", d: "AA", kid: "a" }] },
    { keys: [null] },
    { keys: [{ ...key, x: "AA" }] },
  ];

  for (const set of [...bad.map((value) => JSON.stringify(value)), "", "not json"]) {
    await assert.rejects(
      readSessionKeys(new Secret(set)),
      (error: Error) =>
        !error.message.includes(String(key["d"])) && "code" in error && error.code === "E_SESSION_KEYS",
      set,
    );
  }
});

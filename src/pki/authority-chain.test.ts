/** @module */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { createAuthorityChain, decideAuthorities } from "./authority-chain.ts";
import type { AuthorityChain, AuthorityState } from "./authority-chain.ts";
import type { CertificateRequest } from "./authority.ts";
import { createAuthority } from "./authority.ts";
import { openCertificate } from "./certificate.ts";

const day = 86_400_000;

function state(fields: Partial<AuthorityState>): AuthorityState {
  return { since: 0, notBefore: 0, notAfter: 30, published: true, lastLeafNotAfter: undefined, ...fields };
}

const cases: readonly {
  readonly name: string;
  readonly authorities: readonly AuthorityState[];
  readonly signer?: number;
  readonly now: number;
  readonly decision: ReturnType<typeof decideAuthorities>;
}[] = [
  {
    name: "without any authority one is made",
    authorities: [],
    now: 0,
    decision: { signer: undefined, create: true, drop: [] },
  },
  {
    name: "a young authority goes on signing",
    authorities: [state({})],
    signer: 0,
    now: 19,
    decision: { signer: 0, create: false, drop: [] },
  },
  {
    name: "at two thirds of its life a successor is made, and it still signs",
    authorities: [state({})],
    signer: 0,
    now: 20,
    decision: { signer: 0, create: true, drop: [] },
  },
  {
    name: "a successor that is not published signs nothing",
    authorities: [state({}), state({ since: 20, notAfter: 50, published: false })],
    signer: 0,
    now: 21,
    decision: { signer: 0, create: false, drop: [] },
  },
  {
    name: "a published successor signs, its predecessor stays while its leaves live",
    authorities: [state({ lastLeafNotAfter: 25 }), state({ since: 20, notAfter: 50 })],
    signer: 0,
    now: 21,
    decision: { signer: 1, create: false, drop: [] },
  },
  {
    name: "the predecessor goes when the last leaf it signed has expired",
    authorities: [state({ lastLeafNotAfter: 25 }), state({ since: 20, notAfter: 50 })],
    signer: 1,
    now: 25,
    decision: { signer: 1, create: false, drop: [0] },
  },
  {
    name: "an expired authority hands over to an unpublished successor at once",
    authorities: [state({ lastLeafNotAfter: 30 }), state({ since: 20, notAfter: 50, published: false })],
    signer: 0,
    now: 31,
    decision: { signer: 1, create: false, drop: [0] },
  },
  {
    name: "after everything has expired a new authority is made and signs",
    authorities: [state({ lastLeafNotAfter: 30 })],
    signer: 0,
    now: 1000,
    decision: { signer: undefined, create: true, drop: [0] },
  },
  {
    name: "a successor whose publication never worked is replaced in its turn",
    authorities: [state({ notAfter: 90 }), state({ since: 20, notAfter: 50, published: false })],
    signer: 0,
    now: 45,
    decision: { signer: 0, create: true, drop: [] },
  },
];
for (const { name, authorities, signer, now, decision } of cases) {
  test(name, () => {
    assert.deepEqual(decideAuthorities(authorities, signer, now), decision);
  });
}

test("the signer is alive and kept, and nothing with a living leaf is dropped, whatever the state", () => {
  const states = fc.array(
    fc.record({
      since: fc.nat(100),
      notBefore: fc.nat(100),
      notAfter: fc.nat(200),
      published: fc.boolean(),
      lastLeafNotAfter: fc.option(fc.nat(200), { nil: undefined }),
    }),
    { maxLength: 4 },
  );
  fc.assert(
    fc.property(states, fc.option(fc.nat(3), { nil: undefined }), fc.nat(250), (authorities, signer, now) => {
      const { signer: next, create, drop } = decideAuthorities(authorities, signer, now);

      if (next === undefined) assert.ok(create);
      else assert.ok((authorities[next]?.notAfter ?? 0) > now && !drop.includes(next));
      for (const index of drop) {
        const dropped = authorities[index];
        assert.ok(dropped !== undefined);
        assert.ok(dropped.notAfter <= now || (dropped.lastLeafNotAfter ?? 0) <= now);
      }
    }),
  );
});

const leaf: CertificateRequest = {
  commonName: "localhost",
  dnsNames: ["localhost"],
  usage: "server",
  keyType: "ec-p256",
  lifetimeMs: day,
};

interface ChainBench {
  readonly clock: FakeClock;
  readonly chain: AuthorityChain;
  /** Set to make no further authority. */
  fail: boolean;
}

function chainOnFakeClock(): ChainBench {
  const clock = new FakeClock();
  const made: ChainBench = {
    clock,
    fail: false,
    chain: createAuthorityChain({
      clock,
      createAuthority: () =>
        made.fail
          ? Promise.reject(new Error("no entropy"))
          : createAuthority({ commonName: "Test", keyType: "ec-p256", lifetimeMs: 30 * day, clock }),
    }),
  };
  return made;
}

test("through a year of daily leaves, every leaf verifies with the bundle that was published before it", async () => {
  const { clock, chain } = chainOnFakeClock();
  let published = chain.trusted;
  const seen = new Set<string>();
  for (let hours = 0; hours < 365 * 24; hours += 16) {
    const { added } = await chain.advance();
    if (published.length === 0) published = chain.trusted;
    const issued = await chain.issue(leaf);
    const certificate = openCertificate(issued.certificatePem);
    const signers = published.filter(
      (each) =>
        certificate.checkIssued(openCertificate(each.certificatePem)) &&
        certificate.verify(openCertificate(each.certificatePem).publicKey),
    );
    assert.equal(signers.length, 1, `after ${hours} hours`);
    assert.ok(chain.trusted.length <= 2);
    for (const each of added) seen.add(each.thumbprintSha1);
    published = chain.trusted;
    chain.confirmPublished(published);
    await clock.advance(16 * 3_600_000);
  }

  assert.ok(seen.size >= 18 && seen.size <= 20, `${seen.size} authorities in a year`);
});

test("when no successor can be made the present authority goes on and the failure is told", async () => {
  const made = chainOnFakeClock();
  await made.chain.advance();
  made.chain.confirmPublished(made.chain.trusted);
  await made.clock.advance(21 * day);
  made.fail = true;

  const change = await made.chain.advance();
  const issued = await made.chain.issue(leaf);

  assert.equal(String(change.creationFailure), "Error: no entropy");
  assert.deepEqual(change.added, []);
  assert.ok(issued.notAfter > made.clock.now());
});

test("when no authority is left and none can be made, advancing rejects", async () => {
  const made = chainOnFakeClock();
  await made.chain.advance();
  await made.clock.advance(31 * day);
  made.fail = true;

  await assert.rejects(made.chain.advance(), /no entropy/);
  made.fail = false;
  const change = await made.chain.advance();

  assert.equal(change.added.length, 1);
  assert.equal(change.removed.length, 1);
  assert.equal(made.chain.trusted.length, 1);
});

test("the bundle holds the certificates of all trusted authorities, oldest first", async () => {
  const { clock, chain } = chainOnFakeClock();
  await chain.advance();
  await clock.advance(21 * day);
  await chain.advance();

  const [first, second] = chain.trusted;

  assert.equal(chain.trustBundlePem(), `${first?.certificatePem}${second?.certificatePem}`);
});

test("issuing before the first advance is a mistake of the caller", async () => {
  const { chain } = chainOnFakeClock();

  await assert.rejects(chain.issue(leaf), TypeError);
});

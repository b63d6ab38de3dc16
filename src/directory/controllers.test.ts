import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { Controllers, orderServices } from "./controllers.ts";
import type { LookUpServices, ServiceRecord } from "./service-records.ts";
import { parseServerUrl } from "./server-url.ts";

const record = (name: string, priority = 0, weight = 100): ServiceRecord => ({
  name,
  port: 389,
  priority,
  weight,
});
const never = new AbortController().signal;

test("lower priorities come first, and none is lost", () => {
  const records = fc.array(
    fc.record({ name: fc.uuid(), port: fc.constant(389), priority: fc.nat(3), weight: fc.nat(65_535) }),
    { maxLength: 8 },
  );
  fc.assert(
    fc.property(records, fc.double({ min: 0, max: 0.999, noNaN: true }), (list, random) => {
      const ordered = orderServices(list, () => random);
      assert.deepEqual(
        ordered.map(({ priority }) => priority),
        list.map(({ priority }) => priority).sort((a, b) => a - b),
      );
      assert.deepEqual(
        [...ordered].sort((a, b) => (a.name < b.name ? -1 : 1)),
        [...list].sort((a, b) => (a.name < b.name ? -1 : 1)),
      );
    }),
  );
});

test("within a priority the first is drawn in proportion to the weights", () => {
  let seed = 1;
  const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  const records = [record("heavy", 0, 300), record("light", 0, 100)];
  let heavy = 0;
  for (let draw = 0; draw < 4000; draw++) if (orderServices(records, random)[0]?.name === "heavy") heavy += 1;

  assert.ok(Math.abs(heavy / 4000 - 0.75) < 0.03, String(heavy));
});

test("the site's controllers come before the others, each once", async () => {
  const asked: string[] = [];
  const lookUp: LookUpServices = (name) => {
    asked.push(name);
    return Promise.resolve(
      name.includes("_sites")
        ? [record("near.contoso.test.")]
        : [record("far.contoso.test"), record("NEAR.contoso.test")],
    );
  };
  const controllers = new Controllers(
    { from: "dns", domain: "contoso.test", site: "Berlin", security: "ldaps" },
    { clock: new FakeClock(), lookUp, random: () => 0 },
  );

  const found = await controllers.candidates(never);

  assert.deepEqual(asked, [
    "_ldap._tcp.Berlin._sites.dc._msdcs.contoso.test",
    "_ldap._tcp.dc._msdcs.contoso.test",
  ]);
  assert.deepEqual(found, [
    { host: "near.contoso.test", port: 636, security: "ldaps" },
    { host: "far.contoso.test", port: 636, security: "ldaps" },
  ]);
});

test("DNS is asked again after five minutes, and what it said last is kept when it fails", async () => {
  const clock = new FakeClock();
  let asked = 0;
  let fails = false;
  const lookUp: LookUpServices = () => {
    asked += 1;
    return fails ? Promise.reject(new Error("no answer")) : Promise.resolve([record("dc1.contoso.test")]);
  };
  const controllers = new Controllers(
    { from: "dns", domain: "contoso.test", security: "starttls" },
    { clock, lookUp },
  );

  await controllers.candidates(never);
  await controllers.candidates(never);
  assert.equal(asked, 1);
  await clock.advance(300_001);
  fails = true;
  assert.deepEqual(await controllers.candidates(never), [
    { host: "dc1.contoso.test", port: 389, security: "starttls" },
  ]);
  assert.equal(asked, 2);
});

test("DNS without an answer is an error that names the record", async () => {
  const controllers = new Controllers(
    { from: "dns", domain: "contoso.test", security: "ldaps" },
    { clock: new FakeClock(), lookUp: () => Promise.resolve([]) },
  );

  await assert.rejects(controllers.candidates(never), /_ldap\._tcp\.dc\._msdcs\.contoso\.test/);
});

test("a failing controller pauses longer each time and is welcome again once it answers", async () => {
  const clock = new FakeClock();
  const [one, two] = [parseServerUrl("ldaps://dc1.contoso.test"), parseServerUrl("ldaps://dc2.contoso.test")];
  assert.ok(one !== undefined && two !== undefined);
  const controllers = new Controllers({ from: "list", servers: [one, two] }, { clock });
  const hosts = async (): Promise<string> =>
    (await controllers.candidates(never)).map(({ host }) => host.slice(0, 3)).join();

  controllers.failed(one);
  assert.equal(await hosts(), "dc2");
  await clock.advance(1000);
  assert.equal(await hosts(), "dc1,dc2");
  controllers.failed(one);
  await clock.advance(1999);
  assert.equal(await hosts(), "dc2");
  controllers.failed(two);
  // All are paused: the one whose turn comes first.
  assert.equal(await hosts(), "dc1");
  await clock.advance(1);
  controllers.succeeded(one);
  assert.deepEqual(
    controllers.failing().map(({ server }) => server),
    ["dc2.contoso.test:636"],
  );
});

test("a server's address is ldaps: or, with StartTLS, ldap:", () => {
  assert.deepEqual(parseServerUrl("ldaps://DC1.contoso.test"), {
    host: "dc1.contoso.test",
    port: 636,
    security: "ldaps",
  });
  assert.deepEqual(parseServerUrl("ldap://[::1]:3890/"), { host: "::1", port: 3890, security: "starttls" });
  for (const text of [
    "dc1",
    "http://dc1",
    "ldaps://user@dc1",
    "ldaps://dc1/path",
    "ldaps://dc1:0",
    "ldaps://dc1:65536",
    "ldapi:///x",
    "",
  ]) {
    assert.equal(parseServerUrl(text), undefined, text);
  }
});

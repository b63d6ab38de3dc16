/**
 * Logins against a domain controller: pooled as the library does it, and in turn with a client that makes a new connection
 * for every step; the groups of somebody who is in a thousand. Samba where it can run, else (and in a smoke run) the
 * simulator, which the table says.
 * @module
 */
import { createSecureContext } from "node:tls";
import { systemClock } from "../src/clock.ts";
import {
  bindNameOfConfiguration,
  bindNameOfEntry,
  bindPassword,
  type BindName,
  type BindPassword,
} from "../src/directory/bind-name.ts";
import { openConnection, type DirectoryConnection } from "../src/directory/connection.ts";
import { Directory } from "../src/directory/directory.ts";
import { any, equals } from "../src/directory/filter.ts";
import { personAttributes, personBinaryAttributes } from "../src/directory/person.ts";
import type { DirectoryServer } from "../src/directory/transport.ts";
import { SimulatedDomain } from "../src/directory-simulator/simulated-domain.ts";
import { startDirectorySimulator } from "../src/directory-simulator/simulator.ts";
import { createAuthority } from "../src/pki/authority.ts";
import { Secret } from "../src/secret.ts";
import { authorityOf, startDomainController } from "../e2e/active-directory/domain-controller.ts";
import { testContent } from "../test/fixtures/test-directory.ts";
import { inTurn, median, type Bench, type Result } from "./measure.ts";

interface Target {
  readonly what: string;
  readonly server: DirectoryServer;
  readonly certificateAuthority: string;
  stop(): Promise<void>;
}

const groupsOfBob = 1000;
const atOnce = 16;

export const bench: Bench = {
  name: "directory",
  async run({ smoke }) {
    const target = await openTarget(smoke);
    const directory = new Directory({
      domain: "contoso.test",
      controllers: { from: "list", servers: [target.server] },
      trust: { certificateAuthority: target.certificateAuthority },
      serviceAccount: { name: reader.name, password: reader.password },
      refusalFloorMs: 0,
      maxConnections: atOnce,
      timeoutMs: 60_000,
    });
    try {
      const total = smoke ? 32 : 2000;
      const portion = total / (smoke ? 1 : 10);
      const pairs = await inTurn(
        total / portion,
        () => measure(portion, () => pooled(directory)),
        // The naive client needs so long that a quarter of the logins tells its rate as well.
        () => measure(Math.ceil(portion / 4), () => naive(target)),
      );
      const ours = pairs.flatMap((pair) => pair.ours.each);
      const theirs = pairs.flatMap((pair) => pair.yardstick.each);
      const ratio = median(pairs.map((pair) => pair.ours.rate / pair.yardstick.rate));
      const results: Result[] = [
        { what: `against`, measured: target.what },
        {
          what: `${total} logins, ${atOnce} at once`,
          measured: describe(
            pairs.map((pair) => pair.ours.rate),
            ours,
          ),
        },
        {
          what: `new connections for each step`,
          measured: describe(
            pairs.map((pair) => pair.yardstick.rate),
            theirs,
          ),
        },
        { what: "times the rate", measured: ratio.toFixed(1), goal: { text: "at least 3", met: ratio >= 3 } },
      ];
      const first = await time(() => directory.resolve("bob"));
      const repeated: number[] = [];
      for (let round = 0; round < (smoke ? 3 : 30); round++)
        repeated.push(await time(() => directory.resolve("bob")));
      const again = median(repeated);
      results.push(
        { what: `${groupsOfBob} groups resolved, the first time`, measured: `${first.toFixed(0)} ms` },
        {
          what: "  after that",
          measured: `${again.toFixed(1)} ms`,
          goal: { text: "under 50 ms", met: again < 50 },
        },
        {
          what: "resident memory of this process",
          measured: `${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB`,
        },
      );
      return results;
    } finally {
      directory.close();
      await target.stop();
    }
  },
};

const reader = { name: "ccg-impersonator@contoso.test", password: new Secret("Imp3rson@te!") };
const alicesPassword = new Secret("Al1ce-Passw0rd");

async function openTarget(smoke: boolean): Promise<Target> {
  if (!smoke) {
    try {
      const controller = await startDomainController("127.0.88.9", { groupsOfBob });
      const server = { host: controller.address, port: 636, security: "ldaps" } as const;
      return {
        what: "Samba AD DC",
        server,
        certificateAuthority: authorityOf(controller),
        stop: () => controller.stop(),
      };
    } catch (thrown) {
      process.stderr.write(
        `no Samba: ${thrown instanceof Error ? (thrown.message.split("\n")[0] ?? "") : ""}\n`,
      );
    }
  }
  const authority = await createAuthority({
    commonName: "bench",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    clock: systemClock,
  });
  const issued = await authority.issue({
    commonName: "dc1",
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
    ipAddresses: ["127.0.0.1"],
  });
  const certificate = createSecureContext({ cert: issued.chainPem, key: issued.privateKeyPem.reveal() });
  const teams = Array.from({ length: groupsOfBob }, (_, index) => `Team ${index}`);
  const people = testContent.people.map((person) =>
    person.accountName === "bob" ? { ...person, memberOf: teams } : person,
  );
  const domain = new SimulatedDomain(
    { ...testContent, people, groups: [...testContent.groups, ...teams.map((name) => ({ name }))] },
    systemClock,
  );
  const running = await startDirectorySimulator({
    domain,
    host: "127.0.0.1",
    port: 0,
    security: "ldaps",
    secureContext: () => certificate,
  });
  const server = { host: "127.0.0.1", port: running.port, security: "ldaps" } as const;
  return {
    what: "the simulator, in this process",
    server,
    certificateAuthority: authority.certificatePem,
    stop: () => running.close(),
  };
}

interface Measured {
  /** A second. */
  readonly rate: number;
  readonly each: readonly number[];
}

async function measure(count: number, login: () => Promise<void>): Promise<Measured> {
  const each: number[] = [];
  let left = count;
  const began = performance.now();
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      while (left-- > 0) each.push(await time(login));
    }),
  );
  return { rate: (count * 1000) / (performance.now() - began), each };
}

async function time(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function describe(rates: readonly number[], each: readonly number[]): string {
  const sorted = each.toSorted((a, b) => a - b);
  const quantile = (share: number): string =>
    `${(sorted[Math.floor(sorted.length * share)] ?? NaN).toFixed(1)} ms`;
  return `${median(rates).toFixed(0)}/s, p50 ${quantile(0.5)}, p99 ${quantile(0.99)}`;
}

async function pooled(directory: Directory): Promise<void> {
  const result = await directory.authenticate("alice", alicesPassword);
  if (result.outcome !== "authenticated") throw new Error(`the login failed: ${result.outcome}`);
}

/** The same steps as the library's, each on a connection made for it: search, the person's bind, groups. */
async function naive(target: Target): Promise<void> {
  const base = "DC=contoso,DC=test";
  const asReader = async <Found>(
    work: (connection: DirectoryConnection, signal: AbortSignal) => Promise<Found>,
  ): Promise<Found> =>
    fresh(target, async (connection, signal) => {
      await bind(connection, bindNameOfConfiguration(reader.name), reader.password, signal);
      return work(connection, signal);
    });
  const [person] = await asReader((connection, signal) =>
    connection.search(
      {
        base,
        scope: "sub",
        filter: equals("sAMAccountName", "alice"),
        attributes: personAttributes,
        binary: personBinaryAttributes,
      },
      signal,
    ),
  );
  if (person === undefined) throw new Error("alice is not there");
  await fresh(target, async (connection, signal) => {
    await bind(connection, bindNameOfEntry(person), alicesPassword, signal);
    await connection.whoAmI(signal);
  });
  const [groups] = await asReader((connection, signal) =>
    connection.search(
      { base: person.dn, scope: "base", attributes: ["tokenGroups"], binary: ["tokenGroups"] },
      signal,
    ),
  );
  const sids = groups?.allOctets("tokenGroups") ?? [];
  await asReader((connection, signal) =>
    connection.search(
      {
        base,
        scope: "sub",
        filter: any(...sids.map((sid) => equals("objectSid", sid))),
        attributes: ["objectSid", "sAMAccountName"],
        binary: ["objectSid"],
      },
      signal,
    ),
  );
}

async function fresh<Found>(
  target: Target,
  work: (connection: DirectoryConnection, signal: AbortSignal) => Promise<Found>,
): Promise<Found> {
  const signal = AbortSignal.timeout(60_000);
  const connection = await openConnection(
    target.server,
    { certificateAuthority: target.certificateAuthority },
    signal,
  );
  try {
    return await work(connection, signal);
  } finally {
    connection.close();
  }
}

async function bind(
  connection: DirectoryConnection,
  name: BindName | undefined,
  password: Secret,
  signal: AbortSignal,
): Promise<void> {
  const checked: { readonly ok: true; readonly password: BindPassword } | { readonly ok: false } =
    bindPassword(password);
  if (name === undefined || !checked.ok) throw new Error("no bind");
  const bound = await connection.bind(name, checked.password, signal);
  if (bound.outcome !== "bound") throw new Error(bound.refusal);
}

/**
 * Keytabs of real managed accounts: every key is tried with MIT's `kinit`, before, in the five minutes before, and after
 * the password changes.
 * @module
 */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardedProcess, runCommand, type CommandResult } from "../../guarded-process.ts";
import { decodeKeytab, encodeKeytab, type KeytabEntry } from "../../../src/managed-password/keytab.ts";
import { atTime, domain, realm, startDomainController, type DomainController } from "../domain-controller.ts";

const main = join(import.meta.dirname, "../../../src/main.ts");
const folder = mkdtempSync(join(process.env["SALLYPORT_E2E_RUN_DIRECTORY"] ?? tmpdir(), "mp-"));
let controller: DomainController;

before(async () => {
  controller = await startDomainController();
  for (const [name, account, password] of [
    ["reader", "ccg-impersonator", "Imp3rson@te!"],
    ["alice", "alice", "Al1ce-Passw0rd"],
  ] as const) {
    mkdirSync(join(folder, name));
    for (const [key, value] of Object.entries({ username: account, password, domainName: domain }))
      writeFileSync(join(folder, name, key), value);
  }
  writeFileSync(
    join(folder, "spec.json"),
    JSON.stringify({
      ActiveDirectoryConfig: { GroupManagedServiceAccounts: [{ Name: "webapp01", Scope: domain }] },
    }),
  );
});
after(() => controller.stop());

function sallyport(reader: string, ...words: readonly string[]): Promise<CommandResult> {
  const access = [
    "--server",
    `ldaps://${controller.address}`,
    "--ca",
    controller.authorityFile,
    "--credentials",
    join(folder, reader),
  ];
  return runCommand(process.execPath, [main, "directory", ...words, ...access]);
}

/** Tries one key at the domain controller, by a keytab that holds nothing else. */
async function kinit(account: string, entry: KeytabEntry, secondsAhead = 0): Promise<CommandResult> {
  const single = join(folder, "single.keytab");
  writeFileSync(single, encodeKeytab([entry]), { mode: 0o600 });
  // The client would otherwise agree with the server on its best type, whatever the keytab holds.
  const name = { 17: "aes128-cts", 18: "aes256-cts", 23: "arcfour-hmac" }[entry.encryptionType];
  const configuration = join(folder, "one-type.conf");
  writeFileSync(configuration, `[libdefaults]\n\tdefault_tkt_enctypes = ${name}\n`);
  return kinitWith(account, single, secondsAhead, `${configuration}:${controller.kerberos["KRB5_CONFIG"]}`);
}

function kinitWith(
  account: string,
  keytab: string,
  secondsAhead = 0,
  configuration = controller.kerberos["KRB5_CONFIG"],
): Promise<CommandResult> {
  const environment = { KRB5_CONFIG: configuration, KRB5CCNAME: join(folder, "cc"), ...atTime(secondsAhead) };
  return runCommand("kinit", ["-k", "-t", keytab, `${account}@${realm}`], { environment });
}

function entriesOf(path: string): readonly KeytabEntry[] {
  const entries = decodeKeytab(readFileSync(path));
  assert.ok(entries !== undefined);
  return entries;
}

test("each key of the keytab gets a ticket, and klist reads it as we do", async () => {
  const path = join(folder, "webapp01.keytab");
  const written = await sallyport(
    "reader",
    "keytab",
    "--spec",
    join(folder, "spec.json"),
    "--out",
    path,
    "--rc4",
  );
  assert.equal(written.code, 0, written.stderr);
  const entries = entriesOf(path);
  const own = entries.filter(({ components }) => components[0] === "webapp01$");

  assert.deepEqual(
    own.map(({ encryptionType }) => encryptionType),
    [18, 17, 23],
  );
  for (const entry of own) {
    const result = await kinit("webapp01$", entry);
    assert.equal(result.code, 0, `${entry.encryptionType}: ${result.stderr}`);
  }
  const listed = await runCommand("klist", ["-k", "-t", "-e", "-K", path]);
  for (const entry of entries) {
    assert.ok(listed.stdout.includes(`${entry.components.join("/")}@${entry.realm}`));
    assert.ok(listed.stdout.includes(`(0x${entry.key.reveal().toString("hex")})`));
  }
  assert.equal(listed.stdout.split("\n").filter((line) => line.includes("(0x")).length, entries.length);
  assert.equal(statSync(path).mode & 0o777, 0o600);
});

test("the service accepts a ticket for its service name with the keytab", async () => {
  const path = join(folder, "webapp01.keytab");
  await kinitWith("webapp01$", path);
  const environment = { ...controller.kerberos, KRB5CCNAME: join(folder, "cc") };

  const ticket = await runCommand("kvno", ["-k", path, `HTTP/webapp01.${domain}@${realm}`], { environment });

  assert.equal(ticket.code, 0, ticket.stderr);
  assert.match(ticket.stdout, /keytab entry valid/);
});

test("AES keys only, unless asked", async () => {
  const path = join(folder, "aes.keytab");
  await sallyport("reader", "keytab", "--account", "webapp01", "--out", path);

  assert.deepEqual([...new Set(entriesOf(path).map(({ encryptionType }) => encryptionType))], [18, 17]);
});

test("an account that may not read the password is told so, and an absent one is told apart", async () => {
  const denied = await sallyport(
    "reader",
    "keytab",
    "--account",
    "webapp02",
    "--out",
    join(folder, "no.keytab"),
  );
  const absent = await sallyport(
    "reader",
    "keytab",
    "--account",
    "nobody",
    "--out",
    join(folder, "no.keytab"),
  );

  assert.deepEqual([denied.code, absent.code], [1, 1]);
  assert.match(denied.stderr, /E_MANAGED_PASSWORD_NOT_PERMITTED/);
  assert.match(absent.stderr, /E_MANAGED_PASSWORD_ABSENT/);
});

test("the password is shown only when it is asked for", async () => {
  const hidden = await sallyport("reader", "managed-password", "--account", "webapp01", "--json");
  const shown = await sallyport("reader", "managed-password", "--account", "webapp01", "--json", "--reveal");

  const [metadata, revealed] = [hidden, shown].map(
    ({ stdout }) => JSON.parse(stdout) as Record<string, unknown>,
  );
  assert.ok(metadata !== undefined && revealed !== undefined);
  assert.equal(metadata["passwordBase64"], undefined);
  assert.equal(Buffer.from(String(revealed["passwordBase64"]), "base64").length, 256);
  assert.ok(!hidden.stdout.includes(String(revealed["aes256"])));
});

test("before, in the minutes before, and after a rollover the keytab gets a ticket", async (t) => {
  t.after(() => controller.reset());
  const path = join(folder, "webapp02.keytab");
  const write = async (): Promise<void> => {
    const result = await sallyport("alice", "keytab", "--account", "webapp02", "--out", path);
    assert.equal(result.code, 0, result.stderr);
  };
  const described = await sallyport("alice", "managed-password", "--account", "webapp02", "--json");
  const { changesAt } = JSON.parse(described.stdout) as { readonly changesAt: string };
  const until = (seconds: number): number =>
    Math.round((Date.parse(changesAt) - Date.now()) / 1000) + seconds;
  await write();
  const old = entriesOf(path);
  const versions = (entries: readonly KeytabEntry[], component: string): readonly number[] =>
    [
      ...new Set(
        entries.filter(({ components }) => components[0] === component).map(({ keyVersion }) => keyVersion),
      ),
    ].sort((a, b) => a - b);
  const before_ = versions(old, "webapp02$");

  let ahead = until(-600);
  await controller.restart(ahead);
  await write();
  assert.equal((await kinitWith("webapp02$", path, ahead)).code, 0, "ten minutes before");

  ahead = until(-120);
  await controller.restart(ahead);
  await write();
  const during = entriesOf(path);
  assert.equal((await kinitWith("webapp02$", path, ahead)).code, 0, "two minutes before");
  assert.deepEqual(versions(during, "webapp02$"), before_);
  assert.deepEqual(versions(during, "HTTP"), [...before_, (before_[0] ?? 0) + 1]);

  ahead = until(60);
  await controller.restart(ahead);
  const stale = await kinitWith("webapp02$", path, ahead);
  assert.equal(stale.code, 0, `a minute after, with the file of before: ${stale.stderr}`);
  await write();
  const afterwards = entriesOf(path);
  assert.equal((await kinitWith("webapp02$", path, ahead)).code, 0, "a minute after");
  assert.deepEqual(versions(afterwards, "webapp02$"), [...before_, (before_[0] ?? 0) + 1]);
  for (const entry of afterwards.filter(({ components }) => components[0] === "webapp02$")) {
    const result = await kinit("webapp02$", entry, ahead);
    assert.equal(result.code, 0, `key ${entry.keyVersion} of type ${entry.encryptionType}: ${result.stderr}`);
  }
  // The next key that was written early, under the service name, is the one that came into force.
  const key = (entries: readonly KeytabEntry[]): string | undefined =>
    entries
      .find(
        (entry) =>
          entry.components[0] === "HTTP" &&
          entry.encryptionType === 18 &&
          entry.keyVersion === (before_[0] ?? 0) + 1,
      )
      ?.key.reveal()
      .toString("hex");
  assert.equal(key(afterwards), key(during));
});

test("the watching command writes a keytab, says so without a secret, and ends at SIGTERM", async () => {
  const path = join(folder, "watched.keytab");
  const access = [
    "--server",
    `ldaps://${controller.address}`,
    "--ca",
    controller.authorityFile,
    "--credentials",
    join(folder, "reader"),
  ];
  const result = await runCommand("timeout", [
    "--signal=TERM",
    "3",
    process.execPath,
    main,
    "directory",
    "keytab",
    "--account",
    "webapp01",
    "--out",
    path,
    "--watch",
    ...access,
  ]);

  assert.equal(entriesOf(path).length, 6);
  assert.match(result.stderr, /keytab\.written/);
  for (const entry of entriesOf(path)) assert.ok(!result.stderr.includes(entry.key.reveal().toString("hex")));
  assert.ok(!result.stderr.includes("Imp3rson"));
});

suite("the account that asks", () => {
  const host = join(folder, "host");
  const access = (): readonly string[] => [
    "--server",
    `ldaps://${controller.address}`,
    "--ca",
    controller.authorityFile,
  ];
  const manifests = join(folder, "manifests");
  before(() => {
    mkdirSync(manifests);
    const stringData = { username: "ccg-impersonator", password: "Imp3rson@te!", domainName: domain };
    const metadata = { name: "reader", namespace: "apps" };
    writeFileSync(
      join(manifests, "reader.json"),
      JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata, stringData }),
    );
  });
  const keytab = (path: string, ...source: readonly string[]): Promise<CommandResult> =>
    runCommand(process.execPath, [
      main,
      "directory",
      "keytab",
      "--account",
      "webapp01",
      "--out",
      path,
      ...access(),
      ...source,
    ]);

  test("may be a Secret of a manifest folder", async () => {
    const path = join(folder, "from-manifests.keytab");

    const result = await keytab(path, "--manifests", manifests, "--secret", "apps/reader");

    assert.equal(result.code, 0, result.stderr);
    assert.equal((await kinitWith("webapp01$", path)).code, 0);
  });

  test("may be what an account provider answers over mutual TLS", async (t) => {
    const path = join(folder, "from-provider.keytab");
    const provider = new GuardedProcess(
      process.execPath,
      [
        main,
        ...["account-provider", "run", "--namespace", "apps", "--secret", "reader"],
        ...["--manifests", manifests, "--host-dir", host],
      ],
      { logFile: join(folder, "provider.log") },
    );
    t.after(() => provider.stop());
    for (let attempt = 0; !existsSync(join(host, "port.txt")); attempt++) {
      assert.ok(attempt < 200 && provider.exit === undefined, provider.tail());
      await sleep(50);
    }

    const result = await keytab(path, "--provider", host, "--secret", "reader");
    const unknown = await keytab(path, "--provider", host, "--secret", "other");

    assert.equal(result.code, 0, result.stderr);
    assert.equal((await kinitWith("webapp01$", path)).code, 0);
    assert.match(unknown.stderr, /E_DIRECTORY_CREDENTIALS/);
    assert.doesNotMatch(result.stderr + unknown.stderr + provider.tail(200), /Imp3rson/);
  });
});

import assert from "node:assert/strict";
import { mkdtemp, lstat, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { randomManagedPassword } from "../../test/fakes/managed-password-blob.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { guidFromBytes } from "../directory/guid.ts";
import type { Sid } from "../directory/sid.ts";
import { SallyportError } from "../errors.ts";
import { silentLog } from "../observe/log.ts";
import { SecretBytes } from "../secret.ts";
import { kerberosKeys, serviceAccountSalt } from "./kerberos-keys.ts";
import { readKeytabFile, writeKeytabFile } from "./keytab-file.ts";
import { decodeKeytab, encodeKeytab, type KeytabEntry } from "./keytab.ts";
import { KeytabKeeper } from "./keytab-keeper.ts";
import type { Retrieval } from "./retrieve.ts";

const minute = 60_000;
const hour = 60 * minute;
const life = 20 * hour;
const realm = "CONTOSO.TEST";
const salt = serviceAccountSalt(realm, "web$");
const guid = guidFromBytes(Buffer.alloc(16));
assert.ok(guid !== undefined);

/** A domain controller whose passwords change every twenty hours of its own clock. */
class Controller {
  readonly passwords = Array.from({ length: 6 }, () => new SecretBytes(randomManagedPassword()));
  readonly #clock: FakeClock;
  readonly #epoch: number;
  down = false;
  /** Ours is ahead of the controller's by so much. */
  skew = 0;
  permitted = true;

  constructor(clock: FakeClock) {
    this.#clock = clock;
    this.#epoch = clock.now();
  }

  get #elapsed(): number {
    return this.#clock.now() - this.skew - this.#epoch;
  }

  /** Number of the password in force. */
  get version(): number {
    return Math.max(Math.floor(this.#elapsed / life), 0);
  }

  retrieve(): Promise<Retrieval> {
    if (this.down) return Promise.reject(new SallyportError("E_DIRECTORY_UNREACHABLE", { detail: "down" }));
    const account = {
      dn: "CN=web",
      accountName: "web$",
      guid: guid as NonNullable<typeof guid>,
      sid: "S-1-5-21-1-2-3-4" as Sid,
      enabled: true,
      aesEnabled: true,
      serviceNames: ["HTTP/web.contoso.test"],
      intervalDays: 1,
      recordedUntil: undefined,
    };
    if (!this.permitted) return Promise.resolve({ outcome: "not-permitted", account });
    const left = life - (((this.#elapsed % life) + life) % life);
    const early = left <= 5 * minute;
    const number = this.version + (early ? 1 : 0);
    const ticks = (milliseconds: number): bigint => BigInt(milliseconds) * 10_000n;
    const current = this.passwords[number];
    assert.ok(current !== undefined);
    return Promise.resolve({
      outcome: "retrieved",
      account,
      password: {
        current,
        previous: this.passwords[number - 1],
        queryInterval: ticks(left),
        unchangedInterval: ticks(early ? left + life - 5 * minute : left - 5 * minute),
      },
      currentVersion: number + 1,
      previousVersion: number,
      early,
      readAt: this.#clock.now(),
    });
  }

  readonly #keys = new Map<number, string>();

  key(number: number): string {
    const password = this.passwords[number];
    assert.ok(password !== undefined);
    const known =
      this.#keys.get(number) ??
      kerberosKeys(password, salt, ["aes256"])[0]?.key.reveal().toString("hex") ??
      "";
    this.#keys.set(number, known);
    return known;
  }
}

interface Watched {
  readonly clock: FakeClock;
  readonly controller: Controller;
  readonly entries: () => readonly KeytabEntry[];
  readonly writes: () => number;
  readonly stop: () => void;
}

function watch(t: TestContext): Watched {
  const clock = new FakeClock();
  const controller = new Controller(clock);
  let file: Buffer = encodeKeytab([]);
  let writes = 0;
  const keeper = new KeytabKeeper({
    clock,
    log: silentLog,
    realm,
    random: () => 0.5,
    retrieve: () => controller.retrieve(),
    read: () => Promise.resolve(decodeKeytab(file) ?? []),
    write: (contents) => {
      file = contents;
      writes += 1;
      return Promise.resolve();
    },
  });
  const abort = new AbortController();
  const kept = keeper.keep(abort.signal);
  t.after(async () => {
    abort.abort();
    await kept;
  });
  return {
    clock,
    controller,
    entries: () => decodeKeytab(file) ?? [],
    writes: () => writes,
    stop: () => abort.abort(),
  };
}

/** What a Kerberos client uses: the highest version of the account's own name. */
function clientKey(entries: readonly KeytabEntry[]): string | undefined {
  const own = entries.filter(
    ({ components, encryptionType }) => components[0] === "web$" && encryptionType === 18,
  );
  return [...own]
    .sort((a, b) => b.keyVersion - a.keyVersion)[0]
    ?.key.reveal()
    .toString("hex");
}

/** What an acceptor uses for a ticket of this version. */
function acceptorKey(entries: readonly KeytabEntry[], version: number): string | undefined {
  return entries
    .find(
      ({ components, encryptionType, keyVersion }) =>
        components[0] === "HTTP" && encryptionType === 18 && keyVersion === version,
    )
    ?.key.reveal()
    .toString("hex");
}

/** A key that the controller takes from a client now: the one in force, or the one before for five minutes. */
function accepted(controller: Controller, clock: FakeClock, key: string | undefined): boolean {
  const now = clock.now() - controller.skew;
  const since = now - Date.parse("2026-01-01T00:00:00Z");
  const recent = since % life < 5 * minute && controller.version > 0;
  return (
    key === controller.key(controller.version) || (recent && key === controller.key(controller.version - 1))
  );
}

for (const [what, skew] of [
  ["equal clocks", 0],
  ["our clock five minutes ahead", 5 * minute],
  ["our clock five minutes behind", -5 * minute],
] as const) {
  test(`the keytab is right in every minute of two rollovers, with ${what}`, async (t) => {
    const { clock, controller, entries } = watch(t);
    controller.skew = skew;
    await clock.advance(1);

    for (let elapsed = 0; elapsed < 2 * life + hour; elapsed += minute) {
      await clock.advance(minute);
      assert.ok(accepted(controller, clock, clientKey(entries())), `client, minute ${elapsed / minute}`);
      assert.equal(
        acceptorKey(entries(), controller.version + 1),
        controller.key(controller.version),
        `acceptor, minute ${elapsed / minute}`,
      );
    }
  });
}

test("the switch to the next password happens on time although the controller is down", async (t) => {
  const { clock, controller, entries } = watch(t);
  await clock.advance(life - 4 * minute);
  assert.equal(clientKey(entries()), controller.key(0));
  assert.equal(acceptorKey(entries(), 2), controller.key(1));
  controller.down = true;
  await clock.advance(4 * minute + 2000);

  assert.equal(clientKey(entries()), controller.key(1));
  assert.equal(acceptorKey(entries(), 1), controller.key(0));
  controller.down = false;
  await clock.advance(2 * minute);
  assert.equal(clientKey(entries()), controller.key(1));
});

test("a controller that is down while the password changes costs nothing once it is back", async (t) => {
  const { clock, controller, entries } = watch(t);
  await clock.advance(hour);
  controller.down = true;
  await clock.advance(life);
  assert.equal(clientKey(entries()), controller.key(0));
  controller.down = false;
  await clock.advance(2 * minute);

  assert.equal(clientKey(entries()), controller.key(1));
  assert.equal(acceptorKey(entries(), 1), controller.key(0));
});

test("an account that may no longer be read keeps its last keytab", async (t) => {
  const { clock, controller, entries } = watch(t);
  await clock.advance(hour);
  controller.permitted = false;
  await clock.advance(life);

  assert.equal(clientKey(entries()), controller.key(0));
});

test("the file is not written again for the same keys", async (t) => {
  const { clock, writes } = watch(t);
  await clock.advance(life - hour);

  assert.equal(writes(), 1);
});

test("a keytab is an ordinary file of mode 0600, replaced in one step", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-keytab-"));
  t.after(() => rm(folder, { recursive: true }));
  const path = join(folder, "web.keytab");
  await writeFile(path, "old", { mode: 0o644 });

  assert.deepEqual(await readKeytabFile(path), []);
  await writeKeytabFile(path, encodeKeytab([]));

  assert.equal((await lstat(path)).mode & 0o777, 0o600);
  assert.deepEqual(await readFile(path), encodeKeytab([]));
});

test("a keytab path that is a link, a folder or in no folder is refused, and what it points to stays", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "sallyport-keytab-"));
  t.after(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "target"), "precious");
  await symlink(join(folder, "target"), join(folder, "link"));
  await symlink(join(folder, "nowhere"), join(folder, "dangling"));

  for (const path of [
    join(folder, "link"),
    join(folder, "dangling"),
    folder,
    join(folder, "absent", "x.keytab"),
    join(folder, "target", "x.keytab"),
  ]) {
    await assert.rejects(readKeytabFile(path), { code: "E_KEYTAB_FILE" }, path);
  }
  assert.equal(await readFile(join(folder, "target"), "utf8"), "precious");
});

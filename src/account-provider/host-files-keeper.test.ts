/**
 * What becomes of a running provider's files on its host, and what its readiness says of it.
 * @module
 */
import assert from "node:assert/strict";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { eventually } from "../../test/contracts/eventually.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { createLog } from "../observe/log.ts";
import { Secret } from "../secret.ts";
import { HostDirectory } from "./host-directory.ts";
import { keepHostFiles, type HostFilesKeeper } from "./host-files-keeper.ts";

const port = 40_123;

interface World {
  readonly directory: HostDirectory;
  readonly keeper: HostFilesKeeper;
  readonly clock: FakeClock;
  readonly events: () => readonly string[];
  failing: boolean;
}

async function world(t: TestContext): Promise<World> {
  const directory = new HostDirectory(join(temporaryFolder(t), "contoso"), undefined);
  const clock = new FakeClock();
  const lines: string[] = [];
  const write = async (): Promise<void> => {
    if (made.failing) throw new Error("the disk is full");
    await directory.prepare();
    await directory.writeClientFiles({
      authoritiesPem: "authority",
      certificatePem: "certificate",
      privateKeyPem: new Secret("key"),
    });
    await directory.writePort(port);
  };
  const made: World = {
    directory,
    clock,
    events: () => lines.map((line) => (JSON.parse(line) as { readonly event: string }).event),
    failing: false,
    keeper: keepHostFiles({
      directories: [directory],
      port,
      withAuthorities: true,
      write,
      clock,
      log: createLog({ sink: { write: (line) => void lines.push(line) } }),
    }),
  };
  t.after(() => made.keeper.stop());
  await write();
  return made;
}

test("files that are all there are left alone", async (t) => {
  const { clock, events, keeper } = await world(t);

  for (let look = 0; look < 4; look++) await clock.advance(15_000);

  assert.deepEqual(keeper.readiness(), { ready: true });
  assert.deepEqual(events(), []);
});

for (const [what, take] of [
  ["the whole directory", (directory: HostDirectory) => rmSync(directory.path, { recursive: true })],
  ["the port file", (directory: HostDirectory) => rmSync(directory.file("port"))],
  ["the authorities", (directory: HostDirectory) => rmSync(directory.file("authorities"))],
] as const) {
  test(`${what}, taken away by somebody, is written again`, async (t) => {
    const { clock, directory, events, keeper } = await world(t);
    take(directory);

    await eventually("written again", () => events().includes("host.files-missing"), clock, 5_000);
    await keeper.stop();

    assert.equal(await directory.readPort(), port);
    assert.equal(await directory.readAuthorities(), "authority");
    assert.deepEqual(keeper.readiness(), { ready: true });
  });
}

test("the port of another provider stays, and this one is not ready until that is gone", async (t) => {
  const { clock, directory, events, keeper } = await world(t);
  writeFileSync(directory.file("port"), "40999");

  await eventually("told", () => !keeper.readiness().ready, clock, 5_000);
  assert.match(JSON.stringify(keeper.readiness()), /another provider has put its port 40999 into .*contoso/);
  assert.equal(await directory.readPort(), 40_999);
  assert.deepEqual(events(), ["host.files-failed"]);

  rmSync(directory.file("port"));
  await eventually("ready again", () => keeper.readiness().ready, clock, 5_000);
  assert.equal(await directory.readPort(), port);
});

test("files that cannot be written are told once, and tried again", async (t) => {
  const made = await world(t);
  const { clock, directory, events, keeper } = made;
  made.failing = true;
  rmSync(directory.file("port"));

  await eventually("told", () => !keeper.readiness().ready, clock, 5_000);
  for (let look = 0; look < 4; look++) await clock.advance(15_000);
  made.failing = false;
  await eventually("ready again", () => keeper.readiness().ready, clock, 5_000);

  assert.equal(events().filter((event) => event === "host.files-failed").length, 1);
});

/**
 * The manifest folder: the contract, then files that cannot be read and every way of changing one.
 * @module
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  appendFile,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  symlink,
  truncate,
  unlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { eventually } from "../../test/contracts/eventually.ts";
import { configMapKind, resourceSourceContract } from "../../test/contracts/resource-source-contract.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { silentLog } from "../observe/log.ts";
import { apiVersionOf, type ResourceKind } from "./kinds.ts";
import { createManifestFolderSource, type ManifestFolderOptions } from "./manifest-folder-source.ts";
import type { KubernetesObject, ResourceCache, ResourceSource } from "./resource-source.ts";

resourceSourceContract("manifest folder", async () => {
  const parent = await mkdtemp(join(tmpdir(), "sallyport-manifests-"));
  const [folder, away] = [join(parent, "here"), join(parent, "away")];
  await mkdir(folder);
  let current = folder;
  const fileOf = (kind: ResourceKind, name: string, namespace = ""): string =>
    join(current, `${kind.plural}.${namespace}.${name}.json`);
  const clock = new FakeClock();
  return {
    clock,
    source: createManifestFolderSource(folder, { clock, log: silentLog }),
    apply: (kind, object) =>
      writeFile(
        fileOf(kind, object.metadata.name, object.metadata.namespace),
        JSON.stringify({ apiVersion: apiVersionOf(kind), kind: kind.kind, ...object }),
      ),
    remove: (kind, name, namespace) => unlink(fileOf(kind, name, namespace)),
    breakDown: async () => {
      await rename(folder, away);
      current = away;
    },
    recover: async () => {
      await rename(away, folder);
      current = folder;
    },
    dispose: () => rm(parent, { recursive: true }),
  };
});

interface World {
  readonly folder: string;
  readonly parent: string;
  readonly clock: FakeClock;
  readonly source: ResourceSource;
  readonly cache: ResourceCache;
  write(file: string, text: string): Promise<void>;
}

async function open(
  t: TestContext,
  prepare: (folder: string) => Promise<unknown> = mkdir,
  options: ManifestFolderOptions = {},
): Promise<World> {
  const parent = await mkdtemp(join(tmpdir(), "sallyport-manifests-"));
  const folder = join(parent, "here");
  await prepare(folder);
  const clock = new FakeClock();
  const source = createManifestFolderSource(folder, { clock, log: silentLog }, options);
  t.after(async () => {
    await source.close();
    await rm(parent, { recursive: true });
  });
  const cache = source.watch({ kind: configMapKind, namespace: "default" });
  return { folder, parent, clock, source, cache, write: (file, text) => writeFile(join(folder, file), text) };
}

function manifest(name: string, value: string): string {
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}}\ndata: {value: ${JSON.stringify(value)}}\n`;
}

function valueOf(object: KubernetesObject | undefined): string | undefined {
  return (object?.["data"] as { readonly value?: string } | undefined)?.value;
}

async function shows(
  { cache, clock }: World,
  name: string,
  value: string | undefined,
  stepMs = 20,
): Promise<void> {
  await eventually(`${name} is ${value}`, () => valueOf(cache.get(name)) === value, clock, stepMs);
}

/** Short of the regular reading: what is seen was noticed. */
async function noticed(world: World, name: string, value: string | undefined): Promise<void> {
  const began = world.clock.now();
  await eventually(
    `${name} is ${value}`,
    () => {
      assert.ok(world.clock.now() - began < 4_000, "it was not noticed, only read again");
      return valueOf(world.cache.get(name)) === value;
    },
    world.clock,
    5,
  );
}

describe("manifest folder: files that cannot be read", () => {
  const cases: readonly (readonly [string, (path: string) => unknown, RegExp])[] = [
    ["no YAML", (path) => writeFile(path, "a: ["), /no YAML/],
    ["a duplicate key", (path) => writeFile(path, `${manifest("one", "1")}kind: Secret\n`), /twice/],
    [
      "a file of 50 MB",
      async (path) => {
        await writeFile(path, "#");
        await truncate(path, 50 * 1024 * 1024);
      },
      /52428800 bytes/,
    ],
    ["a FIFO", (path) => execFileSync("sh", ["-c", `mkfifo "$0"`, path]), /not a regular file/],
    ["a folder", (path) => mkdir(path), /regular file|EISDIR/],
    ["a link to itself", (path) => symlink(path, path), /ELOOP/],
    ["a dangling link", (path) => symlink("nowhere", path), /leads nowhere/],
    ["a device", (path) => symlink("/dev/zero", path), /not a regular file/],
    ["text in Latin-1", (path) => writeFile(path, Buffer.from(manifest("one", "ü"), "latin1")), /no UTF-8/],
    ["an empty file", (path) => writeFile(path, ""), /it is empty/],
  ];
  for (const [name, replaceBy, problem] of cases) {
    test(`${name}: its last good contents are served, other files go on, and it heals`, async (t) => {
      const world = await open(t);
      await world.write("a.yaml", manifest("one", "1"));
      await shows(world, "one", "1");
      await unlink(join(world.folder, "a.yaml"));
      await replaceBy(join(world.folder, "a.yaml"));
      await world.write("b.yaml", manifest("two", "2"));

      await shows(world, "two", "2");
      assert.equal(valueOf(world.cache.get("one")), "1");
      const { state, reason } = world.cache.status();
      assert.equal(state, "stale");
      assert.match(reason ?? "", /^a\.yaml: /);
      assert.match(world.cache.faults()[0]?.problem ?? "", problem);
      await rm(join(world.folder, "a.yaml"), { recursive: true });
      await world.write("a.yaml", manifest("one", "3"));
      await shows(world, "one", "3");

      assert.equal(world.cache.status().state, "synced");
      assert.deepEqual(world.cache.faults(), []);
    });
  }

  test("an object that may stand in a broken file is not said to be absent", async (t) => {
    const world = await open(t);
    await world.write("a.yaml", "a: [");
    const selector = { kind: configMapKind, namespace: "default", name: "one" };

    const unknown = await world.source.get(selector);
    await unlink(join(world.folder, "a.yaml"));
    const absent = await world.source.get(selector);

    assert.deepEqual(
      [unknown, absent].map((answer) => !answer.found && answer.reason),
      ["unavailable", "absent"],
    );
  });

  test("of two files with the same object the first counts, and the other is named", async (t) => {
    const world = await open(t);
    await world.write("b.yaml", manifest("one", "b"));
    await shows(world, "one", "b");
    await world.write("a.yaml", manifest("one", "a"));
    await shows(world, "one", "a");

    assert.deepEqual(world.cache.faults(), [
      { subject: "b.yaml", problem: "ConfigMap default/one stands in a.yaml already, which counts" },
    ]);
    await unlink(join(world.folder, "a.yaml"));
    await shows(world, "one", "b");
    assert.deepEqual(world.cache.faults(), []);
  });

  test("a file that is deleted takes its objects with it, also when it was broken", async (t) => {
    const world = await open(t);
    await world.write("a.yaml", manifest("one", "1"));
    await shows(world, "one", "1");
    await world.write("a.yaml", "a: [");
    await eventually("broken", () => world.cache.faults().length === 1, world.clock);

    await unlink(join(world.folder, "a.yaml"));

    await shows(world, "one", undefined);
    assert.equal(world.cache.status().state, "synced");
  });

  test("hidden files, editors' copies and other endings do not count", async (t) => {
    const world = await open(t);
    for (const name of [".a.yaml", "a.yaml~", "a.yaml.swp", "#a.yaml#", "a.txt", "..data"])
      await world.write(name, manifest("one", name));
    await world.write("z.YML", manifest("two", "2"));
    await shows(world, "two", "2");

    assert.equal(world.cache.get("one"), undefined);
  });

  test("a file that cannot be opened is a fault with the system's reason", async (t) => {
    // Modes do not stop root: a path component that is no folder does.
    const world = await open(t);
    await world.write("plain", "");
    await symlink("plain/inside.yaml", join(world.folder, "a.yaml"));
    await eventually("a fault", () => world.cache.faults().length === 1, world.clock);

    assert.match(world.cache.faults()[0]?.problem ?? "", /^it cannot be read: ENOTDIR/);
  });
});

describe("manifest folder: changes", () => {
  test("an editor that writes a new file and renames it", async (t) => {
    const world = await open(t);
    await world.write("a.yaml", manifest("one", "0"));
    await shows(world, "one", "0");

    for (const value of ["1", "2", "3"]) {
      await world.write(".a.yaml.tmp", manifest("one", value));
      await rename(join(world.folder, ".a.yaml.tmp"), join(world.folder, "a.yaml"));
      await noticed(world, "one", value);
    }
  });

  test("a slow writer's half file is not served while it writes", async (t) => {
    const world = await open(t);
    await world.write("a.yaml", manifest("one", "old"));
    await shows(world, "one", "old");
    const seen = new Set<string | undefined>();
    world.cache.onChange(() => seen.add(valueOf(world.cache.get("one"))));
    const text = manifest("one", "new and whole");

    await truncate(join(world.folder, "a.yaml"));
    for (let at = 0; at < text.length; at += 10) {
      await appendFile(join(world.folder, "a.yaml"), text.slice(at, at + 10));
      await world.clock.advance(10);
    }
    await shows(world, "one", "new and whole");

    assert.deepEqual([...seen], ["new and whole"]);
  });

  test("a mounted volume whose ..data link is swapped, every time", async (t) => {
    const version = async (folder: string, name: string, value: string): Promise<void> => {
      await mkdir(join(folder, name));
      await writeFile(join(folder, name, "a.yaml"), manifest("one", value));
      await symlink(name, join(folder, "..data_tmp"));
      await rename(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    const world = await open(t, async (folder) => {
      await mkdir(folder);
      await version(folder, "..v0", "0");
      await symlink("..data/a.yaml", join(folder, "a.yaml"));
    });
    await shows(world, "one", "0");

    for (let turn = 1; turn <= 6; turn++) {
      await version(world.folder, `..v${turn}`, String(turn));
      await rm(join(world.folder, `..v${turn - 1}`), { recursive: true });
      await noticed(world, "one", String(turn));
    }
    assert.deepEqual((await readdir(world.folder)).sort(), ["..data", "..v6", "a.yaml"]);
  });

  test("a folder that is itself a link which is swapped, every time", async (t) => {
    const world = await open(t, async (folder) => {
      for (let turn = 0; turn <= 4; turn++) {
        await mkdir(`${folder}-${turn}`);
        await writeFile(join(`${folder}-${turn}`, "a.yaml"), manifest("one", String(turn)));
      }
      await symlink(`${folder}-0`, folder);
    });
    await shows(world, "one", "0");

    for (let turn = 1; turn <= 4; turn++) {
      await symlink(`${world.folder}-${turn}`, `${world.folder}-next`);
      await rename(`${world.folder}-next`, world.folder);
      await noticed(world, "one", String(turn));
    }
  });

  test("a folder that is not there at first says so and is read once it is", async (t) => {
    const world = await open(t, () => Promise.resolve());
    await eventually("a reason", () => world.cache.status().reason !== undefined, world.clock);
    assert.match(world.cache.status().reason ?? "", /^The manifest folder .* cannot be read: ENOENT/);
    assert.equal(world.cache.status().state, "syncing");

    await mkdir(world.folder);
    await world.write("a.yaml", manifest("one", "1"));
    await shows(world, "one", "1", 500);
    await world.write("a.yaml", manifest("one", "2"));

    await noticed(world, "one", "2");
  });

  test("a folder that is removed and made again is followed again", async (t) => {
    const world = await open(t);
    await world.write("a.yaml", manifest("one", "1"));
    await shows(world, "one", "1");

    await rm(world.folder, { recursive: true });
    await mkdir(world.folder);
    await world.write("a.yaml", manifest("one", "2"));
    await shows(world, "one", "2", 500);
    await world.write("a.yaml", manifest("one", "3"));

    await noticed(world, "one", "3");
  });

  test("a folder that is a file says so", async (t) => {
    const world = await open(t, (folder) => writeFile(folder, ""));
    await eventually("a reason", () => world.cache.status().reason !== undefined, world.clock);

    assert.match(world.cache.status().reason ?? "", /ENOTDIR/);
  });

  test("a folder that never rests is read all the same", async (t) => {
    const world = await open(t, mkdir, { rescanMs: 1e9 });
    await eventually("in sync", () => world.cache.status().state === "synced");
    await world.write("a.yaml", manifest("one", "1"));

    await eventually(
      "served",
      () => {
        void world.write("noise.txt", String(Math.random()));
        return valueOf(world.cache.get("one")) === "1";
      },
      world.clock,
      10,
    );
  });
});

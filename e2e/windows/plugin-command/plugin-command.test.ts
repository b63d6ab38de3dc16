/**
 * `sallyport plugin` against a whole Windows of its own: files, regsvr32 and registry are Wine's, the DLL is the real one.
 * @module
 */
import assert from "node:assert/strict";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { chainHolds } from "../../../src/chain.ts";
import { SallyportError } from "../../../src/errors.ts";
import { installPlugin, uninstallPlugin } from "../../../src/plugin-host/install-plugin.ts";
import {
  lockPath,
  pluginFolder,
  pluginPath,
  registryKeys,
} from "../../../src/plugin-host/plugin-identity.ts";
import { leftParts, readPluginState, type PluginHost } from "../../../src/plugin-host/plugin-state.ts";
import { readPluginStatus } from "../../../src/plugin-host/plugin-status.ts";
import { watchPlugin } from "../../../src/plugin-host/watch-plugin.ts";
import { callPlugin, readCauses, resultOf } from "../plugin-calls.ts";
import { installOptions, pluginHostOf } from "../plugin-host.ts";
import { builtFile, comClassesKey, keyVaultClassId, pluginClassId, replacedClassId, Wine } from "../wine.ts";

let wine: Wine;
let host: PluginHost;
let newer: string;
before(async () => {
  wine = await Wine.start();
  host = pluginHostOf(wine);
  // Bytes behind a DLL's sections change its hash and nothing else: a second version.
  newer = wine.path("C:\\newer.dll");
  copyFileSync(builtFile("SallyportCcgPlugin.dll"), newer);
  appendFileSync(newer, "newer");
});
after(async () => {
  await wine.close();
});
beforeEach(async () => {
  await uninstallPlugin(host, installOptions());
});

function file(path: string): string {
  return wine.path(path);
}

async function assertGone(): Promise<void> {
  assert.deepEqual(leftParts(await readPluginState(host)), []);
  assert.equal(await wine.hasKey(`${comClassesKey}\\${replacedClassId}`), false);
  assert.equal(existsSync(file(pluginFolder)), false);
  assert.equal(existsSync(file(lockPath)), false);
}

async function assertWorks(): Promise<void> {
  const { calls } = await callPlugin(wine, ["nowhere:x"]);
  assert.equal(calls[0]?.result, resultOf(readCauses().get("directory_missing") ?? 0));
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof SallyportError ? error.code : `no error of ours: ${String(error)}`;
}

describe("install", () => {
  test("installs on a clean host, and finds nothing to do the second time", async () => {
    const first = await installPlugin(host, installOptions());
    const second = await installPlugin(host, installOptions());

    assert.equal(first.kind, "installed");
    assert.equal(second.kind, "already installed");
    await assertWorks();
  });

  test("repairs each thing that somebody took away", async () => {
    const damages: readonly (() => Promise<unknown>)[] = [
      () => wine.registry("delete", `${comClassesKey}\\${pluginClassId}`),
      () => wine.registry("delete", `${comClassesKey}\\${replacedClassId}`),
      () => wine.registry("delete", registryKeys.pluginClass),
      () => wine.registry("delete", registryKeys.app),
      () => wine.registry("delete", registryKeys.eventSource),
      async () => rmSync(file(pluginPath)),
      async () => writeFileSync(file(pluginPath), "junk"),
    ];
    await installPlugin(host, installOptions());

    for (const damage of damages) {
      await damage();
      const outcome = await installPlugin(host, installOptions());
      assert.equal(outcome.kind, "repaired");
      assert.equal((await installPlugin(host, installOptions())).kind, "already installed");
    }
    await assertWorks();
  });

  test("upgrades, and keeps nothing of the version before", async () => {
    await installPlugin(host, installOptions());

    const outcome = await installPlugin(host, installOptions({ dll: newer }));

    assert.equal(outcome.kind, "upgraded");
    assert.deepEqual(readdirSync(file(pluginFolder)), ["SallyportCcgPlugin.dll"]);
    await assertWorks();
  });

  test("puts the version before back when the new one cannot be registered", async () => {
    await installPlugin(host, installOptions());
    const broken = wine.path("C:\\broken.dll");
    copyFileSync(builtFile("ccg-proxy.dll"), broken);

    const code = await codeOf(installPlugin(host, installOptions({ dll: broken })));

    assert.equal(code, "E_PLUGIN_INSTALL");
    assert.equal((await installPlugin(host, installOptions())).kind, "already installed");
    await assertWorks();
  });

  test("leaves nothing behind when the very first registration fails", async () => {
    const broken = wine.path("C:\\broken.dll");
    copyFileSync(builtFile("ccg-proxy.dll"), broken);

    assert.equal(await codeOf(installPlugin(host, installOptions({ dll: broken }))), "E_PLUGIN_INSTALL");
    await assertGone();
  });

  test("refuses a file that is no plugin, and a host without containers", async () => {
    const text = wine.path("C:\\text.dll");
    writeFileSync(text, "text");
    assert.equal(await codeOf(installPlugin(host, installOptions({ dll: text }))), "E_PLUGIN_FILE");

    await wine.registry("delete", comClassesKey);
    try {
      assert.equal(await codeOf(installPlugin(host, installOptions())), "E_PLUGIN_HOST");
      await assertGone();
    } finally {
      await wine.registry("add", comClassesKey);
    }
  });

  test("repairs what an installation that was killed half-way left, and takes its lock", async () => {
    await installPlugin(host, installOptions());
    // It had renamed the old file, was writing the new one, and had registered half of it.
    renameSync(file(pluginPath), `${file(pluginPath)}.retired-abc`);
    writeFileSync(join(file(pluginFolder), ".SallyportCcgPlugin.dll.sallyport-tmp-0123"), "half");
    await wine.registry("delete", registryKeys.app);
    writeFileSync(file(lockPath), "999999999");

    const outcome = await installPlugin(host, installOptions({ dll: newer }));

    assert.equal(outcome.kind, "repaired");
    assert.deepEqual(readdirSync(file(pluginFolder)), ["SallyportCcgPlugin.dll"]);
    await assertWorks();
  });

  test("upgrades while a surrogate runs the old file, which it ends", async () => {
    await installPlugin(host, installOptions());
    await wine.pointSurrogateAtWine();
    // The surrogate that this starts lives on and keeps the DLL open.
    await callPlugin(wine, ["nowhere:x"], { surrogate: true });

    assert.equal((await installPlugin(host, installOptions({ dll: newer }))).kind, "upgraded");

    assert.deepEqual(readdirSync(file(pluginFolder)), ["SallyportCcgPlugin.dll"]);
    await assertWorks();
  });

  test("two at once do not get into each other's way", async () => {
    const outcomes = await Promise.all([
      installPlugin(host, installOptions()),
      installPlugin(host, installOptions({ lockWaitMs: 60_000 })),
    ]);

    assert.deepEqual(outcomes.map(({ kind }) => kind).sort(), ["already installed", "installed"]);
    await assertWorks();
  });
});

describe("the plugin that this one replaces", () => {
  const key = registryKeys.replacedClass;
  beforeEach(async () => {
    await wine.registry("add", `${key}\\InprocServer32`, "/ve", "/d", "mscoree.dll");
    await wine.registry("add", `${comClassesKey}\\${replacedClassId}`);
  });

  test("keeps its class id unless told otherwise, and has it back after an uninstallation", async () => {
    await installPlugin(host, installOptions());
    assert.match(await wine.registry("query", `${key}\\InprocServer32`, "/ve"), /mscoree\.dll/u);

    assert.equal((await installPlugin(host, installOptions({ takeOver: true }))).kind, "repaired");
    assert.match(await wine.registry("query", `${key}\\InprocServer32`, "/ve"), /SallyportCcgPlugin\.dll/u);

    await uninstallPlugin(host, installOptions());
    assert.match(await wine.registry("query", `${key}\\InprocServer32`, "/ve"), /mscoree\.dll/u);
    assert.equal(await wine.hasKey(`${comClassesKey}\\${replacedClassId}`), true);
    await wine.registry("delete", key);
    await wine.registry("delete", `${comClassesKey}\\${replacedClassId}`);
  });
});

describe("the class id of Microsoft's Key Vault plugin", () => {
  const key = registryKeys.keyVaultClass;

  test("is answered to as long as that is chosen", async () => {
    const chosen = installOptions({ answerKeyVaultPlugin: true });
    assert.equal((await installPlugin(host, chosen)).kind, "installed");
    assert.equal((await installPlugin(host, chosen)).kind, "already installed");
    const { calls } = await callPlugin(wine, ["nowhere:x"], { classId: keyVaultClassId });
    assert.equal(calls[0]?.result, resultOf(readCauses().get("directory_missing") ?? 0));

    assert.equal((await installPlugin(host, installOptions())).kind, "repaired");
    assert.equal(await wine.hasKey(key), false);
    assert.equal(await wine.hasKey(`${comClassesKey}\\${keyVaultClassId}`), false);
  });

  test("is taken over only with both choices, and given back by an uninstallation", async () => {
    await wine.registry("add", `${key}\\InprocServer32`, "/ve", "/d", "CCGAKVPlugin.dll");
    await wine.registry("add", `${comClassesKey}\\${keyVaultClassId}`);
    const server = (): Promise<string> => wine.registry("query", `${key}\\InprocServer32`, "/ve");

    await installPlugin(host, installOptions({ answerKeyVaultPlugin: true }));
    assert.match(await server(), /CCGAKVPlugin/u);
    await installPlugin(host, installOptions({ answerKeyVaultPlugin: true, takeOver: true }));
    assert.match(await server(), /SallyportCcgPlugin/u);

    await uninstallPlugin(host, installOptions());
    assert.match(await server(), /CCGAKVPlugin/u);
    assert.equal(await wine.hasKey(`${comClassesKey}\\${keyVaultClassId}`), true);
    await wine.registry("delete", key);
    await wine.registry("delete", `${comClassesKey}\\${keyVaultClassId}`);
  });
});

describe("uninstall", () => {
  test("leaves nothing, and is content with a clean host", async () => {
    await installPlugin(host, installOptions());

    assert.equal(await uninstallPlugin(host, installOptions()), true);
    await assertGone();
    assert.equal(await uninstallPlugin(host, installOptions()), false);
  });

  test("takes its registration back with another DLL when the installed one is damaged", async () => {
    await installPlugin(host, installOptions());
    // Headers that look right, and nothing behind them.
    const bytes = readFileSync(builtFile("SallyportCcgPlugin.dll"));
    writeFileSync(file(pluginPath), bytes.subarray(0, 4_096));

    assert.equal(await uninstallPlugin(host, installOptions()), true);
    await assertGone();
  });

  test("finishes what was half done: the DLL deleted by hand, keys gone, a file too many", async () => {
    await installPlugin(host, installOptions());
    rmSync(file(pluginFolder), { recursive: true });
    await wine.registry("delete", registryKeys.app);

    assert.equal(await uninstallPlugin(host, installOptions()), true);
    await assertGone();

    await installPlugin(host, installOptions());
    writeFileSync(join(file(pluginFolder), "SallyportCcgPlugin.dll.retired-1"), "old");
    await uninstallPlugin(host, installOptions());
    await assertGone();
  });
});

describe("status and watch", () => {
  test("status names what is wrong, link by link, and holds for what was installed", async () => {
    const clean = await readPluginStatus(host);
    await installPlugin(host, installOptions());
    const installed = await readPluginStatus(host);

    const broken = (links: typeof clean.links): readonly string[] =>
      links.filter(({ holds, unknown }) => !holds && unknown !== true).map(({ link }) => link);
    const unknown = (links: typeof clean.links): readonly string[] =>
      links.filter((link) => link.unknown === true).map(({ link }) => link);
    assert.equal(chainHolds(clean), false);
    assert.deepEqual(unknown(clean.links), ["signature", "access list", "activation"]);
    assert.deepEqual(broken(clean.links), [
      "file",
      "class",
      "surrogate",
      "allowed class",
      "event source",
      "replaced class",
      "providers",
    ]);
    // A 64-bit Wine looks for a 32-bit dllhost where the surrogate is left empty, and has no access lists.
    assert.deepEqual(broken(installed.links), ["activation", "providers"]);
    assert.deepEqual(unknown(installed.links), ["access list"]);
    assert.match(
      installed.links.find(({ link }) => link === "file")?.detail ?? "",
      /0\.1\.0, x64, not signed/u,
    );
  });

  test("status really activates the class, in process and through dllhost", async () => {
    const detail = async (): Promise<string> => {
      const { links } = await readPluginStatus(host);
      const link = links.find((each) => each.link === "activation");
      return `${String(link?.holds)}: ${link?.detail ?? ""}`;
    };
    await installPlugin(host, installOptions());
    assert.equal(await detail(), "false: in process 0x00000000, through dllhost 0x80070002");

    await wine.pointSurrogateAtWine();
    assert.equal(await detail(), "true: in process 0x00000000, through dllhost 0x00000000");
    assert.deepEqual(readdirSync(file(pluginFolder)), ["SallyportCcgPlugin.dll"]);

    await wine.registry("delete", `${registryKeys.pluginClass}\\InprocServer32`);
    assert.match(await detail(), /false: in process 0x80040154/u);
  });

  test("status compares what the permissions grant, and install puts them right", async () => {
    await installPlugin(host, installOptions());
    const everybody = "0100048014000000000000000000000000000000";
    await wine.registry(
      "add",
      registryKeys.app,
      "/v",
      "LaunchPermission",
      "/t",
      "REG_BINARY",
      "/d",
      everybody,
    );

    const { links } = await readPluginStatus(host);
    const surrogate = links.find(({ link }) => link === "surrogate");
    assert.equal(surrogate?.holds, false);
    assert.match(surrogate?.detail ?? "", /LaunchPermission/u);

    assert.equal((await installPlugin(host, installOptions())).kind, "repaired");
    assert.equal((await installPlugin(host, installOptions())).kind, "already installed");
    assert.equal((await installPlugin(host, installOptions({ authenticatedUsers: true }))).kind, "repaired");
    assert.equal(
      (await installPlugin(host, installOptions({ authenticatedUsers: true }))).kind,
      "already installed",
    );
  });

  test("watch repairs a key that somebody deleted", async (t) => {
    await installPlugin(host, installOptions());
    const stop = new AbortController();
    const watching = watchPlugin(host, { ...installOptions(), intervalMs: 200 }, stop.signal);
    t.after(async () => {
      stop.abort();
      await watching;
    });

    await wine.registry("delete", `${comClassesKey}\\${pluginClassId}`);

    let there = false;
    for (let wait = 0; wait < 100 && !there; wait++) {
      there = await wine.hasKey(`${comClassesKey}\\${pluginClassId}`);
    }
    assert.equal(there, true);
  });
});

/**
 * What `regsvr32` writes and takes away again: every key, read back by a program that is not ours.
 * @module
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { callPlugin, readCauses, resultOf } from "../plugin-calls.ts";
import {
  comClassesKey,
  keyVaultClassId,
  pluginAppId,
  pluginClassId,
  pluginDll,
  replacedClassId,
  Wine,
} from "../wine.ts";

const classes = "HKLM\\SOFTWARE\\Classes";
const eventSource = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\Sallyport CCG plugin";
const causes = readCauses();

let wine: Wine;
before(async () => {
  wine = await Wine.start();
});
after(async () => {
  await wine.close();
});
beforeEach(async () => {
  await wine.regsvr32("/u", pluginDll);
});

/** Values of a key as `reg.exe` prints them: name, type, data. */
async function values(key: string): Promise<Readonly<Record<string, string>>> {
  const output = await wine.registry("query", key);
  return Object.fromEntries(
    [...output.matchAll(/^ {4}(\S.*?) {4}(REG_\w+) {4}(.*?)\r?$/gmu)].map(
      ([, name = "", type = "", data = ""]) => [name, `${type} ${data}`.trim()],
    ),
  );
}

async function ourKeys(): Promise<readonly string[]> {
  const keys = [
    `${classes}\\CLSID\\${pluginClassId}`,
    `${classes}\\CLSID\\${replacedClassId}`,
    `${classes}\\CLSID\\${keyVaultClassId}`,
    `${classes}\\AppID\\${pluginAppId}`,
    `${comClassesKey}\\${pluginClassId}`,
    `${comClassesKey}\\${replacedClassId}`,
    `${comClassesKey}\\${keyVaultClassId}`,
    eventSource,
    "HKLM\\SOFTWARE\\Sallyport",
  ];
  const there = await Promise.all(keys.map((key) => wine.hasKey(key)));
  return keys.filter((_, index) => there[index]);
}

describe("registration", () => {
  test("writes every value that CCG, COM and the event log need, for both class ids", async () => {
    const result = await wine.regsvr32(pluginDll);

    assert.equal(result.code, 0);
    for (const id of [pluginClassId, replacedClassId]) {
      assert.deepEqual(await values(`${classes}\\CLSID\\${id}`), {
        "(Default)": "REG_SZ Sallyport CCG plugin",
        AppID: `REG_SZ ${pluginAppId}`,
      });
      assert.deepEqual(await values(`${classes}\\CLSID\\${id}\\InprocServer32`), {
        "(Default)": `REG_SZ ${pluginDll}`,
        ThreadingModel: "REG_SZ Both",
      });
      assert.deepEqual(await values(`${comClassesKey}\\${id}`), { "(Default)": "REG_SZ" });
    }
    assert.deepEqual(await values(eventSource), {
      EventMessageFile: `REG_SZ ${pluginDll}`,
      TypesSupported: "REG_DWORD 0x7",
    });
    const app = await values(`${classes}\\AppID\\${pluginAppId}`);
    assert.equal(app["DllSurrogate"], "REG_SZ");
    // O:BAG:BAD:(A;;0xB;;;SY)(A;;0xB;;;SU), self-relative (MS-DTYP 2.4.6), in Wine's order of its parts.
    for (const permission of [app["AccessPermission"], app["LaunchPermission"]]) {
      assertPermission(permission ?? "", ["S-1-5-18", "S-1-5-6"]);
    }
    assert.deepEqual(
      result.events.map(({ id, type }) => [id, type]),
      [[causes.get("registered"), "information"]],
    );
  });

  test("twice is the same as once, and repairs what was changed", async () => {
    await wine.regsvr32(pluginDll);
    await wine.registry(
      "add",
      `${classes}\\CLSID\\${pluginClassId}\\InprocServer32`,
      "/v",
      "ThreadingModel",
      "/d",
      "Free",
    );
    await wine.registry("delete", `${comClassesKey}\\${pluginClassId}`);

    const { code } = await wine.regsvr32(pluginDll);

    assert.equal(code, 0);
    const server = await values(`${classes}\\CLSID\\${pluginClassId}\\InprocServer32`);
    assert.equal(server["ThreadingModel"], "REG_SZ Both");
    assert.equal(await wine.hasKey(`${comClassesKey}\\${pluginClassId}`), true);
  });

  test("authenticated users may start the surrogate only when that is asked for", async () => {
    const { code } = await wine.regsvr32("/n", "/i:authenticated-users", pluginDll);

    assert.equal(code, 0);
    const app = await values(`${classes}\\AppID\\${pluginAppId}`);
    assertPermission(app["LaunchPermission"] ?? "", ["S-1-5-18", "S-1-5-11"]);
  });

  test("without the Containers feature's key nothing is left, and the event says so", async () => {
    await wine.registry("delete", comClassesKey);
    try {
      const result = await wine.regsvr32(pluginDll);

      assert.notEqual(result.code, 0);
      assert.deepEqual(await ourKeys(), []);
      assert.equal(result.events[0]?.id, causes.get("containers_absent"));
    } finally {
      await wine.registry("add", comClassesKey);
    }
  });

  test("removal leaves nothing but the proxy's keys, and may be repeated", async () => {
    await wine.regsvr32(pluginDll);
    const first = await wine.regsvr32("/u", pluginDll);
    const second = await wine.regsvr32("/u", pluginDll);

    assert.deepEqual([first.code, second.code], [0, 0]);
    assert.deepEqual(await ourKeys(), []);
    assert.equal(await wine.hasKey(`${classes}\\Interface\\{6ECDA518-2010-4437-8BC3-46E752B7B172}`), true);
  });

  test("removal copes with a registration that was half removed", async () => {
    await wine.regsvr32(pluginDll);
    await wine.registry("delete", `${classes}\\CLSID\\${replacedClassId}`);
    await wine.registry("delete", `${classes}\\AppID\\${pluginAppId}`);

    const { code } = await wine.regsvr32("/u", pluginDll);

    assert.equal(code, 0);
    assert.deepEqual(await ourKeys(), []);
  });
});

describe("another plugin with the replaced class id", () => {
  const key = `${classes}\\CLSID\\${replacedClassId}`;
  beforeEach(async () => {
    await wine.registry("add", key, "/ve", "/d", "rancher.gmsa.CcgCredProvider");
    await wine.registry("add", `${key}\\InprocServer32`, "/ve", "/d", "mscoree.dll");
    await wine.registry("add", `${key}\\InprocServer32`, "/v", "Class", "/d", "rancher.gmsa.CcgCredProvider");
    await wine.registry("add", `${key}\\ProgId`, "/ve", "/d", "CcgCredProvider");
    await wine.registry("add", `${comClassesKey}\\${replacedClassId}`, "/ve", "/d", "");
  });

  async function isTheirs(): Promise<void> {
    assert.deepEqual(await values(`${key}\\InprocServer32`), {
      "(Default)": "REG_SZ mscoree.dll",
      Class: "REG_SZ rancher.gmsa.CcgCredProvider",
    });
    assert.deepEqual(await values(`${key}\\ProgId`), { "(Default)": "REG_SZ CcgCredProvider" });
    assert.equal(await wine.hasKey(`${comClassesKey}\\${replacedClassId}`), true);
  }

  test("keeps it, and a warning says that it does", async () => {
    const { code, events } = await wine.regsvr32(pluginDll);

    assert.equal(code, 0);
    await isTheirs();
    assert.deepEqual(
      events.map(({ id, type }) => [id, type]),
      [[causes.get("class_taken"), "warning"]],
    );
    await wine.regsvr32("/u", pluginDll);
    await isTheirs();
    await wine.registry("delete", key);
  });

  test("loses it when told so, and has it back after removal, down to the sub-keys", async () => {
    const { code } = await wine.regsvr32("/n", "/i:take-over", pluginDll);

    assert.equal(code, 0);
    const { calls } = await callPlugin(wine, ["a:b"], { classId: replacedClassId });
    assert.equal(calls[0]?.result, resultOf(causes.get("directory_missing") ?? 0));
    assert.equal((await wine.regsvr32("/u", pluginDll)).code, 0);
    await isTheirs();
    assert.equal(await wine.hasKey("HKLM\\SOFTWARE\\Sallyport\\CCG plugin\\Replaced"), false);
    await wine.registry("delete", key);
  });

  test("is remembered through a repair, which does not take our own keys for theirs", async () => {
    await wine.regsvr32("/n", "/i:take-over", pluginDll);
    await wine.regsvr32("/n", "/i:take-over", pluginDll);
    await wine.regsvr32(pluginDll);

    assert.equal((await wine.regsvr32("/u", pluginDll)).code, 0);
    await isTheirs();
    await wine.registry("delete", key);
  });
});

describe("the class id of Microsoft's Key Vault plugin", () => {
  const key = `${classes}\\CLSID\\${keyVaultClassId}`;
  const allowed = `${comClassesKey}\\${keyVaultClassId}`;
  const theirAppId = "{557110E1-88BC-4583-8281-6AAC6F708584}";
  const installTheirs = async (): Promise<void> => {
    await wine.registry("add", key, "/v", "AppID", "/d", theirAppId);
    await wine.registry(
      "add",
      `${key}\\InprocServer32`,
      "/ve",
      "/d",
      "C:\\Windows\\System32\\CCGAKVPlugin.dll",
    );
    await wine.registry("add", allowed, "/ve", "/d", "");
  };
  const isTheirs = async (): Promise<void> => {
    assert.deepEqual(await values(key), { AppID: `REG_SZ ${theirAppId}` });
    assert.equal(
      (await values(`${key}\\InprocServer32`))["(Default)"],
      "REG_SZ C:\\Windows\\System32\\CCGAKVPlugin.dll",
    );
    assert.equal(await wine.hasKey(allowed), true);
  };

  test("is not ours by itself, is when told so, and no longer when that is not said again", async () => {
    await wine.regsvr32(pluginDll);
    assert.equal(await wine.hasKey(key), false);

    await wine.regsvr32("/n", "/i:answer-key-vault-plugin", pluginDll);
    assert.equal((await values(key))["AppID"], `REG_SZ ${pluginAppId}`);
    assert.equal(await wine.hasKey(allowed), true);

    const { code } = await wine.regsvr32(pluginDll);
    assert.equal(code, 0);
    assert.deepEqual([await wine.hasKey(key), await wine.hasKey(allowed)], [false, false]);
  });

  test("is kept by the plugin that has it, with a warning that names it, unless it is taken over", async () => {
    await installTheirs();

    const { code, events } = await wine.regsvr32("/n", "/i:answer-key-vault-plugin", pluginDll);

    assert.equal(code, 0);
    assert.deepEqual(
      events.map(({ id, strings }) => [id, strings[0]]),
      [[causes.get("class_taken"), keyVaultClassId]],
    );
    await isTheirs();
    await wine.regsvr32("/u", pluginDll);
    await isTheirs();

    await wine.regsvr32("/n", "/i:take-over", pluginDll);
    await isTheirs();

    await wine.regsvr32("/n", "/i:take-over,answer-key-vault-plugin", pluginDll);
    assert.equal((await values(key))["AppID"], `REG_SZ ${pluginAppId}`);
    assert.equal((await wine.regsvr32("/u", pluginDll)).code, 0);
    await isTheirs();
    await wine.registry("delete", key);
    await wine.registry("delete", allowed);
    assert.deepEqual(await ourKeys(), []);
  });

  test("stays theirs when they install themselves over ours", async () => {
    await wine.regsvr32("/n", "/i:answer-key-vault-plugin", pluginDll);
    await wine.registry("delete", key);
    await installTheirs();

    assert.equal((await wine.regsvr32("/u", pluginDll)).code, 0);

    await isTheirs();
    await wine.registry("delete", key);
    await wine.registry("delete", allowed);
    assert.deepEqual(await ourKeys(), []);
  });

  test("is cleared away also when its registration was deleted by hand", async () => {
    await wine.regsvr32("/n", "/i:answer-key-vault-plugin", pluginDll);
    await wine.registry("delete", key);

    assert.equal((await wine.regsvr32("/u", pluginDll)).code, 0);

    assert.deepEqual(await ourKeys(), []);
  });
});

/** Reads the access list of a self-relative security descriptor: who may execute and activate locally. */
function assertPermission(value: string, expected: readonly string[]): void {
  const bytes = Buffer.from(value.replace(/^REG_BINARY /u, ""), "hex");
  assert.deepEqual([bytes[0], bytes.readUInt16LE(2) & 0x8004], [1, 0x8004]);
  const list = bytes.readUInt32LE(16);
  const sids: string[] = [];
  let at = list + 8;
  for (let entry = 0; entry < bytes.readUInt16LE(list + 4); entry++) {
    assert.deepEqual([bytes[at], bytes[at + 1], bytes.readUInt32LE(at + 4)], [0, 0, 0xb]);
    const parts = Array.from({ length: bytes[at + 9] ?? 0 }, (_, index) =>
      bytes.readUInt32LE(at + 16 + 4 * index),
    );
    sids.push(["S-1", bytes.readUIntBE(at + 10, 6), ...parts].join("-"));
    at += bytes.readUInt16LE(at + 2);
  }
  assert.deepEqual(sids, expected);
  assert.equal(sidAt(bytes, bytes.readUInt32LE(4)), "S-1-5-32-544");
  assert.equal(sidAt(bytes, bytes.readUInt32LE(8)), "S-1-5-32-544");
}

function sidAt(bytes: Buffer, at: number): string {
  const parts = Array.from({ length: bytes[at + 1] ?? 0 }, (_, index) =>
    bytes.readUInt32LE(at + 8 + 4 * index),
  );
  return ["S-1", bytes.readUIntBE(at + 2, 6), ...parts].join("-");
}

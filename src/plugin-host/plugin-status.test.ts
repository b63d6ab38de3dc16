import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { FakePluginHost, makePluginFile, permissionOctets } from "../../test/fakes/fake-plugin-host.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import type { ChainLink } from "../chain.ts";
import { systemClock } from "../clock.ts";
import { silentLog } from "../observe/log.ts";
import { installPlugin } from "./install-plugin.ts";
import { activationReportPath, lockPath, pluginPath, registryKeys } from "./plugin-identity.ts";
import { readPluginStatus, untrustedWriters } from "./plugin-status.ts";
import { isNewer, watchPlugin } from "./watch-plugin.ts";

async function installed(
  t: Parameters<typeof temporaryFolder>[0],
): Promise<{ host: FakePluginHost; dll: string }> {
  const folder = temporaryFolder(t);
  const host = new FakePluginHost(join(folder, "c"));
  mkdirSync(dirname(host.localPath(lockPath)), { recursive: true });
  const dll = join(folder, "new.dll");
  writeFileSync(dll, makePluginFile());
  await installPlugin(host, options(dll));
  return { host, dll };
}

const options = (dll: string): Parameters<typeof installPlugin>[1] => ({
  ...{
    dll,
    takeOver: false,
    answerKeyVaultPlugin: false,
    authenticatedUsers: false,
    log: silentLog,
    clock: systemClock,
    lockWaitMs: 0,
  },
});

function event(id: number, level: number): string {
  return `<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='x'/><EventID>${id}</EventID><Level>${level}</Level><TimeCreated SystemTime='2026-01-02T03:04:05.0Z'/></System></Event>`;
}

describe("readPluginStatus", () => {
  test("every link holds on a host with an installed plugin and a provider that listens", async (t) => {
    const { host } = await installed(t);
    const server = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => {
      server.listen(0, "127.0.0.1", resolve);
    });
    t.after(() => server.close());
    const directory = host.localPath("C:\\var\\lib\\rancher\\gmsa\\web");
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, "port.txt"), String((server.address() as AddressInfo).port));

    const { links } = await readPluginStatus(host);

    assert.deepEqual(
      links.filter(({ holds }) => !holds),
      [],
    );
    assert.match(
      links.find(({ link }) => link === "file")?.detail ?? "",
      /0\.1\.0, x64, not signed, SHA-256 [0-9a-f]{64}/,
    );
  });

  test("a broken link says what to do", async (t) => {
    const { host } = await installed(t);
    host.delete(registryKeys.app);
    mkdirSync(host.localPath("C:\\var\\lib\\rancher\\gmsa\\web"), { recursive: true });
    host.fail = ({ program }) =>
      program === "wevtutil" ? { exitCode: 0, output: event(6, 2) + event(1, 4) } : undefined;

    const { links } = await readPluginStatus(host);

    const broken = new Map(links.filter(({ holds }) => !holds).map(({ link, remedy }) => [link, remedy]));
    assert.deepEqual([...broken.keys()], ["surrogate", "provider web", "CCG events"]);
    assert.match(broken.get("surrogate") ?? "", /plugin install/);
    assert.match(broken.get("CCG events") ?? "", /Application log/);
  });
});

test("a port.txt that holds no port is a link that says so", async (t) => {
  const { host } = await installed(t);
  const directory = host.localPath("C:\\var\\lib\\rancher\\gmsa\\web");
  mkdirSync(directory, { recursive: true });
  for (const text of ["65536", "99999", "0", "x"]) {
    writeFileSync(join(directory, "port.txt"), text);

    const { links } = await readPluginStatus(host);

    assert.equal(links.find(({ link }) => link === "provider web")?.detail, "port.txt holds no port");
  }
});

describe("links that ask the host", () => {
  const linkOf = async (host: FakePluginHost, name: string): Promise<ChainLink | undefined> =>
    (await readPluginStatus(host)).links.find(({ link }) => link === name);
  const activation = (inProcess: string, surrogate: string, launcher: 0 | 1): string =>
    `in-process ${inProcess}\nsurrogate ${surrogate}\nlauncher 0000000${launcher}\n`;

  const activations: readonly (readonly [string, string, "holds" | "broken" | "unknown", RegExp])[] = [
    ["COM makes the object both ways", activation("00000000", "00000000", 0), "holds", /dllhost 0x00000000/],
    ["the class is not registered", activation("80040154", "80040154", 1), "broken", /plugin install/],
    ["the surrogate refuses SYSTEM", activation("00000000", "80070005", 1), "broken", /launch permission/],
    [
      "the surrogate refuses a mere administrator",
      activation("00000000", "80070005", 0),
      "unknown",
      /as SYSTEM/,
    ],
    ["the proxy is missing", activation("00000000", "80004002", 0), "broken", /proxy/],
    ["another result", activation("00000000", "80080005", 1), "broken", /HRESULT/],
    ["a report that is none", "in-process 00000000\n", "unknown", /administrator/],
  ];
  for (const [name, report, verdict, words] of activations) {
    test(`activation: ${name}`, async (t) => {
      const { host } = await installed(t);
      host.activation = report;

      const link = await linkOf(host, "activation");

      assert.deepEqual(
        [link?.holds, link?.unknown],
        [verdict === "holds", verdict === "unknown" ? true : undefined],
      );
      assert.match(`${link?.detail} ${link?.remedy}`, words);
      assert.equal(existsSync(host.localPath(activationReportPath)), false);
    });
  }

  test("activation is unknown when regsvr32 fails, or nothing is registered", async (t) => {
    const { host } = await installed(t);
    host.fail = ({ program }) => (program === "regsvr32" ? { exitCode: 3, output: "" } : undefined);
    assert.equal((await linkOf(host, "activation"))?.unknown, true);

    host.fail = () => undefined;
    host.delete(registryKeys.pluginClass);
    assert.match((await linkOf(host, "activation"))?.detail ?? "", /not registered/);
  });

  const signatures: readonly (readonly [string, "holds" | "broken" | "unknown"])[] = [
    ["Valid\r\nCN=Example, O=Example", "holds"],
    ["HashMismatch\r\n", "broken"],
    ["NotTrusted\r\nCN=Example", "broken"],
    ["", "unknown"],
    ["Get-AuthenticodeSignature : The term is not recognized", "unknown"],
  ];
  for (const [output, verdict] of signatures) {
    test(`a signature about which PowerShell says "${output.split("\r")[0]}" ${verdict}`, async (t) => {
      const { host } = await installed(t);
      const file = makePluginFile();
      file.writeUInt32LE(4_096, 88 + 112 + 36);
      writeFileSync(host.localPath(pluginPath), file);
      host.signature = output;

      const link = await linkOf(host, "signature");

      assert.deepEqual(
        [link?.holds, link?.unknown],
        [verdict === "holds", verdict === "unknown" ? true : undefined],
      );
    });
  }

  test("an access list that cannot be read is unknown, and no tick", async (t) => {
    const { host } = await installed(t);
    host.accessList = "";
    assert.deepEqual(await linkOf(host, "access list"), {
      link: "access list",
      holds: false,
      unknown: true,
      detail: "not checked: icacls does not tell that of C:\\Program Files\\Sallyport CCG plugin",
    });
    host.fail = ({ program }) => (program === "icacls" ? { exitCode: 5, output: "" } : undefined);
    assert.equal((await linkOf(host, "access list"))?.unknown, true);
  });

  test("an access list of the file itself counts as the folder's does", async (t) => {
    const { host } = await installed(t);
    host.accessList += "\r\nFolder\\SallyportCcgPlugin.dll\r\nD:AI(A;;FA;;;BU)";

    assert.match((await linkOf(host, "access list"))?.detail ?? "", /may be changed by BU/);
  });

  test("a permission is judged by what it grants", async (t) => {
    const { host } = await installed(t);
    host.write(registryKeys.app, "AccessPermission", permissionOctets("0b"), "REG_BINARY");
    assert.equal((await linkOf(host, "surrogate"))?.holds, true);

    host.write(
      registryKeys.app,
      "AccessPermission",
      permissionOctets("06").replace("12000000", "00000000"),
      "REG_BINARY",
    );
    const link = await linkOf(host, "surrogate");
    assert.equal(link?.holds, false);
    assert.match(link?.detail ?? "", /AccessPermission .* grants 0xb to S-1-5-0, 0xb to S-1-5-6/);
  });

  test("who holds the Key Vault plugin's class id is told", async (t) => {
    const { host, dll } = await installed(t);
    assert.match((await linkOf(host, "key vault class"))?.detail ?? "", /is not answered to/);

    await installPlugin(host, { ...options(dll), answerKeyVaultPlugin: true });
    assert.match((await linkOf(host, "key vault class"))?.detail ?? "", /CLSID/);

    host.write(registryKeys.keyVaultClass, "AppID", "{557110E1-88BC-4583-8281-6AAC6F708584}");
    assert.match(
      (await linkOf(host, "key vault class"))?.detail ?? "",
      /belongs to another plugin; --answer/,
    );
  });
});

describe("untrustedWriters", () => {
  const cases: readonly (readonly [string, string, readonly string[] | undefined])[] = [
    ["nothing at all", "", undefined],
    ["no list", "O:BAG:SY", undefined],
    ["a list that lets everybody do everything", "D:NO_ACCESS_CONTROL", undefined],
    ["an entry with a condition", '(D:(XA;;FA;;;WD;(@User.x == "y"))', undefined],
    ["an entry with a condition behind others", 'D:(A;;FA;;;SY)(XA;;FA;;;WD;(@User.x == "y"))', undefined],
    ["two lists", "a\r\nD:(A;;FA;;;SY)\r\nb\r\nD:(A;;FA;;;BU)\r\n", ["BU"]],
    ["a system list behind it", "D:PAI(A;;FA;;;SY)S:AI", []],
    [
      "full control for the system, reading for users",
      "D:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1200a9;;;BU)",
      [],
    ],
    ["users may write", "D:AI(A;OICI;FA;;;SY)(A;OICI;0x1301bf;;;BU)", ["BU"]],
    ["everyone has full control", "O:BAG:SYD:(A;;FA;;;WD)", ["WD"]],
    ["a group may take ownership", "D:(A;;WO;;;S-1-5-21-1-2-3-1001)", ["S-1-5-21-1-2-3-1001"]],
    ["a denial is no grant", "D:(D;;FA;;;WD)(A;;FR;;;WD)", []],
  ];
  for (const [name, sddl, expected] of cases) {
    test(name, () => {
      assert.deepEqual(untrustedWriters(sddl), expected);
    });
  }
});

test("a registry that cannot be read is unknown, and no cross is put anywhere", async (t) => {
  const { host } = await installed(t);
  host.fail = ({ program }) => (program === "reg" ? { exitCode: 1, output: "denied" } : undefined);

  const { links } = await readPluginStatus(host);

  assert.deepEqual(
    links.map(({ link, unknown }) => [link, unknown]),
    [["registry", true]],
  );
});

describe("watchPlugin", () => {
  test("repairs what is taken away and ends with its signal", async (t) => {
    const { host, dll } = await installed(t);
    host.delete(registryKeys.pluginClass);
    const stop = new AbortController();

    const watching = watchPlugin(host, { ...options(dll), intervalMs: 10 }, stop.signal);
    while (!host.keys.has(registryKeys.pluginClass)) await new Promise((resolve) => setImmediate(resolve));
    stop.abort();
    await watching;

    assert.equal(host.keys.get(registryKeys.pluginClass)?.has("AppID"), true);
  });

  /** One look at the host, with what follows from it. */
  async function watchOnce(host: FakePluginHost, dll: string): Promise<void> {
    const stop = new AbortController();
    const watching = watchPlugin(host, { ...options(dll), intervalMs: 1_000 }, stop.signal);
    stop.abort();
    await watching;
  }

  const files: readonly (readonly [string, Buffer, boolean])[] = [
    ["other bytes of the same version", Buffer.concat([makePluginFile(), Buffer.from("x")]), true],
    ["an older version", makePluginFile("0.0.9"), true],
    ["a file without a version", makePluginFile(""), true],
    ["a newer version", makePluginFile("0.10.0"), false],
  ];
  for (const [name, bytes, replaced] of files) {
    test(`${replaced ? "replaces" : "leaves"} ${name}`, async (t) => {
      const { host, dll } = await installed(t);
      writeFileSync(host.localPath(pluginPath), bytes);

      await watchOnce(host, dll);

      const there = readFileSync(host.localPath(pluginPath));
      assert.deepEqual(there, replaced ? readFileSync(dll) : bytes);
    });
  }

  test("repairs the registration of a newer version, and keeps its file", async (t) => {
    const { host, dll } = await installed(t);
    writeFileSync(host.localPath(pluginPath), makePluginFile("0.10.0"));
    host.delete(registryKeys.pluginClass);

    await watchOnce(host, dll);

    assert.equal(host.keys.get(registryKeys.pluginClass)?.has("AppID"), true);
    assert.deepEqual(readFileSync(host.localPath(pluginPath)), makePluginFile("0.10.0"));
  });

  const versions: readonly (readonly [string | undefined, string | undefined, boolean])[] = [
    ["0.10.0", "0.9.9", true],
    ["0.9.9", "0.10.0", false],
    ["1.0.0", "1.0.0", false],
    ["1.0.0", "1.0.0-rc.1", true],
    ["1.0.0-rc.1", "1.0.0", false],
    ["1.0.0-rc.2", "1.0.0-rc.1", false],
    [undefined, "1.0.0", false],
    ["1.0.0", "x", false],
  ];
  for (const [one, other, newer] of versions) {
    test(`${one ?? "no version"} is ${newer ? "" : "not "}newer than ${other ?? "none"}`, () => {
      assert.equal(isNewer(one, other), newer);
    });
  }
});

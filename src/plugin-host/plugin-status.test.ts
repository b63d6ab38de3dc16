import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";
import { FakePluginHost, makePluginFile } from "../../test/fakes/fake-plugin-host.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { systemClock } from "../clock.ts";
import { silentLog } from "../observe/log.ts";
import { installPlugin } from "./install-plugin.ts";
import { lockPath, registryKeys } from "./plugin-identity.ts";
import { readPluginStatus, untrustedWriters } from "./plugin-status.ts";
import { watchPlugin } from "./watch-plugin.ts";

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
  ...{ dll, takeOver: false, authenticatedUsers: false, log: silentLog, clock: systemClock, lockWaitMs: 0 },
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

describe("untrustedWriters", () => {
  const cases: readonly (readonly [string, string, readonly string[]])[] = [
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
});

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { FakePluginHost, makePluginFile, permissionOctets } from "../../test/fakes/fake-plugin-host.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { systemClock } from "../clock.ts";
import { SallyportError, type ErrorCode } from "../errors.ts";
import { silentLog } from "../observe/log.ts";
import type { HostCall, HostCallResult } from "../windows-host/windows-host.ts";
import { installPlugin, uninstallPlugin, type InstallOptions } from "./install-plugin.ts";
import {
  keyVaultClassId,
  lockPath,
  pluginAppId,
  pluginClassId,
  pluginFolder,
  pluginPath,
  registryKeys,
} from "./plugin-identity.ts";
import { leftParts, readPluginState } from "./plugin-state.ts";

interface Fixture {
  readonly host: FakePluginHost;
  readonly options: (version?: string, changed?: Partial<InstallOptions>) => InstallOptions;
}

async function fixture(t: TestContext): Promise<Fixture> {
  const folder = temporaryFolder(t);
  const host = new FakePluginHost(join(folder, "c"));
  mkdirSync(dirname(host.localPath(lockPath)), { recursive: true });
  return {
    host,
    options(version = "0.1.0", changed = {}) {
      const dll = join(folder, `${version}.dll`);
      writeFileSync(dll, makePluginFile(version));
      return {
        ...{
          dll,
          takeOver: false,
          answerKeyVaultPlugin: false,
          authenticatedUsers: false,
          log: silentLog,
          clock: systemClock,
        },
        lockWaitMs: 0,
        ...changed,
      };
    },
  };
}

async function rejectsWith(work: Promise<unknown>, code: ErrorCode, detail: RegExp): Promise<void> {
  await assert.rejects(work, (error) => {
    assert.ok(error instanceof SallyportError);
    assert.equal(error.code, code);
    assert.match(error.message, detail);
    return true;
  });
}

describe("installPlugin", () => {
  test("puts the file in a protected folder, registers it once, and is done the second time", async (t) => {
    const { host, options } = await fixture(t);

    const first = await installPlugin(host, options());
    const registrations = host.calls.filter(({ program }) => program === "regsvr32").map(({ args }) => args);
    const second = await installPlugin(host, options());

    assert.deepEqual(first, { kind: "installed", was: [] });
    assert.deepEqual(registrations, [["/s", pluginPath]]);
    assert.deepEqual(second, { kind: "already installed" });
    assert.ok(
      host.calls.some(
        ({ program, args }) => program === "icacls" && args.includes("*S-1-5-32-545:(OI)(CI)RX"),
      ),
    );
    assert.equal(existsSync(host.localPath(lockPath)), false);
  });

  test("repairs a deleted key and says which", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    const key = `${registryKeys.allowedClasses}\\${pluginClassId}`;
    host.delete(key);

    assert.deepEqual(await installPlugin(host, options()), { kind: "repaired", was: [`${key} is missing`] });
  });

  test("upgrades to other bytes, ends the surrogates that run the old ones, and deletes these", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    host.processes =
      '"dllhost.exe","4242","SallyportCcgPlugin.dll"\r\n"explorer.exe","1","SallyportCcgPlugin.dll"\r\n';

    const outcome = await installPlugin(host, options("0.2.0"));

    assert.equal(outcome.kind, "upgraded");
    assert.deepEqual(
      host.calls.filter(({ program }) => program === "taskkill").map(({ args }) => args),
      [["/f", "/pid", "4242"]],
    );
    assert.deepEqual(readdirSync(host.localPath(pluginFolder)), ["SallyportCcgPlugin.dll"]);
    assert.deepEqual(readFileSync(host.localPath(pluginPath)), makePluginFile("0.2.0"));
  });

  test("puts the former file and registration back when the new one does not register", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    let tries = 0;
    host.fail = ({ program }) =>
      program === "regsvr32" && ++tries === 1 ? { exitCode: 5, output: "" } : undefined;

    await rejectsWith(installPlugin(host, options("0.2.0")), "E_PLUGIN_INSTALL", /regsvr32 ended with 5/);

    assert.deepEqual(readFileSync(host.localPath(pluginPath)), makePluginFile("0.1.0"));
    assert.deepEqual(await installPlugin(host, options()), { kind: "already installed" });
  });

  test("leaves no folder when the first registration fails, or the folder cannot be protected", async (t) => {
    for (const failing of ["regsvr32", "icacls"]) {
      const { host, options } = await fixture(t);
      host.fail = ({ program }) => (program === failing ? { exitCode: 5, output: "denied" } : undefined);

      await rejectsWith(installPlugin(host, options()), "E_PLUGIN_INSTALL", /denied|could not be protected/);
      assert.equal(existsSync(host.localPath(pluginFolder)), false, failing);
    }
  });

  test("ends a surrogate that has loaded the new file before it puts the former one back", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    host.calls.length = 0;
    host.processes = '"dllhost.exe","4242","SallyportCcgPlugin.dll"\r\n';
    let tries = 0;
    let atEnd: Buffer | undefined;
    host.fail = ({ program }) => {
      if (program === "taskkill") atEnd = readFileSync(host.localPath(pluginPath));
      return program === "regsvr32" && ++tries === 1 ? { exitCode: 5, output: "" } : undefined;
    };

    await rejectsWith(installPlugin(host, options("0.2.0")), "E_PLUGIN_INSTALL", /as it was before/);

    assert.deepEqual(atEnd, makePluginFile("0.2.0"));
    assert.deepEqual(readdirSync(host.localPath(pluginFolder)), ["SallyportCcgPlugin.dll"]);
    assert.deepEqual(readFileSync(host.localPath(pluginPath)), makePluginFile("0.1.0"));
  });

  test("puts the former file back while the new one cannot be deleted", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    const file = host.localPath(pluginPath);
    let tries = 0;
    host.fail = ({ program }) => {
      if (program !== "regsvr32" || ++tries > 1) return undefined;
      // A folder stands for a file in use: it lets itself be renamed, and not be deleted as a file.
      rmSync(file);
      mkdirSync(file);
      return { exitCode: 5, output: "" };
    };

    await rejectsWith(installPlugin(host, options("0.2.0")), "E_PLUGIN_INSTALL", /as it was before/);

    assert.deepEqual(readFileSync(file), makePluginFile("0.1.0"));
    const left = readdirSync(dirname(file)).filter((name) => name.includes(".retired-"));
    assert.match(left.join(), /^SallyportCcgPlugin\.dll\.retired-[0-9a-z]+-undone$/);
  });

  test("passes on what the administrator chose", async (t) => {
    const { host, options } = await fixture(t);

    await installPlugin(host, options("0.1.0", { takeOver: true, authenticatedUsers: true }));

    const call = host.calls.find(({ program }) => program === "regsvr32");
    assert.deepEqual(call?.args, ["/s", "/n", "/i:take-over,authenticated-users", pluginPath]);
  });

  test("leaves the replaced class id to the plugin that has it, and takes it when told", async (t) => {
    const { host, options } = await fixture(t);
    host.write(`${registryKeys.replacedClass}\\InprocServer32`, "", "mscoree.dll");
    host.write(registryKeys.replacedClass, "", "rancher.gmsa.CcgCredProvider");

    await installPlugin(host, options());
    assert.equal(host.keys.get(registryKeys.replacedClass)?.has("AppID"), false);
    await installPlugin(host, options("0.1.0", { takeOver: true }));
    assert.equal(host.keys.get(registryKeys.replacedClass)?.has("AppID"), true);
  });

  test("answers to the Key Vault plugin's class id only as long as it is told to", async (t) => {
    const { host, options } = await fixture(t);
    const allowed = `${registryKeys.allowedClasses}\\${keyVaultClassId}`;

    await installPlugin(host, options("0.1.0", { answerKeyVaultPlugin: true }));
    const answered = [host.keys.has(registryKeys.keyVaultClass), host.keys.has(allowed)];
    const again = await installPlugin(host, options("0.1.0", { answerKeyVaultPlugin: true }));
    const without = await installPlugin(host, options());

    assert.deepEqual(answered, [true, true]);
    assert.equal(again.kind, "already installed");
    assert.deepEqual(without, {
      kind: "repaired",
      was: [`${keyVaultClassId} is answered to, and is not to be`],
    });
    assert.deepEqual([host.keys.has(registryKeys.keyVaultClass), host.keys.has(allowed)], [false, false]);
  });

  test("leaves the Key Vault plugin's class id to that plugin, unless it is told to take over as well", async (t) => {
    const { host, options } = await fixture(t);
    host.write(registryKeys.keyVaultClass, "AppID", "{557110E1-88BC-4583-8281-6AAC6F708584}");
    const appId = (): string | undefined => host.keys.get(registryKeys.keyVaultClass)?.get("AppID")?.[1];

    await installPlugin(host, options("0.1.0", { answerKeyVaultPlugin: true }));
    const alone = appId();
    await installPlugin(host, options("0.1.0", { answerKeyVaultPlugin: true, takeOver: true }));

    assert.equal(alone, "{557110E1-88BC-4583-8281-6AAC6F708584}");
    assert.equal(appId(), pluginAppId);
  });

  test("repairs a permission that lets others in, and follows the choice of who may start it", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    host.write(
      registryKeys.app,
      "LaunchPermission",
      permissionOctets("06").replace("0B", "1F"),
      "REG_BINARY",
    );

    const repaired = await installPlugin(host, options());
    const changed = await installPlugin(host, options("0.1.0", { authenticatedUsers: true }));

    assert.match(repaired.kind === "repaired" ? (repaired.was[0] ?? "") : "", /grants 0x1f to S-1-5-18/);
    assert.match(
      changed.kind === "repaired" ? (changed.was[0] ?? "") : "",
      /is for services, not for authenticated/,
    );
    const [, octets] = host.keys.get(registryKeys.app)?.get("LaunchPermission") ?? [];
    assert.equal(octets, permissionOctets("0b"));
  });

  test("takes a registration back that does not read back as it should", async (t) => {
    const { host, options } = await fixture(t);
    host.fail = ({ program, args }) =>
      program === "reg" && args[1] === registryKeys.eventSource ? { exitCode: 1, output: "" } : undefined;

    await rejectsWith(installPlugin(host, options()), "E_PLUGIN_INSTALL", /EventMessageFile .* missing/);

    host.fail = () => undefined;
    assert.deepEqual(leftParts(await readPluginState(host)), []);
    assert.equal(existsSync(host.localPath(pluginFolder)), false);
  });

  test("registers the former version again as it had been chosen", async (t) => {
    const { host, options } = await fixture(t);
    const chosen = { answerKeyVaultPlugin: true, authenticatedUsers: true };
    await installPlugin(host, options("0.1.0", chosen));
    let tries = 0;
    host.fail = ({ program }) =>
      program === "regsvr32" && ++tries === 1 ? { exitCode: 5, output: "" } : undefined;

    await rejectsWith(installPlugin(host, options("0.2.0")), "E_PLUGIN_INSTALL", /regsvr32/);

    assert.deepEqual(host.calls.filter(({ program }) => program === "regsvr32").at(-1)?.args, [
      "/s",
      "/n",
      "/i:answer-key-vault-plugin,authenticated-users",
      pluginPath,
    ]);
    assert.equal((await installPlugin(host, options("0.1.0", chosen))).kind, "already installed");
  });

  /** Registers as it is told, and is ended before it can say so. */
  function endedAfterRegistering(host: FakePluginHost, which: (args: readonly string[]) => boolean): void {
    let inside = false;
    host.fail = (call) => {
      if (inside || call.program !== "regsvr32" || !which(call.args)) return undefined;
      inside = true;
      void host.windows.run(call);
      inside = false;
      return { exitCode: 1, output: "" };
    };
  }

  test("takes a registration back whose program was ended before it could say that it succeeded", async (t) => {
    const { host, options } = await fixture(t);
    endedAfterRegistering(host, (args) => !args.includes("/u"));

    await rejectsWith(installPlugin(host, options()), "E_PLUGIN_INSTALL", /regsvr32 ended with 1/);

    assert.deepEqual(leftParts(await readPluginState(host)), []);
    assert.equal(existsSync(host.localPath(pluginFolder)), false);
  });

  test("names what stays registered, and keeps the DLL that can take it back, when that fails, too", async (t) => {
    const { host, options } = await fixture(t);
    endedAfterRegistering(host, (args) => !args.includes("/u"));
    const register = host.fail;
    host.fail = (call) =>
      call.program === "regsvr32" && call.args.includes("/u") ? { exitCode: 5, output: "" } : register(call);

    await rejectsWith(
      installPlugin(host, options()),
      "E_PLUGIN_ROLLBACK",
      /regsvr32 \/u ended with 5.*CLSID/,
    );

    host.fail = () => undefined;
    assert.equal(existsSync(host.localPath(pluginPath)), true);
    assert.equal(await uninstallPlugin(host, options()), true);
    assert.deepEqual(leftParts(await readPluginState(host)), []);
  });

  test("does not claim that the host is as it was when another plugin's class id stays taken", async (t) => {
    const { host, options } = await fixture(t);
    host.write(registryKeys.replacedClass, "", "rancher.gmsa.CcgCredProvider");
    await installPlugin(host, options());
    endedAfterRegistering(host, (args) => args.includes("/i:take-over"));

    await rejectsWith(
      installPlugin(host, options("0.2.0", { takeOver: true })),
      "E_PLUGIN_ROLLBACK",
      /E4781092.*given back/,
    );
  });

  test("registers the former version again when the new one's registration came apart half-way", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    let tries = 0;
    host.fail = ({ program }) => {
      if (program !== "regsvr32" || ++tries > 1) return undefined;
      host.delete(registryKeys.pluginClass);
      return { exitCode: 1, output: "" };
    };

    await rejectsWith(installPlugin(host, options("0.2.0")), "E_PLUGIN_INSTALL", /as it was before/);

    host.fail = () => undefined;
    assert.equal((await installPlugin(host, options())).kind, "already installed");
  });

  test("says so when the host could not be put back", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    host.fail = ({ program }) => (program === "regsvr32" ? { exitCode: 5, output: "" } : undefined);

    await rejectsWith(
      installPlugin(host, options("0.2.0")),
      "E_PLUGIN_ROLLBACK",
      /registered again \(regsvr32/,
    );

    host.fail = () => undefined;
    assert.equal((await installPlugin(host, options("0.2.0"))).kind, "upgraded");
  });

  test("changes nothing on a host whose registry cannot be read, and does not say that Containers is missing", async (t) => {
    const { host, options } = await fixture(t);
    host.fail = ({ program }) => (program === "reg" ? { exitCode: 1, output: "" } : undefined);

    await rejectsWith(installPlugin(host, options()), "E_REGISTRY", /CurrentVersion: reg\.exe ended with 1/);

    assert.deepEqual([...new Set(host.calls.map(({ program }) => program))], ["reg"]);
  });

  test("says that it is unknown what is left when the registry can no longer be read", async (t) => {
    const { host, options } = await fixture(t);
    let registered = false;
    host.fail = ({ program }) => {
      registered ||= program === "regsvr32";
      return registered && program === "reg" ? { exitCode: 1, output: "" } : undefined;
    };

    await rejectsWith(
      installPlugin(host, options()),
      "E_PLUGIN_ROLLBACK",
      /registry of this host cannot be read/,
    );
  });

  test("leaves a file alone that cannot be renamed", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    const clock = { ...systemClock, now: () => 1_000 };
    // A folder that is not empty cannot be replaced by a file.
    mkdirSync(join(host.localPath(`${pluginPath}.retired-rs`), "x"), { recursive: true });

    await rejectsWith(
      installPlugin(host, options("0.2.0", { clock })),
      "E_PLUGIN_INSTALL",
      /EISDIR|ENOTEMPTY/,
    );

    assert.deepEqual(readFileSync(host.localPath(pluginPath)), makePluginFile("0.1.0"));
  });

  test("clears away what an installation that died has left", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    const file = host.localPath(pluginPath);
    // It had renamed the old file and was writing the new one.
    renameSync(file, `${file}.retired-abc`);
    writeFileSync(join(dirname(file), ".SallyportCcgPlugin.dll.sallyport-tmp-0123"), "half");

    assert.deepEqual(await installPlugin(host, options()), {
      kind: "repaired",
      was: [`${pluginPath} is missing`],
    });
    assert.deepEqual(readdirSync(host.localPath(pluginFolder)), ["SallyportCcgPlugin.dll"]);
  });

  const unsuitable: readonly (readonly [string, (host: FakePluginHost) => void, RegExp])[] = [
    [
      "too old a build",
      (host) => host.write(registryKeys.windows, "CurrentBuildNumber", "14393"),
      /14393 is older/,
    ],
    [
      "another architecture",
      (host) => host.write(registryKeys.environment, "PROCESSOR_ARCHITECTURE", "x86"),
      /is x86/,
    ],
    ["no containers", (host) => host.delete(registryKeys.allowedClasses), /Containers is not enabled/],
  ];
  for (const [name, spoil, sentence] of unsuitable) {
    test(`refuses a host with ${name}, and changes nothing`, async (t) => {
      const { host, options } = await fixture(t);
      spoil(host);

      await rejectsWith(installPlugin(host, options()), "E_PLUGIN_HOST", sentence);
      assert.deepEqual([...new Set(host.calls.map(({ program }) => program))], ["reg"]);
    });
  }

  test("asks for no key of Windows' own with everything below it", async (t) => {
    const { host, options } = await fixture(t);

    await installPlugin(host, options());

    const whole = host.calls.filter(({ program, args }) => program === "reg" && args.includes("/s"));
    assert.deepEqual(
      whole.filter(({ args }) => args[1] === registryKeys.windows || args[1] === registryKeys.environment),
      [],
    );
  });

  test("refuses a file that is not there, is no DLL, or is for another processor", async (t) => {
    const { host, options } = await fixture(t);
    const x86 = options();
    writeFileSync(x86.dll, makePluginFile("0.1.0", 0x14c));
    const text = options("text");
    writeFileSync(text.dll, "text");

    await rejectsWith(installPlugin(host, x86), "E_PLUGIN_FILE", /no 64-bit DLL/);
    await rejectsWith(installPlugin(host, text), "E_PLUGIN_FILE", /no 64-bit DLL/);
    await rejectsWith(installPlugin(host, { ...text, dll: "/nowhere.dll" }), "E_PLUGIN_FILE", /ENOENT/);
  });

  test("waits for nobody who has died, and gives up on somebody who lives", async (t) => {
    const { host, options } = await fixture(t);
    writeFileSync(host.localPath(lockPath), "1");
    await rejectsWith(installPlugin(host, options()), "E_PLUGIN_BUSY", /Another process \(1\)/);

    writeFileSync(host.localPath(lockPath), "999999999");
    assert.equal((await installPlugin(host, options())).kind, "installed");
  });
});

describe("uninstallPlugin", () => {
  test("leaves nothing, and has nothing to do on a clean host", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());

    assert.equal(await uninstallPlugin(host, options()), true);
    assert.deepEqual(leftParts(await readPluginState(host)), []);
    assert.equal(existsSync(host.localPath(pluginFolder)), false);
    assert.equal(await uninstallPlugin(host, options()), false);
  });

  test("brings the DLL back for a moment when somebody deleted it", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    rmSync(host.localPath(pluginFolder), { recursive: true });

    assert.equal(await uninstallPlugin(host, options()), true);
    assert.deepEqual(leftParts(await readPluginState(host)), []);
  });

  test("unregisters with the DLL at hand when the installed one cannot", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    let tries = 0;
    host.fail = ({ program, args }) =>
      program === "regsvr32" && args.includes("/u") && ++tries === 1
        ? { exitCode: 3, output: "" }
        : undefined;

    assert.equal(await uninstallPlugin(host, options("0.2.0")), true);

    assert.deepEqual(leftParts(await readPluginState(host)), []);
    assert.equal(existsSync(host.localPath(pluginFolder)), false);
  });

  test("deletes nothing while it cannot read what is registered", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    const ended = "it did not end within 30 s";
    const failures: readonly ((call: HostCall) => HostCallResult | undefined)[] = [
      ({ program }) => (program === "reg" ? { exitCode: 1, output: "" } : undefined),
      ({ args }) =>
        args[1] === registryKeys.pluginClass ? { exitCode: 1, output: "", unfinished: ended } : undefined,
    ];
    for (const fail of failures) {
      host.fail = fail;
      await rejectsWith(uninstallPlugin(host, options()), "E_REGISTRY", /ended with 1|30 s/);
      host.fail = () => undefined;
      assert.equal((await installPlugin(host, options())).kind, "already installed");
    }
  });

  test("names what is left when the DLL could not take its registration back", async (t) => {
    const { host, options } = await fixture(t);
    await installPlugin(host, options());
    host.fail = ({ program, args }) =>
      program === "regsvr32" && args.includes("/u") ? { exitCode: 5, output: "" } : undefined;

    await rejectsWith(uninstallPlugin(host, options()), "E_PLUGIN_UNINSTALL", /CLSID/);
  });
});

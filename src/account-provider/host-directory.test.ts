import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { suite, test } from "node:test";
import { ScriptedWindowsHost } from "../../test/fakes/scripted-windows-host.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { SallyportError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { HostDirectory, isSamePath, type ClientFiles } from "./host-directory.ts";

const files: ClientFiles = {
  authoritiesPem: "authority",
  certificatePem: "certificate",
  privateKeyPem: new Secret("key"),
  pfx: Buffer.from("pfx"),
};

function modeOf(path: string): string {
  return (statSync(path).mode & 0o777).toString(8);
}

function put(path: string, text = "left over"): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

suite("the host directory", () => {
  test("holds exactly the files that the plugins read, for their owner alone", async (t) => {
    const path = join(temporaryFolder(t), "contoso");
    const directory = new HostDirectory(path, undefined);

    await directory.prepare();
    await directory.writeClientFiles(files);
    await directory.writePort(40_123);

    const found = readdirSync(path, { recursive: true, encoding: "utf8" }).sort();
    assert.deepEqual(found, [
      "port.txt",
      "ssl",
      "ssl/ca",
      "ssl/ca/ca.crt",
      "ssl/client",
      "ssl/client/tls.crt",
      "ssl/client/tls.key",
      "ssl/client/tls.pfx",
    ]);
    assert.equal(readFileSync(directory.file("port"), "latin1"), "40123");
    assert.equal(modeOf(path), "700");
    for (const name of found.filter((entry) => entry.includes(".")))
      assert.equal(modeOf(join(path, name)), "600");
  });

  test("holds no tls.pfx when the released plugin is not served, not even an old one", async (t) => {
    const directory = new HostDirectory(temporaryFolder(t), undefined);
    put(directory.file("clientPfx"));

    await directory.prepare();
    await directory.writeClientFiles({
      authoritiesPem: files.authoritiesPem,
      certificatePem: files.certificatePem,
      privateKeyPem: files.privateKeyPem,
    });

    assert.equal(existsSync(directory.file("clientPfx")), false);
  });

  test("is cleared of what a crashed predecessor left, and of nothing else", async (t) => {
    const path = temporaryFolder(t);
    for (const name of [
      "port.txt",
      "ssl/server/tls.crt",
      "ssl/client/ca.crt",
      "ssl/ca/tls.crt",
      ".port.txt.sallyport-tmp-0a1b",
      "ssl/client/.tls.key.sallyport-tmp-0a1b",
      "enable-logs.txt",
      "container/ssl/ca/ca.crt",
    ]) {
      put(join(path, name));
    }

    await new HostDirectory(path, undefined).prepare();

    const left = readdirSync(path, { recursive: true, encoding: "utf8" }).filter((name) =>
      name.includes("."),
    );
    assert.deepEqual(left.sort(), ["container/ssl/ca/ca.crt", "enable-logs.txt"]);
  });

  test("is not made where a link was planted", async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, "elsewhere"));
    symlinkSync(join(folder, "elsewhere"), join(folder, "contoso"));

    await assert.rejects(new HostDirectory(join(folder, "contoso"), undefined).prepare(), {
      code: "E_HOST_DIRECTORY",
    });
  });

  test("that cannot be written ends in a sentence that names it", async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, "file"), "");

    await assert.rejects(new HostDirectory(join(folder, "file", "contoso"), undefined).prepare(), (error) => {
      assert.ok(error instanceof SallyportError);
      assert.equal(error.code, "E_HOST_DIRECTORY");
      assert.match(error.message, /file\/contoso.*ENOTDIR/s);
      return true;
    });
  });

  test("whose port file is a directory says so", async (t) => {
    const directory = new HostDirectory(temporaryFolder(t), undefined);
    mkdirSync(directory.file("port"));

    await assert.rejects(directory.prepare(), { code: "E_HOST_DIRECTORY" });
  });

  test("takes the port away only while it is its own", async (t) => {
    const directory = new HostDirectory(temporaryFolder(t), undefined);
    await directory.prepare();
    await directory.writePort(1);

    await directory.withdrawPort(2);
    assert.equal(await directory.readPort(), 1);
    await directory.withdrawPort(1);

    assert.equal(await directory.readPort(), undefined);
  });

  test("knows when a successor has taken over", async (t) => {
    const path = temporaryFolder(t);
    const [ours, successors] = [new HostDirectory(path, undefined), new HostDirectory(path, undefined)];
    await ours.prepare();
    await ours.writeClientFiles(files);
    assert.equal(await ours.holdsOwnFiles(), true);

    await successors.writeClientFiles({ ...files, authoritiesPem: "another" });

    assert.equal(await ours.holdsOwnFiles(), false);
  });

  test("is gone after removal, and removing it again is no fault", async (t) => {
    const path = join(temporaryFolder(t), "contoso");
    const directory = new HostDirectory(path, undefined);
    await directory.prepare();
    await directory.writeClientFiles(files);
    await directory.writePort(1);

    assert.deepEqual(await directory.remove(), []);
    assert.equal(existsSync(path), false);
    assert.deepEqual(await directory.remove(), []);
  });

  test("keeps an operator's file through removal", async (t) => {
    const path = temporaryFolder(t);
    put(join(path, "enable-logs.txt"));

    await new HostDirectory(path, undefined).remove();

    assert.deepEqual(readdirSync(path), ["enable-logs.txt"]);
  });

  test("stays readable by its owner when the process's umask is wide", async (t) => {
    const path = join(temporaryFolder(t), "contoso");
    mkdirSync(path);
    chmodSync(path, 0o777);

    await new HostDirectory(path, undefined).prepare();

    assert.equal(modeOf(path), "700");
  });

  test("on Windows is for SYSTEM and Administrators, each file readable by NETWORK SERVICE before it takes its name", async (t) => {
    const host = new ScriptedWindowsHost();
    const directory = new HostDirectory(temporaryFolder(t), host);

    await directory.prepare();
    await directory.writePort(1);

    const [owner, reset, access] = host.calls;
    assert.deepEqual(owner?.args.slice(1), ["/setowner", "*S-1-5-32-544", "/q"]);
    assert.deepEqual(reset?.args.slice(1), ["/reset", "/q"]);
    assert.deepEqual(access?.args.slice(1), [
      "/inheritance:r",
      "/grant:r",
      "*S-1-5-18:(OI)(CI)F",
      "*S-1-5-32-544:(OI)(CI)F",
      "/q",
    ]);
    const grant = host.calls.at(-1)?.args ?? [];
    assert.match(grant[0] ?? "", /port\.txt\.sallyport-tmp-/);
    assert.deepEqual(grant.slice(1), [
      "/inheritance:r",
      "/grant:r",
      "*S-1-5-18:F",
      "*S-1-5-32-544:F",
      "*S-1-5-20:R",
      "/q",
    ]);
  });

  test("on Windows has the shared parent taken from whoever made it, readable for other providers, before all else", async (t) => {
    const host = new ScriptedWindowsHost();
    const parent = join(temporaryFolder(t), "gmsa");

    await new HostDirectory(join(parent, "contoso"), host, parent).prepare();

    const [owner, reset, access, own] = host.calls;
    assert.deepEqual(owner?.args, [parent, "/setowner", "*S-1-5-32-544", "/q"]);
    assert.deepEqual(reset?.args, [parent, "/reset", "/q"]);
    assert.deepEqual(access?.args.slice(0, 3), [parent, "/inheritance:r", "/grant:r"]);
    assert.ok(access?.args.includes("*S-1-5-32-545:(OI)(CI)RX"));
    assert.equal(own?.args[0], join(parent, "contoso"));
  });

  test("on Windows leaves a parent alone that an operator has chosen, and refuses a shared one that is a link", async (t) => {
    const host = new ScriptedWindowsHost();
    const folder = temporaryFolder(t);
    await new HostDirectory(join(folder, "contoso"), host).prepare();
    assert.equal(
      host.calls.some(({ args }) => args[0] === folder),
      false,
    );

    const link = join(folder, "gmsa");
    symlinkSync(folder, link);
    await assert.rejects(new HostDirectory(join(link, "fabrikam"), host, link).prepare(), {
      code: "E_HOST_DIRECTORY",
    });
    assert.equal(existsSync(join(folder, "fabrikam")), false);
  });

  const samePaths: readonly (readonly [string, boolean])[] = [
    ["C:\\var\\lib\\rancher\\gmsa", true],
    ["c:/Var/lib//rancher/gmsa/", true],
    ["/var/lib/x/../rancher/gmsa", true],
    ["D:\\var\\lib\\rancher\\gmsa", false],
    ["C:\\var\\lib\\rancher", false],
    ["C:\\", false],
  ];
  for (const [path, same] of samePaths) {
    test(`${path} is ${same ? "" : "not "}the shared parent`, () => {
      assert.equal(isSamePath(path, "/var/lib/rancher/gmsa"), same);
    });
  }

  test("on Windows is not used when its access list cannot be set", async (t) => {
    const host = new ScriptedWindowsHost();
    host.fail = () => ({ exitCode: 5, output: "Access is denied." });
    const directory = new HostDirectory(temporaryFolder(t), host);

    await assert.rejects(directory.prepare(), { code: "E_HOST_DIRECTORY" });
  });
});

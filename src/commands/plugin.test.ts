/**
 * Exit codes and choices of `sallyport plugin`, against a host in memory.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";
import { FakePluginHost, makePluginFile } from "../../test/fakes/fake-plugin-host.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { lockPath, registryKeys } from "../plugin-host/plugin-identity.ts";
import { run } from "./plugin.ts";

const fake = new URL("../../test/fakes/fake-plugin-host.ts", import.meta.url).href;
const identity = new URL("../plugin-host/plugin-identity.ts", import.meta.url).href;
const command = new URL("./plugin.ts", import.meta.url).href;

interface Ran {
  readonly code: number;
  readonly output: string;
}

/** A host with a provider that listens, and the command run against it with what it printed. */
async function fixture(
  t: TestContext,
): Promise<{ readonly host: FakePluginHost; readonly plugin: (...args: readonly string[]) => Promise<Ran> }> {
  const folder = temporaryFolder(t);
  const host = new FakePluginHost(join(folder, "c"));
  mkdirSync(dirname(host.localPath(lockPath)), { recursive: true });
  const dll = join(folder, "new.dll");
  writeFileSync(dll, makePluginFile());
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  t.after(() => server.close());
  const directory = host.localPath("C:\\var\\lib\\rancher\\gmsa\\web");
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "port.txt"), String((server.address() as AddressInfo).port));
  const plugin = async (...args: readonly string[]): Promise<Ran> => {
    let output = "";
    const [verb = "", ...rest] = args;
    const words = verb === "status" ? args : [verb, "--dll", dll, ...rest];
    const code = await run(words, host, (text) => {
      output += text;
    });
    return { code, output };
  };
  return { host, plugin };
}

test("status ends with 0 when all holds, 3 when something is unknown, 1 when something is broken", async (t) => {
  const { host, plugin } = await fixture(t);
  await plugin("install");

  const whole = await plugin("status");
  host.accessList = "";
  const unknown = await plugin("status", "--json");
  host.delete(registryKeys.app);
  const broken = await plugin("status");

  assert.equal(whole.code, 0, whole.output);
  assert.equal(unknown.code, 3);
  const { ok, links } = JSON.parse(unknown.output) as {
    readonly ok: boolean;
    readonly links: readonly { readonly link: string; readonly unknown?: true }[];
  };
  assert.equal(ok, false);
  assert.deepEqual(
    links.filter((link) => link.unknown === true).map(({ link }) => link),
    ["access list"],
  );
  assert.equal(broken.code, 1);
  assert.match(broken.output, /✘ surrogate/);
  assert.match(broken.output, /\? access list/);
});

test("install passes on that the Key Vault plugin's class id is to be answered", async (t) => {
  const { host, plugin } = await fixture(t);

  const { code } = await plugin("install", "--answer-key-vault-plugin");

  assert.equal(code, 0);
  assert.equal(host.keys.has(registryKeys.keyVaultClass), true);
});

test("a program that waits for another run neither ends nor gives up before its time", async (t) => {
  const folder = temporaryFolder(t);
  const dll = join(folder, "new.dll");
  writeFileSync(dll, makePluginFile());
  const script = `
    const { mkdirSync, writeFileSync } = await import("node:fs");
    const { dirname, join } = await import("node:path");
    const { FakePluginHost } = await import(${JSON.stringify(fake)});
    const { lockPath } = await import(${JSON.stringify(identity)});
    const { run } = await import(${JSON.stringify(command)});
    const host = new FakePluginHost(${JSON.stringify(join(folder, "c"))});
    mkdirSync(dirname(host.localPath(lockPath)), { recursive: true });
    writeFileSync(host.localPath(lockPath), String(process.ppid));
    process.exitCode = await run(["install", "--dll", ${JSON.stringify(dll)}, "--wait", "300ms"], host);
  `;

  const { code, stderr } = await new Promise<{ readonly code: unknown; readonly stderr: string }>(
    (resolve) => {
      execFile(process.execPath, ["--input-type=module", "-e", script], (error, _, text) => {
        resolve({ code: error?.code ?? 0, stderr: text });
      });
    },
  );

  assert.equal(code, 1);
  assert.match(stderr, /Another process/);
});

/**
 * The released program as it is started on a Windows host: the bundle, run by Node for Windows, changes the Windows that it
 * runs on. Node 22, because Wine does not run 26 (windows-node.ts).
 * @module
 */
import assert from "node:assert/strict";
import { cpSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { lockPath, pluginFolder, registryKeys } from "../../../src/plugin-host/plugin-identity.ts";
import { runCommand } from "../../guarded-process.ts";
import { callPlugin, readCauses, resultOf } from "../plugin-calls.ts";
import { builtFile, comClassesKey, pluginClassId, Wine, type WineResult } from "../wine.ts";

const root = join(import.meta.dirname, "..", "..", "..");

let wine: Wine;
before(async () => {
  const node = process.env["SALLYPORT_E2E_WINDOWS_NODE"];
  if (node === undefined) throw new Error("there is no Node for Windows: run the suite through npm run e2e");
  const built = await runCommand(process.execPath, [join(root, "scripts", "build.ts")], {
    timeoutMs: 120_000,
  });
  assert.equal(built.code, 0, built.stderr);
  wine = await Wine.start();
  mkdirSync(wine.path("C:\\release"));
  cpSync(node, wine.path("C:\\release\\node.exe"));
  cpSync(join(root, "dist", "sallyport.mjs"), wine.path("C:\\release\\sallyport.mjs"));
  cpSync(builtFile("SallyportCcgPlugin.dll"), wine.path("C:\\release\\SallyportCcgPlugin.dll"));
});
after(async () => {
  await wine.close();
});

function sallyport(...args: readonly string[]): Promise<WineResult> {
  return wine.run("C:\\release\\node.exe", ["C:\\release\\sallyport.mjs", "plugin", ...args]);
}

async function verdicts(): Promise<ReadonlyMap<string, string>> {
  const { stdout } = await sallyport("status", "--json");
  const { links } = JSON.parse(stdout) as {
    readonly links: readonly { readonly link: string; readonly holds: boolean; readonly unknown?: true }[];
  };
  return new Map(
    links.map(({ link, holds, unknown }) => [
      link,
      holds ? "holds" : unknown === true ? "unknown" : "broken",
    ]),
  );
}

test("install, repair, status and uninstall by the program itself", async () => {
  const first = await sallyport("install");
  assert.equal(first.code, 0);
  assert.match(first.stdout, /^The CCG plugin was installed\./u);
  assert.match((await sallyport("install")).stdout, /is installed and up to date/u);
  assert.deepEqual(readdirSync(wine.path(pluginFolder)), ["SallyportCcgPlugin.dll"]);
  const { calls } = await callPlugin(wine, ["nowhere:x"]);
  assert.equal(calls[0]?.result, resultOf(readCauses().get("directory_missing") ?? 0));

  await wine.pointSurrogateAtWine();
  const whole = await verdicts();
  assert.deepEqual(
    [...whole].filter(([, verdict]) => verdict !== "holds"),
    [
      ["access list", "unknown"],
      ["providers", "broken"],
    ],
  );

  await wine.registry("delete", registryKeys.app);
  assert.equal((await sallyport("status")).code, 1);
  assert.match((await sallyport("install")).stdout, /^The CCG plugin was repaired/u);

  // The check of the activation has left a surrogate, which Wine's tasklist cannot find by its module: the file is in use.
  const busy = await sallyport("uninstall");
  assert.equal(busy.code, 1);
  assert.equal(await wine.hasKey(registryKeys.pluginClass), false);
  await wine.run("taskkill", ["/f", "/im", "dllhost.exe"]);

  assert.match((await sallyport("uninstall")).stdout, /^The CCG plugin was removed\./u);
  assert.equal(await wine.hasKey(`${comClassesKey}\\${pluginClassId}`), false);
  assert.deepEqual([existsSync(wine.path(pluginFolder)), existsSync(wine.path(lockPath))], [false, false]);
  assert.match((await sallyport("uninstall")).stdout, /is not installed/u);
});

test("two programs at once: one installs, the other waits and finds it done", async () => {
  const outputs = await Promise.all([sallyport("install"), sallyport("install")]);

  assert.deepEqual(
    outputs.map(({ stdout }) => /was installed|up to date/u.exec(stdout)?.[0] ?? "nothing").sort(),
    ["up to date", "was installed"],
  );
  await sallyport("uninstall");
});

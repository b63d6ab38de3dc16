/**
 * The bundle: one file that runs with Node alone, wherever it lies.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { brotliDecompressSync } from "node:zlib";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
let folder: string;
/** Holds the bundled file and nothing else. */
let alone: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "bundle-"));
  await run(process.execPath, [join(root, "scripts/build.ts"), join(folder, "dist")]);
  alone = join(folder, "alone");
  await mkdir(alone);
  await cp(join(folder, "dist/sallyport.mjs"), join(alone, "sallyport.mjs"));
});

after(() => rm(folder, { recursive: true, force: true }));

function sallyport(
  ...words: readonly string[]
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  // Node alone: no modules around it, no settings from the environment.
  return run(process.execPath, [join(alone, "sallyport.mjs"), ...words], { cwd: alone, env: {} });
}

test("the bundle is one executable file with its source map beside it, apart from the package", async () => {
  assert.deepEqual((await readdir(join(folder, "dist"))).sort(), [
    "package",
    "sallyport.mjs",
    "sallyport.mjs.map",
  ]);
  assert.equal((await stat(join(folder, "dist/sallyport.mjs"))).mode & 0o111, 0o111);
  const text = await readFile(join(folder, "dist/sallyport.mjs"), "utf8");
  assert.ok(text.startsWith("#!/usr/bin/env node\n"));
  const packed = text.slice(text.lastIndexOf("//packed:") + "//packed:".length);
  const source = brotliDecompressSync(Buffer.from(packed, "base64")).toString("utf8");
  assert.match(source, /\/\/# sourceMappingURL=sallyport\.mjs\.map\s*$/);
});

test("the bundle tells the version of package.json, which is not there to be read", async () => {
  const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };

  assert.deepEqual(await sallyport("--version"), { stdout: `${manifest.version}\n`, stderr: "" });
});

test("every command of the bundle loads alone in an empty folder", async () => {
  const { stdout } = await sallyport("--help");
  const names = [...stdout.matchAll(/^ {2}([a-z][a-z-]*) /gm)].map((match) => match[1] ?? "");

  assert.ok(names.length > 0);
  for (const name of names) {
    assert.match((await sallyport(name, "--help")).stdout, new RegExp(`^Usage: sallyport ${name}`));
  }
});

test("an error of a command in the packed part ends with its own exit code and sentence", async () => {
  const faulty = sallyport("credspec", "deliver", "--manifests", join(folder, "nowhere"));

  await assert.rejects(faulty, (error) => {
    const { code, stderr } = error as { readonly code?: unknown; readonly stderr?: string };
    assert.equal(code, 2);
    assert.match(stderr ?? "", /^sallyport: The configuration has 1 fault.*\[E_CONFIG_INVALID\]\s*$/s);
    return true;
  });
});

test("the role that needs most of the bundle does its work from it", async () => {
  const manifests = join(folder, "manifests");
  await cp(join(root, "examples/contoso"), manifests, { recursive: true });

  const { stdout } = await sallyport(
    "up",
    "--once",
    "--manifests",
    manifests,
    "--state",
    join(folder, "state"),
  );

  assert.match(stdout, /✔/);
  assert.doesNotMatch(stdout, /✘/);
});

test("a provider without Key Vault never reads the part with Azure's client libraries", async () => {
  const text = await readFile(join(alone, "sallyport.mjs"), "utf8");
  const broken = join(folder, "broken");
  await mkdir(broken);
  await writeFile(join(broken, "sallyport.mjs"), text.replace(/^(\/\/packed-apart:).*$/m, "$1####"));
  const manifests = join(folder, "without-azure");
  await cp(join(root, "examples/contoso"), manifests, { recursive: true });
  const ask = (): Promise<unknown> =>
    run(process.execPath, [
      join(broken, "sallyport.mjs"),
      "up",
      "--once",
      "--manifests",
      manifests,
      "--state",
      join(folder, "state"),
    ]);

  await assert.rejects(ask());
  await rm(join(manifests, "simulated-azure.yaml"));
  await ask();
});

test("the source map names the sources of the packed part", async () => {
  const map = JSON.parse(await readFile(join(folder, "dist/sallyport.mjs.map"), "utf8")) as {
    sources: string[];
  };

  assert.ok(map.sources.some((path) => path.endsWith("src/commands/up.ts")));
  assert.ok(map.sources.every((path) => !path.includes(".test.ts") && !/(^|\/)test\//.test(path)));
});

/** Packages that two others want in different major versions: small ones, known here by name. */
const twice = new Set(["fast-uri"]);

test("no package is in the bundle twice, but for the known small ones", async () => {
  const map = JSON.parse(await readFile(join(folder, "dist/sallyport.mjs.map"), "utf8")) as {
    sources: string[];
  };
  const places = new Map<string, Set<string>>();
  for (const source of map.sources) {
    const [, place = "", name = ""] = /^(.*node_modules\/(@[^/]+\/[^/]+|[^/]+))\//.exec(source) ?? [];
    if (name !== "") places.set(name, (places.get(name) ?? new Set()).add(place));
  }

  assert.ok(places.has("fastify") && places.has("pino"));
  for (const [name, found] of [...places].filter(([each]) => !twice.has(each)))
    assert.equal(found.size, 1, `${name}: ${[...found].join(", ")}`);
});

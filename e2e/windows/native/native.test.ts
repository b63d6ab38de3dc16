/**
 * The DLL as a file, and its parsers on this machine: what `make` promises.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { runCommand } from "../../guarded-process.ts";
import { builtFile, pluginSources, Wine } from "../wine.ts";

/** Each parser is fuzzed this long, in seconds; there are five of them. */
const fuzzSeconds = 12;

async function make(...goals: readonly string[]): Promise<string> {
  const build = process.env["SALLYPORT_E2E_CCG_PLUGIN"] ?? "build";
  const result = await runCommand(
    "make",
    ["-C", pluginSources, `BUILD=${build}`, `SOURCES_DIR=${build}`, ...goals],
    {
      timeoutMs: 170_000,
      background: true,
    },
  );
  assert.equal(result.code, 0, `${result.stdout}${result.stderr}`);
  return result.stdout;
}

test("two builds give the same bytes, under 200 kB, with the expected exports, imports and flags", async (t) => {
  const output = await make("verify");

  assert.match(output, /the second build has the same bytes/u);
  t.diagnostic(/sha256 +\w+/u.exec(output)?.[0] ?? "");
  t.diagnostic(/size +\d+ bytes/u.exec(output)?.[0] ?? "");
});

test("the parsers hold every vector, with sanitizers", async () => {
  const output = await make("check");

  assert.equal(output.match(/ 0 failed/gu)?.length, 5);
});

test("static analysis finds nothing", async () => {
  await make("analyse");
});

test("a minute of fuzzing finds nothing", async () => {
  const output = await make("fuzz", `FUZZ_SECONDS=${String(fuzzSeconds)}`);

  assert.equal(output.match(/number_of_executed_units/gu)?.length, 5);
});

test("a key that had to be taken over is given back, whichever step fails", async (t) => {
  const wine = await Wine.start();
  t.after(() => wine.close());

  const { code, stdout } = await wine.run(builtFile("test-key-access.exe"), []);

  assert.match(stdout, /12 passed, 0 failed/u);
  assert.equal(code, 0);
});

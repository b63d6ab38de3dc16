/**
 * Words of the command line and of the environment: durations, addresses, switches, and how a program ends.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { SallyportError, type ConfigFault } from "../errors.ts";
import {
  createProgram,
  durationMs,
  environmentSwitch,
  existingFolder,
  hostAndPort,
  lifetime,
  runProgram,
  throwIfFaulty,
} from "./command-line.ts";

for (const [text, milliseconds] of [
  ["500ms", 500],
  ["0s", 0],
  ["30s", 30_000],
  ["1.5s", 1_500],
  ["0.001s", 1],
  ["10m", 600_000],
  ["24h", 86_400_000],
  ["596h", 2_145_600_000],
] as const) {
  test(`"${text}" is ${milliseconds} milliseconds`, () => {
    const faults: ConfigFault[] = [];

    assert.equal(durationMs("--drain", text, faults), milliseconds);
    assert.deepEqual(faults, []);
  });
}

for (const text of [
  "",
  "30",
  "s",
  "-1s",
  "+1s",
  " 30s",
  "30s ",
  "30s\n",
  "30 s",
  "1,5s",
  "1.s",
  ".5s",
  "1e3s",
  "0x1s",
  "30S",
  "1d",
  "1h30m",
  "Infinitys",
  "9999999999h",
  "٣s",
]) {
  test(`${JSON.stringify(text)} is no duration`, () => {
    const faults: ConfigFault[] = [];

    assert.equal(durationMs("--drain", text, faults), undefined);
    assert.deepEqual(faults, [
      { setting: "--drain", problem: `"${text}" is not a duration such as 30s, 10m or 24h` },
    ]);
  });
}

for (const text of ["597h", "2147484s", "999999999h"]) {
  test(`"${text}" is a fault: a timer of Node would ring at once`, () => {
    const faults: ConfigFault[] = [];

    assert.equal(durationMs("--drain", text, faults), undefined);
    assert.deepEqual(faults, [{ setting: "--drain", problem: `"${text}" is longer than 596h` }]);
  });
}

test("a setting names its own longest duration; the life of a certificate has none", () => {
  const faults: ConfigFault[] = [];

  assert.equal(durationMs("--timeout", "10m", faults, { ms: 600_000, text: "10m" }), 600_000);
  assert.equal(durationMs("--timeout", "10.001m", faults, { ms: 600_000, text: "10m" }), undefined);
  assert.equal(durationMs("--ca-lifetime", "87600h", faults, lifetime), 315_360_000_000);
  assert.deepEqual(faults, [{ setting: "--timeout", problem: '"10.001m" is longer than 10m' }]);
});

test("whatever is given, a duration is a safe count of milliseconds or a fault", () => {
  const word = fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{0,14}(ms|s|m|h|d)?$/));
  fc.assert(
    fc.property(word, (text) => {
      const faults: ConfigFault[] = [];

      const result = durationMs("x", text, faults);

      assert.equal(faults.length, result === undefined ? 1 : 0);
      if (result !== undefined) assert.ok(result >= 0 && result < 2 ** 31);
    }),
  );
});

for (const [text, host, port] of [
  ["127.0.0.1:9402", "127.0.0.1", 9402],
  ["0.0.0.0:0", "0.0.0.0", 0],
  ["localhost:65535", "localhost", 65_535],
  ["[::1]:0", "::1", 0],
  ["[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80],
] as const) {
  test(`"${text}" is port ${port} of ${host}`, () => {
    const faults: ConfigFault[] = [];

    assert.deepEqual(hostAndPort("--operations-address", text, faults), { host, port });
    assert.deepEqual(faults, []);
  });
}

for (const text of [
  "",
  "127.0.0.1",
  ":9402",
  "127.0.0.1:",
  "127.0.0.1:-1",
  "127.0.0.1:65536",
  "127.0.0.1:099999",
  "::1:80",
  "[::1]",
  "[]:80",
  "[127.0.0.1]:80",
  "[1.2.3]:80",
  "[:::1]:80",
  "999.1.1.1:80",
  "1.2.3:80",
  "a b:80",
  "http://localhost:80",
  "localhost:80/",
  "local_host:80",
  "-:80",
  "localhost:80\n",
]) {
  test(`${JSON.stringify(text)} is no address with a port`, () => {
    const faults: ConfigFault[] = [];

    assert.equal(hostAndPort("--operations-address", text, faults), undefined);
    assert.equal(faults.length, 1);
    assert.equal(faults[0]?.setting, "--operations-address");
  });
}

test("whatever is given, an address has a host and a port that a socket can have, or is a fault", () => {
  const word = fc.oneof(fc.string(), fc.stringMatching(/^\[?[0-9a-f:.]{0,12}\]?:[0-9]{0,6}$/));
  fc.assert(
    fc.property(word, (text) => {
      const faults: ConfigFault[] = [];

      const result = hostAndPort("x", text, faults);

      assert.equal(faults.length, result === undefined ? 1 : 0);
      if (result !== undefined) {
        assert.ok(result.host.length > 0);
        assert.ok(Number.isInteger(result.port) && result.port >= 0 && result.port <= 65_535);
      }
    }),
  );
});

for (const [word, value] of [
  ["true", true],
  ["TRUE", true],
  ["1", true],
  ["yes", true],
  ["false", false],
  ["0", false],
  ["No", false],
  ["", undefined],
  [undefined, undefined],
] as const) {
  test(`the environment's ${JSON.stringify(word)} means ${value}`, () => {
    const faults: ConfigFault[] = [];

    assert.equal(environmentSwitch("DISABLE_MTLS", word, faults), value);
    assert.deepEqual(faults, []);
  });
}

for (const word of ["on", "off", "2", "y", " true", "truee"]) {
  test(`the environment's "${word}" is a fault, not a guess`, () => {
    const faults: ConfigFault[] = [];

    assert.equal(environmentSwitch("DISABLE_MTLS", word, faults), undefined);
    assert.deepEqual(faults, [{ setting: "DISABLE_MTLS", problem: `"${word}" is neither true nor false` }]);
  });
}

test("no fault, nothing thrown; any fault, all of them", () => {
  throwIfFaulty([]);

  assert.throws(
    () =>
      throwIfFaulty([
        { setting: "a", problem: "1" },
        { setting: "b", problem: "2" },
      ]),
    (error) =>
      error instanceof SallyportError && error.exitCode === 2 && /a: 1\n {2}b: 2/.test(error.message),
  );
});

for (const [name, words, exitCode, printed] of [
  ["--help", ["--help"], 0, /Usage: sallyport thing/],
  ["a right call", ["--count", "1"], 0, /^$/],
  ["an unknown option", ["--colour"], 2, /^sallyport: unknown option '--colour'/],
  ["an option without its value", ["--count"], 2, /^sallyport: option '--count <n>' argument missing/],
  ["a word too many", ["extra"], 2, /^sallyport: too many arguments/],
] as const) {
  test(`a program ends with ${exitCode} after ${name}`, async () => {
    let text = "";
    const program = createProgram("sallyport thing", "Does a thing.")
      .option("--count <n>")
      .action(() => undefined);
    program.configureOutput({ writeErr: (part) => (text += part), writeOut: (part) => (text += part) });

    assert.equal(await runProgram(program, words), exitCode);
    assert.match(text, printed);
  });
}

test("what an action throws reaches the caller", async () => {
  const program = createProgram("sallyport thing", "Does a thing.").action(() => {
    throw new SallyportError("E_INTERNAL", { detail: "x" });
  });

  await assert.rejects(runProgram(program, []), { code: "E_INTERNAL" });
});

test("a folder has to be there and be one", async () => {
  const faults: ConfigFault[] = [];

  await existingFolder("--manifests", import.meta.dirname, faults);
  await existingFolder("--manifests", `${import.meta.dirname}/nowhere`, faults);
  await existingFolder("--manifests", import.meta.filename, faults);

  assert.deepEqual(
    faults.map(({ problem }) => problem.replace(/^".*" /, "")),
    ["is not there", "is no folder"],
  );
});

/**
 * Tests of the settings: windows-gmsa's variables keep their meaning.
 * @module
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConfigFault } from "../errors.ts";
import { checkSettings, type AdmissionSettings, type RawSettings } from "./settings.ts";

function settingsOf(raw: Partial<RawSettings>): {
  readonly settings: AdmissionSettings;
  readonly faults: readonly string[];
} {
  const faults: ConfigFault[] = [];
  const settings = checkSettings(
    {
      environment: { TLS_CRT: "/tls/crt", TLS_KEY: "/tls/key" },
      certificateFile: undefined,
      keyFile: undefined,
      host: "::",
      port: undefined,
      kubeconfig: undefined,
      manifests: undefined,
      clientCaFile: undefined,
      anyCaller: true,
      clientNames: [],
      randomHostname: undefined,
      authoriseExpansion: true,
      missingContents: "deny",
      enforceLint: false,
      cacheSpecs: true,
      accessCacheMs: 0,
      operationsAddress: undefined,
      drainMs: 1,
      lingerMs: 0,
      logLevel: undefined,
      ...raw,
    },
    faults,
  );
  return { settings, faults: faults.map(({ setting }) => setting) };
}

const environment = (more: Readonly<Record<string, string>>): Partial<RawSettings> => ({
  environment: { TLS_CRT: "/tls/crt", TLS_KEY: "/tls/key", ...more },
});

test("the environment of the released chart is enough, but for the caller", () => {
  const chart = environment({ HTTPS_PORT: "443", QPS: "30.0", BURST: "50", RANDOM_HOSTNAME: "true" });

  const { settings, faults } = settingsOf(chart);

  assert.deepEqual(faults, []);
  assert.deepEqual(
    [settings.address.port, settings.randomHostname, settings.unused],
    [443, true, ["QPS", "BURST"]],
  );
  assert.deepEqual(settingsOf({ ...chart, anyCaller: false }).faults, ["--client-ca"]);
});

test("all faults are told at once", () => {
  const { faults } = settingsOf({
    environment: { RANDOM_HOSTNAME: "" },
    anyCaller: false,
    accessCacheMs: 11_000,
    logLevel: "loud",
  });

  assert.deepEqual(faults, [
    "TLS_CRT, --tls-crt",
    "TLS_KEY, --tls-key",
    "--client-ca",
    "--access-cache-ttl",
    "LOG_LEVEL, --log-level",
    "RANDOM_HOSTNAME",
  ]);
});

for (const [text, value] of [
  ["1", true],
  ["t", true],
  ["True", true],
  ["0", false],
  ["F", false],
  ["false", false],
] as const) {
  test(`RANDOM_HOSTNAME=${text} means ${value}`, () => {
    assert.equal(settingsOf(environment({ RANDOM_HOSTNAME: text })).settings.randomHostname, value);
  });
}

for (const text of ["", "yes", "tRUE"]) {
  test(`RANDOM_HOSTNAME="${text}" is a fault`, () => {
    assert.deepEqual(settingsOf(environment({ RANDOM_HOSTNAME: text })).faults, ["RANDOM_HOSTNAME"]);
  });
}

test("a port of the environment that is none means 443, a flag that is none is a fault", () => {
  assert.equal(settingsOf(environment({ HTTPS_PORT: "x" })).settings.address.port, 443);
  assert.deepEqual(settingsOf({ port: "x" }).faults, ["--port"]);
});

test("windows-gmsa's log levels are understood", () => {
  for (const [theirs, ours] of [
    ["panic", "error"],
    ["warning", "warn"],
    ["trace", "debug"],
    ["info", "info"],
  ] as const) {
    assert.equal(settingsOf(environment({ LOG_LEVEL: theirs })).settings.logLevel, ours);
  }
});

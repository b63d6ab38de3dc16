/**
 * `npm test [PATTERN …]`: every unit and integration test on node:test. Fails when no test file is found, so that a moved
 * folder cannot turn the suite green.
 * @module
 */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const asked = process.argv.slice(2);
const patterns = asked.length > 0 ? asked : ["src/**/*.test.ts", "test/**/*.test.ts", "images/**/*.test.ts"];
const files = globSync(patterns, { cwd: root }).filter((path) => path.endsWith(".test.ts"));
if (files.length === 0) {
  process.stderr.write(`No test file matches ${patterns.join(" ")}.\n`);
  process.exit(1);
}

const child = spawn(
  process.execPath,
  ["--test", "--test-timeout=120000", "--test-reporter=spec", ...files.sort()],
  { cwd: root, stdio: "inherit", env: { ...process.env, NODE_OPTIONS: "" } },
);
child.on("close", (code) => {
  process.exitCode = code ?? 1;
});

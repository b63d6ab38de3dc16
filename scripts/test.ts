/**
 * `npm test [PATTERN …]`: every unit and integration test on node:test. Fails when no test file is found, so that a moved
 * folder cannot turn the suite green.
 * @module
 */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
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
  [
    "--test",
    // Node leaves one processor free: of two that is half of them.
    `--test-concurrency=${String(availableParallelism())}`,
    "--test-timeout=120000",
    "--test-reporter=spec",
    ...files.sort(),
  ],
  {
    cwd: root,
    stdio: "inherit",
    // Each file is a process, and most load the same modules.
    env: { ...process.env, NODE_OPTIONS: "", NODE_COMPILE_CACHE: join(root, ".cache", "compiled") },
  },
);
child.on("close", (code) => {
  process.exitCode = code ?? 1;
});

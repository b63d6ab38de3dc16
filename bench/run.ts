/**
 * `npm run bench [-- --smoke] [NAME …]`: measures the bundle and prints a table. Every figure that is compared is taken in
 * pairs, ours and the yardstick in turn in the same run, and shown as the median of the pairs' ratios: a noisy machine
 * disturbs both alike.
 * @module
 */
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Bench } from "./measure.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { smoke: { type: "boolean", default: false } },
});
const root = join(import.meta.dirname, "..");
const build = spawnSync(process.execPath, [join(root, "scripts/build.ts")], {
  stdio: ["ignore", "ignore", 2],
});
if (build.status !== 0) throw new Error("the bundle could not be built");

process.stdout.write(
  `Node ${process.version}, ${process.platform} ${process.arch}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}, ` +
    `${Math.round(totalmem() / 2 ** 30)} GiB${values.smoke ? " (smoke: too short to quote)" : ""}\n`,
);

let ran = 0;
let missed = 0;
for (const file of globSync("*.bench.ts", { cwd: import.meta.dirname }).sort()) {
  const { bench } = (await import(join(import.meta.dirname, file))) as { readonly bench: Bench };
  if (positionals.length > 0 && !positionals.includes(bench.name)) continue;
  ran++;
  process.stdout.write(`\n${bench.name}\n`);
  for (const { what, measured, goal } of await bench.run({ smoke: values.smoke })) {
    const verdict = goal === undefined ? "" : `  ${goal.met ? "✔" : "✘"} goal ${goal.text}`;
    if (goal?.met === false) missed++;
    process.stdout.write(`  ${what.padEnd(46)} ${measured}${verdict}\n`);
  }
}
if (ran === 0) {
  process.stderr.write(`No bench is called ${positionals.join(" or ")}.\n`);
  process.exitCode = 1;
}
// A smoke run shows that the benches work; it is too short to judge by.
if (missed > 0 && !values.smoke) process.exitCode = 1;

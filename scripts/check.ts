/**
 * `npm run check [FOLDER]`: types, lint, format, dead code, dependency directions and generated files of the checkout (or of
 * another folder with the same configuration files). A checker that looked at nothing has failed, whatever it says.
 * @module
 */
import { spawn } from "node:child_process";
import { readFile, readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { generatedFolders, generatedPages } from "./generated-pages.ts";

interface Outcome {
  readonly ok: boolean;
  /** Files that the tool says it looked at; `undefined` where it does not say. */
  readonly looked: number | undefined;
  readonly output: string;
}

interface Checker {
  readonly name: string;
  check(root: string): Promise<Outcome>;
}

const bin = join(import.meta.dirname, "..", "node_modules", ".bin");

interface Ran {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(tool: string, args: readonly string[], root: string): Promise<Ran> {
  return new Promise((done, fail) => {
    const child = spawn(join(bin, tool), args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
    child.on("error", fail);
    child.on("close", (code) => done({ status: code ?? 1, stdout, stderr }));
  });
}

const checkers: readonly Checker[] = [
  {
    name: "types",
    async check(root) {
      const [listed, checked] = [await run("tsc", ["--listFilesOnly"], root), await run("tsc", [], root)];
      const own = listed.stdout
        .split("\n")
        .filter((path) => /\.m?ts$/.test(path) && !path.includes("node_modules"));
      return { ok: checked.status === 0, looked: own.length, output: checked.stdout + checked.stderr };
    },
  },
  {
    name: "lint",
    async check(root) {
      const json = await run("oxlint", ["--type-aware", "--format", "json"], root);
      const looked = /"number_of_files":\s*(\d+)/.exec(json.stdout)?.[1];
      if (json.status === 0) return { ok: true, looked: Number(looked ?? 0), output: "" };
      const readable = await run("oxlint", ["--type-aware"], root);
      return { ok: false, looked: Number(looked ?? 0), output: readable.stdout + readable.stderr };
    },
  },
  {
    name: "format",
    async check(root) {
      const result = await run("oxfmt", ["--check"], root);
      // Its own count has the configuration files, which are there in any case.
      const sources = await run("oxfmt", ["--check", "**/*.{ts,mjs}"], root);
      const looked = /on (\d+) files/.exec(sources.stdout)?.[1];
      return { ok: result.status === 0, looked: Number(looked ?? 0), output: result.stdout + result.stderr };
    },
  },
  {
    name: "dead code",
    async check(root) {
      const result = await run("knip", ["--no-progress"], root);
      const output = result.stdout + result.stderr;
      // It counts nothing, but says which of its patterns found nothing.
      const empty = /^\[src\/.*Refine project pattern \(no matches\)/m.test(output);
      return { ok: result.status === 0, looked: empty ? 0 : undefined, output };
    },
  },
  {
    name: "dependency directions",
    async check(root) {
      const args = ["--config", ".dependency-cruiser.json", "--output-type", "json", "src"];
      const result = await run("depcruise", args, root);
      if (result.stdout === "") return { ok: false, looked: 0, output: result.stderr };
      const report = JSON.parse(result.stdout) as {
        readonly summary: {
          readonly totalCruised: number;
          readonly violations: readonly {
            readonly rule: { name: string; severity: string };
            from: string;
            to: string;
          }[];
        };
      };
      const { totalCruised, violations } = report.summary;
      return {
        ok: violations.length === 0,
        looked: totalCruised,
        output: violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`).join("\n"),
      };
    },
  },
  {
    name: "generated files",
    async check(root) {
      const pages = await generatedPages();
      const stale: string[] = [];
      let looked = 0;
      for (const [path, text] of pages) {
        const present = await readFile(join(root, path), "utf8").catch(() => undefined);
        if (present !== undefined) looked++;
        if (present !== text) stale.push(`${path} is ${present === undefined ? "missing" : "out of date"}`);
      }
      for (const generated of generatedFolders(pages)) {
        const names = await readdir(join(root, generated)).catch(() => []);
        for (const name of names) {
          if (!pages.has(`${generated}/${name}`))
            stale.push(`${generated}/${name} is made from nothing any more`);
        }
      }
      const remedy = stale.length === 0 ? [] : ["`npm run docs` writes them."];
      return { ok: stale.length === 0, looked, output: [...stale, ...remedy].join("\n") };
    },
  },
];

const { positionals, values } = parseArgs({ allowPositionals: true, options: { only: { type: "string" } } });
if (values.only !== undefined && !checkers.some((checker) => checker.name === values.only)) {
  process.stderr.write(`no checker is called "${values.only}"\n`);
  process.exit(1);
}
const folder = resolve(positionals[0] ?? join(import.meta.dirname, ".."));
let failed = 0;
for (const checker of checkers) {
  if (values.only !== undefined && values.only !== checker.name) continue;
  const began = performance.now();
  const outcome = await checker.check(folder);
  const empty = outcome.looked === 0;
  const ok = outcome.ok && !empty;
  const looked = outcome.looked === undefined ? "" : `, ${outcome.looked} files`;
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  process.stdout.write(`${ok ? "✔" : "✖"} ${checker.name}${looked}, ${seconds} s\n`);
  if (empty)
    process.stdout.write(`  looked at no file at all: its configuration no longer matches the tree\n`);
  if (!ok) {
    process.stdout.write(`${outcome.output.trimEnd()}\n`);
    failed++;
  }
}
process.exitCode = failed === 0 ? 0 : 1;

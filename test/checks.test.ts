/**
 * Every checker of `npm run check` sees the violation that it is there for, and none is content with an empty folder.
 * @module
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test, type TestContext } from "node:test";

const root = join(import.meta.dirname, "..");
const configuration = [
  "package.json",
  "tsconfig.json",
  "knip.json",
  ".oxlintrc.json",
  ".oxfmtrc.json",
  ".dependency-cruiser.json",
];

/** A folder with the project's own configuration and these files; `src/main.ts` is there so that it is not empty. */
async function seed(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "checks-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await Promise.all(configuration.map((name) => cp(join(root, name), join(folder, name))));
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
  }
  return folder;
}

async function check(
  folder: string,
  only: string,
): Promise<{ readonly code: number | null; readonly text: string }> {
  const child = spawn(process.execPath, [join(root, "scripts/check.ts"), folder, "--only", only]);
  let text = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (part: string) => (text += part));
  }
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, text };
}

const clean = {
  "src/main.ts": 'import { one } from "./one.ts";\n\nprocess.stdout.write(`${one}\\n`);\n',
  "src/one.ts": "export const one = 1;\n",
};

const checkers: readonly {
  readonly name: string;
  readonly violations: readonly (readonly [string, Readonly<Record<string, string>>, RegExp])[];
}[] = [
  {
    name: "types",
    violations: [
      ["a value of the wrong type", { "src/one.ts": 'export const one: number = "1";\n' }, /TS2322/],
      [
        "syntax that cannot be erased",
        { "src/one.ts": "export enum One {}\nexport const one = 1;\n" },
        /TS1294/,
      ],
    ],
  },
  {
    name: "lint",
    violations: [
      [
        "a promise that nobody waits for, which only types tell",
        { "src/one.ts": "async function f(): Promise<void> {}\nf();\nexport const one = 1;\n" },
        /no-floating-promises/,
      ],
    ],
  },
  {
    name: "format",
    violations: [["a missing semicolon", { "src/one.ts": "export const one = 1\n" }, /one\.ts/]],
  },
  {
    name: "dead code",
    violations: [
      [
        "an export that nobody imports",
        { "src/one.ts": "export const one = 1;\nexport const two = 2;\n" },
        /two/,
      ],
      ["a file that nobody imports", { "src/two.ts": "export const two = 2;\n" }, /src\/two\.ts/],
    ],
  },
];

for (const { name, violations } of checkers) {
  test(`${name}: a clean folder passes`, async (t) => {
    const { code, text } = await check(await seed(t, clean), name);

    // The packages that the project names and this folder does not use are no fault of its files.
    if (name === "dead code") assert.doesNotMatch(text, /Unused (files|exports)/);
    else assert.equal(code, 0, text);
  });

  for (const [what, files, seen] of violations) {
    test(`${name}: ${what} is seen`, async (t) => {
      const { code, text } = await check(await seed(t, { ...clean, ...files }), name);

      assert.equal(code, 1, text);
      assert.match(text, seen);
    });
  }
}

for (const name of ["types", "lint", "format", "dead code", "dependency directions", "generated files"]) {
  test(`${name}: a folder without a source file fails`, async (t) => {
    const { code, text } = await check(await seed(t, {}), name);

    assert.equal(code, 1, text);
    assert.match(text, /looked at no file at all/);
  });
}

test("generated files: the checkout's own are up to date, and another folder's that say something else are named", async (t) => {
  const own = await check(root, "generated files");
  const folder = await seed(t, { ...clean, "docs/reference/errors.md": "# Errors\n" });
  const stale = await check(folder, "generated files");

  assert.equal(own.code, 0, own.text);
  assert.equal(stale.code, 1);
  assert.match(stale.text, /^docs\/reference\/errors\.md is out of date$/m);
  assert.match(stale.text, /^charts\/gmsa-webhook\/values\.schema\.json is missing$/m);
});

test("generated files: a leftover among them is named", async (t) => {
  const { code, text } = await check(
    await seed(t, { ...clean, "charts/authenticator/ci/gone-values.yaml": "{}\n" }),
    "generated files",
  );

  assert.equal(code, 1);
  assert.match(text, /^charts\/authenticator\/ci\/gone-values\.yaml is made from nothing any more$/m);
});

test("a checker that there is not cannot pass", async (t) => {
  const { code, text } = await check(await seed(t, clean), "speling");

  assert.equal(code, 1);
  assert.match(text, /no checker is called "speling"/);
});

/** For each rule: a file and what it may not import. */
const forbidden: readonly (readonly [rule: string, from: string, to: string])[] = [
  ["nothing-imports-commands", "src/up/a.ts", "src/commands/b.ts"],
  ["domain-knows-no-roles", "src/directory/a.ts", "src/server/b.ts"],
  ["leaves-know-nobody", "src/pki/a.ts", "src/server/b.ts"],
  ["ports-know-no-roles", "src/server/a.ts", "src/account-provider/b.ts"],
  ["roles-are-strangers", "src/admission/a.ts", "src/account-provider/b.ts"],
  ["production-code-knows-no-tests", "src/server/a.ts", "test/b.ts"],
];

const importing = (from: string, to: string): string => {
  const steps = from
    .split("/")
    .slice(1)
    .map(() => "..");
  return `import { b } from "${steps.join("/")}/${to}";\n\nexport const a = b;\n`;
};

test("dependency directions: every rule sees the import that it forbids, in one look", async (t) => {
  const files: Record<string, string> = {};
  for (const [rule, from, to] of forbidden) {
    // Each rule has files of its own, so that no violation hides another.
    const [mine, other] = [from, to].map((path) => path.replace(/(a|b)\.ts$/, `${rule}-$1.ts`));
    files[mine ?? ""] = importing(from, other ?? "");
    files[other ?? ""] = "export const b = 1;\n";
  }
  files["src/up/circle-one.ts"] =
    'import { b } from "./circle-two.ts";\n\nexport const a = (): number => b();\n';
  files["src/up/circle-two.ts"] =
    'import { a } from "./circle-one.ts";\n\nexport const b = (): number => a();\n';

  const { code, text } = await check(await seed(t, files), "dependency directions");

  assert.equal(code, 1, text);
  for (const [rule, from, to] of forbidden) {
    const [mine, other] = [from, to].map((path) => path.replace(/(a|b)\.ts$/, `${rule}-$1.ts`));
    assert.ok(text.includes(`${rule}: ${mine} → ${other}\n`), `${rule}\n${text}`);
  }
  assert.match(text, /^no-circles: /m);
  const rules = JSON.parse(await readFile(join(root, ".dependency-cruiser.json"), "utf8")) as {
    readonly forbidden: readonly { readonly name: string }[];
  };
  assert.deepEqual(
    rules.forbidden.map((rule) => rule.name).toSorted(),
    [...forbidden.map(([rule]) => rule), "no-circles"].toSorted(),
    "every rule has its violation here",
  );
});

test("dependency directions: a role may import itself, the domain, ports and leaves; tests may import anything", async (t) => {
  const files = {
    "src/account-provider/a.ts": importing("src/account-provider/a.ts", "src/account-provider/b.ts"),
    "src/account-provider/b.ts": importing("src/account-provider/b.ts", "src/directory/c.ts")
      .replace("{ b }", "{ b as b }")
      .replace("const a", "const b2"),
    "src/directory/c.ts": importing("src/directory/c.ts", "src/pki/d.ts").replace("const a", "const b1"),
    "src/pki/d.ts": "export const b = 1;\n",
    "test/x.test.ts": importing("test/x.test.ts", "src/commands/e.ts"),
    "src/commands/e.ts": "export const b = 1;\n",
  };

  const { code, text } = await check(await seed(t, files), "dependency directions");

  assert.equal(code, 0, text);
});

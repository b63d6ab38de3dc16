/**
 * What `npm publish` would take: made by `npm run build`, packed by npm, used by an application that is not this checkout.
 * @module
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

const run = promisify(execFile);
const root = join(import.meta.dirname, "..");
let folder: string;
/** An application's folder, with the package and what it depends on in `node_modules`. */
let application: string;
let installed: string;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "package-"));
  await run(process.execPath, [join(root, "scripts/build.ts"), join(folder, "dist")]);
  const { stdout } = await run("npm", ["pack", "--silent", "--pack-destination", folder], {
    cwd: join(folder, "dist/package"),
  });
  application = join(folder, "application");
  installed = join(application, "node_modules/sallyport");
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", join(folder, stdout.trim()), "--strip-components=1", "-C", installed]);
  const { dependencies } = await manifest();
  for (const name of [...Object.keys(dependencies), "@types"])
    await symlink(join(root, "node_modules", name), join(application, "node_modules", name));
});

after(() => rm(folder, { recursive: true, force: true }));

interface Manifest {
  readonly version: string;
  readonly private?: boolean;
  readonly dependencies: Readonly<Record<string, string>>;
}

async function manifest(): Promise<Manifest> {
  return JSON.parse(await readFile(join(installed, "package.json"), "utf8")) as Manifest;
}

async function packedFiles(): Promise<readonly string[]> {
  const entries = await readdir(installed, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(installed.length + 1))
    .sort();
}

test("the package holds the program, the library, its types and the documents, and nothing else", async () => {
  const files = await packedFiles();

  assert.deepEqual(
    files.filter((file) => !/^library\/.+\.d\.ts$/.test(file)),
    [
      ...["CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md"],
      ...["library/index.js", "package.json", "sallyport.mjs"],
    ],
  );
  assert.ok(files.includes("library/index.d.ts"));
  assert.deepEqual(
    files.filter((file) => file.includes(".test.")),
    [],
  );
});

test("the package depends on nothing but what the library imports, at the checkout's versions", async () => {
  const checkout = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as Manifest;
  const published = await manifest();

  assert.equal(published.version, checkout.version);
  assert.equal(published.private, undefined);
  assert.deepEqual(Object.keys(published.dependencies), ["ldapts", "pino"]);
  for (const [name, version] of Object.entries(published.dependencies))
    assert.equal(version, checkout.dependencies[name]);
});

test("no file of the package holds a key, a password of the examples, or a path of this machine", async () => {
  const account = await readFile(join(root, "examples/contoso/impersonation-account.yaml"), "utf8");
  const password = /^ *password: (.+)$/m.exec(account)?.[1]?.replaceAll(/^["']|["']$/g, "") ?? "";
  assert.ok(password.length > 8);

  for (const file of await packedFiles()) {
    const text = await readFile(join(installed, file), "utf8");
    assert.doesNotMatch(text, /-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]{20}/, file);
    assert.ok(!text.includes(password), file);
    assert.ok(!text.includes(root), file);
  }
});

test("an application imports the library, with types", async () => {
  await writeFile(join(application, "package.json"), '{"type":"module"}');
  await writeFile(
    join(application, "sign-in.ts"),
    `import { Secret, parseSid, SallyportError, type Authentication, type Directory } from "sallyport";
     export const authenticate = (directory: Directory, password: Secret): Promise<Authentication> =>
       directory.authenticate("alice@contoso.example", password);
     // @ts-expect-error: a password is a Secret.
     export const wrong = (directory: Directory) => directory.authenticate("alice@contoso.example", "text");
     process.stdout.write(parseSid("S-1-5-32-544") + " " + String(new Secret("hidden")) + " " + SallyportError.name);`,
  );
  await writeFile(
    join(application, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { strict: true, module: "nodenext", target: "es2024", noEmit: true, types: ["node"] },
      files: ["sign-in.ts"],
    }),
  );

  await run(join(root, "node_modules/.bin/tsc"), ["-p", application]).catch(
    (error: { readonly stdout?: string }) => {
      throw new Error(error.stdout);
    },
  );
  const { stdout } = await run(process.execPath, [join(application, "sign-in.ts")]);

  assert.match(stdout, /^S-1-5-32-544 .*SallyportError$/);
  assert.doesNotMatch(stdout, /hidden/);
});

test("the package's command runs", async () => {
  const { stdout } = await run(process.execPath, [join(installed, "sallyport.mjs"), "--version"]);

  assert.equal(stdout, `${(await manifest()).version}\n`);
});

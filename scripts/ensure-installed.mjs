/**
 * Runs before `npm start`, `npm test`, `npm run check`, … so that each of them works in a fresh clone: installs the
 * locked packages (the pinned Node among them) when they are missing or older than the lockfile.
 *
 * Plain JavaScript without dependencies, because the machine's own, older Node runs it.
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stamp = join(root, "node_modules", ".sallyport-lock-sha256");
const wanted = createHash("sha256")
  .update(readFileSync(join(root, "package-lock.json")))
  .digest("hex");

if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== wanted) {
  process.stderr.write("Installing the packages that package-lock.json names (once)…\n");
  const npm = process.env["npm_execpath"];
  const result = npm
    ? spawnSync(process.execPath, [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], {
        cwd: root,
        stdio: ["ignore", 2, 2],
      })
    : spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
        cwd: root,
        stdio: ["ignore", 2, 2],
      });
  if (result.status !== 0) {
    process.stderr.write(
      "npm ci failed: see its message above. Check that the npm registry can be reached, then try again.\n",
    );
    process.exit(1);
  }
  writeFileSync(stamp, wanted);
}

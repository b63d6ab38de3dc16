/**
 * A folder for one test, gone when the test ends.
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

export function temporaryFolder(context: Pick<TestContext, "after">): string {
  const path = mkdtempSync(join(tmpdir(), "sallyport-test-"));
  context.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

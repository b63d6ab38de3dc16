/**
 * A reporter for node:test that leaves nothing but numbers, for the runner to
 * add up over the suites.
 * @module
 */
import { resolve } from "node:path";
import type { TestEvent } from "node:test/reporters";

/** How many tests of a suite ended which way; containers (`describe`) are not counted. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  /** Skipped or marked as still to do: nothing was proven, which the runner counts as a failure. */
  readonly unproven: number;
}

// node:test takes a reporter from a module's default export.
// oxlint-disable-next-line import/no-default-export
export default async function* tally(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let [passed, failed, unproven] = [0, 0, 0];
  for await (const event of source) {
    if (event.type !== "test:pass" && event.type !== "test:fail") continue;
    if (event.data.details.type === "suite" && event.type === "test:pass") continue;
    // A file without a test is reported as a test of the file's name.
    if (event.data.file !== undefined && resolve(event.data.name) === event.data.file) continue;
    if (event.data.skip !== undefined || event.data.todo !== undefined) unproven += 1;
    else if (event.type === "test:pass") passed += 1;
    else failed += 1;
  }
  yield JSON.stringify({ passed, failed, unproven } satisfies Tally);
}

/**
 * Finds the beds and their suites in the folders beside this file.
 * @module
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** One capability's story: a folder of test files inside a bed's folder. */
export interface Suite {
  readonly bed: string;
  readonly name: string;
  readonly files: readonly string[];
}

/** Every suite of every bed below `directory`, by bed and name. */
export function findSuites(directory: string): readonly Suite[] {
  return folders(directory)
    .filter((bed) => existsSync(join(directory, bed, "prepare.ts")))
    .flatMap((bed) =>
      folders(join(directory, bed)).map((name) => ({
        bed,
        name,
        files: readdirSync(join(directory, bed, name))
          .filter((file) => file.endsWith(".test.ts"))
          .sort()
          .map((file) => join(directory, bed, name, file)),
      })),
    )
    .filter((suite) => suite.files.length > 0);
}

/**
 * The suites that a person means by these words, each a suite (`account-provider`),
 * a bed (`kubernetes`) or both (`kubernetes/account-provider`); no words mean all.
 */
export function selectSuites(
  suites: readonly Suite[],
  words: readonly string[],
): { readonly chosen: readonly Suite[]; readonly unknown: readonly string[] } {
  const means = (word: string, suite: Suite): boolean =>
    [suite.bed, suite.name, `${suite.bed}/${suite.name}`].includes(word.replace(/\/$/u, ""));
  return {
    chosen: words.length === 0 ? suites : suites.filter((suite) => words.some((word) => means(word, suite))),
    unknown: words.filter((word) => !suites.some((suite) => means(word, suite))),
  };
}

function folders(directory: string): readonly string[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/**
 * `sallyport login-keys`: makes or rotates the keys that sign login sessions.
 * @module
 */
import { readFile } from "node:fs/promises";
import { rotateSessionKeys } from "../authenticator/login/session-keys.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { reasonOf, SallyportError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { createProgram, runProgram } from "./command-line.ts";

export function run(args: readonly string[]): Promise<number> {
  const program = createProgram(
    "sallyport login-keys",
    "Puts a new key in front of those that sign login sessions; the one before stays good for checking.",
  )
    .requiredOption("--file <file>", "JSON Web Key Set, made when it is not there: keep it in a Secret")
    .action(async (flags: { readonly file: string }) => {
      const set = await rotateSessionKeys(await readIfPresent(flags.file));
      await writeFileAtomically(flags.file, set);
      const { keys } = JSON.parse(set) as { readonly keys: readonly { readonly kid: string }[] };
      process.stdout.write(`${flags.file}: ${keys.map(({ kid }) => kid).join(", ")} (the first one signs)\n`);
    });
  return runProgram(program, args);
}

async function readIfPresent(path: string): Promise<Secret | undefined> {
  try {
    return new Secret(await readFile(path, "utf8"));
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new SallyportError("E_SESSION_KEYS", { detail: reasonOf(thrown) }, { cause: thrown });
  }
}

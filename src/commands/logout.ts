/**
 * `sallyport logout`: forgets a session on this machine.
 * @module
 */
import { createProgram, runProgram } from "./command-line.ts";
import { forgetSession } from "./session-file.ts";

export function run(args: readonly string[]): Promise<number> {
  const program = createProgram(
    "sallyport logout",
    "Forgets the session of a login endpoint on this machine.",
  )
    .requiredOption("--server <url>", "login endpoint of the authenticator, https://HOST:PORT")
    .action(async (flags: { readonly server: string }) => {
      const was = await forgetSession(flags.server);
      process.stderr.write(was ? "Logged out.\n" : "There was no session.\n");
    });
  return runProgram(program, args);
}

/**
 * The folder of the person who runs a command.
 * @module
 */
import { homedir } from "node:os";

/**
 * `/nonexistent` (as Debian has it for such users) where there is none: a user without an entry in the password file and
 * without `HOME`, as container platforms and CI systems make them.
 */
export function homeFolder(): string {
  try {
    return homedir();
  } catch {
    return "/nonexistent";
  }
}

/**
 * An account that lies in a folder as the files `username`, `password` and `domainName`: what a mounted Secret looks like
 * (Kubernetes docs, "Secrets", using them as files from a Pod).
 * @module
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { reasonOf, SallyportError } from "../errors.ts";
import { accountFromSecret } from "./account-from-secret.ts";
import { accountKeys, type ImpersonationAccount } from "./secret-store.ts";

/** Reads the three files. Throws `E_DIRECTORY_CREDENTIALS`, which names the file, where one is absent or unusable. */
export async function readAccountFolder(folder: string): Promise<ImpersonationAccount> {
  const data: Record<string, string> = {};
  for (const key of accountKeys) {
    try {
      data[key] = (await readFile(join(folder, key))).toString("base64");
    } catch (thrown) {
      throw new SallyportError(
        "E_DIRECTORY_CREDENTIALS",
        { source: join(folder, key), detail: reasonOf(thrown) },
        { cause: thrown },
      );
    }
  }
  const outcome = accountFromSecret(data);
  if (outcome.outcome === "found") return outcome.account;
  throw new SallyportError("E_DIRECTORY_CREDENTIALS", {
    source: join(folder, outcome.key),
    detail: `it is ${outcome.problem}`,
  });
}

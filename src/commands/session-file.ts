/**
 * Where a session is kept between two calls of kubectl: one file for each login endpoint, readable by its owner alone.
 * @module
 */
import { createHash } from "node:crypto";
import { lstat, mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import { homeFolder } from "../home-folder.ts";
import type { SessionAnswer } from "../authenticator/login/login-client.ts";

export type StoredSession = SessionAnswer;

function folder(): string {
  const base =
    process.env["SALLYPORT_HOME"] ??
    join(process.env["XDG_CACHE_HOME"] ?? join(homeFolder(), ".cache"), "sallyport");
  return join(base, "sessions");
}

function fileOf(server: string): string {
  const name = createHash("sha256").update(new URL(server).origin).digest("hex").slice(0, 32);
  return join(folder(), `${name}.json`);
}

/** The session of this endpoint; one that others could have read or written does not count. */
export async function readSession(server: string): Promise<StoredSession | undefined> {
  const path = fileOf(server);
  try {
    const status = await lstat(path);
    if (!status.isFile() || (process.platform !== "win32" && (status.mode & 0o077) !== 0)) return undefined;
    const value = JSON.parse(await readFile(path, "utf8")) as Readonly<Record<string, unknown>>;
    const fields = ["token", "expiresAt", "refreshToken", "sessionEndsAt", "username"];
    return fields.every((field) => typeof value[field] === "string")
      ? (value as unknown as StoredSession)
      : undefined;
  } catch {
    return undefined;
  }
}

export async function writeSession(server: string, session: StoredSession): Promise<void> {
  await mkdir(folder(), { recursive: true, mode: 0o700 });
  await writeFileAtomically(fileOf(server), `${JSON.stringify(session)}\n`);
}

/** Whether there was one. */
export async function forgetSession(server: string): Promise<boolean> {
  const path = fileOf(server);
  const was = await lstat(path).then(
    () => true,
    () => false,
  );
  await rm(path, { force: true });
  return was;
}

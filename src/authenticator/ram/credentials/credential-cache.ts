/**
 * Keeps temporary credentials between runs of `sallyport token`, which kubectl starts anew for every command. One file for
 * each way to credentials, mode 0600 in a directory of mode 0700, replaced atomically, with a lock so that many runs at
 * once ask the authority once. A file that others could read is not used.
 * @module
 */
import { createHash, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { delay, type Clock } from "../../../clock.ts";
import { Secret } from "../../../secret.ts";
import type { Credentials } from "./credentials.ts";

export interface CredentialCache {
  /**
   * The credentials of `key`, from the file while they have more than `marginMs` left, otherwise fetched and kept. When
   * fetching fails and those of the file have not ended, they are used.
   * @param key says where they come from and for what; it is not a secret and is stored as a hash only.
   */
  remember(key: readonly string[], marginMs: number, fetch: () => Promise<Credentials>): Promise<Credentials>;
}

/** No file at all: every run fetches. */
export const noCache: CredentialCache = { remember: (_key, _marginMs, fetch) => fetch() };

export interface CredentialCacheOptions {
  readonly directory: string;
  readonly clock: Clock;
  /** Tells the user, on standard error. */
  warn(text: string): void;
}

/** A lock whose holder ended without giving it back is taken over after this time. */
const staleLockMs = 15_000;

export function createCredentialCache(options: CredentialCacheOptions): CredentialCache {
  const { clock, directory } = options;
  const warn = (text: string): void => options.warn(text);

  async function read(path: string): Promise<Credentials | undefined> {
    let file;
    try {
      // A link is not followed: it might lead to a file of somebody else's making.
      file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch {
      return undefined;
    }
    try {
      const { mode, uid } = await file.stat();
      if ((mode & 0o077) !== 0 || (process.getuid !== undefined && uid !== process.getuid())) {
        warn(
          `${path} can be read by others and is not used; remove it (and consider what it held as known).`,
        );
        throw new ExposedCache();
      }
      return parse(await file.readFile("utf8"));
    } finally {
      await file.close();
    }
  }

  async function write(path: string, credentials: Credentials): Promise<void> {
    const temporary = `${path}.${randomBytes(6).toString("hex")}`;
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(render(credentials));
      await file.close();
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  return {
    async remember(key, marginMs, fetch) {
      const name = createHash("sha256").update(JSON.stringify(key)).digest("hex").slice(0, 32);
      const path = join(directory, `${name}.json`);
      const lasts = (credentials: Credentials | undefined, ms: number): boolean =>
        credentials?.expiresAt !== undefined && credentials.expiresAt - ms > clock.now();
      let known: Credentials | undefined;
      try {
        known = await read(path);
        if (known !== undefined && lasts(known, marginMs)) return known;
        await mkdir(directory, { recursive: true, mode: 0o700 });
      } catch {
        // Without a usable cache everything works, only slower.
        return await fetch();
      }
      const unlock = await lock(`${path}.lock`, clock);
      try {
        // Somebody else may have fetched them while we waited.
        const renewed = await read(path).catch(() => undefined);
        if (renewed !== undefined && lasts(renewed, marginMs)) return renewed;
        const fetched = await fetch();
        await write(path, fetched).catch((error: unknown) =>
          warn(`credentials are not kept: ${String(error)}`),
        );
        return fetched;
      } catch (error) {
        if (known !== undefined && lasts(known, 0)) return known;
        throw error;
      } finally {
        await unlock();
      }
    },
  };
}

class ExposedCache extends Error {}

/** Waits for the lock at most as long as it takes to be stale, then goes on without it: a lock must not lock out. */
async function lock(path: string, clock: Clock): Promise<() => Promise<void>> {
  const end = Date.now() + staleLockMs;
  for (;;) {
    try {
      const file = await open(path, "wx", 0o600);
      await file.close();
      return () => rm(path, { force: true });
    } catch {
      const age = await stat(path).then(
        (found) => Date.now() - found.mtimeMs,
        () => 0,
      );
      if (age > staleLockMs) await rm(path, { force: true });
      else if (Date.now() > end) return () => Promise.resolve();
      else await delay(clock, 50);
    }
  }
}

function render(credentials: Credentials): string {
  return JSON.stringify({
    accessKeyId: credentials.accessKeyId,
    accessKeySecret: credentials.accessKeySecret.reveal(),
    securityToken: credentials.securityToken?.reveal(),
    expiresAt: credentials.expiresAt,
  });
}

function parse(text: string): Credentials | undefined {
  try {
    const value = JSON.parse(text) as Readonly<Record<string, unknown>>;
    const { accessKeyId, accessKeySecret, securityToken, expiresAt } = value;
    if (typeof accessKeyId !== "string" || typeof accessKeySecret !== "string") return undefined;
    if (typeof expiresAt !== "number") return undefined;
    return {
      accessKeyId,
      accessKeySecret: new Secret(accessKeySecret),
      ...(typeof securityToken === "string" ? { securityToken: new Secret(securityToken) } : {}),
      expiresAt,
    };
  } catch {
    return undefined;
  }
}

/**
 * Looks after the files that a running provider has on its host: without them no plugin finds it, however well it is.
 * @module
 */
import type { CancelTimer, Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import type { Log } from "../observe/log.ts";
import type { Readiness } from "../server/operations.ts";
import type { HostDirectory } from "./host-directory.ts";

/** How often it looks. */
const everyMs = 15_000;

export interface HostFilesKeeperParts {
  readonly directories: readonly HostDirectory[];
  /** Where the provider listens. */
  readonly port: number;
  /** Whether authorities lie beside the port: without mutual TLS there are none. */
  readonly withAuthorities: boolean;
  /** Writes all files of these directories, the port last. */
  readonly write: (directories: readonly HostDirectory[]) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface HostFilesKeeper {
  /** Not ready while another provider has a directory, or the files cannot be written. */
  readiness(): Readiness;
  /** Resolves when nothing is written any more. */
  stop(): Promise<void>;
}

/**
 * Files that somebody took away (a clean-up by hand, a second provider that came and went) are written again. A port of
 * another provider stays: two that took the directory from each other would break every call.
 */
export function keepHostFiles(parts: HostFilesKeeperParts): HostFilesKeeper {
  const { directories, port, withAuthorities, write, clock, log } = parts;
  let problem: string | undefined;
  let stopped = false;
  let cancel: CancelTimer = () => undefined;
  let looking: Promise<void> = Promise.resolve();

  const look = async (): Promise<string | undefined> => {
    const found = await Promise.all(
      directories.map(async (directory) => ({
        directory,
        port: await directory.readPort(),
        authorities: await directory.readAuthorities(),
      })),
    );
    const foreign = found.find((each) => each.port !== undefined && each.port !== port);
    if (foreign !== undefined) {
      return `another provider has put its port ${String(foreign.port)} into ${foreign.directory.path}: end one of the two`;
    }
    const missing = found
      .filter((each) => each.port === undefined || (withAuthorities && each.authorities === undefined))
      .map(({ directory }) => directory);
    if (missing.length === 0 || stopped) return undefined;
    log.warn("host.files-missing", { directories: missing.map(({ path }) => path) });
    await write(missing);
    return undefined;
  };
  const plan = (): void => {
    cancel = clock.after(everyMs, () => {
      looking = look()
        .catch(reasonOf)
        .then((now) => {
          if (now !== undefined && now !== problem) log.error("host.files-failed", { reason: now });
          problem = now;
          if (!stopped) plan();
        });
    });
  };
  plan();

  return {
    readiness: () => (problem === undefined ? { ready: true } : { ready: false, reason: problem }),
    async stop() {
      stopped = true;
      cancel();
      await looking;
    },
  };
}

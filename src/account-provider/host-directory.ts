/**
 * The provider's files on its host: where the plugin finds the port, the certificate authority and its client identity.
 *
 *     <host directory>/port.txt                       decimal digits, nothing else
 *     <host directory>/ssl/ca/ca.crt                  the authorities (PEM; two while one replaces the other)
 *     <host directory>/ssl/client/tls.crt, tls.key    identity of Sallyport's plugin (PEM)
 *     <host directory>/ssl/client/tls.pfx             identity of the released plugin (PKCS#12, empty password)
 *     <host directory>/owner.txt                      whose directory it is, where several providers could want it
 *
 * @module
 */
import { chmod, lstat, mkdir, readFile, readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join, resolve, win32 } from "node:path";
import { isTemporaryName, writeFileAtomically } from "../atomic-file.ts";
import { SallyportError, reasonOf } from "../errors.ts";
import { portOfFile } from "../port-file.ts";
import type { Secret } from "../secret.ts";
import { protectProgramFolder } from "../windows-host/programs.ts";
import {
  grantPluginRead,
  restrictDirectory,
  type HostCall,
  type WindowsHost,
} from "../windows-host/windows-host.ts";

/** Every path below a host directory that has a meaning; anything else under `ssl/` is somebody's leftover. */
export const hostFileNames = {
  port: "port.txt",
  authorities: "ssl/ca/ca.crt",
  clientCertificate: "ssl/client/tls.crt",
  clientKey: "ssl/client/tls.key",
  clientPfx: "ssl/client/tls.pfx",
  owner: "owner.txt",
} as const;

/** Directories of the host directory, parents first. Those of the provider that came before ours are cleared, too. */
const directories = ["ssl", "ssl/ca", "ssl/client"] as const;
const clearedDirectories = ["ssl/ca", "ssl/client", "ssl/server"] as const;

/** Kubernetes namespace: an RFC 1123 label (Kubernetes docs, "Namespaces"), 1 to 63 characters. */
export const namespaceForm = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** Client files as they shall be; what is absent here shall not be there. */
export interface ClientFiles {
  readonly authoritiesPem: string;
  readonly certificatePem: string;
  readonly privateKeyPem: Secret;
  /** Absent: the released plugin is not served, and no key lies there for it. */
  readonly pfx?: Buffer;
}

/** Where the released plugin looks for all host directories, and where ours are unless they are configured elsewhere. */
const sharedParent = "/var/lib/rancher/gmsa";

/** The default host directory of a namespace, the one that the released plugin looks into. */
export function defaultHostDirectory(namespace: string): string {
  return `${sharedParent}/${namespace}`;
}

export class HostDirectory {
  readonly path: string;
  readonly #windows: WindowsHost | undefined;
  readonly #sharedParent: string;
  #authoritiesPem: string | undefined;

  /**
   * @param windows the host's access lists; absent where modes are enough (POSIX).
   * @param commonParent where several providers have theirs.
   */
  constructor(path: string, windows: WindowsHost | undefined, commonParent: string = sharedParent) {
    // With its drive: icacls would take a path that begins with a slash for an option.
    this.path = windows === undefined ? path : resolve(path);
    this.#windows = windows;
    this.#sharedParent = commonParent;
  }

  /** The full path of a file of {@link hostFileNames}. */
  file(name: keyof typeof hostFileNames): string {
    return join(this.path, hostFileNames[name]);
  }

  /**
   * Makes the directory ours alone and clears it of what a predecessor left: its port, its keys, half-written files.
   * What is in use is replaced later, by {@link writeClientFiles} and {@link writePort}.
   * @throws {SallyportError} `E_HOST_DIRECTORY` when it cannot be made, written or restricted.
   */
  async prepare(): Promise<void> {
    await this.#guard("prepare", this.path, async () => {
      await this.#protectParent();
      await this.#makeDirectory(this.path);
      await this.#removeFile(this.file("port"));
      for (const directory of directories) await this.#makeDirectory(join(this.path, directory));
      await this.#clear();
    });
  }

  /** @throws {SallyportError} `E_HOST_DIRECTORY` */
  async writeClientFiles(files: ClientFiles): Promise<void> {
    await this.#write(this.file("authorities"), files.authoritiesPem);
    this.#authoritiesPem = files.authoritiesPem;
    await this.#write(this.file("clientKey"), files.privateKeyPem.reveal());
    await this.#write(this.file("clientCertificate"), files.certificatePem);
    if (files.pfx === undefined) await this.#removeFile(this.file("clientPfx"));
    else await this.#write(this.file("clientPfx"), files.pfx);
  }

  /** Puts the owner's name there. @throws {SallyportError} `E_HOST_DIRECTORY` */
  async writeOwner(owner: string): Promise<void> {
    await this.#guard("prepare", this.path, async () => {
      await this.#protectParent();
      await this.#makeDirectory(this.path);
    });
    await this.#write(this.file("owner"), owner);
  }

  /** Whose directory it is, a namespace, or that the file names none; `undefined` when there is no file. */
  async readOwner(): Promise<string | undefined> {
    const text = await readFile(this.file("owner"), "utf8").catch(() => undefined);
    return text === undefined || namespaceForm.test(text) ? text : "an unknown namespace";
  }

  /** The authorities (PEM) that the directory names now, whoever wrote them; `undefined` when there are none. */
  async readAuthorities(): Promise<string | undefined> {
    return await readFile(this.file("authorities"), "utf8").catch(() => undefined);
  }

  /** Last of all: with the port, the plugin finds everything. @throws {SallyportError} `E_HOST_DIRECTORY` */
  async writePort(port: number): Promise<void> {
    await this.#write(this.file("port"), String(port));
  }

  /** The port that the file names now, whoever wrote it; `undefined` when there is none. */
  async readPort(): Promise<number | undefined> {
    const text = await readFile(this.file("port"), "utf8").catch(() => "");
    return portOfFile(text);
  }

  /**
   * Takes the port away, so that no plugin comes any more, unless a successor has already put its own there.
   */
  async withdrawPort(port: number): Promise<void> {
    if ((await this.readPort()) === port) await rm(this.file("port"), { force: true });
  }

  /** Are the certificate files still the ones that this object wrote last? */
  async holdsOwnFiles(): Promise<boolean> {
    const found = await readFile(this.file("authorities"), "utf8").catch(() => undefined);
    return found === this.#authoritiesPem && (await this.readPort()) === undefined;
  }

  /**
   * Removes our files, and the directory when nothing else is in it. Goes on when something is already gone or cannot
   * be removed, and answers with what is left, a sentence each.
   */
  async remove(): Promise<readonly string[]> {
    const failures: string[] = [];
    const attempt = async (path: string, work: () => Promise<unknown>): Promise<void> => {
      try {
        await work();
      } catch (error) {
        if (!isAbsent(error)) failures.push(`${path} could not be removed: ${reasonOf(error)}`);
      }
    };
    const port = this.file("port");
    await attempt(port, () => rm(port));
    const owner = this.file("owner");
    await attempt(owner, () => rm(owner));
    const ssl = join(this.path, "ssl");
    await attempt(ssl, () => rm(ssl, { recursive: true }));
    for (const name of await readdir(this.path).catch(() => [])) {
      if (isTemporaryName(name)) await attempt(join(this.path, name), () => rm(join(this.path, name)));
    }
    // An operator's file (or a mounted volume) may be left in it: then the directory stays.
    await rmdir(this.path).catch(() => undefined);
    return failures;
  }

  async #clear(): Promise<void> {
    for (const name of await readdir(this.path)) {
      if (isTemporaryName(name)) await rm(join(this.path, name), { force: true });
    }
    const kept = new Set<string>(Object.values(hostFileNames));
    for (const directory of clearedDirectories) {
      const path = join(this.path, directory);
      const names = await readdir(path).catch(() => []);
      for (const name of names) {
        if (!kept.has(`${directory}/${name}`)) await rm(join(path, name), { force: true, recursive: true });
      }
      if (directory === "ssl/server") await rmdir(path).catch(() => undefined);
    }
  }

  /**
   * Whoever may change the shared parent may put a directory of his own in place of ours. Other providers' directories are
   * in it, too, so that it stays readable. A parent that an operator has chosen is the operator's to protect.
   */
  async #protectParent(): Promise<void> {
    const parent = dirname(this.path);
    if (this.#windows === undefined || !isSamePath(parent, this.#sharedParent)) return;
    await mkdir(parent, { recursive: true });
    await refuseLink(parent);
    await this.#runAll(protectProgramFolder(parent));
  }

  async #makeDirectory(path: string): Promise<void> {
    await mkdir(path, { recursive: true, mode: 0o700 });
    await refuseLink(path);
    if (this.#windows === undefined) await chmod(path, 0o700);
    else await this.#runAll(restrictDirectory(path));
  }

  async #write(path: string, contents: string | Buffer): Promise<void> {
    await this.#guard("write", path, () =>
      writeFileAtomically(path, contents, {
        beforeRename: async (temporary) => {
          if (this.#windows !== undefined) await this.#runAll(grantPluginRead(temporary));
        },
      }),
    );
  }

  async #removeFile(path: string): Promise<void> {
    await this.#guard("remove", path, () => rm(path, { force: true }));
  }

  async #runAll(calls: readonly HostCall[]): Promise<void> {
    for (const call of calls) {
      const result = await this.#windows?.run(call);
      if (result !== undefined && result.exitCode !== 0) {
        throw new Error(`${call.program} ended with ${result.exitCode}: ${result.output}`);
      }
    }
  }

  async #guard(action: string, path: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof SallyportError) throw error;
      throw new SallyportError(
        "E_HOST_DIRECTORY",
        { action, path, directory: dirname(path), detail: reasonOf(error) },
        { cause: error },
      );
    }
  }
}

/** Whoever planted a link here would choose where our keys go. */
async function refuseLink(path: string): Promise<void> {
  const found = await lstat(path);
  if (!found.isDirectory()) throw new Error(`${path} is not a directory but a link or a file`);
}

/** As Windows compares them: without case and, for the system's drive, with or without it. Exported for its test. */
export function isSamePath(one: string, other: string): boolean {
  const [first, second] = [one, other].map((path) =>
    win32.normalize(path).replace(/^c:/i, "").replace(/\\$/, "").toLowerCase(),
  );
  return first === second;
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

/**
 * The reserved host directory in which the CCG plugin looks for whoever answers Key Vault plugin input: beside those of the
 * namespaces, under a name that no namespace can have. One provider of a host owns it.
 * @module
 */
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { SallyportError } from "../errors.ts";
import type { HostDirectory } from "./host-directory.ts";

/** A Kubernetes name never begins with `_`. */
export const keyVaultDirectoryName = "_azure-key-vault";

/** @param hostDirectory the provider's own, `<root>/<namespace>`. */
export function keyVaultDirectoryBeside(hostDirectory: string): string {
  return join(dirname(hostDirectory), keyVaultDirectoryName);
}

/**
 * Takes the directory: it is free, it was this owner's before (a successor starts while its predecessor drains), or its
 * owner's port is dead.
 * @throws {SallyportError} `E_KEY_VAULT_DIRECTORY_TAKEN` when another owner's provider is running.
 */
export async function claimKeyVaultDirectory(directory: HostDirectory, owner: string): Promise<void> {
  if ((await directory.readOwner()) !== owner) {
    await refuseLivingOwner(directory, owner);
    await directory.writeOwner(owner);
  }
}

/** The last one who took it owns it: of two that start at the same moment, one finds out here. */
export async function confirmKeyVaultDirectory(directory: HostDirectory, owner: string): Promise<void> {
  const now = await directory.readOwner();
  if (now !== owner) throw taken(directory, now ?? "nobody");
}

/** Is it another owner's, whose provider is running? */
export async function heldByAnother(directory: HostDirectory, owner: string): Promise<string | undefined> {
  const now = await directory.readOwner();
  if (now === undefined || now === owner) return undefined;
  const port = await directory.readPort();
  return port !== undefined && (await answers(port)) ? now : undefined;
}

async function refuseLivingOwner(directory: HostDirectory, owner: string): Promise<void> {
  const holder = await heldByAnother(directory, owner);
  if (holder !== undefined) throw taken(directory, holder);
}

function taken(directory: HostDirectory, owner: string): SallyportError {
  return new SallyportError("E_KEY_VAULT_DIRECTORY_TAKEN", { path: directory.path, owner });
}

/** Does anybody accept connections there? */
async function answers(port: number): Promise<boolean> {
  const tried = await Promise.all(
    ["127.0.0.1", "::1"].map(
      (host) =>
        new Promise<boolean>((resolve) => {
          const socket = connect({ host, port, timeout: 1_000 });
          const end = (found: boolean): void => {
            socket.destroy();
            resolve(found);
          };
          socket.once("connect", () => end(true));
          socket.once("error", () => end(false));
          socket.once("timeout", () => end(false));
        }),
    ),
  );
  return tried.includes(true);
}

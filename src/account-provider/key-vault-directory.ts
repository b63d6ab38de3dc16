/**
 * The reserved host directory in which the CCG plugin looks for whoever answers Key Vault plugin input: beside those of the
 * namespaces, under a name that no namespace can have. One provider of a host owns it.
 * @module
 */
import { dirname, join } from "node:path";
import { connect, createSecureContext } from "node:tls";
import { SallyportError } from "../errors.ts";
import type { HostDirectory } from "./host-directory.ts";

/** A Kubernetes name never begins with `_`. */
export const keyVaultDirectoryName = "_azure-key-vault";

/** How long a provider of this machine may take for a handshake. */
const probeMs = 2_000;

/** @param hostDirectory the provider's own, `<root>/<namespace>`. */
export function keyVaultDirectoryBeside(hostDirectory: string): string {
  return join(dirname(hostDirectory), keyVaultDirectoryName);
}

/**
 * Takes the directory: it is free, it was this owner's before (a successor starts while its predecessor drains), or its
 * owner's provider is gone. Another program may have got its port since: only what has a certificate of the directory's own
 * authorities is the provider.
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
  const [port, authorities] = [await directory.readPort(), await directory.readAuthorities()];
  if (port === undefined || authorities === undefined || !areCertificates(authorities)) return undefined;
  return (await isProvider(port, authorities)) ? now : undefined;
}

async function refuseLivingOwner(directory: HostDirectory, owner: string): Promise<void> {
  const holder = await heldByAnother(directory, owner);
  if (holder !== undefined) throw taken(directory, holder);
}

function taken(directory: HostDirectory, owner: string): SallyportError {
  return new SallyportError("E_KEY_VAULT_DIRECTORY_TAKEN", { path: directory.path, owner });
}

/** Without one, no plugin can trust whoever listens. */
function areCertificates(pem: string): boolean {
  try {
    createSecureContext({ ca: pem });
    return pem.includes("BEGIN CERTIFICATE");
  } catch {
    return false;
  }
}

/** Does somebody there hold a certificate of this directory's own authorities, as its provider does? */
async function isProvider(port: number, authoritiesPem: string): Promise<boolean> {
  const tried = await Promise.all(
    ["127.0.0.1", "::1"].map(
      (host) =>
        new Promise<boolean>((resolve) => {
          const end = (found: boolean): void => {
            clearTimeout(timer);
            socket.destroy();
            resolve(found);
          };
          const timer = setTimeout(() => end(false), probeMs);
          const socket = connect({ host, port, servername: "localhost", ca: authoritiesPem });
          socket.once("secureConnect", () => end(true));
          socket.on("error", () => end(false));
        }),
    ),
  );
  return tried.includes(true);
}

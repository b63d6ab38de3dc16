/**
 * Makes the Active Directory bed ready: Samba, the Kerberos tools and libfaketime. Each suite starts a domain controller
 * of its own, which takes three seconds.
 * @module
 */
import { accessSync, constants } from "node:fs";
import { BedUnavailable, type BedContext, type PreparedBed } from "../bed.ts";
import { runCommand } from "../guarded-process.ts";
import { faketimeLibrary } from "./domain-controller.ts";

const packages =
  "samba samba-ad-dc samba-ad-provision samba-dsdb-modules winbind python3-samba krb5-user libsasl2-modules-gssapi-mit openssl faketime";

export async function prepare(_context: BedContext): Promise<PreparedBed> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new BedUnavailable(
      "The Active Directory bed needs Linux and root: a domain controller's ports lie below 1024.",
    );
  }
  const missing: string[] = [];
  for (const [command, ...args] of [
    ["samba", "--version"],
    ["samba-tool", "--version"],
    ["kinit", "-V", "--help"],
    ["klist", "-V"],
    ["openssl", "version"],
  ] as const) {
    try {
      await runCommand(command, [...args]);
    } catch {
      missing.push(command);
    }
  }
  try {
    accessSync(faketimeLibrary(), constants.R_OK);
  } catch {
    missing.push("libfaketime");
  }
  if (missing.length > 0) {
    throw new BedUnavailable(
      `There is no ${missing.join(", no ")}: install ${packages} (Debian 13, or bookworm-backports), without letting their services start.`,
    );
  }
  const version = /Version (\d+)\.(\d+)/.exec((await runCommand("samba", ["--version"])).stdout);
  if (Number(version?.[1]) * 100 + Number(version?.[2]) < 421) {
    throw new BedUnavailable(
      "Samba 4.21 or newer is needed: older ones have no group managed service accounts.",
    );
  }
  return { environment: {}, close: () => Promise.resolve() };
}

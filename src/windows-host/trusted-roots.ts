/**
 * Our certificate authorities in the machine's root store. A list of thumbprints beside the certificate files remembers
 * what was put there, so that an authority whose process died is still removed by the next one.
 * @module
 */
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../observe/log.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { addTrustedRoot, findTrustedRoot, removeTrustedRoot, type WindowsHost } from "./windows-host.ts";

const listName = "trusted-roots.json";

/** SHA-1 thumbprint in upper-case hexadecimal, as Windows shows it. */
const thumbprintForm = /^[0-9A-F]{40}$/;

export interface TrustedRoot {
  readonly thumbprint: string;
  readonly certificatePem: string;
}

export interface TrustedRoots {
  /** Trusts exactly these: adds what is missing, removes every other one that we ever added. Never stops half way. */
  replace(roots: readonly TrustedRoot[]): Promise<readonly string[]>;
}

/**
 * @param directory where the list of thumbprints is kept.
 * @returns `replace` answers with what could not be done, a sentence each.
 */
export function createTrustedRoots(directory: string, host: WindowsHost, log: Log): TrustedRoots {
  const listFile = join(directory, listName);
  return {
    async replace(roots) {
      const failures: string[] = [];
      const listed = await readList(listFile);
      const wanted = roots.map((root) => root.thumbprint);
      if (listed.length === 0 && wanted.length === 0) return failures;
      // First remembered, then added: a crash in between leaves an entry too many, never a forgotten authority.
      if (wanted.length > 0) await writeList(listFile, [...new Set([...listed, ...wanted])]);
      for (const root of roots) {
        // certutil takes one certificate from a file of its own.
        const file = join(directory, `${root.thumbprint}.crt`);
        await writeFileAtomically(file, root.certificatePem);
        const added = await host.run(addTrustedRoot(file));
        await rm(file, { force: true });
        if (added.exitCode === 0) log.info("host.root-trusted", { thumbprint: root.thumbprint });
        else
          failures.push(
            `certificate ${root.thumbprint} could not be added to the root store: ${added.output}`,
          );
      }
      const left: string[] = [];
      for (const thumbprint of listed.filter((known) => !wanted.includes(known))) {
        if ((await host.run(findTrustedRoot(thumbprint))).exitCode !== 0) continue;
        const removed = await host.run(removeTrustedRoot(thumbprint));
        if (removed.exitCode === 0) {
          log.info("host.root-removed", { thumbprint });
        } else {
          left.push(thumbprint);
          failures.push(
            `certificate ${thumbprint} could not be removed from the root store: ${removed.output}`,
          );
        }
      }
      const kept = [...wanted, ...left];
      if (kept.length > 0) await writeList(listFile, kept);
      else await rm(listFile, { force: true });
      return failures;
    },
  };
}

async function readList(file: string): Promise<readonly string[]> {
  try {
    const parsed: unknown = JSON.parse(await readFile(file, "utf8"));
    if (!Array.isArray(parsed)) return [];
    return parsed.filter((entry): entry is string => typeof entry === "string" && thumbprintForm.test(entry));
  } catch {
    // A list that is absent or damaged names nothing that could be removed.
    return [];
  }
}

async function writeList(file: string, thumbprints: readonly string[]): Promise<void> {
  await writeFileAtomically(file, `${JSON.stringify(thumbprints)}\n`);
}

/**
 * `status`: every link between CCG and the account provider on this host, each with what was seen or what to do.
 * @module
 */
import { connect } from "node:net";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Chain, ChainLink } from "../chain.ts";
import { parseEvents, queryEvents, saveAccessList } from "../windows-host/programs.ts";
import { pluginFolder, pluginPath } from "./plugin-identity.ts";
import { readPluginState, registrationParts, unsuitability, type PluginHost } from "./plugin-state.ts";

const hostDirectories = "C:\\var\\lib\\rancher\\gmsa";
const ccgChannel = "Microsoft-Windows-Containers-CCG/Admin";
const connectTimeoutMs = 2_000;

const install = "run `sallyport plugin install`";

/** Never throws: what cannot be seen is a link that says so. */
export async function readPluginStatus(host: PluginHost): Promise<Chain> {
  const state = await readPluginState(host);
  const reasons = unsuitability(state);
  const links: ChainLink[] = [
    reasons.length === 0
      ? {
          link: "host",
          holds: true,
          detail: `Windows build ${state.windowsBuild ?? 0}, ${state.architecture ?? "unknown architecture"}, Containers enabled`,
        }
      : {
          link: "host",
          holds: false,
          detail: reasons.join("; "),
          remedy: "use a Windows Server 2019 or later (x64) with the feature Containers",
        },
    state.file === undefined
      ? { link: "file", holds: false, detail: `there is no DLL ${pluginPath}`, remedy: install }
      : {
          link: "file",
          holds: state.file.architecture === "x64",
          detail: [
            `${pluginPath} ${state.file.version ?? "without a version"}`,
            state.file.architecture,
            state.file.signed ? "signed" : "not signed",
            `SHA-256 ${state.file.sha256}`,
          ].join(", "),
          ...(state.file.architecture === "x64" ? {} : { remedy: install }),
        },
    await accessListLink(host),
    ...registrationParts(state).map(({ part, holds, detail }) => ({
      link: part,
      holds,
      detail,
      ...(holds ? {} : { remedy: install }),
    })),
    ...(await providerLinks(host)),
    await eventsLink(host),
  ];
  return { name: "CCG plugin", links };
}

/** Rights that change a file or its protection: words of SDDL (MS-DTYP section 2.5.1.1), and the same bits of a mask. */
const writingWords = ["FA", "FW", "GA", "GW", "WD", "WO", "SD", "DC", "LC", "RP", "DT", "CR"];
const writingBits = 0x500d_0156;
/** SYSTEM, Administrators and their members, creator owner, and the service that installs Windows itself. */
const trustedWriters = [
  "SY",
  "BA",
  "LA",
  "CO",
  "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464",
];

/** Accounts besides the trusted ones that an SDDL access list lets change things. Exported for its test. */
export function untrustedWriters(sddl: string): readonly string[] {
  const list = /D:[A-Z]*((?:\([^)]*\))*)/.exec(sddl)?.[1] ?? "";
  return [...list.matchAll(/\(A;[^;]*;([^;]*);[^;]*;[^;]*;([^;)]*)\)/g)]
    .filter(([, rights = "", account = ""]) => !trustedWriters.includes(account) && writes(rights))
    .map(([, , account = ""]) => account);
}

function writes(rights: string): boolean {
  if (rights.startsWith("0x")) return (Number(rights) & writingBits) !== 0;
  return (rights.match(/../g) ?? []).some((word) => writingWords.includes(word));
}

async function accessListLink(host: PluginHost): Promise<ChainLink> {
  const saved = `${pluginFolder}.acl`;
  const file = host.localPath(saved);
  try {
    await host.windows.run(saveAccessList(pluginFolder, saved));
    const sddl = (await readFile(file)).toString("utf16le");
    const writers = untrustedWriters(sddl);
    return writers.length === 0
      ? {
          link: "access list",
          holds: true,
          detail: `only SYSTEM and Administrators may change ${pluginFolder}`,
        }
      : {
          link: "access list",
          holds: false,
          detail: `${pluginFolder} may be changed by ${writers.join(", ")}`,
          remedy: "uninstall and install the plugin: code of the system is loaded from there",
        };
  } catch {
    return { link: "access list", holds: true, detail: "this host does not tell" };
  } finally {
    await rm(file, { force: true });
  }
}

/** A link per host directory: is there a port, and does somebody listen on it? */
async function providerLinks(host: PluginHost): Promise<readonly ChainLink[]> {
  const base = host.localPath(hostDirectories);
  const namespaces = await readdir(base, { withFileTypes: true }).catch(() => []);
  const links = namespaces
    .filter((entry) => entry.isDirectory())
    .map(async (entry): Promise<ChainLink> => {
      const link = `provider ${entry.name}`;
      const remedy = "look at the account provider of this namespace on this node";
      const text = await readFile(join(base, entry.name, "port.txt"), "utf8").catch(() => undefined);
      if (text === undefined) return { link, holds: false, detail: "there is no port.txt", remedy };
      if (!/^[1-9]\d{0,4}$/.test(text))
        return { link, holds: false, detail: "port.txt holds no port", remedy };
      return (await answers(Number(text)))
        ? { link, holds: true, detail: `listens on port ${text}` }
        : { link, holds: false, detail: `nobody listens on port ${text}`, remedy };
    });
  if (links.length > 0) return Promise.all(links);
  return [
    {
      link: "providers",
      holds: false,
      detail: `no account provider has written to ${hostDirectories}`,
      remedy: "run `sallyport account-provider run` on this host",
    },
  ];
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "localhost", port, timeout: connectTimeoutMs });
    const end = (answer: boolean) => (): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", end(true)).once("error", end(false)).once("timeout", end(false));
  });
}

/** What CCG itself wrote last. Its errors 4 and 6 are about the plugin, 8 about the directory. */
async function eventsLink(host: PluginHost): Promise<ChainLink> {
  const { exitCode, output } = await host.windows.run(queryEvents(ccgChannel, 5));
  const events = exitCode === 0 ? parseEvents(output) : [];
  const [latest] = events;
  if (latest === undefined) return { link: "CCG events", holds: true, detail: `none in ${ccgChannel}` };
  const detail = events.map(({ id, time }) => `${id} at ${time}`).join(", ");
  if (latest.level > 2 || latest.level === 0) return { link: "CCG events", holds: true, detail };
  const remedies: Readonly<Record<number, string>> = {
    3: "check the credential spec with `sallyport credspec lint`",
    4: "the plugin could not be started: see the links above",
    6: "the plugin gave an error: its own entry in the Application log names the cause",
    8: "the plugin did its part: check DNS, the domain controller and the account's right to the gMSA",
  };
  return {
    link: "CCG events",
    holds: false,
    detail,
    remedy: remedies[latest.id] ?? `see the channel ${ccgChannel} in Event Viewer`,
  };
}

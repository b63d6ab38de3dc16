/**
 * `status`: every link between CCG and the account provider on this host, each with what was seen or what to do.
 * @module
 */
import { connect } from "node:net";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Chain, ChainLink } from "../chain.ts";
import { reasonOf } from "../errors.ts";
import { portOfFile } from "../port-file.ts";
import {
  checkActivation,
  parseActivationReport,
  parseEvents,
  parseSignature,
  queryEvents,
  saveAccessList,
  verifySignature,
} from "../windows-host/programs.ts";
import { activationReportPath, pluginFolder, pluginPath, registryKeys } from "./plugin-identity.ts";
import {
  readPluginState,
  registrationParts,
  unsuitability,
  type PluginHost,
  type PluginState,
} from "./plugin-state.ts";

const hostDirectories = "C:\\var\\lib\\rancher\\gmsa";
const ccgChannel = "Microsoft-Windows-Containers-CCG/Admin";
const connectTimeoutMs = 2_000;

const install = "run `sallyport plugin install`";

/** Never throws: what cannot be seen is a link that says so. */
export async function readPluginStatus(host: PluginHost): Promise<Chain> {
  let state: PluginState;
  try {
    state = await readPluginState(host);
  } catch (error) {
    // All other links would have to guess.
    const links = [unknown("registry", reasonOf(error), "run as SYSTEM or as an administrator")];
    return { name: "CCG plugin", links };
  }
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
    await signatureLink(host, state),
    await accessListLink(host),
    ...registrationParts(state).map(({ part, holds, detail }) => ({
      link: part,
      holds,
      detail,
      ...(holds ? {} : { remedy: install }),
    })),
    await activationLink(host, state),
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

/** A discretionary list of plain grants and denials, with or without a system list behind it. */
const accessListForm = /^(?:O:\S+?G:\S+?)?D:(?:P|AI|AR)*((?:\([AD];[A-Z]*;[^;()]*;;;[^;()]+\))+)(?:S:\S*)?$/;

/**
 * Accounts besides the trusted ones that SDDL access lists, one a line, let change things; other lines are passed over.
 * `undefined` when there is no list, or one that is not understood: nothing is said about that. Exported for its test.
 */
export function untrustedWriters(text: string): readonly string[] | undefined {
  const lines = text.split(/\r?\n/).filter((line) => /^(O:|D:)/.test(line));
  const lists = lines.map((line) => accessListForm.exec(line)?.[1]);
  if (lists.length === 0 || lists.includes(undefined)) return undefined;
  const writers = [...lists.join("").matchAll(/\(A;[^;]*;([^;]*);[^;]*;[^;]*;([^;)]*)\)/g)]
    .filter(([, rights = "", account = ""]) => !trustedWriters.includes(account) && writes(rights))
    .map(([, , account = ""]) => account);
  return [...new Set(writers)];
}

function writes(rights: string): boolean {
  if (rights.startsWith("0x")) return (Number(rights) & writingBits) !== 0;
  return (rights.match(/../g) ?? []).some((word) => writingWords.includes(word));
}

/** A link that could not be looked at. */
function unknown(link: string, detail: string, remedy?: string): ChainLink {
  return { link, holds: false, unknown: true, detail, ...(remedy === undefined ? {} : { remedy }) };
}

/** What Windows says about the signature. A file without one is what the build makes: its hash is what can be compared. */
async function signatureLink(host: PluginHost, { file }: PluginState): Promise<ChainLink> {
  const link = "signature";
  if (file === undefined) return unknown(link, "not checked: there is no file");
  if (!file.signed) {
    return { link, holds: true, detail: "none; compare the SHA-256 above with the release's" };
  }
  const { exitCode, output } = await host.windows.run(verifySignature(pluginPath));
  const verdict = exitCode === 0 ? parseSignature(output) : undefined;
  if (verdict === undefined) return unknown(link, "there is one; not checked: PowerShell did not tell");
  const detail = `${verdict.status}${verdict.signer === "" ? "" : `, ${verdict.signer}`}`;
  return verdict.status === "Valid"
    ? { link, holds: true, detail }
    : {
        link,
        holds: false,
        detail,
        remedy: `the file is not as it was signed, or the signer is not trusted here: ${install}`,
      };
}

/** What COM's results mean here. */
const activationRemedies: Readonly<Record<string, string>> = {
  "80040154": install,
  "8007007E": "a library that the DLL needs is missing: compare the file's SHA-256 with the release's",
  "80004002":
    "Windows' proxy for the interface is missing: enable the feature Containers, or install the plugin again",
  "80070005":
    "the launch permission or the folder's access list keeps this account away: install the plugin again",
};

/** Really has COM make the object, in a process and through the surrogate, and says what it answered. */
async function activationLink(host: PluginHost, state: PluginState): Promise<ChainLink> {
  const link = "activation";
  const classThere = state.registry.has(registryKeys.pluginClass.toLowerCase());
  if (state.file === undefined || !classThere)
    return unknown(link, "not checked: the plugin is not registered");
  const file = host.localPath(activationReportPath);
  const { exitCode } = await host.windows.run(checkActivation(pluginPath));
  const text = await readFile(file, "latin1").catch(() => "");
  await rm(file, { force: true }).catch(() => undefined);
  const report = exitCode === 0 ? parseActivationReport(text) : undefined;
  if (report === undefined) {
    return unknown(
      link,
      `not checked: regsvr32 ended with ${exitCode}`,
      "run as SYSTEM or as an administrator",
    );
  }
  const name = (result: number): string => `0x${result.toString(16).toUpperCase().padStart(8, "0")}`;
  const succeeded = (result: number): boolean => result < 0x8000_0000;
  const detail = `in process ${name(report.inProcess)}, through dllhost ${name(report.surrogate)}`;
  if (succeeded(report.inProcess) && succeeded(report.surrogate)) return { link, holds: true, detail };
  const accessDenied = 0x8007_0005;
  if (succeeded(report.inProcess) && report.surrogate === accessDenied && !report.isLauncher) {
    return unknown(
      link,
      `${detail}: only SYSTEM and services may start it`,
      "run this as SYSTEM to see what CCG sees",
    );
  }
  const worst = succeeded(report.inProcess) ? report.surrogate : report.inProcess;
  const remedy =
    activationRemedies[name(worst).slice(2)] ?? "look the HRESULT up; the log System has COM's own entry";
  return { link, holds: false, detail, remedy };
}

async function accessListLink(host: PluginHost): Promise<ChainLink> {
  const link = "access list";
  const notTold = `not checked: icacls does not tell that of ${pluginFolder}`;
  const saved = `${pluginFolder}.acl`;
  const file = host.localPath(saved);
  try {
    const { exitCode } = await host.windows.run(saveAccessList(pluginFolder, saved));
    const sddl = (await readFile(file)).toString("utf16le");
    const writers = exitCode === 0 ? untrustedWriters(sddl.replace(/^\uFEFF/, "")) : undefined;
    if (writers === undefined) return unknown(link, notTold);
    return writers.length === 0
      ? {
          link,
          holds: true,
          detail: `only SYSTEM and Administrators may change ${pluginFolder}`,
        }
      : {
          link,
          holds: false,
          detail: `${pluginFolder} may be changed by ${writers.join(", ")}`,
          remedy: "uninstall and install the plugin: code of the system is loaded from there",
        };
  } catch {
    return unknown(link, notTold);
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
      const port = portOfFile(text);
      if (port === undefined) return { link, holds: false, detail: "port.txt holds no port", remedy };
      return (await answers(port))
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

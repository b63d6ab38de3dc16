/**
 * What a host has of the plugin, seen through the registry and the file system, and what is missing from a whole
 * installation. Reading is one function, judging another that knows no host.
 * @module
 */
import { readFile } from "node:fs/promises";
import { readRegistry, type RegistryContents } from "../windows-host/registry.ts";
import { readSecurityDescriptor } from "../windows-host/security-descriptor.ts";
import type { WindowsHost } from "../windows-host/windows-host.ts";
import { readPluginFile, type PluginFile } from "./plugin-file.ts";
import {
  keyVaultClassId,
  pluginAppId,
  pluginClassId,
  pluginName,
  pluginPath,
  registryKeys,
  replacedClassId,
} from "./plugin-identity.ts";

/** The host that is changed: its programs, and where its drive C is for this process. */
export interface PluginHost {
  readonly windows: WindowsHost;
  /** A path on the host as this process opens it. */
  localPath(windowsPath: string): string;
}

export interface PluginState {
  /** Such as 20348; `undefined` when the host does not say. */
  readonly windowsBuild: number | undefined;
  /** `AMD64` on the hosts that this plugin is for. */
  readonly architecture: string | undefined;
  /** The Containers feature is enabled: CCG has its list of allowed classes. */
  readonly containers: boolean;
  readonly file: PluginFile | undefined;
  readonly registry: RegistryContents;
}

/** Windows Server 2019, the first with CCG plugins. */
const oldestBuild = 17_763;

/** @throws {SallyportError} `E_REGISTRY` when it cannot be known what is registered. */
export async function readPluginState(host: PluginHost): Promise<PluginState> {
  const registry = await readRegistry(
    host.windows,
    [
      registryKeys.pluginClass,
      registryKeys.replacedClass,
      registryKeys.keyVaultClass,
      registryKeys.app,
      registryKeys.interface,
      registryKeys.allowedClasses,
      registryKeys.eventSource,
      registryKeys.settings,
    ],
    [
      [registryKeys.windows, "CurrentBuildNumber"],
      [registryKeys.environment, "PROCESSOR_ARCHITECTURE"],
    ],
  );
  const build = Number(valueOf(registry, registryKeys.windows, "CurrentBuildNumber"));
  return {
    windowsBuild: Number.isInteger(build) && build > 0 ? build : undefined,
    architecture: valueOf(registry, registryKeys.environment, "PROCESSOR_ARCHITECTURE"),
    containers: registry.has(registryKeys.allowedClasses.toLowerCase()),
    file: await readInstalledFile(host),
    registry,
  };
}

async function readInstalledFile(host: PluginHost): Promise<PluginFile | undefined> {
  try {
    return readPluginFile(await readFile(host.localPath(pluginPath)));
  } catch {
    return undefined;
  }
}

/** Why a host cannot run the plugin at all, a sentence each; empty when it can. */
export function unsuitability(state: PluginState): readonly string[] {
  const reasons: string[] = [];
  if (state.windowsBuild === undefined) reasons.push("this is not a Windows host that tells its build");
  else if (state.windowsBuild < oldestBuild) {
    reasons.push(`Windows build ${state.windowsBuild} is older than ${oldestBuild} (Windows Server 2019)`);
  }
  if (state.architecture !== undefined && state.architecture.toUpperCase() !== "AMD64") {
    reasons.push(`the processor architecture is ${state.architecture}, and the plugin is for AMD64`);
  }
  if (!state.containers) {
    reasons.push(`the Windows feature Containers is not enabled (no key ${registryKeys.allowedClasses})`);
  }
  return reasons;
}

/** What an administrator chooses with an installation, and a registration carries. */
export interface PluginChoices {
  /** Take the class ids that the plugin answers to from the plugins that hold them. */
  readonly takeOver: boolean;
  /** Answer to the class id of Microsoft's Azure Key Vault plugin, too. */
  readonly answerKeyVaultPlugin: boolean;
  /** Let every authenticated user start the surrogate, not only SYSTEM and services. */
  readonly authenticatedUsers: boolean;
}

/** Who holds the class id of another plugin, such as `registryKeys.replacedClass`. */
export function classHolder(state: PluginState, key: string): "nobody" | "sallyport" | "another plugin" {
  if (!state.registry.has(key.toLowerCase())) return "nobody";
  const appId = valueOf(state.registry, key, "AppID");
  return appId?.toUpperCase() === pluginAppId ? "sallyport" : "another plugin";
}

/** Where the DLL keeps what a class id was before it became ours. */
const keptKeys = [
  `${registryKeys.settings}\\Replaced`,
  `${registryKeys.settings}\\ReplacedKeyVault`,
] as const;

/** The choices that a registration was made with, as far as there is one. */
export function presentChoices(state: PluginState): PluginChoices {
  return {
    takeOver: keptKeys.some((key) => state.registry.has(`${key}\\CLSID`.toLowerCase())),
    answerKeyVaultPlugin: classHolder(state, registryKeys.keyVaultClass) === "sallyport",
    authenticatedUsers: permittedLaunchers(state, "LaunchPermission") === "authenticated users",
  };
}

/** SYSTEM and services, or SYSTEM and every authenticated user, may execute and activate locally; nobody else may anything. */
const localRights = 0xb;
const administrators = "S-1-5-32-544";
const launchers: ReadonlyMap<string, string> = new Map([
  ["S-1-5-18:b,S-1-5-6:b", "services"],
  ["S-1-5-18:b,S-1-5-11:b", "authenticated users"],
]);

/** Whom one of the AppID's two permissions is for, when it is one that registration writes. */
function permittedLaunchers(state: PluginState, name: string): string | undefined {
  const value = valueOf(state.registry, registryKeys.app, name);
  const descriptor = readSecurityDescriptor(Buffer.from(value ?? "", "hex"));
  if (descriptor?.owner !== administrators || descriptor.group !== administrators) return undefined;
  return launchers.get(
    descriptor.grants.map(({ account, mask }) => `${account}:${mask.toString(16)}`).join(),
  );
}

/** What such a permission grants, for a person: SIDs with their access masks. */
function describePermission(value: string): string {
  const descriptor = readSecurityDescriptor(Buffer.from(value, "hex"));
  if (descriptor === undefined) return "is no security descriptor of plain grants";
  const grants = descriptor.grants.map(({ account, mask }) => `0x${mask.toString(16)} to ${account}`);
  const owner =
    descriptor.owner === administrators && descriptor.group === administrators ? "" : " with another owner";
  return `grants ${grants.join(", ") || "nothing"}${owner}, not 0x${localRights.toString(16)} to SYSTEM and services`;
}

/** One thing that a whole installation has. */
export interface RegistrationPart {
  readonly part: string;
  readonly holds: boolean;
  readonly detail: string;
}

/**
 * Every registry key that `DllRegisterServer` writes, compared; with `choices`, also with what was chosen. `DllSurrogate`
 * may name dllhost.exe instead of being empty: both start the default surrogate.
 */
export function registrationParts(state: PluginState, choices?: PluginChoices): readonly RegistrationPart[] {
  const { registry } = state;
  const part = (name: string, key: string, faults: readonly (string | undefined)[]): RegistrationPart => {
    const wrong = faults.filter((fault): fault is string => fault !== undefined);
    return { part: name, holds: wrong.length === 0, detail: wrong.length === 0 ? key : wrong.join("; ") };
  };
  const expectText = (key: string, name: string, wanted: string): string | undefined => {
    const seen = valueOf(registry, key, name);
    if (seen?.toLowerCase() === wanted.toLowerCase()) return undefined;
    const label = name === "" ? "the default value" : name;
    return `${label} of ${key} is ${seen === undefined ? "missing" : `"${seen}"`}`;
  };
  const expectClass = (key: string): readonly (string | undefined)[] => [
    expectText(key, "", pluginName),
    expectText(key, "AppID", pluginAppId),
    expectText(`${key}\\InprocServer32`, "", pluginPath),
    expectText(`${key}\\InprocServer32`, "ThreadingModel", "Both"),
  ];
  const expectKey = (key: string): string | undefined =>
    registry.has(key.toLowerCase()) ? undefined : `${key} is missing`;
  const expectAllowed = (id: string): string | undefined =>
    expectKey(`${registryKeys.allowedClasses}\\${id}`);
  const permission = (name: string): string | undefined => {
    const value = valueOf(registry, registryKeys.app, name);
    if (value === undefined) return `${name} of ${registryKeys.app} is missing`;
    const seen = permittedLaunchers(state, name);
    if (seen === undefined) return `${name} of ${registryKeys.app} ${describePermission(value)}`;
    const chosen = choices?.authenticatedUsers === true ? "authenticated users" : "services";
    return choices === undefined || seen === chosen
      ? undefined
      : `${name} of ${registryKeys.app} is for ${seen}, not for ${chosen}`;
  };
  const surrogate = valueOf(registry, registryKeys.app, "DllSurrogate");
  /** @param answered whether the class id is to be ours; `undefined`: as it is. @param option what makes it ours. */
  const foreignClass = (
    name: string,
    [key, id]: readonly [string, string],
    answered: boolean | undefined,
    option: string,
  ): RegistrationPart => {
    const holder = classHolder(state, key);
    if (holder === "another plugin") {
      const taken = answered === true && choices?.takeOver === true;
      return {
        part: name,
        holds: !taken,
        detail: `${id} belongs to another plugin; ${option}--take-over takes it`,
      };
    }
    if (holder === "sallyport" && answered === false) {
      return { part: name, holds: false, detail: `${id} is answered to, and is not to be` };
    }
    if (holder === "nobody" && answered !== true) {
      return { part: name, holds: true, detail: `${id} is not answered to; ${option}changes that` };
    }
    return part(name, key, [...expectClass(key), expectAllowed(id)]);
  };
  const present = permittedLaunchers(state, "LaunchPermission");
  return [
    part("class", registryKeys.pluginClass, expectClass(registryKeys.pluginClass)),
    part("surrogate", `${registryKeys.app}, may be started by ${present ?? "others"}`, [
      expectText(registryKeys.app, "", pluginName),
      surrogate !== undefined && /^$|\\dllhost\.exe$/i.test(surrogate)
        ? undefined
        : `DllSurrogate of ${registryKeys.app} is ${surrogate === undefined ? "missing" : `"${surrogate}"`}`,
      permission("AccessPermission"),
      permission("LaunchPermission"),
    ]),
    part("proxy", registryKeys.interface, [expectKey(`${registryKeys.interface}\\ProxyStubClsid32`)]),
    part("allowed class", `${registryKeys.allowedClasses}\\${pluginClassId}`, [expectAllowed(pluginClassId)]),
    part("event source", registryKeys.eventSource, [
      expectText(registryKeys.eventSource, "EventMessageFile", pluginPath),
      expectText(registryKeys.eventSource, "TypesSupported", "0x7"),
    ]),
    foreignClass("replaced class", [registryKeys.replacedClass, replacedClassId], true, ""),
    foreignClass(
      "key vault class",
      [registryKeys.keyVaultClass, keyVaultClassId],
      choices?.answerKeyVaultPlugin,
      "--answer-key-vault-plugin ",
    ),
  ];
}

/** Is anything of an installation there, whole or not? */
export function leftParts(state: PluginState): readonly string[] {
  const { registry } = state;
  const ours = [
    registryKeys.pluginClass,
    registryKeys.app,
    registryKeys.eventSource,
    `${registryKeys.allowedClasses}\\${pluginClassId}`,
    ...keptKeys,
    ...[registryKeys.replacedClass, registryKeys.keyVaultClass].filter(
      (key) => classHolder(state, key) === "sallyport",
    ),
  ];
  return ours.filter((key) => registry.has(key.toLowerCase()));
}

export function valueOf(registry: RegistryContents, key: string, name: string): string | undefined {
  return registry.get(key.toLowerCase())?.get(name.toLowerCase())?.data;
}

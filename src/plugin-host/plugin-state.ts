/**
 * What a host has of the plugin, seen through the registry and the file system, and what is missing from a whole
 * installation. Reading is one function, judging another that knows no host.
 * @module
 */
import { readFile } from "node:fs/promises";
import { readRegistry, type RegistryContents } from "../windows-host/registry.ts";
import type { WindowsHost } from "../windows-host/windows-host.ts";
import { readPluginFile, type PluginFile } from "./plugin-file.ts";
import {
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

export async function readPluginState(host: PluginHost): Promise<PluginState> {
  const registry = await readRegistry(host.windows, [
    registryKeys.pluginClass,
    registryKeys.replacedClass,
    registryKeys.app,
    registryKeys.interface,
    registryKeys.allowedClasses,
    registryKeys.eventSource,
    registryKeys.settings,
    registryKeys.windows,
    registryKeys.environment,
  ]);
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

/** Who holds the class id of the plugin that this one replaces. */
export function replacedClassHolder(state: PluginState): "nobody" | "sallyport" | "another plugin" {
  if (!state.registry.has(registryKeys.replacedClass.toLowerCase())) return "nobody";
  const appId = valueOf(state.registry, registryKeys.replacedClass, "AppID");
  return appId?.toUpperCase() === pluginAppId ? "sallyport" : "another plugin";
}

/** One thing that a whole installation has. */
export interface RegistrationPart {
  readonly part: string;
  readonly holds: boolean;
  readonly detail: string;
}

/**
 * Every registry key that `DllRegisterServer` writes, compared. `DllSurrogate` may name dllhost.exe instead of being
 * empty: both start the default surrogate.
 */
export function registrationParts(state: PluginState): readonly RegistrationPart[] {
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
  const permission = (name: string): string | undefined =>
    valueOf(registry, registryKeys.app, name) === undefined
      ? `${name} of ${registryKeys.app} is missing`
      : undefined;
  const surrogate = valueOf(registry, registryKeys.app, "DllSurrogate");
  const holder = replacedClassHolder(state);
  return [
    part("class", registryKeys.pluginClass, expectClass(registryKeys.pluginClass)),
    part("surrogate", registryKeys.app, [
      expectText(registryKeys.app, "", pluginName),
      surrogate !== undefined && /^$|\\dllhost\.exe$/i.test(surrogate)
        ? undefined
        : `DllSurrogate of ${registryKeys.app} is ${surrogate === undefined ? "missing" : `"${surrogate}"`}`,
      permission("AccessPermission"),
      permission("LaunchPermission"),
    ]),
    part("proxy", registryKeys.interface, [expectKey(`${registryKeys.interface}\\ProxyStubClsid32`)]),
    part("allowed class", `${registryKeys.allowedClasses}\\${pluginClassId}`, [
      expectKey(`${registryKeys.allowedClasses}\\${pluginClassId}`),
    ]),
    part("event source", registryKeys.eventSource, [
      expectText(registryKeys.eventSource, "EventMessageFile", pluginPath),
      expectText(registryKeys.eventSource, "TypesSupported", "0x7"),
    ]),
    holder === "another plugin"
      ? {
          part: "replaced class",
          holds: true,
          detail: `${replacedClassId} belongs to another plugin; --take-over takes it`,
        }
      : part("replaced class", registryKeys.replacedClass, [
          ...expectClass(registryKeys.replacedClass),
          expectKey(`${registryKeys.allowedClasses}\\${replacedClassId}`),
        ]),
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
    `${registryKeys.settings}\\Replaced`,
    ...(replacedClassHolder(state) === "sallyport" ? [registryKeys.replacedClass] : []),
  ];
  return ours.filter((key) => registry.has(key.toLowerCase()));
}

export function valueOf(registry: RegistryContents, key: string, name: string): string | undefined {
  return registry.get(key.toLowerCase())?.get(name.toLowerCase())?.data;
}

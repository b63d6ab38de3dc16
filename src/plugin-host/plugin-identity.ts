/**
 * The ids, names and places that the CCG plugin has on a host. `native/ccg-plugin/src/identity.h` has the same, and a
 * test compares them; credential specs and hosts hold them, so they never change.
 * @module
 */
import { join } from "node:path/win32";

export const pluginClassId = "{D035536E-1862-450C-830A-FB8629184C57}";
/** The class of Rancher's plugin, which credential specs made for it name. */
export const replacedClassId = "{E4781092-F116-4B79-B55E-28EB6A224E26}";
/** The class of Microsoft's Azure Key Vault plugin, answered to where the administrator says so. */
export const keyVaultClassId = "{CCC2A336-D7F3-4818-A213-272B7924213E}";
export const pluginAppId = "{35BDD23D-4757-4EB1-B7AA-D587CBFAD5B4}";
export const pluginName = "Sallyport CCG plugin";
const ccgInterfaceId = "{6ECDA518-2010-4437-8BC3-46E752B7B172}";

export const pluginFileName = "SallyportCcgPlugin.dll";
export const pluginFolder = "C:\\Program Files\\Sallyport CCG plugin";
export const pluginPath = join(pluginFolder, pluginFileName);
/** Where the DLL writes what came of a check of its activation. */
export const activationReportPath = `${pluginPath}.activation`;
/** Held while a host is changed; only administrators may write there. */
export const lockPath = "C:\\Program Files\\.sallyport-ccg-plugin.lock";

const classes = "HKLM\\SOFTWARE\\Classes";
export const registryKeys = {
  pluginClass: `${classes}\\CLSID\\${pluginClassId}`,
  replacedClass: `${classes}\\CLSID\\${replacedClassId}`,
  keyVaultClass: `${classes}\\CLSID\\${keyVaultClassId}`,
  app: `${classes}\\AppID\\${pluginAppId}`,
  interface: `${classes}\\Interface\\${ccgInterfaceId}`,
  allowedClasses: "HKLM\\SYSTEM\\CurrentControlSet\\Control\\CCG\\COMClasses",
  eventSource: `HKLM\\SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application\\${pluginName}`,
  settings: "HKLM\\SOFTWARE\\Sallyport\\CCG plugin",
  windows: "HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion",
  environment: "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Session Manager\\Environment",
} as const;

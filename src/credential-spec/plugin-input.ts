/**
 * The inputs that known CCG plugins accept. The input is opaque to Windows, so a wrong one shows up only as an event on the
 * host at the first logon; for plugins whose format is known it can be told before.
 * @module
 */

interface PluginFormat {
  readonly name: string;
  readonly accepts: RegExp;
  readonly format: string;
  /** The input holds a password in clear text. */
  readonly carriesPassword?: true;
}

/** By class id, upper-case without braces. */
const formats: Readonly<Record<string, PluginFormat>> = {
  "E4781092-F116-4B79-B55E-28EB6A224E26": {
    name: "the Kubernetes secret plugin",
    accepts: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/,
    format: "NAMESPACE:SECRET",
  },
  "CCC2A336-D7F3-4818-A213-272B7924213E": {
    name: "the Azure Key Vault plugin",
    accepts: /^(?=(?:.*;)?objectid=[^;\s]+(?:;|$))(?=(?:.*;)?secreturi=https:\/\/[^;\s]+(?:;|$)).*$/i,
    format: "ObjectId=ID;SecretUri=https://VAULT/secrets/NAME",
  },
  "DEFFF03C-3245-465F-8391-CC586A2D1F32": {
    name: "this plugin",
    accepts: /^[^@:]+@[^@:]+:.+$/,
    format: "USER@DOMAIN:PASSWORD",
    carriesPassword: true,
  },
  "CFCA0441-511D-4B2A-862E-20348A78760B": {
    name: "the sample plugin",
    accepts: /^[^:]+:[^:]+:.+$/,
    format: "DOMAIN:USER:PASSWORD",
    carriesPassword: true,
  },
};

export interface PluginInputProblem {
  readonly rule: "plugin-input-malformed" | "plugin-input-secret";
  readonly problem: string;
}

/**
 * What is wrong with an input for the plugin of this class id (without braces), if its format is known. The input itself
 * is never repeated: for some plugins it is a password.
 */
export function pluginInputProblem(classId: string, input: string): PluginInputProblem | undefined {
  const plugin = formats[classId.toUpperCase()];
  if (plugin === undefined) return undefined;
  if (!plugin.accepts.test(input)) {
    return {
      rule: "plugin-input-malformed",
      problem: `is not what ${plugin.name} expects: ${plugin.format}`,
    };
  }
  if (plugin.carriesPassword !== true) return undefined;
  return { rule: "plugin-input-secret", problem: `holds a password in clear text (${plugin.format})` };
}

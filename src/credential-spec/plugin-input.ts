/**
 * The inputs that known CCG plugins accept. The input is opaque to Windows, so a wrong one shows up only as an event on the
 * host at the first logon; for plugins whose format is known it can be told before.
 * @module
 */

import { readSecretUri } from "../secret-store/azure-key-vault/secret-uri.ts";
import { readKeyVaultInput } from "./key-vault-input.ts";

interface PluginFormat {
  readonly name: string;
  /** What is wrong with an input, in words that follow "is"; `undefined`: nothing. */
  readonly problem: (input: string) => string | undefined;
  readonly format: string;
  /** The input holds a password in clear text. */
  readonly carriesPassword?: true;
}

const keyVaultFormat = "ObjectId=ID;SecretUri=https://VAULT/secrets/NAME";

const matching =
  (accepts: RegExp) =>
  (input: string): string | undefined =>
    accepts.test(input) ? undefined : "not";

const kubernetesInput = matching(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?:[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/);

/** Whatever cloud the vault is in: the host's administrator may allow others than the public ones. */
function keyVaultInput(input: string): string | undefined {
  const read = readKeyVaultInput(input);
  if (!read.ok) return `${read.problem}, so not`;
  const host = /^https:\/\/([^/?#:@]*)/i.exec(read.secretUri)?.[1]?.toLowerCase() ?? "";
  const uri = readSecretUri(read.secretUri, [host.slice(host.indexOf(".") + 1)]);
  return uri.ok ? undefined : `a SecretUri ${uri.problem}, so not`;
}

/** Sallyport's plugin takes both, and so under the class id of the plugin that it replaces. */
const sallyportInput = (input: string): string | undefined =>
  input.includes("=") ? keyVaultInput(input) : kubernetesInput(input);

/** By class id, upper-case without braces. */
const formats: Readonly<Record<string, PluginFormat>> = {
  "D035536E-1862-450C-830A-FB8629184C57": {
    name: "Sallyport's plugin",
    problem: sallyportInput,
    format: `NAMESPACE:SECRET or ${keyVaultFormat}`,
  },
  "E4781092-F116-4B79-B55E-28EB6A224E26": {
    name: "the Kubernetes secret plugin",
    problem: sallyportInput,
    format: "NAMESPACE:SECRET",
  },
  "CCC2A336-D7F3-4818-A213-272B7924213E": {
    name: "the Azure Key Vault plugin",
    problem: keyVaultInput,
    format: keyVaultFormat,
  },
  "DEFFF03C-3245-465F-8391-CC586A2D1F32": {
    name: "this plugin",
    problem: matching(/^[^@:]+@[^@:]+:.+$/),
    format: "USER@DOMAIN:PASSWORD",
    carriesPassword: true,
  },
  "CFCA0441-511D-4B2A-862E-20348A78760B": {
    name: "the sample plugin",
    problem: matching(/^[^:]+:[^:]+:.+$/),
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
  const problem = plugin.problem(input);
  if (problem !== undefined) {
    return {
      rule: "plugin-input-malformed",
      problem: `is ${problem} what ${plugin.name} expects: ${plugin.format}`,
    };
  }
  if (plugin.carriesPassword !== true) return undefined;
  return { rule: "plugin-input-secret", problem: `holds a password in clear text (${plugin.format})` };
}

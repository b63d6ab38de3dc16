/**
 * A spec for a Swarm: a config named by its contents, because a config's data cannot be changed; rotation is a new name
 * and a service update.
 * @module
 */
import { stringify } from "yaml";
import { canonicalJson } from "../canonical-json.ts";
import { commandLine, quote, type Shell } from "./quoting.ts";
import { hashOf, hostNameWarning, windowsConstraint, type NamedSpec, type Rendering } from "./rendering.ts";

/** Longest name of a config. */
const longestName = 64;
const hashLength = 12;

/**
 * `NAME-<12 hexadecimal digits of the contents' hash>`, within Swarm's rules for config names: at most 64 of
 * `[a-zA-Z0-9-_.]`, letters or digits at both ends.
 */
export function configNameFor({ name, spec }: NamedSpec): string {
  const base = name
    .replace(/[^a-zA-Z0-9_.-]/g, "-")
    .slice(0, longestName - hashLength - 1)
    .replace(/^[^a-zA-Z0-9]+|[^a-zA-Z0-9]+$/g, "");
  const hash = hashOf(spec).slice(0, hashLength);
  return base === "" ? hash : `${base}-${hash}`;
}

const configsAreNoSecrets =
  "Configs are no secrets: everyone with access to the managers' API can read them.";

export interface ServiceOptions {
  readonly service: string;
  readonly image: string;
}

/** `docker config create` from standard input and `docker service create`. */
export function renderService(
  named: NamedSpec,
  options: ServiceOptions & { readonly shell: Shell },
): Rendering {
  const { shell } = options;
  const config = configNameFor(named);
  const service =
    `docker service create --name ${quote(options.service, shell)} --credential-spec ${quote(`config://${config}`, shell)} ` +
    `--constraint ${quote(windowsConstraint, shell)} ${quote(options.image, shell)}`;
  return {
    text: `${pipeInto(canonicalJson(named.spec), ["docker", "config", "create", config, "-"], shell)}\n${service}\n`,
    warnings: [
      configsAreNoSecrets,
      hostNameWarning,
      "Without the constraint a task may be placed on a Linux node, which rejects it.",
    ],
  };
}

function pipeInto(input: string, words: readonly string[], shell: Shell): string {
  const command = commandLine(words, shell);
  switch (shell) {
    case "sh":
      return `printf %s ${quote(input, shell)} | ${command}`;
    case "powershell":
    case "windows-powershell":
      // Piping a literal, not passing an argument: PowerShell 7's quoting is right in both versions.
      return `${quote(input, "powershell")} | ${command}`;
    case "cmd":
      // `echo` prints what follows as it is, so only cmd's own characters are escaped. Twice: once for this line, once for
      // the second cmd that runs the left side of a pipe.
      return `echo ${carets(carets(input))}| ${command}`;
  }
}

function carets(text: string): string {
  return text.replace(/[()%!^"<>&|]/g, "^$&");
}

/**
 * A stack file for `docker stack deploy`. The config is external and its key equals its name: with a `name:` that differs
 * from the key the CLI does not find the config.
 */
export function renderStack(named: NamedSpec, options: ServiceOptions): Rendering {
  const config = configNameFor(named);
  return {
    text: stringify(
      {
        version: "3.8",
        services: {
          [options.service]: {
            image: options.image,
            credential_spec: { config },
            deploy: { placement: { constraints: [windowsConstraint] } },
          },
        },
        configs: { [config]: { external: true } },
      },
      { lineWidth: 0 },
    ),
    warnings: [
      `The config must exist before the stack is deployed: \`docker config create ${config} FILE\`, or \`sallyport credspec deliver\`.`,
      "Keep the key under `configs` equal to the config's name: `docker stack deploy` does not find it otherwise.",
      configsAreNoSecrets,
      hostNameWarning,
    ],
  };
}

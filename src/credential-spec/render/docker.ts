/**
 * A spec for one Docker engine: arguments of `docker run` and bodies of the Engine API.
 * @module
 */
import { canonicalJson } from "../canonical-json.ts";
import { configNameFor } from "./swarm.ts";
import { commandLine, type Shell } from "./quoting.ts";
import {
  hostNameWarning,
  rawIsVisible,
  rawSecurityOption,
  windowsConstraint,
  type NamedSpec,
  type Rendering,
} from "./rendering.ts";

const batchWarning = "In a batch file (unlike at the prompt) every % must be doubled.";

/** `docker run` with the spec by value, so that no file has to be on the host. */
export function renderDockerRun(
  { spec }: NamedSpec,
  options: { readonly shell: Shell; readonly image: string },
): Rendering {
  const words = ["docker", "run", "--security-opt", rawSecurityOption(spec), options.image];
  const line = commandLine(words, options.shell);
  return {
    text: `${line}\n`,
    warnings: [
      rawIsVisible,
      hostNameWarning,
      "The engine must be a Windows one; a Linux engine refuses the option.",
      ...(options.shell === "cmd" && line.includes("%") ? [batchWarning] : []),
    ],
  };
}

/** Body of `POST /containers/create`, to be merged with the rest of the container's settings. */
export function renderContainerCreate({ spec }: NamedSpec): Rendering {
  return {
    text: json({ HostConfig: { SecurityOpt: [rawSecurityOption(spec)] } }),
    warnings: ["One credentialspec option only: the engine silently takes the last.", hostNameWarning],
  };
}

/** Body of `POST /configs/create`. */
export function renderConfigCreate({ name, spec }: NamedSpec): Rendering {
  return {
    text: json({
      Name: configNameFor({ name, spec }),
      Labels: { "sallyport.io/credential-spec": name },
      Data: Buffer.from(canonicalJson(spec), "utf8").toString("base64"),
    }),
    warnings: ["Configs are no secrets: everyone with access to the managers' API can read them."],
  };
}

/** Part of the body of `POST /services/create`; `configId` is what `/configs/create` answered. API 1.40 or later. */
export function renderServiceCreate(named: NamedSpec, configId: string): Rendering {
  return {
    text: json({
      TaskTemplate: {
        ContainerSpec: {
          Privileges: { CredentialSpec: { Config: configId } },
          Configs: [{ ConfigID: configId, ConfigName: configNameFor(named), Runtime: {} }],
        },
        Placement: { Constraints: [windowsConstraint] },
      },
    }),
    warnings: [
      "The config must stand in Configs as a Runtime target as well, as it does here; a File target is not enough.",
      hostNameWarning,
    ],
  };
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

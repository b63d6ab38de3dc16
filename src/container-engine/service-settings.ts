/**
 * The few places of a Swarm service's settings that say which credential spec it has
 * (https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Service).
 * @module
 */
import type { ConfigReference, ServiceIdentity, ServiceSettings } from "./container-engine.ts";

type Fields = Readonly<Record<string, unknown>>;

export function identityOf(settings: ServiceSettings): ServiceIdentity {
  const container = containerOf(settings);
  const spec = fields(fields(container["Privileges"])["CredentialSpec"]);
  const references = list(container["Configs"]).map(fields);
  const configId = text(spec["Config"]);
  const reference = references.find((one) => text(one["ConfigID"]) === configId && isRuntime(one));
  const file = text(spec["File"]);
  const registry = text(spec["Registry"]);
  return {
    config: configId === "" ? undefined : { id: configId, name: text(reference?.["ConfigName"]) },
    elsewhere: file === "" ? (registry === "" ? undefined : `registry://${registry}`) : `file://${file}`,
    configIds: [...references.map((one) => text(one["ConfigID"])), configId].filter((id) => id !== ""),
  };
}

export function constraintsOf(settings: ServiceSettings): readonly string[] {
  const placement = fields(fields(settings["TaskTemplate"])["Placement"]);
  return list(placement["Constraints"]).map(text);
}

export function hasContainers(settings: ServiceSettings): boolean {
  return Object.keys(containerOf(settings)).length > 0;
}

/**
 * The same settings with another config as the credential spec. Swarm wants it twice: by id among the privileges, and among
 * the config references with the target `Runtime`, which is why it never becomes a file in the container.
 */
export function withCredentialSpec(settings: ServiceSettings, config: ConfigReference): ServiceSettings {
  const container = containerOf(settings);
  const before = identityOf(settings).config?.id;
  const others = list(container["Configs"]).filter((one) => {
    const reference = fields(one);
    const id = text(reference["ConfigID"]);
    // The same config may stand there as a file as well: that one is the service's own affair.
    return !(isRuntime(reference) && (id === before || id === config.id));
  });
  return {
    ...settings,
    TaskTemplate: {
      ...fields(settings["TaskTemplate"]),
      ContainerSpec: {
        ...container,
        Privileges: { ...fields(container["Privileges"]), CredentialSpec: { Config: config.id } },
        Configs: [...others, { ConfigID: config.id, ConfigName: config.name, Runtime: {} }],
      },
    },
  };
}

function containerOf(settings: ServiceSettings): Fields {
  return fields(fields(settings["TaskTemplate"])["ContainerSpec"]);
}

function isRuntime(reference: Fields): boolean {
  return typeof reference["Runtime"] === "object" && reference["Runtime"] !== null;
}

/** An object's members; none for anything else. */
export function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

/** A list's items; none for anything else, `null` included, which Go writes for an empty list. */
export function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}

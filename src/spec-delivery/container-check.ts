/**
 * What can be said about the containers of an engine without Swarm. There are no configs there, and a container's credential
 * spec is fixed when it is made: nothing can be delivered, only compared.
 * @module
 */
import { canonicalJson } from "../credential-spec/canonical-json.ts";
import { readJson } from "../credential-spec/json.ts";
import type { EngineContainer } from "../container-engine/container-engine.ts";
import { specLabel } from "./delivery-plan.ts";
import { accountOf, type Offer, type OfferedSpec } from "./offered-specs.ts";

/**
 * `current`: it has the spec as it is offered. `outdated`: an older version, or none at all. `refused`: it may not have it.
 * `unreadable`: its contents lie in a file or in the registry of the host. `unknown`: a spec that is not offered.
 */
export interface ContainerFinding {
  readonly container: string;
  readonly running: boolean;
  readonly spec: string | undefined;
  readonly state: "current" | "outdated" | "refused" | "unreadable" | "unknown";
  readonly detail: string;
}

/** Only containers that have or want a credential spec. */
export function checkContainers(
  offer: Offer,
  containers: readonly EngineContainer[],
): readonly ContainerFinding[] {
  return containers.flatMap((container) => {
    const found = check(offer, container);
    return found === undefined ? [] : [{ container: container.name, running: container.running, ...found }];
  });
}

export function isContainerFault({ state }: ContainerFinding): boolean {
  return state === "outdated" || state === "refused";
}

type Verdict = Omit<ContainerFinding, "container" | "running">;

function check(offer: Offer, container: EngineContainer): Verdict | undefined {
  const asked = Object.hasOwn(container.labels, specLabel) ? container.labels[specLabel] : undefined;
  const value = container.credentialSpecs.at(-1);
  if (asked === undefined && value === undefined) return undefined;
  const raw = /^raw:\/\/(.*)$/is.exec(value ?? "")?.[1];
  const reading = raw === undefined ? undefined : readJson(raw);
  // Of a key that stands twice nobody knows which one Windows takes.
  const contents = reading?.ok === true && reading.duplicates.length === 0 ? reading.value : undefined;
  const account = contents === undefined ? "" : accountOf(contents);
  const spec =
    asked === undefined
      ? offer.specs.find((one) => account !== "" && one.account === account)
      : offer.specs.find((one) => one.name === asked);
  if (spec === undefined) {
    if (raw === undefined && value !== undefined && asked === undefined) return unreadable(undefined, value);
    const what =
      asked === undefined
        ? `has a credential spec of ${account || "no account"}`
        : `asks for the spec ${asked}`;
    return { spec: asked, state: "unknown", detail: `${what}, which the folder does not offer` };
  }
  if (!spec.use.ok || !spec.use.allows(container.name)) {
    return { spec: spec.name, state: "refused", detail: "the spec's list does not name it" };
  }
  if (value === undefined) return outdated(spec, "has no credential spec");
  if (raw === undefined) return unreadable(spec.name, value);
  if (contents === undefined) return outdated(spec, "has contents that cannot be read");
  return canonicalJson(contents) === spec.contents
    ? { spec: spec.name, state: "current", detail: `has ${spec.config}` }
    : outdated(spec, "has other contents than the spec");
}

function outdated(spec: OfferedSpec, what: string): Verdict {
  const detail = `${what}; make it anew with the words of \`sallyport credspec render docker-run\``;
  return { spec: spec.name, state: "outdated", detail };
}

function unreadable(spec: string | undefined, value: string): Verdict {
  const scheme = /^[a-z]{1,16}:\/\//i.exec(value)?.[0] ?? "something else";
  return {
    spec,
    state: "unreadable",
    detail: `has ${scheme}, whose contents lie on the host and cannot be compared`,
  };
}

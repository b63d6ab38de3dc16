/**
 * What has to be done so that a Swarm holds the specs that are offered, and its services the newest of theirs: decided from a
 * picture of both, without touching either. The rules that matter most: nobody gets a spec who is not on its list, and no
 * config goes that anything may still need.
 * @module
 */
import { sameDocument } from "../credential-spec/canonical-json.ts";
import { readJson } from "../credential-spec/json.ts";
import type { EngineConfig, EngineService } from "../container-engine/container-engine.ts";
import { noContention, type Contention } from "./contention.ts";
import type { Offer, OfferedSpec } from "./offered-specs.ts";

/** On a config: the spec that it is a version of (as `credspec render config-api` writes it). On a service: the spec it wants. */
export const specLabel = "sallyport.io/credential-spec";
/** On a config: whose it is, so that two folders delivered to one Swarm leave each other's alone. */
export const ownerLabel = "sallyport.io/delivered-by";

/** A Swarm at one moment. */
export interface SwarmPicture {
  /** Those with {@link specLabel}, and those that bear the name of an offered spec's config. */
  readonly configs: readonly EngineConfig[];
  readonly services: readonly EngineService[];
  /** Ids of configs of tasks that run or are still to run. */
  readonly taskConfigIds: ReadonlySet<string>;
}

export type DeliveryAction =
  | { readonly kind: "create-config"; readonly spec: string; readonly config: string; readonly hash: string }
  | {
      readonly kind: "update-service";
      readonly spec: string;
      readonly service: string;
      /** What is its credential spec now: the name of a config, `file://…`, `registry://…`; absent: nothing. */
      readonly from: string | undefined;
      readonly config: string;
      readonly hash: string;
    }
  | { readonly kind: "remove-config"; readonly spec: string; readonly config: string };

export const remarkKinds = ["blocked", "refused", "held", "gap", "unknown", "kept", "warning"] as const;

/**
 * Something that is not done, and why. `blocked`: a spec that cannot be delivered. `refused`: a service that may not have the
 * spec. `held`: a service that Swarm took back, or that somebody else keeps changing. `gap`: a part of the folder that cannot be read. `unknown`: a service asks for
 * a spec that is not offered. `kept`: an old config stays. `warning`: something that will fail later.
 */
export interface Remark {
  readonly kind: (typeof remarkKinds)[number];
  /** `spec webapp01`, `service web`, `config webapp01-0123456789ab`. */
  readonly subject: string;
  readonly reason: string;
}

export interface DeliveryPlan {
  /** In the order in which they have to be done. */
  readonly actions: readonly DeliveryAction[];
  readonly remarks: readonly Remark[];
  /** Services that have the newest version of their spec. */
  readonly current: readonly { readonly service: string; readonly spec: string; readonly config: string }[];
}

/** Whether a remark means that something is wrong, rather than worth knowing. */
export function isFault({ kind }: Remark): boolean {
  return kind === "blocked" || kind === "refused" || kind === "held" || kind === "gap";
}

/** The plan. Changes nothing; empty when everything is as it should be. */
export function planDelivery(
  offer: Offer,
  swarm: SwarmPicture,
  owner: string,
  contention: Contention = noContention,
): DeliveryPlan {
  const planner = new Planner(offer, swarm, owner, contention);
  planner.planConfigs();
  planner.planServices();
  planner.planRemovals();
  return { actions: planner.actions, remarks: planner.remarks, current: planner.current };
}

interface Deliverable {
  readonly spec: OfferedSpec;
  /** Absent: still to be created. */
  readonly config: EngineConfig | undefined;
}

class Planner {
  readonly actions: DeliveryAction[] = [];
  readonly remarks: Remark[] = [];
  readonly current: { service: string; spec: string; config: string }[] = [];
  readonly #offer: Offer;
  readonly #swarm: SwarmPicture;
  readonly #owner: string;
  readonly #contention: Contention;
  /** Specs of services that somebody else keeps changing. */
  readonly #contested = new Set<string>();
  readonly #offered: ReadonlyMap<string, OfferedSpec>;
  readonly #configsById: ReadonlyMap<string, EngineConfig>;
  readonly #deliverable = new Map<string, Deliverable>();

  constructor(offer: Offer, swarm: SwarmPicture, owner: string, contention: Contention) {
    this.#offer = offer;
    this.#swarm = swarm;
    this.#owner = owner;
    this.#contention = contention;
    this.#offered = new Map(offer.specs.map((spec) => [spec.name, spec]));
    this.#configsById = new Map(swarm.configs.map((config) => [config.id, config]));
    for (const reason of offer.gaps) this.#remark("gap", "folder", reason);
  }

  planConfigs(): void {
    for (const spec of this.#offer.specs) {
      if (spec.problems.length > 0) {
        this.#remark("blocked", `spec ${spec.name}`, spec.problems.join("; "));
        continue;
      }
      const config = this.#swarm.configs.find(({ name }) => name === spec.config);
      if (config !== undefined && !holds(config, spec)) {
        const reason = `there is a config ${spec.config} with other contents; remove it, or find out who made it`;
        this.#remark("blocked", `spec ${spec.name}`, reason);
        continue;
      }
      this.#deliverable.set(spec.name, { spec, config });
      const asked = this.actions.some((action) => action.config === spec.config);
      if (config === undefined && !asked) {
        this.actions.push({ kind: "create-config", spec: spec.name, config: spec.config, hash: spec.hash });
      }
    }
  }

  planServices(): void {
    for (const service of this.#swarm.services) {
      const asked = Object.hasOwn(service.labels, specLabel) ? service.labels[specLabel] : undefined;
      const name = asked ?? this.#specInUse(service);
      if (name !== undefined) this.#planService(service, name, asked !== undefined);
    }
  }

  #planService(service: EngineService, name: string, asked: boolean): void {
    const subject = `service ${service.name}`;
    const offered = this.#offered.get(name);
    if (offered === undefined) {
      // A config that it uses stays because it is used; a label may be another folder's, or misspelt.
      if (asked)
        this.#remark("unknown", subject, `asks for the spec ${name}, which the folder does not offer`);
      return;
    }
    if (!offered.use.ok || !offered.use.allows(service.name)) {
      const verb = asked ? "asks for" : "uses";
      this.#remark("refused", subject, `${verb} the spec ${name}, whose list of services does not name it`);
      return;
    }
    const deliverable = this.#deliverable.get(name);
    if (deliverable === undefined) return;
    if (!service.runsContainers) {
      this.#remark("refused", subject, "runs no containers, and nothing else can have a credential spec");
      return;
    }
    if (!service.constraints.some((one) => /^\s*node\.platform\.os\s*==\s*windows\s*$/i.test(one))) {
      const reason = "has no constraint node.platform.os==windows: a Linux node rejects its tasks";
      this.#remark("warning", subject, reason);
    }
    const { spec, config } = deliverable;
    const { heldUntil, times } = this.#contention.standing(service.id, spec.config) ?? {};
    const isCurrent = config !== undefined && service.identity.config?.id === config.id;
    // Ours of a moment ago, and no longer there: or it was so before.
    const contested = times !== undefined && (times > 0 || !isCurrent);
    if (contested) this.#contested.add(name);
    if (isCurrent) {
      this.current.push({ service: service.name, spec: spec.name, config: config.name });
      if (contested) this.#remark("warning", subject, othersChangeIt);
    } else if (config !== undefined && (service.rolledBackAt ?? -Infinity) >= config.createdAt) {
      this.#remark(
        "held",
        subject,
        `was rolled back after ${config.name} had been there; when the cause is mended, \`docker service update --force ${service.name}\` lets it be delivered again`,
      );
    } else if (heldUntil !== undefined) {
      const until = new Date(heldUntil).toISOString();
      this.#remark("held", subject, `${othersChangeIt}; left alone until ${until}`);
    } else {
      this.actions.push({
        kind: "update-service",
        spec: spec.name,
        service: service.name,
        from: service.identity.config?.name ?? service.identity.elsewhere,
        config: spec.config,
        hash: spec.hash,
      });
    }
  }

  planRemovals(): void {
    const wanted = new Set(this.#offer.specs.map((spec) => spec.config));
    for (const config of this.#swarm.configs) {
      const spec = Object.hasOwn(config.labels, specLabel) ? config.labels[specLabel] : undefined;
      if (spec === undefined || config.labels[ownerLabel] !== this.#owner || wanted.has(config.name))
        continue;
      const reason = this.#reasonToKeep(config, spec);
      if (reason === undefined) this.actions.push({ kind: "remove-config", spec, config: config.name });
      else this.#remark("kept", `config ${config.name}`, reason);
    }
  }

  #reasonToKeep(config: EngineConfig, spec: string): string | undefined {
    const { services, taskConfigIds } = this.#swarm;
    const users = services.filter(({ identity }) => identity.configIds.includes(config.id));
    if (users.length > 0) return `used by ${users.map(({ name }) => name).join(", ")}`;
    const fallback = services.filter(({ fallbackConfigIds }) => fallbackConfigIds.includes(config.id));
    if (fallback.length > 0) {
      return `the update of ${fallback.map(({ name }) => name).join(", ")} is not complete and may go back to it`;
    }
    if (this.#contested.has(spec)) return `somebody else keeps changing services that have the spec ${spec}`;
    if (this.#contention.isFresh(config.id)) return "is new here: another `deliver` may be about to use it";
    if (taskConfigIds.has(config.id)) return "tasks that are not ended have it";
    if (this.#offered.has(spec) && !this.#deliverable.has(spec))
      return `the spec ${spec} cannot be delivered now`;
    if (this.#offer.gaps.length > 0) return "the folder cannot be read completely";
    return undefined;
  }

  /** The spec of which the service's config is a version: by the config's label, or by the name that `render` gives. */
  #specInUse(service: EngineService): string | undefined {
    const reference = service.identity.config;
    if (reference === undefined) return undefined;
    const labels = this.#configsById.get(reference.id)?.labels ?? {};
    if (Object.hasOwn(labels, specLabel)) {
      return (labels[ownerLabel] ?? this.#owner) === this.#owner ? labels[specLabel] : undefined;
    }
    const base = versionedName.exec(reference.name)?.[1];
    const specs = this.#offer.specs.filter(({ config }) => versionedName.exec(config)?.[1] === base);
    return base === undefined || specs.length !== 1 ? undefined : specs[0]?.name;
  }

  #remark(kind: Remark["kind"], subject: string, reason: string): void {
    this.remarks.push({ kind, subject, reason });
  }
}

const othersChangeIt =
  "somebody else keeps changing it: run one `deliver` per folder and Swarm, and let nothing else set its credential spec";

const versionedName = /^(.+)-[0-9a-f]{12}$/;

/** Whether a config says what the spec says: one made by hand may end in a line break. */
function holds(config: EngineConfig, spec: OfferedSpec): boolean {
  const text = Buffer.from(config.data).toString("utf8");
  if (text === spec.contents) return true;
  const [there, here] = [readJson(text), readJson(spec.contents)];
  return there.ok && here.ok && there.duplicates.length === 0 && sameDocument(there.value, here.value);
}

/**
 * Brings an engine in step with the specs that are offered: look, plan, act, look again, until nothing is left to do. Every
 * change is one request that either happened or did not, and every plan starts from what is there, so that a run may end at
 * any point (a crash, a signal, a lost connection, somebody else's change) and the next one goes on from it.
 * @module
 */
import { delay, type Clock } from "../clock.ts";
import type { Change, ContainerEngine, EngineState } from "../container-engine/container-engine.ts";
import { SallyportError } from "../errors.ts";
import type { Log, LogFields } from "../observe/log.ts";
import { checkContainers, isContainerFault, type ContainerFinding } from "./container-check.ts";
import {
  isFault,
  ownerLabel,
  planDelivery,
  specLabel,
  type DeliveryAction,
  type DeliveryPlan,
  type SwarmPicture,
} from "./delivery-plan.ts";
import { OwnChanges } from "./contention.ts";
import type { Offer } from "./offered-specs.ts";

export interface DeliveryDependencies {
  readonly engine: ContainerEngine;
  /** What is offered now. */
  readonly offer: () => Offer;
  readonly clock: Clock;
  readonly log: Log;
}

export interface DeliveryOptions {
  /** Whose configs are ours: the value of their label. */
  readonly owner: string;
  /**
   * How long a service that somebody else changed is left alone after an update of ours, milliseconds, doubled each time in a
   * row; 0 for a delivery that runs once.
   */
  readonly holdMs: number;
}

/** An action that the engine did not do, in its words. */
export interface FailedAction {
  readonly action: DeliveryAction;
  readonly reason: string;
}

export interface SwarmReport {
  readonly kind: "swarm";
  readonly engine: string;
  readonly swarm: string;
  /** The first plan of a delivery; of a dry run, the only one. */
  readonly plan: DeliveryPlan;
  readonly done: readonly DeliveryAction[];
  readonly failed: readonly FailedAction[];
  /** What is so at the end. */
  readonly final: DeliveryPlan;
  /** Why the plan kept changing under our hands; absent when it did not. */
  readonly unsettled: string | undefined;
}

/** Of an engine without Swarm: nothing was delivered, only compared. */
export interface ContainerReport {
  readonly kind: "containers";
  readonly engine: string;
  readonly containers: readonly ContainerFinding[];
  /** Specs that cannot be compared with, and parts of the folder that cannot be read. */
  readonly faults: readonly string[];
}

export type DeliveryReport = SwarmReport | ContainerReport;

/** Whether everything is as it should be. */
export function isInStep(report: DeliveryReport): boolean {
  if (report.kind === "containers") {
    return report.faults.length === 0 && !report.containers.some(isContainerFault);
  }
  const { failed, unsettled, final } = report;
  return failed.length === 0 && unsettled === undefined && !final.remarks.some(isFault);
}

export interface SpecDelivery {
  /** What would be done. Changes nothing. Rejects as {@link ContainerEngine} does, and with `E_ENGINE_ROLE`. */
  plan(signal?: AbortSignal): Promise<DeliveryReport>;
  /** Does it. `onPlan` is told the first plan before anything is changed. Rejects as {@link plan} does. */
  deliver(onPlan?: (plan: DeliveryPlan) => void, signal?: AbortSignal): Promise<DeliveryReport>;
}

/** So often a plan is made anew because the Swarm changed meanwhile. */
const mostRounds = 8;
/** Before a new plan after a conflict, milliseconds, times the round. */
const conflictPauseMs = 200;

export function createSpecDelivery(
  dependencies: DeliveryDependencies,
  options: DeliveryOptions,
): SpecDelivery {
  return new Delivery(dependencies, options);
}

class Delivery implements SpecDelivery {
  readonly #engine: ContainerEngine;
  readonly #offer: () => Offer;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #owner: string;
  readonly #own: OwnChanges;

  constructor({ engine, offer, clock, log }: DeliveryDependencies, { owner, holdMs }: DeliveryOptions) {
    this.#engine = engine;
    this.#offer = offer;
    this.#clock = clock;
    this.#log = log;
    this.#owner = owner;
    this.#own = new OwnChanges(clock, holdMs);
  }

  async plan(signal?: AbortSignal): Promise<DeliveryReport> {
    const state = await this.#state(signal);
    if (state.swarm === "none") return await this.#compare(signal);
    const offer = this.#offer();
    const plan = this.#plan(offer, await this.#look(offer, signal));
    return this.#report(state, plan, [], [], plan, undefined);
  }

  async deliver(onPlan?: (plan: DeliveryPlan) => void, signal?: AbortSignal): Promise<DeliveryReport> {
    const state = await this.#state(signal);
    if (state.swarm === "none") return await this.#compare(signal);
    const log = this.#log.with({ swarm: state.id });
    const done: DeliveryAction[] = [];
    let first: DeliveryPlan | undefined;
    let unsettled: string | undefined;
    for (let round = 1; ; round++) {
      const offer = this.#offer();
      const picture = await this.#look(offer, signal);
      const plan = this.#plan(offer, picture);
      if (first === undefined) onPlan?.(plan);
      first ??= plan;
      if (plan.actions.length === 0 || round > mostRounds) {
        const reason = plan.actions.length === 0 ? undefined : (unsettled ?? "the plan is never done");
        return this.#report(state, first, done, [], plan, reason);
      }
      const acted = await this.#act(plan, offer, picture, log, signal);
      done.push(...acted.done);
      if (acted.failed.length > 0) {
        const rest = this.#plan(offer, await this.#look(offer, signal));
        return this.#report(state, first, done, acted.failed, rest, undefined);
      }
      if (acted.conflict === undefined) continue;
      unsettled = acted.conflict;
      log.info("delivery.conflict", { reason: acted.conflict, round });
      await delay(this.#clock, conflictPauseMs * round, signal);
    }
  }

  #plan(offer: Offer, picture: SwarmPicture): DeliveryPlan {
    this.#own.saw(picture, new Set(offer.specs.map(({ config }) => config)));
    return planDelivery(offer, picture, this.#owner, this.#own);
  }

  /** Stops at the first conflict; goes on after a failure with what does not depend on it. */
  async #act(
    plan: DeliveryPlan,
    offer: Offer,
    picture: SwarmPicture,
    log: Log,
    signal: AbortSignal | undefined,
  ): Promise<{
    readonly done: readonly DeliveryAction[];
    readonly failed: readonly FailedAction[];
    readonly conflict?: string;
  }> {
    const ids = new Map(picture.configs.map(({ name, id }) => [name, id]));
    const done: DeliveryAction[] = [];
    const failed: FailedAction[] = [];
    for (const action of plan.actions) {
      signal?.throwIfAborted();
      const change = await this.#change(action, offer, picture, ids, signal);
      if (change === undefined) continue;
      if (change.done) {
        done.push(action);
        log.info(eventOf(action), auditFields(action));
      } else if (change.conflict) {
        return { done, failed, conflict: change.reason };
      } else {
        failed.push({ action, reason: change.reason });
        log.error("delivery.failed", { ...auditFields(action), action: action.kind, reason: change.reason });
      }
    }
    return { done, failed };
  }

  /** `undefined`: what it depends on was not done. */
  async #change(
    action: DeliveryAction,
    offer: Offer,
    picture: SwarmPicture,
    ids: Map<string, string>,
    signal: AbortSignal | undefined,
  ): Promise<Change<unknown> | undefined> {
    switch (action.kind) {
      case "create-config": {
        const spec = offer.specs.find(({ config }) => config === action.config);
        if (spec === undefined) return undefined;
        const created = await this.#engine.createConfig(
          {
            name: spec.config,
            labels: { [specLabel]: action.spec, [ownerLabel]: this.#owner },
            data: spec.contents,
          },
          signal,
        );
        if (created.done) ids.set(spec.config, created.value);
        return created;
      }
      case "update-service": {
        const service = picture.services.find(({ name }) => name === action.service);
        const id = ids.get(action.config);
        if (service === undefined || id === undefined) return undefined;
        const pointed = await this.#engine.pointService(service, { id, name: action.config }, signal);
        if (pointed.done) this.#own.pointed(service.id, action.config);
        return pointed;
      }
      case "remove-config": {
        const id = ids.get(action.config);
        return id === undefined ? undefined : await this.#engine.removeConfig(id, signal);
      }
    }
  }

  async #state(signal: AbortSignal | undefined): Promise<EngineState> {
    const state = await this.#engine.state(signal);
    if (state.swarm === "worker" || state.swarm === "unusable") {
      const word = state.swarm === "worker" ? "worker" : state.swarmState;
      throw new SallyportError("E_ENGINE_ROLE", { engine: this.#engine.label, state: word });
    }
    return state;
  }

  /**
   * Tasks before services, because Swarm marks a service as being updated before it replaces the first task: a config that
   * it may go back to is seen in one of the two. What refers to a config only after that, the engine sees itself, and
   * refuses to remove it.
   */
  async #look(offer: Offer, signal: AbortSignal | undefined): Promise<SwarmPicture> {
    const names = [...new Set(offer.specs.map(({ config }) => config))];
    const configs = await this.#engine.configs(specLabel, names, signal);
    const taskConfigIds = await this.#engine.configsOfTasks(signal);
    return { configs, taskConfigIds, services: await this.#engine.services(signal) };
  }

  async #compare(signal: AbortSignal | undefined): Promise<ContainerReport> {
    const offer = this.#offer();
    const broken = offer.specs.filter(({ problems }) => problems.length > 0);
    return {
      kind: "containers",
      engine: this.#engine.label,
      containers: checkContainers(offer, await this.#engine.containers(signal)),
      faults: [...offer.gaps, ...broken.map((one) => `spec ${one.name}: ${one.problems.join("; ")}`)],
    };
  }

  #report(
    state: EngineState,
    plan: DeliveryPlan,
    done: readonly DeliveryAction[],
    failed: readonly FailedAction[],
    final: DeliveryPlan,
    unsettled: string | undefined,
  ): SwarmReport {
    return {
      kind: "swarm",
      engine: this.#engine.label,
      swarm: state.id,
      plan,
      done,
      failed,
      final,
      unsettled,
    };
  }
}

function eventOf(action: DeliveryAction) {
  switch (action.kind) {
    case "create-config":
      return "delivery.config-created";
    case "update-service":
      return "delivery.service-updated";
    case "remove-config":
      return "delivery.config-removed";
  }
}

/** Names and hashes; never contents. */
function auditFields(action: DeliveryAction): LogFields {
  const { spec, config } = action;
  switch (action.kind) {
    case "create-config":
      return { spec, config, hash: action.hash };
    case "update-service":
      return { spec, config, hash: action.hash, service: action.service, from: action.from };
    case "remove-config":
      return { spec, config };
  }
}

/**
 * A delivery's plan and outcome for people (text) and for programs (JSON).
 * @module
 */
import { isContainerFault, type ContainerFinding } from "./container-check.ts";
import { isInStep, type ContainerReport, type DeliveryReport } from "./deliver.ts";
import { isFault, type DeliveryAction, type DeliveryPlan, type Remark } from "./delivery-plan.ts";

/** What can be delivered where there is no Swarm. */
const noSwarm =
  "This engine is not in a Swarm: it has no configs, and a container's credential spec is fixed when it is made, so nothing " +
  "can be delivered here; its containers are compared with the specs instead.";

/** The plan before it is carried out. */
export function renderPlan(plan: DeliveryPlan): string {
  if (plan.actions.length === 0) return "Nothing to do.\n";
  return printed(["Plan:", ...plan.actions.map((action) => `  ${describeAction(action)}`)]);
}

/** What is left to say once the plan was shown and carried out, or was not. */
export function renderOutcome(report: DeliveryReport): string {
  if (report.kind === "containers") return renderContainers(report);
  const { done, failed, final, unsettled } = report;
  const count = (kind: DeliveryAction["kind"], noun: string): string => {
    const number = done.filter((action) => action.kind === kind).length;
    return `${number} ${noun}${number === 1 ? "" : "s"}`;
  };
  const lines = [
    ...failed.map(({ action, reason }) => `failed: ${describeAction(action)}: ${reason}`),
    ...(unsettled === undefined
      ? []
      : [`unsettled: the Swarm kept changing meanwhile: ${unsettled}; run it again`]),
    ...final.remarks.map(describeRemark),
    ...final.current.map(
      ({ service, spec, config }) => `current: service ${service} has ${spec} as ${config}`,
    ),
    ...(done.length === 0
      ? []
      : [
          `Done: ${count("create-config", "config")} created, ${count("update-service", "service")} updated, ${count("remove-config", "config")} removed.`,
        ]),
  ];
  return printed(lines);
}

export function renderJson(report: DeliveryReport): string {
  return `${JSON.stringify({ ...report, inStep: isInStep(report) }, null, 2)}\n`;
}

function describeAction(action: DeliveryAction): string {
  switch (action.kind) {
    case "create-config":
      return `create config ${action.config} for ${action.spec}`;
    case "update-service":
      return `update service ${action.service}: ${action.from ?? "no credential spec"} → ${action.config} (its tasks are replaced)`;
    case "remove-config":
      return `remove config ${action.config}, which nothing uses`;
  }
}

function describeRemark(remark: Remark): string {
  return `${isFault(remark) ? "fault" : "note"}: ${remark.kind}: ${remark.subject}: ${remark.reason}`;
}

function renderContainers({ containers, faults }: ContainerReport): string {
  const line = (one: ContainerFinding): string => {
    const spec = one.spec === undefined ? "" : ` (${one.spec})`;
    const word = isContainerFault(one) ? "fault" : "note";
    return `${one.state === "current" ? "" : `${word}: `}${one.state}: container ${one.container}${spec}: ${one.detail}`;
  };
  const lines = [
    noSwarm,
    ...faults.map((fault) => `fault: ${fault}`),
    ...containers.map(line),
    ...(containers.length === 0 ? ["No container has or asks for a credential spec."] : []),
  ];
  return printed(lines);
}

/** Names are an engine's: they must not write on the operator's terminal. */
function printed(lines: readonly string[]): string {
  // eslint-disable-next-line no-control-regex -- exactly these are replaced
  return lines.map((line) => `${line.replace(/[\u0000-\u001f\u007f-\u009f]/g, "?")}\n`).join("");
}

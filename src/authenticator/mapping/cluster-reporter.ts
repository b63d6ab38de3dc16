/**
 * Tells the author of a RAMIdentityMapping what was understood of it: in the object's status, and as an event. Several
 * authenticators of one cluster say the same, so what is already written is not written again, and an event has a name
 * that the second one finds taken.
 * @module
 */
import { createHash } from "node:crypto";
import { delay, type Clock } from "../../clock.ts";
import { reasonOf } from "../../errors.ts";
import type { ClusterClient } from "../../kubernetes/cluster-client.ts";
import { apiVersionOf, ramIdentityMappingKind } from "../../kubernetes/kinds.ts";
import type { KubernetesObject } from "../../kubernetes/resource-source.ts";
import type { Log } from "../../observe/log.ts";
import { isObject } from "../ram/strict-json.ts";
import type { MappingReporter, Understood } from "./crd-backend.ts";

export interface ClusterReporter extends MappingReporter {
  /** Resolves when everything that was reported is written or given up. */
  idle(): Promise<void>;
  close(): void;
}

interface Report {
  readonly object: KubernetesObject;
  readonly understood: Understood;
}

const retryMs = 5_000;
const attempts = 5;

export function createClusterReporter(
  client: ClusterClient,
  deps: { readonly clock: Clock; readonly log: Log },
): ClusterReporter {
  /** The newest report of each object; an older one that has not been written is of no interest any more. */
  const pending = new Map<string, Report>();
  const ending = new AbortController();
  let working: Promise<void> | undefined;

  async function work(): Promise<void> {
    for (;;) {
      const [next] = pending;
      if (next === undefined || ending.signal.aborted) return;
      const [name, report] = next;
      pending.delete(name);
      await write(report);
    }
  }

  async function write(report: Report): Promise<void> {
    const { name } = report.object.metadata;
    for (let attempt = 1; attempt <= attempts && !pending.has(name); attempt++) {
      try {
        const problem = (await writeStatus(report)) ?? (await writeEvent(report));
        if (problem === undefined) return;
        deps.log.warn("authenticator.status-failed", { entry: name, problem });
        return;
      } catch (error) {
        deps.log.debug("authenticator.status-failed", { entry: name, problem: reasonOf(error) });
        await delay(deps.clock, retryMs, ending.signal).catch(() => undefined);
        if (ending.signal.aborted) return;
      }
    }
  }

  /** A sentence when trying again is of no use; throws when it is. */
  async function send(
    request: Parameters<ClusterClient["request"]>[0],
    settled: readonly number[],
  ): Promise<string | undefined> {
    const { status } = await client.request({ ...request, signal: ending.signal, timeoutMs: 10_000 });
    if (status < 300 || settled.includes(status)) return undefined;
    const problem = `the API server answers ${status}`;
    if (status === 429 || status >= 500) throw new Error(problem);
    return problem;
  }

  async function writeStatus({ object, understood }: Report): Promise<string | undefined> {
    const status = statusOf(object, understood, deps.clock.now());
    if (status === undefined) return undefined;
    const { group, version, plural } = ramIdentityMappingKind;
    return await send(
      {
        method: "PATCH",
        path: `/apis/${group}/${version}/${plural}/${encodeURIComponent(object.metadata.name)}/status`,
        contentType: "application/merge-patch+json",
        body: { status },
      },
      // Gone meanwhile.
      [404],
    );
  }

  async function writeEvent({ object, understood }: Report): Promise<string | undefined> {
    const event = eventOf(object, understood, deps.clock.now());
    return await send({ method: "POST", path: "/api/v1/namespaces/default/events", body: event }, [409]);
  }

  return {
    report(object, understood) {
      if (ending.signal.aborted) return;
      // What the object already says needs neither a status nor another event.
      if (statusOf(object, understood, 0) === undefined) return;
      pending.set(object.metadata.name, { object, understood });
      working ??= work().finally(() => (working = undefined));
    },
    idle: async () => {
      await working;
    },
    close: () => ending.abort(),
  };
}

/** The status to write; `undefined` when the object has it already. */
function statusOf(object: KubernetesObject, understood: Understood, now: number): object | undefined {
  const current = isObject(object["status"]) ? object["status"] : {};
  const [canonicalARN, userID] =
    understood.outcome === "refused" ? ["", ""] : [understood.canonicalArn, understood.pinnedId];
  const condition = {
    type: "Synced",
    status: understood.outcome === "refused" ? "False" : "True",
    reason: reasons[understood.outcome],
    message: messageOf(understood),
  };
  const previous = conditionIn(current);
  const same =
    previous !== undefined &&
    current["canonicalARN"] === canonicalARN &&
    current["userID"] === userID &&
    Object.entries(condition).every(([name, value]) => previous[name] === value);
  if (same) return undefined;
  const since = previous?.["status"] === condition.status ? previous["lastTransitionTime"] : undefined;
  const lastTransitionTime = typeof since === "string" ? since : instant(now);
  return { canonicalARN, userID, conditions: [{ ...condition, lastTransitionTime }] };
}

function conditionIn(
  status: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> | undefined {
  const { conditions } = status;
  const list: readonly unknown[] = Array.isArray(conditions) ? conditions : [];
  return list.filter(isObject).find((condition) => condition["type"] === "Synced");
}

const reasons = { synced: "Synced", conflict: "Conflict", refused: "Refused" } as const;

function messageOf(understood: Understood): string {
  return understood.outcome === "synced" ? "Identity synced successfully" : understood.problem;
}

/** Source: Kubernetes API reference, Event v1 (core). */
function eventOf(object: KubernetesObject, understood: Understood, now: number): object {
  const { name, uid = "", resourceVersion = "" } = object.metadata;
  const message = messageOf(understood);
  const digest = createHash("sha256").update([uid, resourceVersion, message].join("\n")).digest("hex");
  return {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: `${name.slice(0, 200)}.${digest.slice(0, 16)}`, namespace: "default" },
    involvedObject: {
      apiVersion: apiVersionOf(ramIdentityMappingKind),
      kind: ramIdentityMappingKind.kind,
      name,
      uid,
      resourceVersion,
    },
    type: understood.outcome === "synced" ? "Normal" : "Warning",
    reason: reasons[understood.outcome],
    message,
    source: { component: "ack-ram-authenticator" },
    firstTimestamp: instant(now),
    lastTimestamp: instant(now),
    count: 1,
  };
}

function instant(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

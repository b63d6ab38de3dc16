/**
 * A Docker engine through its HTTP API (https://docs.docker.com/reference/api/engine/).
 *
 * It speaks the newest version of the API that the engine knows, whatever that is: a service's settings go back whole, and
 * an older version would strip from them, on both ways, whatever came later. What is read here exists since 1.40.
 * @module
 */
import { z } from "zod";
import { SallyportError } from "../errors.ts";
import type {
  Change,
  ConfigReference,
  ContainerEngine,
  EngineConfig,
  EngineContainer,
  EngineService,
  EngineState,
} from "./container-engine.ts";
import type { EngineEndpoint } from "./endpoint.ts";
import { exchange, follow, pathOnly, type EngineAnswer, type EngineRequest } from "./exchange.ts";
import { parseLossless } from "./lossless-json.ts";
import { constraintsOf, fields, hasContainers, identityOf, withCredentialSpec } from "./service-settings.ts";

export interface DockerEngineOptions {
  /** For each request, milliseconds. */
  readonly timeoutMs?: number;
  /** Largest answer, bytes. */
  readonly answerBytes?: number;
}

/** Configs as credential specs came with this version (Docker 19.03). */
const oldestVersion = [1, 40] as const;

/** States in which a task runs or is still to run; Swarm keeps the ended ones for a while. */
const livingStates = [
  "new",
  "pending",
  "assigned",
  "accepted",
  "preparing",
  "ready",
  "starting",
  "running",
  "complete",
];
const endedStates = new Set(["complete", "shutdown", "failed", "rejected", "remove", "orphaned"]);

/** States of an update that can still end with the settings before it. */
const unsettledUpdates = new Set(["updating", "paused", "rollback_started", "rollback_paused"]);

const labels = z
  .record(z.string(), z.string())
  .nullish()
  .transform((value) => value ?? {});
/** Kept as it is, to go back as it came. */
const object = z.custom<Readonly<Record<string, unknown>>>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
);
const instant = z.string().transform((value) => Date.parse(value) || 0);

const versionAnswer = z.object({ ApiVersion: z.string().regex(/^\d{1,3}\.\d{1,3}$/) });
const infoAnswer = z.object({
  ID: z.string().default(""),
  Swarm: z
    .object({
      LocalNodeState: z.string().default("inactive"),
      ControlAvailable: z.boolean().default(false),
      Cluster: z.object({ ID: z.string().default("") }).nullish(),
    })
    .nullish(),
});
const configsAnswer = z
  .array(
    z.object({
      ID: z.string().min(1),
      CreatedAt: instant,
      Spec: z.object({ Name: z.string(), Labels: labels, Data: z.string().nullish() }),
    }),
  )
  .nullable();
/** A JavaScript number, or one too large to be one. */
const index = z.unknown().transform((value, context) => {
  const digits = JSON.stringify(value) ?? "";
  if (/^\d{1,20}$/.test(digits)) return digits;
  context.addIssue({ code: "custom", message: "is no version" });
  return z.NEVER;
});
const servicesAnswer = z
  .array(
    z.object({
      ID: z.string().min(1),
      Version: z.object({ Index: index }),
      Spec: object,
      PreviousSpec: object.nullish(),
      UpdateStatus: z.object({ State: z.string().default(""), StartedAt: instant.nullish() }).nullish(),
    }),
  )
  .nullable();
const serviceName = z.object({ Name: z.string().min(1), Labels: labels });
const tasksAnswer = z
  .array(z.object({ Spec: object, Status: z.object({ State: z.string().default("") }).nullish() }))
  .nullable();
const containersAnswer = z.array(z.object({ Id: z.string().min(1) })).nullable();
const containerAnswer = z.object({
  Id: z.string(),
  Name: z.string(),
  State: z.object({ Running: z.boolean().default(false) }).nullish(),
  Config: z.object({ Labels: labels }).nullish(),
  HostConfig: z.object({ SecurityOpt: z.array(z.string()).nullish() }).nullish(),
});
const createdAnswer = z.object({ ID: z.string().min(1) });

export function createDockerEngine(
  endpoint: EngineEndpoint,
  options: DockerEngineOptions = {},
): ContainerEngine {
  return new DockerEngine(endpoint, {
    timeoutMs: options.timeoutMs ?? 30_000,
    answerBytes: options.answerBytes ?? 64 * 1024 * 1024,
  });
}

class DockerEngine implements ContainerEngine {
  readonly label: string;
  readonly #endpoint: EngineEndpoint;
  readonly #limits: Required<DockerEngineOptions>;
  #version: string | undefined;

  constructor(endpoint: EngineEndpoint, limits: Required<DockerEngineOptions>) {
    this.#endpoint = endpoint;
    this.#limits = limits;
    this.label = endpoint.label;
  }

  async state(signal?: AbortSignal): Promise<EngineState> {
    // Asked anew each time: the engine may have been upgraded, or gone back.
    this.#version = await this.#negotiate(signal);
    const { ID, Swarm } = await this.#get("/info", infoAnswer, signal);
    const state = Swarm?.LocalNodeState ?? "inactive";
    const swarm =
      state === "inactive" || state === ""
        ? "none"
        : state !== "active"
          ? "unusable"
          : Swarm?.ControlAvailable === true
            ? "manager"
            : "worker";
    return { id: Swarm?.Cluster?.ID || ID, swarm, swarmState: state };
  }

  async configs(
    label: string,
    names: readonly string[],
    signal?: AbortSignal,
  ): Promise<readonly EngineConfig[]> {
    const found = [
      await this.#get(`/configs?${filters({ label: [label] })}`, configsAnswer, signal),
      // The engine compares beginnings of names.
      names.length === 0
        ? []
        : await this.#get(`/configs?${filters({ name: names })}`, configsAnswer, signal),
    ].flatMap((answer) => answer ?? []);
    const wanted = found.filter(({ Spec }) => Object.hasOwn(Spec.Labels, label) || names.includes(Spec.Name));
    const unique = new Map(wanted.map((one) => [one.ID, one]));
    return [...unique.values()].map(({ ID, CreatedAt, Spec }) => ({
      id: ID,
      name: Spec.Name,
      labels: Spec.Labels,
      data: Buffer.from(Spec.Data ?? "", "base64"),
      createdAt: CreatedAt,
    }));
  }

  async services(signal?: AbortSignal): Promise<readonly EngineService[]> {
    const answer = (await this.#get("/services", servicesAnswer, signal)) ?? [];
    return answer.map(({ ID, Version, Spec, PreviousSpec, UpdateStatus }) => {
      const named = this.#read(serviceName, Spec, "/services");
      const state = UpdateStatus?.State ?? "";
      return {
        id: ID,
        version: Version.Index,
        name: named.Name,
        labels: named.Labels,
        settings: Spec,
        identity: identityOf(Spec),
        runsContainers: hasContainers(Spec),
        constraints: constraintsOf(Spec),
        fallbackConfigIds:
          PreviousSpec && unsettledUpdates.has(state) ? identityOf(PreviousSpec).configIds : [],
        rolledBackAt: state.startsWith("rollback_") ? (UpdateStatus?.StartedAt ?? 0) : undefined,
      };
    });
  }

  async configsOfTasks(signal?: AbortSignal): Promise<ReadonlySet<string>> {
    const query = filters({ "desired-state": livingStates });
    const tasks = (await this.#get(`/tasks?${query}`, tasksAnswer, signal)) ?? [];
    return new Set(
      tasks
        .filter(({ Status }) => !endedStates.has(Status?.State ?? ""))
        .flatMap(({ Spec }) => identityOf({ TaskTemplate: Spec }).configIds),
    );
  }

  async containers(signal?: AbortSignal): Promise<readonly EngineContainer[]> {
    const listed = (await this.#get("/containers/json?all=1", containersAnswer, signal)) ?? [];
    const containers: EngineContainer[] = [];
    for (const { Id } of listed) {
      const path = `/containers/${encodeURIComponent(Id)}/json`;
      const answer = await this.#ask({ method: "GET", path }, signal);
      // Removed since it was listed.
      if (answer.status === 404) continue;
      const container = this.#read(containerAnswer, this.#value(answer, path), path);
      containers.push({
        id: container.Id,
        name: container.Name.replace(/^\//, ""),
        labels: container.Config?.Labels ?? {},
        running: container.State?.Running ?? false,
        credentialSpecs: (container.HostConfig?.SecurityOpt ?? []).flatMap((option) => {
          const [, value] = /^credentialspec=(.*)$/is.exec(option) ?? [];
          return value === undefined ? [] : [value];
        }),
      });
    }
    return containers;
  }

  async createConfig(
    config: {
      readonly name: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly data: string;
    },
    signal?: AbortSignal,
  ): Promise<Change<string>> {
    const path = "/configs/create";
    const body = JSON.stringify({
      Name: config.name,
      Labels: config.labels,
      Data: Buffer.from(config.data, "utf8").toString("base64"),
    });
    const answer = await this.#ask({ method: "POST", path, body }, signal);
    if (answer.status === 201 || answer.status === 200) {
      return { done: true, value: this.#read(createdAnswer, this.#value(answer, path), path).ID };
    }
    return this.#refusal(answer, answer.status === 409);
  }

  async pointService(service: EngineService, config: ConfigReference, signal?: AbortSignal): Promise<Change> {
    const path = `/services/${encodeURIComponent(service.id)}/update?version=${service.version}`;
    const body = JSON.stringify(withCredentialSpec(service.settings, config));
    const answer = await this.#ask({ method: "POST", path, body }, signal);
    if (answer.status === 200) return { done: true, value: undefined };
    // An update of an old version is a fault 500 with this text in Docker up to 29, as Swarm calls it "unknown".
    const overtaken = answer.status === 409 || /update out of sequence/.test(answer.text);
    // The service is gone, or its config is.
    return this.#refusal(answer, overtaken || answer.status === 404 || /config not found/.test(answer.text));
  }

  async removeConfig(id: string, signal?: AbortSignal): Promise<Change> {
    const answer = await this.#ask({ method: "DELETE", path: `/configs/${encodeURIComponent(id)}` }, signal);
    if (answer.status === 204 || answer.status === 200) return { done: true, value: undefined };
    return this.#refusal(answer, answer.status === 404 || / is in use by the following /.test(answer.text));
  }

  async followChanges(onChange: () => void, signal: AbortSignal): Promise<void> {
    this.#version ??= await this.#negotiate(signal);
    const query = filters({
      type: ["service", "config", "container"],
      event: ["create", "update", "remove", "destroy"],
    });
    const path = `/v${this.#version}/events?${query}`;
    await follow(this.#endpoint, { method: "GET", path }, this.#limits, onChange, signal);
  }

  async #negotiate(signal: AbortSignal | undefined): Promise<string> {
    const path = "/version";
    const answer = await exchange(this.#endpoint, { method: "GET", path }, this.#limits, signal);
    const { ApiVersion } = this.#read(versionAnswer, this.#value(answer, path), path);
    const [major = 0, minor = 0] = ApiVersion.split(".").map(Number);
    if (major < oldestVersion[0] || (major === oldestVersion[0] && minor < oldestVersion[1])) {
      throw new SallyportError("E_ENGINE_VERSION", {
        engine: this.label,
        version: ApiVersion,
        oldest: oldestVersion.join("."),
      });
    }
    return ApiVersion;
  }

  async #get<T>(path: string, shape: z.ZodType<T>, signal: AbortSignal | undefined): Promise<T> {
    return this.#read(shape, this.#value(await this.#ask({ method: "GET", path }, signal), path), path);
  }

  async #ask(asked: EngineRequest, signal: AbortSignal | undefined): Promise<EngineAnswer> {
    this.#version ??= await this.#negotiate(signal);
    return await exchange(
      this.#endpoint,
      { ...asked, path: `/v${this.#version}${asked.path}` },
      this.#limits,
      signal,
    );
  }

  /** The JSON of an answer that is no refusal. */
  #value(answer: EngineAnswer, path: string): unknown {
    if (answer.status < 200 || answer.status > 299) {
      throw new SallyportError("E_ENGINE_REFUSED", {
        engine: this.label,
        path: pathOnly(path),
        status: answer.status,
        detail: messageOf(answer),
      });
    }
    try {
      return parseLossless(answer.text);
    } catch {
      throw this.#unusable(path, "is no JSON");
    }
  }

  #read<T>(shape: z.ZodType<T>, value: unknown, path: string): T {
    const parsed = shape.safeParse(value);
    if (parsed.success) return parsed.data;
    const [issue] = parsed.error.issues;
    throw this.#unusable(path, `has an unexpected ${issue?.path.map(String).join(".") || "form"}`);
  }

  #unusable(path: string, problem: string): SallyportError {
    const detail = `the answer to ${pathOnly(path)} ${problem}`;
    return new SallyportError("E_ENGINE_ANSWER", { engine: this.label, detail });
  }

  #refusal(answer: EngineAnswer, conflict: boolean): Change<never> {
    return { done: false, conflict, reason: `${messageOf(answer)} (status ${answer.status})` };
  }
}

/** The engine's sentence on one line: it may be anything, also another server's page. */
function messageOf(answer: EngineAnswer): string {
  let message = answer.text;
  try {
    const said = fields(JSON.parse(answer.text))["message"];
    if (typeof said === "string") message = said;
  } catch {
    // Not the engine's own form: shown as it is.
  }
  // eslint-disable-next-line no-control-regex -- an answer must not write on the operator's terminal
  const line = message.replace(/[\u0000-\u001f\u007f-\u009f\s]+/g, " ").trim();
  const bare = line.replace(/^rpc error: code = \w+ desc = /, "");
  return bare.length > 300 ? `${bare.slice(0, 300)}…` : bare || "no reason given";
}

function filters(wanted: Readonly<Record<string, readonly string[]>>): string {
  return `filters=${encodeURIComponent(JSON.stringify(wanted))}`;
}

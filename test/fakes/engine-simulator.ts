/**
 * A simulated Docker engine: the part of its HTTP API that delivery of credential specs uses, on a real unix socket or a
 * loopback port (with TLS, if wanted), with the statuses and sentences of Docker 20.10, and faults on demand. It is no
 * engine: services have tasks on paper only. It also watches: a config that goes while something needs it is a violation.
 * @module
 */
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { text as readText } from "node:stream/consumers";

export interface SimulatedConfig {
  readonly ID: string;
  readonly CreatedAt: string;
  readonly Spec: { readonly Name: string; readonly Labels: Record<string, string>; readonly Data: string };
}

interface ServiceSpec {
  Name: string;
  Labels: Record<string, string>;
  TaskTemplate: {
    ContainerSpec?: {
      Image: string;
      Privileges?: { CredentialSpec?: { Config?: string; File?: string; Registry?: string } | null };
      Configs?: { ConfigID: string; ConfigName: string; Runtime?: object; File?: object }[];
      [field: string]: unknown;
    };
    Placement?: { Constraints?: string[] };
  };
  [field: string]: unknown;
}

export interface SimulatedService {
  readonly ID: string;
  Version: { Index: number };
  Spec: ServiceSpec;
  PreviousSpec?: ServiceSpec;
  UpdateStatus?: { State: string; StartedAt: string };
}

interface SimulatedTask {
  readonly ServiceID: string;
  readonly Spec: ServiceSpec["TaskTemplate"];
  DesiredState: string;
  Status: { State: string };
}

export interface EngineFault {
  /** `GET /services`, a beginning of the method and the path without its version. Default: everything. */
  readonly on?: string;
  /** How many of the matching requests go well before. Default: none. */
  readonly after?: number;
  /** How often; default: until healed. */
  readonly times?: number;
  readonly kind:
    | { readonly status: number; readonly body: string }
    /** Ends the connection without having done anything. */
    | "reset"
    /** Does what was asked, and ends the connection instead of answering. */
    | "lost-answer"
    | "hang"
    /** Half an answer. */
    | "cut"
    | "endless"
    /** Somebody else changes every service and config list just before. */
    | { readonly interfere: (engine: EngineSimulator) => void };
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly version: string;
  readonly body: string;
}

export class EngineSimulator {
  apiVersion = "1.41";
  swarm: { LocalNodeState: string; ControlAvailable: boolean } = {
    LocalNodeState: "active",
    ControlAvailable: true,
  };
  /** Whether an update of a service takes its time: until {@link settle}, old tasks run and Swarm may go back. */
  rolling = false;
  /** Whose configs may be removed. */
  owner = "us";
  readonly configs = new Map<string, SimulatedConfig>();
  readonly services = new Map<string, SimulatedService>();
  tasks: SimulatedTask[] = [];
  readonly containers: Readonly<Record<string, unknown>>[] = [];
  readonly requests: SeenRequest[] = [];
  /** What went wrong that must never go wrong. */
  readonly violations: string[] = [];
  /** The engine's clock, milliseconds since the epoch. */
  now = Date.parse("2026-01-01T00:00:00Z");
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #listeners = new Set<ServerResponse>();
  #faults: { readonly fault: EngineFault; seen: number; used: number }[] = [];
  #serial = 0;
  #changes = 0;

  constructor(tls?: { readonly cert: string; readonly key: string; readonly ca: string }) {
    const handler: RequestListener = (request, response) => {
      void this.#answer(request, response).catch(() => response.destroy());
    };
    this.#server =
      tls === undefined
        ? createServer(handler)
        : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: true }, handler);
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
      socket.on("error", () => undefined);
    });
  }

  async listen(at: string | { readonly port: number }): Promise<number> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      if (typeof at === "string") this.#server.listen(at, resolve);
      else this.#server.listen(at.port, "127.0.0.1", resolve);
    });
    const address = this.#server.address();
    return typeof address === "string" ? 0 : (address as AddressInfo).port;
  }

  /** Breaks every connection. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.drop();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  fail(...faults: readonly EngineFault[]): void {
    this.#faults.push(...faults.map((fault) => ({ fault, seen: 0, used: 0 })));
  }

  heal(): void {
    this.#faults = [];
  }

  addConfig(name: string, data: string, labels: Record<string, string> = {}): string {
    const ID = this.#id("config");
    const Data = Buffer.from(data, "utf8").toString("base64");
    const CreatedAt = new Date(++this.now).toISOString().replace("Z", "123456Z");
    this.#changes++;
    this.configs.set(ID, { ID, CreatedAt, Spec: { Name: name, Labels: labels, Data } });
    return ID;
  }

  configNamed(name: string): SimulatedConfig | undefined {
    return [...this.configs.values()].find((config) => config.Spec.Name === name);
  }

  addService(
    name: string,
    options: {
      readonly labels?: Record<string, string>;
      readonly configId?: string;
      readonly file?: string;
      readonly constraints?: string[];
      readonly more?: Record<string, unknown>;
      readonly containers?: false;
    } = {},
  ): SimulatedService {
    const ID = this.#id("service");
    const config = options.configId === undefined ? undefined : this.configs.get(options.configId);
    const spec: ServiceSpec = {
      Name: name,
      Labels: options.labels ?? {},
      TaskTemplate: {
        ...(options.containers === false
          ? {}
          : {
              ContainerSpec: {
                Image: "app:1",
                ...(config === undefined
                  ? {}
                  : {
                      Privileges: { CredentialSpec: { Config: config.ID, File: "", Registry: "" } },
                      Configs: [{ ConfigID: config.ID, ConfigName: config.Spec.Name, Runtime: {} }],
                    }),
                ...(options.file === undefined
                  ? {}
                  : { Privileges: { CredentialSpec: { Config: "", File: options.file, Registry: "" } } }),
              },
            }),
        Placement: { Constraints: options.constraints ?? ["node.platform.os==windows"] },
      },
      Mode: { Replicated: { Replicas: 1 } },
      ...options.more,
    };
    const service: SimulatedService = { ID, Version: { Index: ++this.#serial }, Spec: spec };
    this.services.set(ID, service);
    this.#startTask(service);
    return service;
  }

  serviceNamed(name: string): SimulatedService | undefined {
    return [...this.services.values()].find((service) => service.Spec.Name === name);
  }

  /** Tells those who listen that something changed. */
  announce(): void {
    for (const response of this.#listeners) response.write('{"Type":"service","Action":"update"}\n');
  }

  /** How often configs and services were changed: what an engine tells those who listen. */
  get changes(): number {
    return this.#changes;
  }

  /** How many listen. */
  get listeners(): number {
    return this.#listeners.size;
  }

  /** Name of the config that is the service's credential spec. */
  credentialSpecOf(name: string): string | undefined {
    const container = this.serviceNamed(name)?.Spec.TaskTemplate.ContainerSpec;
    return this.configs.get(container?.Privileges?.CredentialSpec?.Config ?? "")?.Spec.Name;
  }

  /** Somebody changes a service. */
  edit(service: SimulatedService, change: (spec: ServiceSpec) => void): void {
    const spec = structuredClone(service.Spec);
    change(spec);
    this.#update(service, spec);
  }

  removeService(service: SimulatedService): void {
    this.services.delete(service.ID);
    this.tasks = this.tasks.filter((task) => task.ServiceID !== service.ID);
  }

  /** Every task fails: nothing but Swarm's wish to go back needs what they had. */
  failTasks(): void {
    for (const task of this.tasks)
      Object.assign(task, { DesiredState: "shutdown", Status: { State: "failed" } });
  }

  /** Swarm calls its updates complete while old tasks still run. */
  completeUpdates(): void {
    for (const { UpdateStatus } of this.services.values()) {
      if (UpdateStatus?.State === "updating") UpdateStatus.State = "completed";
    }
  }

  /** Swarm's updates come to their end. */
  settle(): void {
    for (const service of this.services.values()) {
      if (service.UpdateStatus?.State === "updating") service.UpdateStatus.State = "completed";
      for (const task of this.tasks) {
        if (task.ServiceID !== service.ID || task.Spec === service.Spec.TaskTemplate) continue;
        Object.assign(task, { DesiredState: "shutdown", Status: { State: "shutdown" } });
      }
    }
  }

  /** Swarm goes back to what was before, as it does when an update fails. False: there is nothing to go back to. */
  rollBack(service: SimulatedService): boolean {
    const before = service.PreviousSpec;
    if (before === undefined) return false;
    const missing = referencesOf(before).filter((id) => !this.configs.has(id));
    if (missing.length > 0 && service.UpdateStatus?.State === "updating") {
      this.violations.push(`${service.Spec.Name} cannot go back: ${missing.join(", ")} is gone`);
    }
    if (missing.length > 0) return false;
    this.#update(service, before);
    service.UpdateStatus = { State: "rollback_completed", StartedAt: new Date(++this.now).toISOString() };
    return true;
  }

  /** Names of what needs a config. */
  needs(id: string): readonly string[] {
    const users: string[] = [];
    for (const service of this.services.values()) {
      if (referencesOf(service.Spec).includes(id)) users.push(service.Spec.Name);
      const unsettled = service.UpdateStatus?.State === "updating";
      if (
        unsettled &&
        service.PreviousSpec !== undefined &&
        referencesOf(service.PreviousSpec).includes(id)
      ) {
        users.push(`${service.Spec.Name} (to go back)`);
      }
    }
    for (const task of this.tasks) {
      if (task.DesiredState === "running" && referencesOf({ TaskTemplate: task.Spec }).includes(id)) {
        users.push(`a task of ${task.ServiceID}`);
      }
    }
    return users;
  }

  #id(kind: string): string {
    return `${kind}${String(++this.#serial).padStart(6, "0")}`;
  }

  #startTask(service: SimulatedService): void {
    this.tasks.push({
      ServiceID: service.ID,
      Spec: service.Spec.TaskTemplate,
      DesiredState: "running",
      Status: { State: "running" },
    });
  }

  #update(service: SimulatedService, spec: ServiceSpec): void {
    this.#changes++;
    service.PreviousSpec = service.Spec;
    service.Spec = spec;
    service.Version = { Index: ++this.#serial };
    service.UpdateStatus = { State: "updating", StartedAt: new Date(++this.now).toISOString() };
    this.#startTask(service);
    if (!this.rolling) this.settle();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://engine");
    const [, version = "", path = ""] = /^(?:\/v(\d+\.\d+))?(\/.*)$/.exec(url.pathname) ?? [];
    const method = request.method ?? "";
    const body = await readText(request);
    this.requests.push({ method, path, version, body });
    const fault = this.#faultFor(`${method} ${path}`);
    if (typeof fault === "object" && "interfere" in fault) fault.interfere(this);
    if (fault === "hang") return;
    if (fault === "reset") return void response.destroy();
    if (typeof fault === "object" && "status" in fault) {
      response.writeHead(fault.status, { "content-type": "application/json" }).end(fault.body);
      return;
    }
    if (fault === "endless") {
      response.writeHead(200, { "content-type": "application/json" });
      const filler = `"${"x".repeat(65_536)}",`;
      response.write("[");
      const more = (): void => {
        while (!response.destroyed && response.write(filler));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
      return;
    }
    if (path === "/events") {
      response.writeHead(200, { "content-type": "application/json" }).flushHeaders();
      this.#listeners.add(response);
      response.on("close", () => this.#listeners.delete(response));
      return;
    }
    const { status, value } = this.#handle(method, path, version, url.searchParams, body);
    const text = value === undefined ? "" : JSON.stringify(value);
    if (fault === "lost-answer") return void response.destroy();
    if (fault === "cut") {
      response.writeHead(status, { "content-length": Buffer.byteLength(text) + 1 });
      response.write(text.slice(0, text.length / 2), () => response.destroy());
      return;
    }
    response
      .writeHead(status, { "content-type": "application/json", "api-version": this.apiVersion })
      .end(text);
  }

  #faultFor(asked: string): EngineFault["kind"] | undefined {
    for (const entry of this.#faults) {
      const { fault } = entry;
      if (!asked.startsWith(fault.on ?? "")) continue;
      if (entry.seen++ < (fault.after ?? 0) || entry.used >= (fault.times ?? Infinity)) continue;
      entry.used++;
      return fault.kind;
    }
    return undefined;
  }

  #handle(
    method: string,
    path: string,
    version: string,
    query: URLSearchParams,
    body: string,
  ): { readonly status: number; readonly value?: unknown } {
    const refuse = (status: number, message: string) => ({ status, value: { message } });
    if (Number(version.split(".")[1] ?? 0) > Number(this.apiVersion.split(".")[1])) {
      return refuse(
        400,
        `client version ${version} is too new. Maximum supported API version is ${this.apiVersion}`,
      );
    }
    if (path === "/version")
      return { status: 200, value: { ApiVersion: this.apiVersion, MinAPIVersion: "1.12" } };
    if (path === "/info") {
      const Cluster = this.swarm.ControlAvailable ? { ID: "simulated-swarm" } : null;
      return { status: 200, value: { ID: "SIMULATED", Swarm: { ...this.swarm, Cluster } } };
    }
    if (path === "/containers/json") {
      return { status: 200, value: this.containers.map(({ Id }) => ({ Id })) };
    }
    const container = /^\/containers\/([^/]+)\/json$/.exec(path)?.[1];
    if (container !== undefined) {
      const found = this.containers.find(({ Id }) => Id === container);
      return found === undefined
        ? refuse(404, `No such container: ${container}`)
        : { status: 200, value: found };
    }
    if (!this.swarm.ControlAvailable) {
      return refuse(503, 'This node is not a swarm manager. Use "docker swarm init" to join a swarm.');
    }
    const wanted = JSON.parse(query.get("filters") ?? "{}") as Readonly<Record<string, readonly string[]>>;
    switch (`${method} ${path}`) {
      case "GET /configs":
        return {
          status: 200,
          value: [...this.configs.values()].filter(
            ({ Spec }) =>
              (wanted["label"] ?? []).every((label) => Object.hasOwn(Spec.Labels, label)) &&
              (wanted["name"] === undefined || wanted["name"].some((name) => Spec.Name.startsWith(name))),
          ),
        };
      case "GET /services":
        return { status: 200, value: [...this.services.values()] };
      case "GET /tasks":
        return {
          status: 200,
          value: this.tasks.filter(
            ({ DesiredState }) => wanted["desired-state"]?.includes(DesiredState) ?? true,
          ),
        };
      case "POST /configs/create": {
        const { Name, Labels, Data } = JSON.parse(body) as SimulatedConfig["Spec"];
        if (this.configNamed(Name) !== undefined) {
          return refuse(409, `rpc error: code = AlreadyExists desc = config ${Name} already exists`);
        }
        if (!/^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$/.test(Name) || Name.length > 64) {
          return refuse(400, "rpc error: code = InvalidArgument desc = invalid name");
        }
        return {
          status: 201,
          value: { ID: this.addConfig(Name, Buffer.from(Data, "base64").toString("utf8"), Labels) },
        };
      }
      default:
        return this.#handleOne(method, path, query, body, refuse);
    }
  }

  #handleOne(
    method: string,
    path: string,
    query: URLSearchParams,
    body: string,
    refuse: (status: number, message: string) => { readonly status: number; readonly value?: unknown },
  ): { readonly status: number; readonly value?: unknown } {
    const configId = method === "DELETE" ? /^\/configs\/([^/]+)$/.exec(path)?.[1] : undefined;
    if (configId !== undefined) {
      const config = this.configs.get(configId);
      if (config === undefined) return refuse(404, `config ${configId} not found`);
      const users = [...this.services.values()].filter(({ Spec }) => referencesOf(Spec).includes(configId));
      if (users.length > 0) {
        const names = users.map(({ Spec }) => Spec.Name).join(", ");
        return refuse(
          400,
          `rpc error: code = InvalidArgument desc = config '${config.Spec.Name}' is in use by the following service: ${names}`,
        );
      }
      // The engine itself would go on: it looks at nothing but the services.
      const needed = this.needs(configId);
      if (needed.length > 0)
        this.violations.push(`${config.Spec.Name} was removed, needed by ${needed.join(", ")}`);
      if (config.Spec.Labels["sallyport.io/delivered-by"] !== this.owner) {
        this.violations.push(`${config.Spec.Name} was removed and is not of ${this.owner}`);
      }
      this.#changes++;
      this.configs.delete(configId);
      return { status: 204 };
    }
    const serviceId = method === "POST" ? /^\/services\/([^/]+)\/update$/.exec(path)?.[1] : undefined;
    if (serviceId === undefined) return refuse(404, "page not found");
    const service = this.services.get(serviceId);
    if (service === undefined) return refuse(404, `service ${serviceId} not found`);
    if (query.get("version") !== String(service.Version.Index)) {
      return refuse(500, "rpc error: code = Unknown desc = update out of sequence");
    }
    const spec = JSON.parse(body) as ServiceSpec;
    const containerSpec = spec.TaskTemplate.ContainerSpec;
    const id = containerSpec?.Privileges?.CredentialSpec?.Config ?? "";
    if (id !== "" && containerSpec?.Configs?.some((one) => one.ConfigID === id && one.Runtime) !== true) {
      return refuse(
        400,
        `rpc error: code = InvalidArgument desc = CredentialSpec references config '${id}', but that config isn't in config references with RuntimeTarget`,
      );
    }
    for (const reference of containerSpec?.Configs ?? []) {
      if (this.configs.get(reference.ConfigID)?.Spec.Name !== reference.ConfigName) {
        return refuse(
          400,
          `rpc error: code = InvalidArgument desc = config not found: ${reference.ConfigName}`,
        );
      }
    }
    this.#update(service, spec);
    return { status: 200, value: { Warnings: null } };
  }
}

function referencesOf(spec: Pick<ServiceSpec, "TaskTemplate">): readonly string[] {
  return (spec.TaskTemplate.ContainerSpec?.Configs ?? []).map(({ ConfigID }) => ConfigID);
}

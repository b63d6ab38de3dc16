/**
 * `sallyport credspec deliver` as a process of its own against a real Docker engine: first by itself, then as a Swarm.
 * @module
 */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createTestAuthority } from "../../../test/fixtures/test-authority.ts";
import { sampleSpec } from "../../../test/samples/credential-spec.ts";
import { GuardedProcess, runCommand, type CommandResult } from "../../guarded-process.ts";
import { nodeOf } from "../../../src/credential-spec/json.ts";
import { configNameFor } from "../../../src/credential-spec/render/swarm.ts";
import { DockerHost, tlsAddress } from "../docker-host.ts";
import { InterruptingProxy, type Interruption } from "../interrupting-proxy.ts";

const main = join(import.meta.dirname, "../../../src/main.ts");
const specLabel = "sallyport.io/credential-spec";
/** 2^53 + 1: what a JavaScript number cannot hold. */
const bigNumber = "9007199254740993";
const windows = ["node.platform.os==windows"];

let host: DockerHost;
let manifests: string;
before(async () => {
  host = await DockerHost.start();
});
after(async () => {
  await host.down();
});
beforeEach(async () => {
  manifests = mkdtempSync(join(host.folder, "specs-"));
  const swarm = await host.api("GET", "/services");
  if (swarm.status !== 200) return;
  for (const { ID } of swarm.value) await host.api("DELETE", `/services/${ID}`);
  for (const config of (await host.api("GET", "/configs")).value)
    await host.api("DELETE", `/configs/${config.ID}`);
  assert.deepEqual((await host.api("GET", "/configs")).value, []);
});

/** Writes the manifest of `webapp01`; a revision is another additional account. Gives the name of its config. */
function offer(revision: number, use: string): string {
  const spec = sampleSpec();
  spec.ActiveDirectoryConfig.GroupManagedServiceAccounts.push({ Name: `other${revision}`, Scope: "CONTOSO" });
  const resource = {
    apiVersion: "windows.k8s.io/v1",
    kind: "GMSACredentialSpec",
    metadata: { name: "webapp01", annotations: { "sallyport.io/use": use } },
    credspec: spec,
  };
  writeFileSync(join(manifests, "webapp01.json"), JSON.stringify(resource));
  return configNameFor({ name: "webapp01", spec: nodeOf(spec) });
}

function deliver(...words: readonly string[]): Promise<CommandResult> {
  return deliverTo(`unix://${host.socket}`, [], ...words);
}

function deliverTo(
  address: string,
  prefix: readonly string[],
  ...words: readonly string[]
): Promise<CommandResult> {
  const all = [...prefix, process.execPath, main, "credspec", "deliver", "--manifests", manifests, ...words];
  return runCommand(all[0] ?? "", all.slice(1), { environment: { DOCKER_HOST: address } });
}

interface ServiceOptions {
  readonly labels?: Readonly<Record<string, string>>;
  readonly replicas?: number;
  readonly constraints?: readonly string[];
}

async function createService(name: string, options: ServiceOptions = {}): Promise<string> {
  const settings = {
    Name: name,
    Labels: options.labels ?? { [specLabel]: "webapp01" },
    TaskTemplate: {
      ContainerSpec: { Image: "app:1", Command: ["/app"], Env: ["A=1"], StopGracePeriod: 12_000_000_000 },
      Placement: { Constraints: options.constraints ?? windows },
      RestartPolicy: { Condition: "none", MaxAttempts: "BIG" },
    },
    Mode: { Replicated: { Replicas: options.replicas ?? 0 } },
    UpdateConfig: { Parallelism: 1, FailureAction: "rollback" },
  };
  const body = JSON.stringify(settings).replace('"BIG"', bigNumber);
  const answer = await host.api("POST", "/services/create", body);
  assert.equal(answer.status, 201, JSON.stringify(answer.value));
  return answer.value.ID as string;
}

async function service(name: string) {
  const answer = await host.api("GET", `/services/${name}`);
  assert.equal(answer.status, 200);
  return answer.value;
}

async function configNames(): Promise<readonly string[]> {
  const answer = await host.api("GET", "/configs");
  return answer.value.map((config: { Spec: { Name: string } }) => config.Spec.Name);
}

/** The name under which `credspec render` would have it. */
async function renderedConfig(): Promise<{ readonly Name: string; readonly Data: string }> {
  const file = join(manifests, "webapp01.json");
  const { stdout } = await runCommand(process.execPath, [main, "credspec", "render", "config-api", file]);
  return JSON.parse(stdout) as { Name: string; Data: string };
}

function specId(found: Awaited<ReturnType<typeof service>>): unknown {
  return found.Spec["TaskTemplate"].ContainerSpec.Privileges?.CredentialSpec?.Config;
}

test("an engine without Swarm: nothing can be delivered, and containers that lack their spec are named", async () => {
  offer(1, "*");
  const image = await host.api("POST", "/images/create?fromSrc=-&repo=app&tag=1", Buffer.alloc(1024));
  assert.equal(image.status, 200);
  const created = await host.api("POST", "/containers/create?name=web", {
    Image: "app:1",
    Cmd: ["/app"],
    Labels: { [specLabel]: "webapp01" },
  });
  assert.equal(created.status, 201, JSON.stringify(created.value));

  const ran = await deliver("--once");

  assert.equal(ran.code, 1, ran.stderr);
  assert.match(ran.stdout, /^This engine is not in a Swarm: .*nothing can be delivered here/);
  assert.match(ran.stdout, /^fault: outdated: container web \(webapp01\): has no credential spec/m);
  await host.api("DELETE", "/containers/web");
  await host.initSwarm();
});

test("deliver: the config holds the bytes of render, the service refers to it by id, everything else stays", async () => {
  offer(1, "web");
  await createService("web");
  const old = await service("web");

  const planned = await deliver("--dry-run");
  assert.equal(planned.code, 0, planned.stderr);
  assert.match(
    planned.stdout,
    /^Plan:\n {2}create config webapp01-[0-9a-f]{12} for webapp01\n {2}update service web: /,
  );
  assert.deepEqual(await configNames(), [], "a dry run changes nothing");
  const ran = await deliver("--once");

  assert.equal(ran.code, 0, ran.stderr);
  const rendered = await renderedConfig();
  const [config] = (await host.api("GET", "/configs")).value;
  assert.deepEqual(
    [config.Spec.Name, config.Spec.Data, config.Spec.Labels],
    [rendered.Name, rendered.Data, { [specLabel]: "webapp01", "sallyport.io/delivered-by": "sallyport" }],
  );
  const found = await service("web");
  const container = found.Spec.TaskTemplate.ContainerSpec;
  assert.equal(container.Privileges.CredentialSpec.Config, config.ID);
  assert.deepEqual(container.Configs, [{ ConfigID: config.ID, ConfigName: rendered.Name, Runtime: {} }]);
  delete container.Privileges;
  delete container.Configs;
  assert.deepEqual(found.Spec, old.Spec);
  assert.ok((await host.api("GET", "/services/web")).text.includes(`"MaxAttempts":${bigNumber}`));
  // Audited: names and hashes, no contents.
  assert.match(ran.stderr, /"event":"delivery.config-created"/);
  assert.match(ran.stderr, /"service":"web".*"event":"delivery.service-updated"/);
  assert.doesNotMatch(ran.stderr, /S-1-5-21/);
  const again = await deliver("--once");
  assert.equal(again.code, 0);
  assert.match(again.stdout, /^Nothing to do\.\ncurrent: service web has webapp01 as /);
  assert.equal((await service("web")).Version.Index, found.Version.Index, "nothing was written");
});

test("a service outside the spec's list is refused, also one that was attached by hand", async () => {
  offer(1, "web shop_*");
  await createService("billing");
  await createService("shop_api");

  const ran = await deliver("--once");
  const old = specId(await service("shop_api"));
  const { ID, Version, Spec } = await service("shop_api");
  const renamed = { ...Spec, Name: "shop_api", Labels: {} };
  const byHand = await host.api("POST", "/services/create", { ...renamed, Name: "smuggler" });
  assert.equal(byHand.status, 201, JSON.stringify(byHand.value));
  assert.equal(
    (await host.api("POST", `/services/${ID}/update?version=${Version.Index}`, renamed)).status,
    200,
  );
  offer(2, "web shop_*");
  const rotated = await deliver("--once");

  assert.deepEqual([ran.code, rotated.code], [1, 1]);
  assert.match(ran.stdout, /fault: refused: service billing: asks for the spec webapp01/);
  assert.equal(specId(await service("billing")), undefined);
  assert.match(rotated.stdout, /fault: refused: service smuggler: uses the spec webapp01/);
  assert.equal(specId(await service("smuggler")), old);
  // It lost its label and follows all the same, for it has one of our configs.
  assert.notEqual(specId(await service("shop_api")), old);
});

test("rotate: the old config stays while Swarm may go back to it, cannot be removed in use, and goes when unused", async () => {
  const first = offer(1, "web idle");
  await createService("web", { replicas: 1 });
  await createService("idle");
  assert.equal((await deliver("--once")).code, 0);

  const second = offer(2, "web idle");
  const rotated = await deliver("--once");

  assert.equal(rotated.code, 0, rotated.stdout + rotated.stderr);
  const configs = (await host.api("GET", "/configs")).value;
  const idOf = (name: string): string =>
    configs.find((config: { Spec: { Name: string } }) => config.Spec.Name === name)?.ID;
  assert.equal(specId(await service("web")), idOf(second));
  assert.equal(specId(await service("idle")), idOf(second));
  // No Windows node takes the new task, so the update goes on, and the engine itself would let the old one go.
  assert.equal((await service("web")).UpdateStatus.State, "updating");
  assert.match(rotated.stdout, new RegExp(`note: kept: config ${first}: the update of web is not complete`));
  const refused = await host.api("DELETE", `/configs/${idOf(second)}`);
  assert.equal(refused.status, 400);
  assert.match(refused.value.message, /is in use by the following services: /);
  // Swarm goes back: what it needs is still there, and the delivery is not forced upon it again.
  const { ID, Version, PreviousSpec } = await service("web");
  const back = await host.api(
    "POST",
    `/services/${ID}/update?version=${Version.Index}&rollback=previous`,
    PreviousSpec,
  );
  assert.equal(back.status, 200, JSON.stringify(back.value));
  const held = await deliver("--once");
  assert.equal(held.code, 1);
  assert.match(held.stdout, /fault: held: service web: was rolled back after /);
  assert.equal(specId(await service("web")), idOf(first));
  // The service goes: now nothing needs the old one.
  await host.api("DELETE", `/services/${ID}`);
  await settled(async () => {
    const ran = await deliver("--once");
    return ran.code === 0 && !(await configNames()).includes(first);
  });
  assert.deepEqual(await configNames(), [second]);
});

test("remove: a spec that left the folder goes from the Swarm when the last service is gone, not before", async () => {
  offer(1, "web");
  await createService("web");
  assert.equal((await deliver("--once")).code, 0);
  const [name] = await configNames();
  const foreign = await host.api("POST", "/configs/create", { Name: "foreign", Data: "Zg==" });
  assert.equal(foreign.status, 201);
  rmSync(join(manifests, "webapp01.json"));

  const kept = await deliver("--once");
  assert.match(kept.stdout, new RegExp(`note: kept: config ${name}: used by web`));
  assert.equal((await configNames()).length, 2);
  await host.api("DELETE", "/services/web");
  await settled(async () => {
    await deliver("--once");
    return (await configNames()).length === 1;
  });

  assert.deepEqual(await configNames(), ["foreign"]);
});

test("a node gets the spec as config:// by id, and no file of this host ever holds it", async () => {
  offer(1, "web");
  assert.equal((await deliver("--once")).code, 0);
  const [config] = (await host.api("GET", "/configs")).value;
  await createService("web", { replicas: 1, constraints: [] });
  const ran = await deliver("--once");
  assert.equal(ran.code, 0);
  assert.match(ran.stdout, /note: warning: service web: has no constraint node.platform.os==windows/);

  // A Linux engine has no credential specs: it refuses the task, quoting what it was given.
  const task = await settled(async () => {
    const tasks = (await host.api("GET", "/tasks")).value as readonly { Status: { Err?: string } }[];
    return tasks.find((one) => one.Status.Err?.includes("credentialspec"));
  });

  assert.ok(
    task.Status.Err?.includes(`credentialspec=config://${config.ID}`) === true,
    task.Status.Err ?? "",
  );
  const sid = sampleSpec().DomainJoinConfig["Sid"] ?? "";
  const holding = filesHolding(host.folder, sid);
  // The manifests themselves show that the search finds what is there.
  assert.ok(holding.includes(join(manifests, "webapp01.json")));
  assert.deepEqual(
    holding.filter((path) => !path.startsWith(join(host.folder, "specs-"))),
    [],
  );
  assert.equal(existsSync("/var/lib/docker/swarm"), false);
});

for (const [when, first] of [
  ["before", 10],
  ["after", 100],
] as const) {
  test(`killed at any request, ${when} the engine has done it, the next run goes on from there`, async () => {
    let revision = first;
    await createService("web");
    await createService("shop_api");
    // The first six requests only look.
    for (let at = 6; ; at++) {
      const name = offer(++revision, "web shop_*");
      const interrupted = await runInterrupted({ at, when });
      const ran = await deliver("--once");

      assert.equal(ran.code, 0, `request ${at}: ${ran.stdout}${ran.stderr}`);
      const [config, ...others] = (await host.api("GET", "/configs")).value;
      assert.deepEqual([config.Spec.Name, others.length], [name, 0], `request ${at}`);
      assert.equal(specId(await service("web")), config.ID);
      assert.equal(specId(await service("shop_api")), config.ID);
      if (!interrupted) {
        assert.ok(at > 12, `a delivery takes more than ${at} requests`);
        return;
      }
    }
  });
}

test("over TCP only with TLS that is verified on both sides", async () => {
  offer(1, "web");
  const inside = host.inside();
  const strange = join(host.folder, "strange");
  mkdirSync(strange, { recursive: true });
  const stranger = await createTestAuthority("another authority");
  const { certificatePem, privateKeyPem } = await stranger.client();
  writeFileSync(join(strange, "ca.pem"), host.authority.certificatePem);
  writeFileSync(join(strange, "cert.pem"), certificatePem);
  writeFileSync(join(strange, "key.pem"), privateKeyPem);

  const ran = await deliverTo(tlsAddress, inside, "--once", "--cert-path", host.clientFolder);
  assert.equal(ran.code, 0, ran.stderr);
  assert.equal((await configNames()).length, 1);
  const unknown = await deliverTo(tlsAddress, inside, "--once", "--cert-path", strange);
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /E_ENGINE_(TLS|UNREACHABLE)/);
  writeFileSync(join(strange, "ca.pem"), stranger.certificatePem);
  const untrusted = await deliverTo(tlsAddress, inside, "--once", "--cert-path", strange);
  assert.match(untrusted.stderr, /E_ENGINE_TLS/);
  const plain = await deliverTo(tlsAddress, inside, "--once");
  assert.equal(plain.code, 1);
  assert.match(plain.stderr, /E_ENGINE_/);
  const outside = await deliverTo("tcp://192.0.2.1:2375", [], "--once");
  assert.equal(outside.code, 2);
  assert.match(outside.stderr, /in the clear/);
});

test("watching: an edit and a new service are delivered at once, and an engine that goes and comes back is waited for", async () => {
  offer(1, "web shop_*");
  await createService("web");
  const log = join(host.folder, "watch.log");
  const logged = (event: string) => () => Promise.resolve(readFileSync(log, "utf8").includes(event));
  const watching = new GuardedProcess(
    process.execPath,
    [main, "credspec", "deliver", "--manifests", manifests, "--interval", "1h"],
    { logFile: log, environment: { DOCKER_HOST: `unix://${host.socket}` } },
  );
  try {
    await settled(async () => specId(await service("web")));
    const second = offer(2, "web shop_*");
    await settled(async () => (await configNames()).join() === second);
    await createService("shop_api");
    await settled(async () => specId(await service("shop_api")));
    await host.down();
    await settled(logged("delivery.engine-away"));
    const third = offer(3, "web shop_*");
    await host.up();

    await settled(async () => (await configNames()).join() === third);
    await settled(logged("delivery.engine-back"));
    assert.equal((await watching.stop()).code, 0);
  } finally {
    await watching.stop("SIGKILL");
  }
});

/** Runs one delivery through a proxy that kills it. False: it ended before its turn came. */
async function runInterrupted(interruption: Interruption): Promise<boolean> {
  let delivery: GuardedProcess | undefined;
  let interrupted = false;
  const proxy = await InterruptingProxy.start(
    join(host.folder, "proxy.sock"),
    host.socket,
    interruption,
    () => {
      interrupted = true;
      delivery?.signal("SIGKILL");
    },
  );
  try {
    delivery = new GuardedProcess(
      process.execPath,
      [main, "credspec", "deliver", "--once", "--manifests", manifests],
      {
        logFile: join(host.folder, "interrupted.log"),
        environment: { DOCKER_HOST: `unix://${proxy.socket}` },
      },
    );
    const { signal } = await delivery.exited;
    assert.equal(signal, interrupted ? "SIGKILL" : null);
    return interrupted;
  } finally {
    await proxy.close();
  }
}

/** Waits until it is so, and gives what it found. */
async function settled<T>(look: () => Promise<T | undefined | false>): Promise<T> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    await sleep(100);
  }
  throw new Error("it did not come about within half a minute");
}

/** Files below a folder whose bytes hold the text, plain or in base64. */
function filesHolding(folder: string, text: string): readonly string[] {
  // At each of the three offsets, without the characters that their neighbours share.
  const encoded = [0, 1, 2].map((offset) =>
    Buffer.from("x".repeat(offset) + text)
      .toString("base64")
      .slice(offset === 0 ? 0 : 4, -4),
  );
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const bytes = readFileSync(path);
      return [text, ...encoded].some((one) => bytes.includes(one));
    });
}

/**
 * The webhook as a service: real TLS on loopback, specs and access from a fake API server, certificates on disk.
 * @module
 */
import assert from "node:assert/strict";
import { mkdir, rename, symlink, writeFile } from "node:fs/promises";
import { request as httpsRequest, type RequestOptions } from "node:https";
import { get as httpGet } from "node:http";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { test, type TestContext } from "node:test";
import { gzipSync } from "node:zlib";
import { eventually } from "../../test/contracts/eventually.ts";
import { configOf, startFakeApiServer, type FakeApiServer } from "../../test/fakes/fake-api-server.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { sampleSpec } from "../../test/samples/credential-spec.ts";
import { temporaryFolder } from "../../test/temporary-folder.ts";
import { systemClock, type Clock } from "../clock.ts";
import { canonicalJson } from "../credential-spec/canonical-json.ts";
import { nodeOf } from "../credential-spec/json.ts";
import { createClusterClient } from "../kubernetes/cluster-client.ts";
import { createClusterSource } from "../kubernetes/cluster-source.ts";
import { gmsaCredentialSpecKind } from "../kubernetes/kinds.ts";
import { createKubernetesMetrics } from "../observe/kubernetes-metrics.ts";
import { createLog, silentLog } from "../observe/log.ts";
import { createRegistry } from "../observe/metrics.ts";
import { createAuthority, type CertificateAuthority, type IssuedCertificate } from "../pki/authority.ts";
import { createAccessReviewer } from "./access-review.ts";
import { startAdmission, type AdmissionOptions, type RunningAdmission } from "./admission.ts";
import { createCachedSpecs } from "./cached-specs.ts";
import { followMountedCertificate } from "./serving-certificate.ts";

const contents = canonicalJson(nodeOf(sampleSpec()));
const reviewPath = (namespace: string): string =>
  `/apis/authorization.k8s.io/v1/namespaces/${namespace}/localsubjectaccessreviews`;

function authority(): Promise<CertificateAuthority> {
  return createAuthority({
    commonName: "webhook test",
    keyType: "ec-p256",
    lifetimeMs: 86_400_000,
    clock: systemClock,
  });
}

function serving(by: CertificateAuthority, lifetimeMs = 7_200_000): Promise<IssuedCertificate> {
  return by.issue({
    commonName: "webhook",
    dnsNames: ["localhost"],
    ipAddresses: ["127.0.0.1"],
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs,
  });
}

/** Writes the pair as a secret volume does: a new folder, then the `..data` link is swapped. */
async function mount(folder: string, generation: number, issued: IssuedCertificate): Promise<void> {
  const target = join(folder, `..gen${generation}`);
  await mkdir(target);
  await writeFile(join(target, "tls.crt"), issued.chainPem);
  await writeFile(join(target, "tls.key"), issued.privateKeyPem.reveal(), { mode: 0o600 });
  await symlink(`..gen${generation}`, join(folder, "..data.next"));
  await rename(join(folder, "..data.next"), join(folder, "..data"));
  if (generation > 1) return;
  for (const name of ["tls.crt", "tls.key"]) await symlink(`..data/${name}`, join(folder, name));
}

interface Bed {
  readonly api: FakeApiServer;
  readonly admission: RunningAdmission;
  readonly folder: string;
  readonly authority: CertificateAuthority;
  readonly logged: string[];
  readonly call: (path: string, options?: CallOptions) => Promise<Answer>;
}

interface CallOptions {
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
  readonly method?: string;
  readonly client?: IssuedCertificate;
  readonly tls?: RequestOptions;
}

interface Answer {
  readonly status: number;
  readonly body: string;
  readonly serial: string;
}

async function start(
  t: TestContext,
  options: Partial<AdmissionOptions> & {
    readonly cacheMs?: number;
    /** Of the access decisions. */
    readonly clock?: Clock;
    readonly lifetimeMs?: number;
    readonly prepare?: (api: FakeApiServer) => void;
  } = {},
): Promise<Bed> {
  const api = await startFakeApiServer();
  api.put(gmsaCredentialSpecKind, {
    apiVersion: "windows.k8s.io/v1",
    kind: "GMSACredentialSpec",
    metadata: { name: "webapp01" },
    credspec: sampleSpec(),
  });
  api.handle("POST", reviewPath("shop"), () => ({ status: 201, body: { status: { allowed: true } } }));
  options.prepare?.(api);
  const by = await authority();
  const folder = temporaryFolder(t);
  await mount(folder, 1, await serving(by, options.lifetimeMs));
  const logged: string[] = [];
  const log = createLog({ level: "info", sink: { write: (line) => void logged.push(line) } });
  const client = createClusterClient(configOf(api), silentLog);
  const registry = createRegistry("test");
  const source = createClusterSource(client, {
    clock: systemClock,
    log: silentLog,
    metrics: createKubernetesMetrics(registry),
  });
  const specs = createCachedSpecs(source, systemClock);
  const certificate = await followMountedCertificate({
    certificateFile: join(folder, "tls.crt"),
    keyFile: join(folder, "tls.key"),
    clock: systemClock,
    log,
    intervalMs: 20,
  });
  const admission = await startAdmission(
    {
      addresses: [{ host: "127.0.0.1", port: 0 }],
      operationsAddresses: [{ host: "127.0.0.1", port: 0 }],
      clientAuthoritiesPem: undefined,
      clientNames: [],
      enforceLint: false,
      drainMs: 1_000,
      lingerMs: 0,
      version: "1.2.3",
      randomHostname: false,
      authoriseExpansion: true,
      missingContents: "deny",
      ...options,
    },
    {
      specs,
      access: createAccessReviewer(client, {
        clock: options.clock ?? systemClock,
        cacheMs: options.cacheMs ?? 0,
      }),
      certificate,
      registry,
      log,
      clock: systemClock,
    },
  );
  let stopped = false;
  const stop = admission.stop.bind(admission);
  t.after(async () => {
    if (!stopped) await stop();
    await certificate.close();
    await source.close();
    await api.stop();
  });
  const running: RunningAdmission = {
    ...admission,
    async stop() {
      stopped = true;
      await stop();
    },
  };
  return {
    api,
    admission: running,
    folder,
    authority: by,
    logged,
    call: (path, asked) => call(admission.port, by, path, asked),
  };
}

async function call(
  port: number,
  by: CertificateAuthority,
  path: string,
  options: CallOptions = {},
): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const request = httpsRequest(
      {
        host: "127.0.0.1",
        port,
        path,
        method: options.method ?? (options.body === undefined ? "GET" : "POST"),
        headers: {
          ...(options.body === undefined ? {} : { "content-type": "application/json" }),
          ...options.headers,
        },
        ca: by.certificatePem,
        agent: false,
        ...(options.client === undefined
          ? {}
          : { cert: options.client.chainPem, key: options.client.privateKeyPem.reveal() }),
        ...options.tls,
      },
      (response) => {
        const socket = response.socket as unknown as { getPeerCertificate(): { serialNumber: string } };
        const serial = socket.getPeerCertificate().serialNumber;
        buffer(response).then(
          (body) => resolve({ status: response.statusCode ?? 0, body: body.toString("utf8"), serial }),
          reject,
        );
      },
    );
    request.on("error", reject);
    request.end(options.body);
  });
}

function review(pod: object, more: object = {}): string {
  return JSON.stringify({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: "u1",
      kind: { kind: "Pod" },
      operation: "CREATE",
      namespace: "shop",
      object: pod,
      ...more,
    },
  });
}

const podWith = (options: object): object => ({
  metadata: { name: "web-0" },
  spec: {
    serviceAccountName: "app",
    securityContext: { windowsOptions: options },
    containers: [{ name: "c" }],
  },
});
const named = podWith({ gmsaCredentialSpecName: "webapp01" });
const expanded = podWith({ gmsaCredentialSpecName: "webapp01", gmsaCredentialSpec: contents });

function responseOf(answer: Answer): {
  readonly allowed: boolean;
  readonly patch?: string;
  readonly warnings?: readonly string[];
  readonly status?: { readonly code: number; readonly message: string };
} {
  return (JSON.parse(answer.body) as { readonly response: ReturnType<typeof responseOf> }).response;
}

/** The cache follows on its own; a test about it waits until it is there. */
async function inSync(bed: Bed): Promise<void> {
  await eventually("the cache watches", () => bed.api.openWatches === 1);
}

test("paths, methods and content types answer as windows-gmsa's webhook does", async (t) => {
  const { call: ask } = await start(t);
  const table: readonly (readonly [path: string, options: CallOptions, status: number, body: string])[] = [
    ["/info", {}, 200, '{"version":"1.2.3"}'],
    ["/info", { method: "DELETE" }, 200, '{"version":"1.2.3"}'],
    ["/health", {}, 204, ""],
    ["/", {}, 404, ""],
    ["/mutate/", { body: "{}" }, 404, ""],
    ["/metrics", {}, 404, ""],
    ["/__proto__", { body: "{}" }, 404, ""],
    ["/mutate", {}, 405, ""],
    ["/validate", { method: "PUT" }, 405, ""],
    ["/mutate", { body: "{}", headers: { "content-type": "text/plain" } }, 415, ""],
    ["/validate", { body: gzipSync("{}"), headers: { "content-encoding": "gzip" } }, 415, ""],
    ["/validate", { body: "x".repeat(10 * 1024 * 1024), headers: { connection: "close" } }, 413, ""],
  ];
  for (const [path, options, status, body] of table) {
    const answer = await ask(path, options).catch((error: NodeJS.ErrnoException) => ({
      status: error.code === "EPIPE" || error.code === "ECONNRESET" ? 413 : 0,
      body: "",
    }));

    assert.deepEqual([path, answer.status, answer.body], [path, status, body]);
  }
});

for (const type of [
  "application/json",
  "application/json; charset=utf-8",
  "application/json;charset=UTF-8",
]) {
  test(`the content type ${type} is accepted, and a query ignored`, async (t) => {
    const { call: ask } = await start(t);

    const answer = await ask("/mutate?timeout=10s", { body: "{}", headers: { "content-type": type } });

    assert.equal(answer.status, 200);
    assert.equal(responseOf(answer).status?.message, "no 'Request' field in JSON body");
  });
}

test("a pod is expanded from memory and authorised by one review in each call", async (t) => {
  const bed = await start(t);
  await inSync(bed);

  const mutated = await bed.call("/mutate", { body: review(named) });
  const validated = await bed.call("/validate", { body: review(expanded) });

  const [patch] = JSON.parse(
    Buffer.from(responseOf(mutated).patch ?? "", "base64").toString("utf8"),
  ) as readonly { readonly value: string }[];
  assert.equal(patch?.value, contents);
  assert.ok(responseOf(validated).allowed);
  const asked = bed.api.requests.filter((request) => request.method === "POST");
  assert.deepEqual([asked.length, bed.api.count("get")], [2, 0]);
  assert.deepEqual(JSON.parse(asked[0]?.body ?? "{}"), {
    apiVersion: "authorization.k8s.io/v1",
    kind: "LocalSubjectAccessReview",
    metadata: { namespace: "shop" },
    spec: {
      resourceAttributes: {
        namespace: "shop",
        verb: "use",
        group: "windows.k8s.io",
        version: "v1",
        resource: "gmsacredentialspecs",
        name: "webapp01",
      },
      user: "system:serviceaccount:shop:app",
      groups: ["system:serviceaccounts", "system:serviceaccounts:shop"],
    },
  });
});

test("an access decision is used again only as long as that is allowed", async (t) => {
  const bed = await start(t, { cacheMs: 10_000 });
  await inSync(bed);

  await bed.call("/mutate", { body: review(named) });
  await bed.call("/validate", { body: review(expanded) });

  assert.equal(bed.api.requests.filter((request) => request.method === "POST").length, 1);
});

test("a right that was taken away counts as soon as the decision's time is over", async (t) => {
  const clock = new FakeClock();
  const bed = await start(t, { cacheMs: 10_000, clock });
  await inSync(bed);
  const isAllowed = async (): Promise<boolean> =>
    responseOf(await bed.call("/mutate", { body: review(named) })).allowed;
  assert.ok(await isAllowed());
  bed.api.handle("POST", reviewPath("shop"), () => ({ status: 201, body: { status: { allowed: false } } }));

  await clock.advance(9_999);
  assert.ok(await isAllowed(), "the decision did not last");
  await clock.advance(1);
  assert.ok(!(await isAllowed()), "the decision outlived its time");
});

test("a failure to decide is never used again, whatever the time of decisions", async (t) => {
  const bed = await start(t, { cacheMs: 10_000 });
  await inSync(bed);
  bed.api.fail({ verb: "other", times: 1, fault: { kind: "status", status: 500 } });

  assert.ok(!responseOf(await bed.call("/mutate", { body: review(named) })).allowed);
  assert.ok(responseOf(await bed.call("/mutate", { body: review(named) })).allowed);
});

for (const path of ["/mutate", "/validate"]) {
  test(`an access review that hangs past the deadline refuses in time at ${path}, and the next pod asks anew`, async (t) => {
    const bed = await start(t);
    await inSync(bed);
    bed.api.fail({ verb: "other", times: 1, fault: { kind: "hang" } });
    const body = review(path === "/mutate" ? named : expanded);
    const began = performance.now();

    const answer = responseOf(await bed.call(`${path}?timeout=1s`, { body }));

    assert.ok(performance.now() - began < 1_000, "later than the API server waits");
    assert.deepEqual(answer.status, {
      metadata: {},
      message:
        'service account "app" is not authorized to `use` GMSA cred spec "webapp01", reason: "error when checking authz access: no answer in time"',
      code: 403,
    });
    await new Promise((resolve) => setTimeout(resolve, Math.max(began + 1_050 - performance.now(), 0)));
    assert.ok(responseOf(await bed.call(`${path}?timeout=1s`, { body })).allowed);
  });
}

test("a spec created a moment ago is found by one GET, and specs work with `get` alone", async (t) => {
  const bed = await start(t, {
    prepare: (api) => api.fail({ verb: "list", fault: { kind: "status", status: 403 } }),
  });

  const mutated = await bed.call("/mutate", { body: review(named) });

  assert.ok(responseOf(mutated).allowed);
  assert.equal(bed.api.count("get"), 1);
  await eventually("the refusal is known", () => bed.api.count("list") > 0);
  const ready = await readiness(bed);
  assert.equal(ready.status, 200);
  assert.match(ready.body, /without a cache/);
});

test("a spec that is changed while a pod is between the two webhooks does not refuse the pod", async (t) => {
  const bed = await start(t);
  await inSync(bed);
  bed.api.put(gmsaCredentialSpecKind, {
    apiVersion: "windows.k8s.io/v1",
    kind: "GMSACredentialSpec",
    metadata: { name: "webapp01" },
    credspec: { ...sampleSpec(), CmsPlugins: [] },
  });
  await new Promise((resolve) => setTimeout(resolve, 100));

  const validated = await bed.call("/validate", { body: review(expanded) });

  assert.ok(responseOf(validated).allowed);
});

const apiFaults: readonly (readonly [
  name: string,
  fault: Parameters<FakeApiServer["fail"]>[0],
  code: number,
  message: RegExp,
])[] = [
  [
    "answers 500 with a text that ends in not found",
    { verb: "get", fault: { kind: "status", status: 500 } },
    500,
    /^unable to retrieve the contents of cred spec new: /,
  ],
  [
    "answers 403",
    { verb: "get", fault: { kind: "status", status: 403 } },
    500,
    /^unable to retrieve the contents of cred spec new: .*403/,
  ],
  [
    "answers three characters",
    { verb: "get", fault: { kind: "text", text: "odd" } },
    500,
    /^unable to retrieve the contents of cred spec new: /,
  ],
  [
    "hangs",
    { verb: "get", fault: { kind: "hang" } },
    500,
    /^unable to retrieve the contents of cred spec new: /,
  ],
  [
    "resets",
    { verb: "get", fault: { kind: "reset" } },
    500,
    /^unable to retrieve the contents of cred spec new: /,
  ],
];

for (const [name, fault, code, message] of apiFaults) {
  test(`an API server that ${name} gives an actionable refusal in time`, async (t) => {
    const bed = await start(t);
    bed.api.fail(fault);
    const began = performance.now();

    const answer = responseOf(
      await bed.call("/mutate?timeout=1s", { body: review(podWith({ gmsaCredentialSpecName: "new" })) }),
    );

    assert.equal(answer.status?.code, code);
    assert.match(answer.status?.message ?? "", message);
    assert.ok(performance.now() - began < 2_000);
  });
}

const reviewFaults: readonly (readonly [name: string, status: number, body: unknown, reason: RegExp])[] = [
  ["403", 403, {}, /the API server answered 403/],
  ["500", 500, "page not found", /the API server answered 500/],
  ["429", 429, {}, /the API server answered 429/],
  ["no status", 201, {}, /has no status/],
];

for (const [name, status, body, reason] of reviewFaults) {
  test(`an access review answered with ${name} refuses with 403 and says why`, async (t) => {
    const bed = await start(t, {
      prepare: (api) => api.handle("POST", reviewPath("shop"), () => ({ status, body })),
    });

    const answer = responseOf(await bed.call("/validate", { body: review(expanded) }));

    assert.equal(answer.status?.code, 403);
    assert.match(
      answer.status?.message ?? "",
      /^service account "app" is not authorized to `use` GMSA cred spec "webapp01", reason: "error when checking authz access: /,
    );
    assert.match(answer.status?.message ?? "", reason);
  });
}

test("allowed and denied at once is denied", async (t) => {
  const bed = await start(t, {
    prepare: (api) =>
      api.handle("POST", reviewPath("shop"), () => ({
        status: 201,
        body: { status: { allowed: true, denied: true } },
      })),
  });

  assert.equal(responseOf(await bed.call("/validate", { body: review(expanded) })).status?.code, 403);
});

test("only a client certificate of the right authority and name may ask", async (t) => {
  const clients = await authority();
  const issue = (by: CertificateAuthority, commonName: string) =>
    by.issue({ commonName, usage: "client", keyType: "ec-p256", lifetimeMs: 3_600_000 });
  const bed = await start(t, {
    clientAuthoritiesPem: clients.certificatePem,
    clientNames: ["kube-apiserver"],
  });
  const body = review(named);

  const without = await bed.call("/mutate", { body });
  const foreign = await bed.call("/mutate", {
    body,
    client: await issue(await authority(), "kube-apiserver"),
  });
  const otherName = await bed.call("/validate", { body, client: await issue(clients, "somebody") });
  const right = await bed.call("/mutate", { body, client: await issue(clients, "kube-apiserver") });

  assert.deepEqual([without.status, foreign.status, otherName.status, right.status], [403, 403, 403, 200]);
  assert.equal((await bed.call("/health")).status, 204);
});

test("three rotations through a swapped link are all picked up while requests go on", async (t) => {
  const bed = await start(t);
  const serials = new Set<string>();
  let failures = 0;
  const load = { running: true };
  const requests = (async () => {
    while (load.running) {
      await bed.call("/mutate", { body: review(named) }).then(
        (answer) => (answer.status === 200 ? undefined : failures++),
        () => failures++,
      );
    }
  })();
  serials.add((await bed.call("/health")).serial);
  for (const generation of [2, 3, 4]) {
    const next = await serving(bed.authority);
    await mount(bed.folder, generation, next);
    const deadline = performance.now() + 5_000;
    for (;;) {
      const { serial } = await bed.call("/health");
      if (!serials.has(serial)) {
        serials.add(serial);
        break;
      }
      assert.ok(performance.now() < deadline, `rotation ${generation} was not picked up`);
    }
  }
  load.running = false;
  await requests;

  assert.deepEqual([serials.size, failures], [4, 0]);
});

test("a certificate that does not fit its key is not used, and the next good one is", async (t) => {
  const bed = await start(t);
  const { serial } = await bed.call("/health");
  const [one, other] = [await serving(bed.authority), await serving(bed.authority)];

  await mount(bed.folder, 2, { ...one, privateKeyPem: other.privateKeyPem });
  await eventually("the fault is logged", () =>
    bed.logged.some((line) => line.includes("admission.certificate-kept")),
  );

  assert.equal((await bed.call("/health")).serial, serial);
  await mount(bed.folder, 3, other);
  await eventually("the good one is used", () =>
    bed.logged.some((line) => line.includes("admission.certificate-rotated")),
  );
  assert.notEqual((await bed.call("/health")).serial, serial);
});

test("stopping loses no request that is under way", async (t) => {
  const bed = await start(t, {
    prepare: (api) => api.fail({ verb: "get", times: 1, fault: { kind: "hang" } }),
  });
  const pending = bed.call("/mutate?timeout=1s", {
    body: review(podWith({ gmsaCredentialSpecName: "new" })),
  });
  await eventually("the request is under way", () => bed.api.count("get") === 1);

  await bed.admission.stop();

  assert.equal((await pending).status, 200);
});

async function readiness(bed: Bed): Promise<{ readonly status: number; readonly body: string }> {
  return await new Promise((resolve, reject) => {
    httpGet(`http://${bed.admission.operationsAddresses[0] ?? ""}/readyz`, (response) => {
      buffer(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, body: body.toString("utf8") }),
        reject,
      );
    }).on("error", reject);
  });
}

test("it is not ready with a certificate that ends within the hour", async (t) => {
  const bed = await start(t, { lifetimeMs: 30 * 60_000 });

  const ready = await readiness(bed);

  assert.equal(ready.status, 503);
  assert.match(ready.body, /\[-\] certificate: ends in (29|30) minutes/);
});

test("it is not ready before the specs were read once", async (t) => {
  const bed = await start(t, {
    prepare: (api) => api.fail({ verb: "list", fault: { kind: "status", status: 500 } }),
  });

  assert.equal((await readiness(bed)).status, 503);
  bed.api.heal();
});

test("nothing of a pod or a spec is logged", async (t) => {
  const bed = await start(t);

  await bed.call("/validate", { body: review(expanded) });
  await bed.call("/validate", { body: review(podWith({ gmsaCredentialSpec: contents })) });

  const lines = bed.logged.join("");
  for (const text of ["contoso", "S-1-5-21", "webapp01", "web-0"]) assert.ok(!lines.includes(text), text);
});

test("a credential spec that will not work is warned about, or refused when enforced", async (t) => {
  const spec = { ...sampleSpec(), CmsPlugins: [] };
  const body = JSON.stringify({
    request: {
      uid: "u1",
      kind: { kind: "GMSACredentialSpec" },
      operation: "CREATE",
      object: { credspec: spec },
    },
  });
  const [warning, enforcing] = [await start(t), await start(t, { enforceLint: true })];

  const warned = responseOf(await warning.call("/lint", { body }));
  const refused = responseOf(await enforcing.call("/lint", { body }));

  assert.ok(warned.allowed);
  assert.match(warned.warnings?.[0] ?? "", /^\/credspec\/CmsPlugins does not contain "ActiveDirectory"/);
  assert.equal(refused.status?.code, 422);
});

/**
 * Self-managed certificates against a fake API server with real sockets, by a clock that the tests turn.
 * @module
 */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { test, type TestContext } from "node:test";
import * as fc from "fast-check";
import { eventually } from "../../test/contracts/eventually.ts";
import {
  configOf,
  startFakeApiServer,
  type FakeApiServer,
  type StoredObject,
} from "../../test/fakes/fake-api-server.ts";
import { FakeClock } from "../../test/fakes/fake-clock.ts";
import { systemClock } from "../clock.ts";
import { createClusterClient } from "../kubernetes/cluster-client.ts";
import { createClusterSource } from "../kubernetes/cluster-source.ts";
import {
  mutatingWebhookConfigurationKind,
  secretKind,
  validatingWebhookConfigurationKind,
  type ResourceKind,
} from "../kubernetes/kinds.ts";
import type { KubernetesObject } from "../kubernetes/resource-source.ts";
import { createLog, silentLog } from "../observe/log.ts";
import { createAuthority } from "../pki/authority.ts";
import { inspectCertificate } from "../pki/certificate.ts";
import { authoritySecretType, parseAuthoritySecret, renderAuthoritySecret } from "./authority-secret.ts";
import { createSelfManagedCertificate, type SelfManagedOptions } from "./self-managed-certificate.ts";
import type { FollowedCertificate } from "./serving-certificate.ts";

const hour = 3_600_000;
const minute = 60_000;
const namespace = "gmsa-webhook";
const name = "gmsa-webhook-ca";
const secretsPath = `/api/v1/namespaces/${namespace}/secrets`;
const configurationKinds = [mutatingWebhookConfigurationKind, validatingWebhookConfigurationKind];
const options: SelfManagedOptions = {
  secret: { namespace, name },
  configurations: { mutating: ["gmsa-webhook"], validating: ["gmsa-webhook"] },
  dnsNames: ["gmsa-webhook.gmsa-webhook.svc"],
  authorityLifetimeMs: 9 * hour,
  leafLifetimeMs: 144 * minute,
};

interface StoredSecret extends KubernetesObject {
  readonly data: Readonly<Record<"authorities.json" | "ca.crt", string>>;
}

interface StoredConfiguration extends StoredObject {
  readonly webhooks: readonly { readonly clientConfig: { caBundle?: string } }[];
}

function secretIn(api: FakeApiServer): StoredSecret {
  return api.stored(secretKind, name, namespace) as StoredObject as StoredSecret;
}

/** A copy, to be changed and put back. */
function configurationIn(api: FakeApiServer, kind: ResourceKind): StoredConfiguration {
  return structuredClone(api.stored(kind, "gmsa-webhook")) as StoredConfiguration;
}

function decoded(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}

interface Bed {
  readonly api: FakeApiServer;
  readonly clock: FakeClock;
  readonly events: () => readonly string[];
  /** A replica, stopped with the test. */
  readonly replica: (
    more?: Partial<SelfManagedOptions>,
    signal?: AbortSignal,
  ) => Promise<FollowedCertificate>;
  readonly bundle: (kind?: ResourceKind, webhook?: number) => string;
  readonly entries: () => readonly { readonly certificate: string; readonly privateKey?: string }[];
  readonly until: (what: string, condition: () => boolean, stepMs?: number) => Promise<void>;
}

/** Lets the fake server take writes as the real one does: for the version that was read, or not at all. */
function takeWrites(api: FakeApiServer): void {
  const conflict = { status: 409, body: { kind: "Status", code: 409 } };
  api.handle("POST", secretsPath, ({ body }) => {
    if (api.stored(secretKind, name, namespace) !== undefined) return conflict;
    api.put(secretKind, JSON.parse(body) as StoredObject);
    return { status: 201, body: {} };
  });
  api.handle("PUT", `${secretsPath}/${name}`, ({ body }) => {
    const written = JSON.parse(body) as StoredObject;
    const before = api.stored(secretKind, name, namespace);
    if (before === undefined) return { status: 404, body: {} };
    if (before.metadata["resourceVersion"] !== written.metadata["resourceVersion"]) return conflict;
    api.put(secretKind, written);
    return { status: 200, body: {} };
  });
  for (const kind of configurationKinds) {
    api.handle("PATCH", `/apis/${kind.group}/v1/${kind.plural}/gmsa-webhook`, ({ body }) => {
      const [check, ...operations] = JSON.parse(body) as { readonly path: string; readonly value: string }[];
      const object = configurationIn(api, kind);
      if (object.metadata["resourceVersion"] !== check?.value) return { status: 422, body: {} };
      for (const { path, value } of operations) {
        const webhook = object.webhooks[Number(path.split("/")[2])];
        assert.ok(webhook !== undefined);
        webhook.clientConfig.caBundle = value;
      }
      api.put(kind, object);
      return { status: 200, body: {} };
    });
  }
}

function putConfigurations(api: FakeApiServer, metadata: object = {}): void {
  for (const kind of configurationKinds) {
    const service = { name: "gmsa-webhook", namespace };
    const webhooks = kind === mutatingWebhookConfigurationKind ? ["a"] : ["a", "lint"];
    api.put(kind, {
      apiVersion: "admissionregistration.k8s.io/v1",
      kind: kind.kind,
      metadata: { name: "gmsa-webhook", ...metadata },
      webhooks: webhooks.map((each) => ({ name: each, clientConfig: { service } })),
    });
  }
}

async function bed(t: TestContext, configured = true): Promise<Bed> {
  const api = await startFakeApiServer();
  const clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  takeWrites(api);
  if (configured) putConfigurations(api);
  const logged: string[] = [];
  const log = createLog({ level: "info", sink: { write: (line) => void logged.push(line) } });
  const closing: (() => Promise<void>)[] = [];
  t.after(async () => {
    for (const close of closing.toReversed()) await close();
    await api.stop();
  });
  return {
    api,
    clock,
    events: () => logged.map((line) => (JSON.parse(line) as { event: string }).event),
    async replica(more = {}, signal) {
      const client = createClusterClient(configOf(api, { namespace }), silentLog);
      const source = createClusterSource(
        client,
        { clock: systemClock, log: silentLog },
        { firstRetryMs: 10, longestRetryMs: 20 },
      );
      closing.push(() => source.close());
      let settled = false;
      const starting = createSelfManagedCertificate(
        { ...options, ...more },
        { source, client, clock, log },
        signal,
      );
      const end = (): void => void (settled = true);
      starting.then(end, end);
      await eventually("the start", () => settled, clock, 500);
      const certificate = await starting;
      closing.push(() => certificate.close());
      return certificate;
    },
    bundle(kind = mutatingWebhookConfigurationKind, webhook = 0) {
      return decoded(configurationIn(api, kind).webhooks[webhook]?.clientConfig.caBundle ?? "");
    },
    entries: () => JSON.parse(decoded(secretIn(api).data["authorities.json"])) as ReturnType<Bed["entries"]>,
    until: (what, condition, stepMs = 500) => eventually(what, condition, clock, stepMs),
  };
}

/** Would an API server with this bundle believe the certificate? */
function isTrusted(bundle: string, certificate: FollowedCertificate): boolean {
  const leaf = new X509Certificate(certificate.current().identity.chainPem);
  return certificatesIn(bundle).some((pem) => leaf.verify(new X509Certificate(pem).publicKey));
}

function certificatesIn(bundle: string): readonly string[] {
  return bundle.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? [];
}

test("the first replica makes the Secret and its authority stands in every webhook of every configuration", async (t) => {
  const { api, bundle, replica, until } = await bed(t);

  const certificate = await replica();

  await until("ready", () => certificate.readiness().ready);
  assert.equal(api.stored(secretKind, name, namespace)?.["type"], authoritySecretType);
  assert.equal(certificatesIn(bundle()).length, 1);
  assert.ok(isTrusted(bundle(), certificate));
  for (const webhook of [0, 1]) assert.equal(bundle(validatingWebhookConfigurationKind, webhook), bundle());
  const leaf = new X509Certificate(certificate.current().identity.chainPem);
  assert.equal(leaf.subjectAltName, "DNS:gmsa-webhook.gmsa-webhook.svc");
});

test("an empty Secret that an installer made is filled, and keeps its labels", async (t) => {
  const { api, bundle, entries, events, replica, until } = await bed(t);
  const labels = { "app.kubernetes.io/managed-by": "Helm" };
  const metadata = { name, namespace, labels };
  api.put(secretKind, { apiVersion: "v1", kind: "Secret", metadata, type: authoritySecretType });
  api.handle("POST", secretsPath, () => ({ status: 403, body: {} }));

  const certificate = await replica();

  await until("ready", () => certificate.readiness().ready && isTrusted(bundle(), certificate));
  assert.equal(entries().length, 1);
  assert.deepEqual(secretIn(api).metadata.labels, labels);
  assert.ok(!events().includes("admission.authority-regenerated"));
});

test("replicas that start together agree on one authority", async (t) => {
  const { bundle, entries, replica, until } = await bed(t);

  const replicas = await Promise.all([replica(), replica(), replica()]);

  await until("ready", () => replicas.every((each) => each.readiness().ready));
  assert.equal(entries().length, 1);
  assert.equal(certificatesIn(bundle()).length, 1);
  assert.ok(replicas.every((each) => isTrusted(bundle(), each)));
});

test("a replica is not ready before API servers can find its authority, and is without any configuration", async (t) => {
  const { api, replica, until } = await bed(t);
  const path = `/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/gmsa-webhook`;
  api.handle("PATCH", path, () => ({ status: 403, body: {} }));

  const certificate = await replica();
  await until("the refusal", () => JSON.stringify(certificate.readiness()).includes("403"));
  assert.deepEqual(certificate.readiness(), {
    ready: false,
    reason:
      "the webhook configurations do not hold its authority; MutatingWebhookConfiguration gmsa-webhook cannot be written: the API server answered 403",
  });

  for (const kind of configurationKinds) api.delete(kind, "gmsa-webhook");
  await until("ready", () => certificate.readiness().ready);
});

test("leaves and authorities are replaced while two replicas serve, and no certificate is ever unknown", async (t) => {
  const { api, bundle, clock, entries, events, replica, until } = await bed(t);
  const lifetimes = { authorityLifetimeMs: 90 * minute, leafLifetimeMs: 24 * minute };
  const replicas = await Promise.all([replica(lifetimes), replica(lifetimes)]);
  await until("ready", () => replicas.every((each) => each.readiness().ready));
  const [first] = certificatesIn(bundle());
  const serials = new Set<string>();

  const check = (): void => {
    for (const each of replicas) {
      serials.add(each.current().identity.chainPem);
      assert.ok(isTrusted(bundle(), each), "a certificate that API servers do not know is served");
      assert.ok(each.current().notAfter > clock.now(), "an ended certificate is served");
      assert.deepEqual(each.readiness(), { ready: true });
    }
    assert.ok(entries().length <= 2);
  };
  const end = clock.now() + 300 * minute;
  while (clock.now() < end) {
    await clock.advance(minute);
    // Sockets are real: what a step has set off comes to rest before the next one.
    await eventually(
      "rest",
      () =>
        bundle() === certificatesOf(api) &&
        bundle() === bundle(validatingWebhookConfigurationKind, 1) &&
        // Keys are made in real time, which a busy machine has little of.
        replicas.every((each) => each.readiness().ready),
    );
    check();
  }

  assert.ok(!bundle().includes(first ?? "?"), "the first authority is still trusted");
  const authorities = events().filter((event) => event === "admission.authority-created").length;
  assert.ok(authorities >= 5 && authorities <= 6, `${authorities} authorities`);
  assert.ok(serials.size >= 30, `${serials.size} certificates`);
  assert.ok(!events().includes("admission.ca-bundle-repaired"));
  assert.ok(!events().includes("admission.authority-fault"));
});

function certificatesOf(api: FakeApiServer): string {
  return decoded(secretIn(api).data["ca.crt"]);
}

test("a successor is trusted beside its predecessor before it signs, and after", async (t) => {
  const { bundle, clock, replica, until } = await bed(t);
  const certificate = await replica();
  await until("ready", () => certificate.readiness().ready);
  const before = bundle();

  await until("a successor", () => certificatesIn(bundle()).length === 2, 600_000);

  assert.ok(bundle().startsWith(before));
  assert.ok(isTrusted(before, certificate), "the successor signed at once");
  const appeared = clock.now();
  await until("the switch", () => !isTrusted(before, certificate), 600_000);
  assert.ok(clock.now() - appeared <= 2 * hour);
  const { notAfter } = inspectCertificate(before);
  await until("the end of the predecessor", () => certificatesIn(bundle()).length === 1, 600_000);
  assert.ok(clock.now() >= notAfter, "the predecessor is forgotten too soon");
});

test("a replica that starts when a successor is new goes on with the predecessor, later ones with the successor", async (t) => {
  const { bundle, clock, replica, until } = await bed(t);
  const lifetimes = { authorityLifetimeMs: 9 * minute, leafLifetimeMs: 144_000 };
  const first = await replica(lifetimes);
  await until("ready", () => first.readiness().ready);
  const before = bundle();
  await until("a successor", () => certificatesIn(bundle()).length === 2, 2_000);

  const early = await replica(lifetimes);
  assert.ok(isTrusted(before, early), "API servers may not know its authority yet");

  await clock.advance(minute);
  const late = await replica(lifetimes);
  assert.ok(!isTrusted(before, late) && isTrusted(bundle(), late));
});

test("a successor that cannot be published signs nothing, for as long as its predecessor lives", async (t) => {
  const { api, bundle, clock, entries, replica, until } = await bed(t);
  const certificate = await replica();
  await until("ready", () => certificate.readiness().ready);
  const { notAfter } = inspectCertificate(bundle());
  const path = `/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gmsa-webhook`;
  api.handle("PATCH", path, () => ({ status: 403, body: {} }));

  await until("a successor", () => entries().length === 2, 600_000);
  while (clock.now() < notAfter - 10 * minute) {
    await clock.advance(5 * minute);
    assert.ok(isTrusted(bundle(validatingWebhookConfigurationKind), certificate));
  }
});

test("a deleted Secret is made again with a new authority, and what is served stays trusted meanwhile", async (t) => {
  const { api, bundle, entries, events, replica, until } = await bed(t);
  const replicas = [await replica(), await replica()];
  await until("ready", () => replicas.every((each) => each.readiness().ready));
  const before = bundle();

  api.delete(secretKind, name, namespace);
  await until("the new authority", () => certificatesIn(bundle()).length === 2);

  assert.ok(bundle().startsWith(before));
  assert.deepEqual(
    entries().map((entry) => entry.privateKey === undefined),
    [true, false],
  );
  assert.equal(events().filter((event) => event === "admission.authority-regenerated").length, 1);
  await until(
    "every replica on the new one",
    () => replicas.every((each) => !isTrusted(before, each)),
    10_000,
  );
  assert.ok(replicas.every((each) => isTrusted(bundle(), each)));
  await until("the old one forgotten", () => certificatesIn(bundle()).length === 1, hour / 2);
});

for (const [what, data] of [
  ["without its data", undefined],
  ["with something that is not JSON", { "authorities.json": Buffer.from("[{").toString("base64") }],
  ["with another key", { "authorities.json": Buffer.from('[{"certificate":"x"}]').toString("base64") }],
] as const) {
  test(`a Secret ${what} is made again`, async (t) => {
    const { api, bundle, events, replica, until } = await bed(t);
    const certificate = await replica();
    await until("ready", () => certificate.readiness().ready);
    const before = bundle();

    api.put(secretKind, { ...secretIn(api), data });

    await until("the new authority", () => certificatesIn(bundle()).length === 2);
    assert.ok(bundle().startsWith(before) && isTrusted(bundle(), certificate));
    assert.ok(events().includes("admission.authority-regenerated"));
  });
}

test("a replica that met no Secret does not make the others unknown", async (t) => {
  const { api, bundle, replica, until } = await bed(t);
  const old = await replica();
  await until("ready", () => old.readiness().ready);

  // The one that runs hears nothing while the Secret goes and another replica starts.
  api.delete(secretKind, name, namespace);
  const fresh = await replica();

  await until("both known", () => isTrusted(bundle(), old) && isTrusted(bundle(), fresh));
});

test("somebody else's edit of caBundle is repaired", async (t) => {
  const { api, bundle, events, replica, until } = await bed(t);
  const certificate = await replica();
  await until("ready", () => certificate.readiness().ready);
  const before = bundle();
  const written = (): number => events().filter((event) => event === "admission.ca-bundle-written").length;
  await until("nothing more to do", () => written() === 2);

  const object = configurationIn(api, validatingWebhookConfigurationKind);
  const [, lint] = object.webhooks;
  assert.ok(lint !== undefined);
  lint.clientConfig.caBundle = Buffer.from("-----BEGIN NONSENSE").toString("base64");
  api.put(validatingWebhookConfigurationKind, object);

  await until("the repair", () => bundle(validatingWebhookConfigurationKind, 1) === before);
  await until("the word", () => events().includes("admission.ca-bundle-repaired"));
});

const refused = { status: 403, body: {} };
for (const [what, spoil] of [
  [
    "is deleted and may not be created",
    (api: FakeApiServer) => {
      api.handle("POST", secretsPath, () => refused);
      api.delete(secretKind, name, namespace);
    },
  ],
  [
    "is of another type",
    (api: FakeApiServer) => api.put(secretKind, { ...secretIn(api), type: "kubernetes.io/tls" }),
  ],
  [
    "is spoilt and may not be written",
    (api: FakeApiServer) => {
      api.handle("PUT", `${secretsPath}/${name}`, () => refused);
      api.put(secretKind, { ...secretIn(api), data: undefined, metadata: { name, namespace } });
    },
  ],
] as const) {
  test(`while the Secret ${what}, caBundle is repaired all the same, and nobody else's authority leaves it`, async (t) => {
    const { api, bundle, events, replica, until } = await bed(t);
    const certificate = await replica();
    await until("ready", () => certificate.readiness().ready);
    const other = await createAuthority({
      commonName: "another replica's",
      keyType: "ec-p256",
      lifetimeMs: 24 * hour,
      clock: systemClock,
    });

    spoil(api);
    await until("the fault", () => events().includes("admission.authority-fault"));
    const object = configurationIn(api, validatingWebhookConfigurationKind);
    const [, lint] = object.webhooks;
    assert.ok(lint !== undefined);
    lint.clientConfig.caBundle = Buffer.from(`NONSENSE ${other.certificatePem}`).toString("base64");
    api.put(validatingWebhookConfigurationKind, object);

    const repaired = (): string => bundle(validatingWebhookConfigurationKind, 1);
    await until("the repair", () => isTrusted(repaired(), certificate));
    assert.deepEqual(certificatesIn(repaired()).length, 2);
    assert.ok(repaired().includes(other.certificatePem.trim()));
    assert.ok(certificate.readiness().ready);
    assert.equal(certificatesIn(bundle()).length, 1);
  });
}

test("with its authority gone from the configurations for a minute it is not ready, and is again when that is back", async (t) => {
  const { api, bundle, clock, replica, until } = await bed(t);
  const certificate = await replica();
  await until("ready", () => certificate.readiness().ready);
  for (const kind of configurationKinds)
    api.handle("PATCH", `/apis/${kind.group}/v1/${kind.plural}/gmsa-webhook`, () => refused);

  const before = configurationIn(api, mutatingWebhookConfigurationKind);
  const object = structuredClone(before);
  for (const { clientConfig } of object.webhooks) delete clientConfig.caBundle;
  api.put(mutatingWebhookConfigurationKind, object);
  await until("the refusal", () => JSON.stringify(certificate.readiness()).includes("403"));
  assert.ok(certificate.readiness().ready, "a moment is nothing");
  await clock.advance(70_000);

  const readiness = certificate.readiness();
  assert.ok(!readiness.ready && /do not hold its authority/.test(readiness.reason));
  assert.equal(bundle(), "");
  api.put(mutatingWebhookConfigurationKind, before);
  await until("ready again", () => certificate.readiness().ready);
});

test("a configuration whose change the API server refuses each time is a fault, with its words, and tried ever less often", async (t) => {
  const { api, clock, events, replica, until } = await bed(t);
  let writes = 0;
  const message = "webhooks[0].matchConditions: Invalid value: undeclared reference";
  api.handle(
    "PATCH",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/gmsa-webhook",
    () => {
      writes++;
      return { status: 422, body: { kind: "Status", message } };
    },
  );

  const certificate = await replica();
  await until("the fault", () => JSON.stringify(certificate.readiness()).includes(message));
  const before = writes;
  for (let step = 0; step < 600; step++) {
    await clock.advance(1_000);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }

  assert.ok(events().includes("admission.authority-fault"));
  assert.ok(writes > before && writes - before <= 20, `${writes - before} writes in ten minutes`);
});

test("a configuration that cert-manager writes is left to it, and told", async (t) => {
  const { api, bundle, replica, until } = await bed(t, false);
  putConfigurations(api, { annotations: { "cert-manager.io/inject-ca-from": "gmsa-webhook/x" } });

  const certificate = await replica();

  await until("the fault", () => JSON.stringify(certificate.readiness()).includes("inject-ca-from"));
  assert.equal(bundle(), "");
});

test("with the API server away, leaves are renewed all the same and the certificate stays good", async (t) => {
  const { api, bundle, clock, replica, until } = await bed(t);
  const certificate = await replica();
  await until("ready", () => certificate.readiness().ready);
  const first = certificate.current();

  api.fail({ fault: { kind: "status", status: 500 } });
  api.endWatches();
  await until("a renewal", () => certificate.current() !== first, hour);

  assert.ok(isTrusted(bundle(), certificate));
  assert.ok(certificate.current().notAfter > clock.now());
  const readiness = certificate.readiness();
  assert.ok(readiness.ready && /cannot be read/.test(readiness.note ?? ""));

  api.heal();
  await until("calm", () => JSON.stringify(certificate.readiness()) === '{"ready":true}', 1_000);
});

test("a certificate that cannot be renewed is not ready with an hour left", async (t) => {
  const { api, clock, replica, until } = await bed(t);
  const certificate = await replica({ authorityLifetimeMs: 24 * hour, leafLifetimeMs: 8 * hour });
  await until("ready", () => certificate.readiness().ready);

  api.fail({ fault: { kind: "status", status: 500 } });
  api.endWatches();
  await until("the last hour", () => clock.now() > certificate.current().notAfter - hour, hour);

  const readiness = certificate.readiness();
  assert.ok(!readiness.ready && /^ends in \d+ minutes/.test(readiness.reason));
});

test("a certificate that ended while the machine was suspended says so, and is renewed within a minute", async (t) => {
  const { bundle, clock, replica, until } = await bed(t);
  const certificate = await replica();
  await until("ready", () => certificate.readiness().ready);
  const before = certificate.current();

  clock.jump(154 * minute);
  const readiness = certificate.readiness();
  assert.ok(
    !readiness.ready && /^ended (9|10) minutes ago/.test(readiness.reason),
    JSON.stringify(readiness),
  );
  const woken = clock.now();
  await until("a renewal", () => certificate.current() !== before, 1_000);

  assert.ok(clock.now() - woken <= 70_000);
  await until("ready again", () => certificate.readiness().ready && isTrusted(bundle(), certificate));
});

test("a Secret of somebody else's is not touched", async (t) => {
  const { api, replica } = await bed(t);
  api.put(secretKind, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name, namespace },
    type: "kubernetes.io/tls",
    data: { "tls.key": "eA==" },
  });

  await assert.rejects(replica(), { code: "E_WEBHOOK_AUTHORITY", message: /of type kubernetes.io\/tls/ });
  assert.equal(api.stored(secretKind, name, namespace)?.["type"], "kubernetes.io/tls");
});

test("told to stop while the API server never answers, the start ends", async (t) => {
  const { api, replica } = await bed(t);
  api.fail({ fault: { kind: "hang" } });
  const stop = new AbortController();
  setTimeout(() => stop.abort(new Error("told to stop")), 100);

  await assert.rejects(replica({}, stop.signal), { message: "told to stop" });
});

test("without the API server the start gives up after its patience, and says why", async (t) => {
  const { api, replica } = await bed(t);
  api.fail({ fault: { kind: "status", status: 403 } });

  await assert.rejects(replica({ patienceMs: 5_000 }), {
    code: "E_WEBHOOK_AUTHORITY",
    message: /gmsa-webhook\/gmsa-webhook-ca cannot be used/,
  });
});

test("no private key is logged or shown", async (t) => {
  const { api, entries, replica, until, events } = await bed(t);
  const certificate = await replica();
  await until("ready", () => certificate.readiness().ready);

  const secret = parseAuthoritySecret(secretIn(api), systemClock);

  assert.match(entries()[0]?.privateKey ?? "", /PRIVATE KEY/);
  assert.doesNotMatch(JSON.stringify([secret, certificate.current(), events()]), /PRIVATE KEY/);
});

test("what is written is read back; whatever else is read never throws", async (t) => {
  const { api, replica, until } = await bed(t);
  const certificate = await replica();
  await until("ready", () => certificate.readiness().ready);
  const object = secretIn(api);
  const read = parseAuthoritySecret(object, systemClock);
  assert.ok(read.state === "held");
  assert.deepEqual(renderAuthoritySecret(read.authorities, read.metadata)["data"], object.data);

  fc.assert(
    fc.property(
      fc.oneof(fc.json(), fc.string()),
      fc.constantFrom(authoritySecretType, "Opaque"),
      (text, type) => {
        const data = { "authorities.json": Buffer.from(text).toString("base64") };
        const { state } = parseAuthoritySecret({ ...object, type, data }, systemClock);
        assert.ok(["held", "broken", "foreign"].includes(state));
      },
    ),
  );
});

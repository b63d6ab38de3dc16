/**
 * The admission webhook under `sallyport up`: every workload of the manifests that wants an identity is sent to it as an
 * API server would send its pod, once for a service account that nobody has heard of and once for its own.
 * @module
 */
import { request } from "node:https";
import { startAdmission, type RunningAdmission } from "../admission/admission.ts";
import { createCachedSpecs } from "../admission/cached-specs.ts";
import { createManifestAccess } from "../admission/manifest-access.ts";
import { applyPatch, podFrom, podTemplateOf } from "../admission/pod-template.ts";
import type { PatchOperation } from "../admission/review.ts";
import { lifeReadiness, type FollowedCertificate } from "../admission/serving-certificate.ts";
import type { Chain, ChainLink } from "../chain.ts";
import type { Clock } from "../clock.ts";
import { reasonOf } from "../errors.ts";
import { gmsaCredentialSpecKind, type ResourceKind } from "../kubernetes/kinds.ts";
import type { KubernetesObject, ResourceSource } from "../kubernetes/resource-source.ts";
import { createRegistry } from "../observe/metrics.ts";
import { createAuthority, type CertificateAuthority, type IssuedCertificate } from "../pki/authority.ts";
import { version } from "../version.ts";
import type { Role } from "./role.ts";

/** Kinds of workloads that are looked for. */
const workloadKinds: readonly ResourceKind[] = [
  { group: "", version: "v1", plural: "pods", kind: "Pod", namespaced: true },
  ...[
    ["deployments", "Deployment"],
    ["statefulsets", "StatefulSet"],
    ["daemonsets", "DaemonSet"],
  ].map(([plural = "", kind = ""]) => ({ group: "apps", version: "v1", plural, kind, namespaced: true })),
];

/** A service account that no manifest grants anything by its name. */
const stranger = "sallyport-stranger";

const lifetimeMs = 30 * 24 * 3_600_000;

export const admissionRole: Role = {
  name: "admission webhook",
  async start({ source, log, clock, signal }) {
    if ((await read(source, [gmsaCredentialSpecKind], signal)).length === 0) return undefined;
    const authority = await createAuthority({
      commonName: "sallyport up: admission",
      keyType: "ec-p256",
      lifetimeMs,
      clock,
    });
    // As an API server that was told to show who it is.
    const caller = await authority.issue({
      commonName: "kube-apiserver",
      usage: "client",
      keyType: "ec-p256",
      lifetimeMs,
    });
    const specs = createCachedSpecs(source, clock);
    const access = createManifestAccess(source);
    let running: RunningAdmission;
    try {
      await access.synced(signal);
      running = await startAdmission(
        {
          addresses: [{ host: "127.0.0.1", port: 0 }],
          operationsAddresses: [{ host: "127.0.0.1", port: 0 }],
          clientAuthoritiesPem: authority.certificatePem,
          clientNames: ["kube-apiserver"],
          enforceLint: false,
          randomHostname: false,
          authoriseExpansion: true,
          missingContents: "deny",
          drainMs: 1_000,
          lingerMs: 0,
          version,
        },
        {
          specs,
          access,
          certificate: await loopbackCertificate(authority, clock),
          registry: createRegistry(version),
          log: log.with({ role: "admission" }),
          clock,
        },
      );
    } catch (error) {
      await Promise.all([specs.close(), access.close()]);
      throw error;
    }
    const webhook = { port: running.port, ca: authority.certificatePem, caller };
    return {
      listens: [
        { what: "admission webhook, /mutate and /validate", where: running.addresses.join(", ") },
        { what: "  its /readyz and /metrics", where: running.operationsAddresses.join(", ") },
      ],
      async check() {
        const workloads = await read(source, workloadKinds, signal);
        const checked = await Promise.all(workloads.map((workload) => checkWorkload(workload, webhook)));
        return checked.filter((chain) => chain !== undefined);
      },
      async stop() {
        await running.stop();
        await Promise.all([specs.close(), access.close()]);
      },
    };
  },
};

interface Webhook {
  readonly port: number;
  readonly ca: string;
  readonly caller: IssuedCertificate;
}

/** @returns nothing for a workload without gMSA settings: an API server would not send its pods. */
async function checkWorkload(workload: KubernetesObject, webhook: Webhook): Promise<Chain | undefined> {
  const template = podTemplateOf(workload);
  if (template === undefined || !JSON.stringify(template).includes('"gmsaCredentialSpec')) return undefined;
  const { name, namespace = "default" } = workload.metadata;
  const links: ChainLink[] = [];
  const pod = podFrom(template);
  const account = String((pod["spec"] as { readonly serviceAccountName?: unknown }).serviceAccountName);
  try {
    const refused = await review(webhook, "mutate", namespace, podFrom(template, stranger));
    links.push({
      link: "without `use`",
      holds: true,
      detail: refused.allowed
        ? `every service account of ${namespace} may use it`
        : `refused: ${refused.message}`,
    });
    const mutated = await review(webhook, "mutate", namespace, pod);
    links.push({
      link: "with `use`",
      holds: mutated.allowed,
      detail: mutated.allowed ? `service account ${account} of ${namespace}` : mutated.message,
      remedy: `Let ${account} \`use\` the credential spec: \`sallyport credspec render\` writes the Role and RoleBinding.`,
    });
    for (const patch of mutated.patches) applyPatch(pod, patch);
    const bytes = mutated.patches.reduce((sum, { value }) => sum + Buffer.byteLength(value), 0);
    if (mutated.allowed) {
      const validated = await review(webhook, "validate", namespace, pod);
      links.push({
        link: "contents",
        holds: validated.allowed,
        detail: validated.allowed
          ? `${mutated.patches.length} put into the pod (${bytes} bytes), as the resource has them`
          : validated.message,
      });
    }
  } catch (error) {
    links.push({ link: "webhook", holds: false, detail: reasonOf(error) });
  }
  return { name: `A pod of ${workload.kind} ${namespace}/${name} gets its credential spec`, links };
}

interface Answer {
  readonly allowed: boolean;
  readonly message: string;
  readonly patches: readonly PatchOperation[];
}

/** One AdmissionReview of a pod that is created. */
async function review(
  { caller, ca, port }: Webhook,
  webhook: "mutate" | "validate",
  namespace: string,
  pod: unknown,
): Promise<Answer> {
  const body = JSON.stringify({
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: crypto.randomUUID(),
      kind: { group: "", version: "v1", kind: "Pod" },
      operation: "CREATE",
      namespace,
      object: pod,
      oldObject: null,
    },
  });
  const answer = await new Promise<string>((resolve, reject) => {
    const outgoing = request(
      {
        host: "127.0.0.1",
        servername: "localhost",
        port,
        method: "POST",
        path: `/${webhook}`,
        ca,
        cert: caller.certificatePem,
        key: caller.privateKeyPem.reveal(),
        agent: false,
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
        signal: AbortSignal.timeout(10_000),
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
        response.on("error", reject).on("end", () => {
          if (response.statusCode === 200) resolve(text);
          else reject(new Error(`/${webhook} answers ${response.statusCode}`));
        });
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
  const { response } = JSON.parse(answer) as {
    readonly response: {
      readonly allowed: boolean;
      readonly patch?: string;
      readonly status?: { readonly message: string };
    };
  };
  return {
    allowed: response.allowed,
    message: response.status?.message ?? "",
    patches:
      response.patch === undefined
        ? []
        : (JSON.parse(Buffer.from(response.patch, "base64").toString("utf8")) as readonly PatchOperation[]),
  };
}

/** Lives as long as its authority: a process on a laptop ends before. */
async function loopbackCertificate(
  authority: CertificateAuthority,
  clock: Clock,
): Promise<FollowedCertificate> {
  const issued = await authority.issue({
    commonName: "localhost",
    dnsNames: ["localhost"],
    ipAddresses: ["127.0.0.1"],
    usage: "server",
    keyType: "ec-p256",
    lifetimeMs,
  });
  const certificate = {
    identity: { chainPem: issued.certificatePem, privateKeyPem: issued.privateKeyPem },
    notAfter: issued.notAfter,
  };
  return {
    current: () => certificate,
    readiness: () => lifeReadiness(issued.notAfter - clock.now(), undefined),
    onChange: () => undefined,
    close: () => Promise.resolve(),
  };
}

async function read(
  source: ResourceSource,
  kinds: readonly ResourceKind[],
  signal: AbortSignal,
): Promise<readonly KubernetesObject[]> {
  const caches = kinds.map((kind) => source.watch({ kind }));
  try {
    await Promise.all(caches.map((cache) => cache.synced(signal)));
    return caches.flatMap((cache) => cache.list());
  } finally {
    await Promise.all(caches.map((cache) => cache.close()));
  }
}

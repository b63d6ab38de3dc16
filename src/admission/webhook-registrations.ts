/**
 * The webhook configurations in which API servers find the authority of the webhook's certificate: followed, and their
 * `caBundle` kept as it has to be (admissionregistration.k8s.io/v1).
 * @module
 */
import { reasonOf } from "../errors.ts";
import type { ClusterClient } from "../kubernetes/cluster-client.ts";
import {
  mutatingWebhookConfigurationKind,
  validatingWebhookConfigurationKind,
  type ResourceKind,
} from "../kubernetes/kinds.ts";
import type {
  KubernetesObject,
  ParsedResource,
  ResourceCache,
  ResourceSource,
} from "../kubernetes/resource-source.ts";
import { thumbprintsIn } from "./authority-secret.ts";
import { isObject } from "./review.ts";

export interface RegistrationNames {
  readonly mutating: readonly string[];
  readonly validating: readonly string[];
}

/** One configuration as it was last seen. */
export interface Registration {
  /** `MutatingWebhookConfiguration gmsa-webhook`. */
  readonly label: string;
  readonly path: string;
  readonly resourceVersion: string;
  /** In base64, by webhook; empty where there is none. */
  readonly bundles: readonly string[];
  /** Who else says that it writes the bundles. */
  readonly otherWriter: string | undefined;
}

export interface WebhookRegistrations {
  /** Those that exist, as last seen. */
  seen(): readonly Registration[];
  /** Those that could not be read yet, with the reason. */
  unread(): readonly string[];
  /** Whether API servers could verify a certificate of this authority, whichever webhook they call. */
  trust(thumbprint: string): boolean;
  /**
   * Writes the bundle into every webhook of a configuration, unless it was changed since it was seen: then the change is
   * seen soon. Rejects when the API server is away or refuses, with its words where it says why.
   */
  write(registration: Registration, bundle: string): Promise<"written" | "conflict">;
  /** Resolves when every configuration was looked for. */
  synced(signal?: AbortSignal): Promise<void>;
  onChange(listener: () => void): void;
  close(): Promise<void>;
}

/** cert-manager's injector writes `caBundle` of whatever carries one of these. */
const injectorAnnotations = [
  "cert-manager.io/inject-ca-from",
  "cert-manager.io/inject-ca-from-secret",
  "cert-manager.io/inject-apiserver-ca",
];

export function followRegistrations(
  names: RegistrationNames,
  ports: { readonly source: ResourceSource; readonly client: ClusterClient },
): WebhookRegistrations {
  const { client, source } = ports;
  const watch = (kind: ResourceKind, name: string): Followed => ({
    label: `${kind.kind} ${name}`,
    name,
    cache: source.watch({ kind, name, parse: (object) => parse(kind, object) }),
  });
  const all = [
    ...names.mutating.map((name) => watch(mutatingWebhookConfigurationKind, name)),
    ...names.validating.map((name) => watch(validatingWebhookConfigurationKind, name)),
  ];
  /** The version at which a write was last called unprocessable, by configuration. */
  const unprocessable = new Map<string, string>();
  const seen = (): readonly Registration[] =>
    all.flatMap(({ cache, name }) => {
      const registration = cache.get(name);
      return registration === undefined ? [] : [registration];
    });
  const unread = (): readonly string[] =>
    all.flatMap(({ cache, label }) => {
      const { reason = "not read yet", state } = cache.status();
      return state === "syncing" ? [`${label}: ${reason}`] : [];
    });
  return {
    seen,
    unread,
    trust: (thumbprint) =>
      unread().length === 0 &&
      seen().every(({ bundles }) =>
        bundles.every((bundle) =>
          thumbprintsIn(Buffer.from(bundle, "base64").toString("latin1")).has(thumbprint),
        ),
      ),
    async write({ bundles, label, path, resourceVersion }, bundle) {
      const answer = await client
        .request({
          method: "PATCH",
          path,
          contentType: "application/json-patch+json",
          body: [
            // Positions count only in the very version that they were read from.
            { op: "test", path: "/metadata/resourceVersion", value: resourceVersion },
            ...bundles.map((_, at) => ({
              op: "add",
              path: `/webhooks/${at}/clientConfig/caBundle`,
              value: bundle,
            })),
          ],
          timeoutMs: 10_000,
        })
        .catch((error: unknown) => {
          throw new Error(`${label} cannot be written: ${reasonOf(error)}`, { cause: error });
        });
      if (answer.status === 200) return "written";
      // Deleted or changed meanwhile.
      if (answer.status === 404 || answer.status === 409) return "conflict";
      // A test that failed, unless nothing has changed since: then the API server does not want the object as it is.
      if (answer.status === 422 && unprocessable.get(label) !== resourceVersion) {
        unprocessable.set(label, resourceVersion);
        return "conflict";
      }
      throw new Error(
        `${label} cannot be written: the API server answered ${answer.status}${saidIn(answer.body)}`,
      );
    },
    async synced(signal) {
      await Promise.all(all.map(({ cache }) => cache.synced(signal)));
    },
    onChange(listener) {
      for (const { cache } of all) cache.onChange(listener);
    },
    async close() {
      await Promise.all(all.map(({ cache }) => cache.close()));
    },
  };
}

/** What a Status says, as far as it fits into a line. */
function saidIn(body: Buffer): string {
  try {
    const status: unknown = JSON.parse(body.toString("utf8"));
    const message = isObject(status) ? status["message"] : undefined;
    return typeof message === "string" && message !== "" ? `: ${message.slice(0, 300)}` : "";
  } catch {
    return "";
  }
}

interface Followed {
  readonly label: string;
  readonly name: string;
  readonly cache: ResourceCache<Registration>;
}

function parse(kind: ResourceKind, object: KubernetesObject): ParsedResource<Registration> {
  const { annotations = {}, name, resourceVersion = "" } = object.metadata;
  const webhooks: readonly unknown[] = Array.isArray(object["webhooks"]) ? object["webhooks"] : [];
  return {
    ok: true,
    value: {
      label: `${kind.kind} ${name}`,
      path: `/apis/${kind.group}/${kind.version}/${kind.plural}/${encodeURIComponent(name)}`,
      resourceVersion,
      bundles: webhooks.map((webhook) => {
        const config = isObject(webhook) ? webhook["clientConfig"] : undefined;
        const bundle = isObject(config) ? config["caBundle"] : undefined;
        return typeof bundle === "string" ? bundle : "";
      }),
      otherWriter: injectorAnnotations.find((annotation) => annotations[annotation] !== undefined),
    },
  };
}

/**
 * The webhook's shipped manifests as a suite applies them. An API server outside a cluster reaches a webhook on this
 * machine by a registration with an address instead of a Service, and a client certificate that tells the webhook who calls.
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

import type { CertificateAuthority } from "../../../src/pki/authority.ts";
import { sampleSpec } from "../../../test/samples/credential-spec.ts";
import type { ControlPlane } from "../control-plane.ts";

const deploy = join(import.meta.dirname, "../../../deploy/gmsa-webhook");

const namespace = "gmsa-webhook";

/** The shipped definition, namespace and rights, and a credential spec `webapp01`; returns the webhook's kubeconfig. */
export async function installWebhookRights(cluster: ControlPlane): Promise<string> {
  await cluster.apply(readFileSync(join(deploy, "crd.yaml"), "utf8"));
  await cluster.waitFor(
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/gmsacredentialspecs.windows.k8s.io",
    (crd) =>
      crd?.status?.conditions?.some(
        (c: { type: string; status: string }) => c.type === "Established" && c.status === "True",
      ),
  );
  await cluster.admin.expect("POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: namespace },
  });
  await cluster.apply(readFileSync(join(deploy, "rbac.yaml"), "utf8"));
  await cluster.admin.expect("POST", "/apis/windows.k8s.io/v1/gmsacredentialspecs", {
    apiVersion: "windows.k8s.io/v1",
    kind: "GMSACredentialSpec",
    metadata: { name: "webapp01" },
    credspec: sampleSpec(),
  });
  return cluster.kubeconfig({ serviceAccount: namespace, namespace });
}

export interface ApiServerIdentity {
  /** For kube-apiserver. */
  readonly apiServerFlags: readonly string[];
  /** For the webhook. */
  readonly webhookFlags: readonly string[];
}

/** Makes the client certificate with which the API server calls webhooks; the files lie in `directory`. */
export async function issueApiServerIdentity(
  authority: CertificateAuthority,
  directory: string,
): Promise<ApiServerIdentity> {
  const client = await authority.issue({
    commonName: "kube-apiserver",
    usage: "client",
    keyType: "ec-p256",
    lifetimeMs: 3_600_000,
  });
  const write = (name: string, text: string): string => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const kubeconfig = {
    apiVersion: "v1",
    kind: "Config",
    users: [
      {
        name: "*",
        user: {
          "client-certificate-data": Buffer.from(client.chainPem).toString("base64"),
          "client-key-data": Buffer.from(client.privateKeyPem.reveal()).toString("base64"),
        },
      },
    ],
  };
  const kubeConfigFile = write("webhook-kubeconfig.yaml", JSON.stringify(kubeconfig));
  const plugin = (name: string): object => ({
    name,
    configuration: {
      apiVersion: "apiserver.config.k8s.io/v1",
      kind: "WebhookAdmissionConfiguration",
      kubeConfigFile,
    },
  });
  const configuration = {
    apiVersion: "apiserver.config.k8s.io/v1",
    kind: "AdmissionConfiguration",
    plugins: [plugin("MutatingAdmissionWebhook"), plugin("ValidatingAdmissionWebhook")],
  };
  const file = write("admission-configuration.yaml", JSON.stringify(configuration));
  return {
    apiServerFlags: [`--admission-control-config-file=${file}`],
    webhookFlags: [
      `--client-ca=${write("client-ca.crt", authority.certificatePem)}`,
      "--client-name=kube-apiserver",
    ],
  };
}

/** The shipped registration, sent to a port of this machine instead of a Service; a manifest. */
export function registrationFor(port: number, authority: CertificateAuthority): string {
  const documents = parseAllDocuments(readFileSync(join(deploy, "webhooks.yaml"), "utf8"));
  if (!Array.isArray(documents)) throw new Error("webhooks.yaml holds nothing");
  const items = documents.map((document) => {
    const configuration = document.toJS() as {
      webhooks: { clientConfig: { service?: { path: string }; url?: string; caBundle?: string } }[];
    };
    for (const { clientConfig } of configuration.webhooks) {
      clientConfig.url = `https://127.0.0.1:${port}${clientConfig.service?.path ?? ""}`;
      clientConfig.caBundle = Buffer.from(authority.certificatePem).toString("base64");
      delete clientConfig.service;
    }
    return configuration;
  });
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}

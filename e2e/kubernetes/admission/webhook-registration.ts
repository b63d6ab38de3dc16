/**
 * How an API server outside a cluster reaches a webhook on this machine: the shipped registration with an address instead
 * of a Service, and the client certificate that tells the webhook who calls.
 * @module
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

import type { CertificateAuthority } from "../../../src/pki/authority.ts";

const deploy = join(import.meta.dirname, "../../../deploy/gmsa-webhook");

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

/**
 * The kubeconfig that tells kube-apiserver where to review tokens and which authority to trust there.
 * @module
 */
import { isIPv6 } from "node:net";
import { stringify } from "yaml";

export interface WebhookAddress {
  readonly hostname: string;
  readonly port: number;
  /** PEM of the authority of the authenticator's certificate. */
  readonly authorityPem: string;
}

/** Source: Kubernetes documentation, "Webhook Token Authentication". */
export function renderWebhookKubeconfig(address: WebhookAddress): string {
  const host = isIPv6(address.hostname) ? `[${address.hostname}]` : address.hostname;
  return stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "ack-ram-authenticator",
          cluster: {
            "certificate-authority-data": Buffer.from(address.authorityPem, "utf8").toString("base64"),
            server: `https://${host}:${address.port}/authenticate`,
          },
        },
      ],
      users: [{ name: "apiserver", user: {} }],
      contexts: [{ name: "webhook", context: { cluster: "ack-ram-authenticator", user: "apiserver" } }],
      "current-context": "webhook",
    },
    { lineWidth: 0 },
  );
}

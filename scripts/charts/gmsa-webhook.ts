/**
 * Values of the chart `gmsa-webhook`.
 * @module
 */
import { z } from "zod";
import {
  anyList,
  anyObject,
  commonValues,
  duration,
  flag,
  formerValue,
  goDuration,
  group,
  logLevel,
  networkPolicyValues,
  objectName,
  optionalValue,
  otherImageValues,
  podValues,
  port,
  text,
  textMap,
  texts,
  value,
} from "./values.ts";

const inManagerMode = { certificates: { mode: "certManager" } };

/** A self-signed certificate "example authority", PEM in base64; its key was thrown away. */
const exampleBundle =
  "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJqekNDQVRXZ0F3SUJBZ0lVZTFLUlBuQ25zWCtsR2FxRWRWSE" +
  "orTGczajJvd0NnWUlLb1pJemowRUF3SXcKSERFYU1CZ0dBMVVFQXd3UlpYaGhiWEJzWlNCaGRYUm9iM0pwZEhrd0lC" +
  "Y05Nall4TVRJeE1EY3hPVE15V2hnUApNakV5TmpFd01qZ3dOekU1TXpKYU1Cd3hHakFZQmdOVkJBTU1FV1Y0WVcxd2" +
  "JHVWdZWFYwYUc5eWFYUjVNRmt3CkV3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFY0hkSTFtR2Z6YWVIMEZ4" +
  "bmxjM1FJdGpVOGpsUEJPeGEKRFVWWjV3Ly9FQUpXRndPbVhPak1qTnFtWExkMElwMkRkTjhwQlVoNjRtWWpQbmc1dH" +
  "NJUkRxTlRNRkV3SFFZRApWUjBPQkJZRUZLLzFUa3lrN3lIVTZzN0M4eEt4ZkRrTDc0Mk9NQjhHQTFVZEl3UVlNQmFB" +
  "RksvMVRreWs3eUhVCjZzN0M4eEt4ZkRrTDc0Mk9NQThHQTFVZEV3RUIvd1FGTUFNQkFmOHdDZ1lJS29aSXpqMEVBd0" +
  "lEU0FBd1JRSWcKRENScjM0aCtXakxGdGI3VDVGdmNaVm44enVOcG03eTVNa09vM2E1WXZZQUNJUUM5d2IwRGQ1RHht" +
  "UUJDWjFXcAp2VU9OdTljMFpjRTZHaUNvdEpqZGlYNEordz09Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

const failurePolicy = z.enum(["Fail", "Ignore"]);

function webhook(
  what: string,
  timeoutSeconds: number,
  failure: "Fail" | "Ignore",
): Record<string, z.ZodType> {
  return {
    failurePolicy: value(failurePolicy, failure, {
      about: `What happens when ${what} cannot be asked.`,
      example: failure === "Fail" ? "Ignore" : "Fail",
    }),
    timeoutSeconds: value(z.int().min(1).max(30), timeoutSeconds, {
      about: "How long the API server waits.",
      example: 3,
    }),
  };
}

const domainJoinConfig = {
  dnsName: "contoso.example",
  dnsTreeName: "contoso.example",
  guid: "244818ae-87ac-4fcd-92ec-e79e5252348a",
  machineAccountName: "webapp01",
  netBiosName: "CONTOSO",
  sid: "S-1-5-21-2126449477-2524075714-3094792973",
};

export const gmsaWebhookValues = z.strictObject({
  ...commonValues("sallyport/sallyport"),
  certificates: group("The serving certificate.", {
    mode: value(z.enum(["", "selfManaged", "certManager", "secret"]), "", {
      about:
        "`selfManaged`: made, rotated and registered by the webhook. `certManager`: by cert-manager. `secret`: a Secret of yours. Empty: what `certManager.enabled` says, else `selfManaged`.",
      example: "certManager",
    }),
    secretName: value(objectName, "gmsa-server-cert", {
      about: "Secret with `tls.crt` and `tls.key` (modes `certManager` and `secret`).",
      example: "webhook-tls",
      with: inManagerMode,
    }),
    authoritySecretName: value(objectName, "", {
      about:
        "Secret in which the replicas share their authority (mode `selfManaged`). Empty: `<release>-ca`.",
      example: "webhook-authority",
    }),
    caBundle: value(text, "", {
      about:
        "The authority's certificates (mode `secret`), PEM or its base64; empty: the Secret's `ca.crt`, which only an installation into a cluster can read.",
      example: exampleBundle,
      with: { certificates: { mode: "secret" } },
    }),
    certManager: group("For the mode `certManager`.", {
      enabled: optionalValue(flag, {
        about: "As the chart before it had it: true is the mode `certManager`, false the mode `secret`.",
        example: false,
        with: { certificates: { caBundle: exampleBundle } },
      }),
      version: formerValue("The API is always cert-manager.io/v1."),
      issuerRef: value(
        anyObject,
        {},
        {
          about: "An issuer of yours; empty: one that this chart makes.",
          example: { kind: "ClusterIssuer", name: "corporate" },
          with: inManagerMode,
        },
      ),
      duration: value(goDuration, "2160h", {
        about: "Life of the certificate.",
        example: "720h",
        with: inManagerMode,
      }),
      renewBefore: value(goDuration, "360h", {
        about: "When it is renewed before its end.",
        example: "240h",
        with: inManagerMode,
      }),
    }),
    certReload: formerValue("Certificates are always followed."),
  }),
  apiServerClient: group("The certificate that the API server shows to webhooks, where it can be told to.", {
    caConfigMapName: value(objectName, "", {
      about:
        "ConfigMap with the authority as `ca.crt`; empty: any caller, and `networkPolicy.callers` decides.",
      example: "apiserver-client-ca",
    }),
    names: value(texts, [], {
      about:
        "Common names that are accepted; empty: every certificate of that authority, so name the API servers when it signs for others, too.",
      example: ["kube-apiserver"],
      with: { apiServerClient: { caConfigMapName: "apiserver-client-ca" } },
    }),
  }),
  crds: group("The CustomResourceDefinition of GMSACredentialSpec; an uninstallation never removes it.", {
    upgrade: value(flag, true, {
      about: "Bring it up to date before an installation and an upgrade.",
      example: false,
    }),
    image: group("The image of the Job that does it.", otherImageValues()),
  }),
  credential: group("One GMSACredentialSpec, as the chart before it had it.", {
    enabled: value(flag, false, {
      about: "Make it.",
      example: true,
      with: { credential: { domainJoinConfig } },
    }),
    domainJoinConfig: group(
      "The domain and the account.",
      Object.fromEntries(
        (
          [
            ["dnsName", "DNS name of the domain.", "eu.contoso.example"],
            ["dnsTreeName", "DNS name of the forest.", "forest.example"],
            ["guid", "GUID of the domain.", "0a1b2c3d-87ac-4fcd-92ec-e79e5252348a"],
            ["machineAccountName", "Name of the gMSA.", "webapp02"],
            ["netBiosName", "NetBIOS name of the domain.", "EU"],
            ["sid", "SID of the domain.", "S-1-5-21-1-2-3"],
          ] as const
        ).map(([name, about, example]) => [
          name,
          value(text, "", { about, example, with: { credential: { enabled: true, domainJoinConfig } } }),
        ]),
      ),
    ),
    hostAccountConfig: value(
      anyObject,
      {},
      {
        about: "`pluginGUID`, `portableCcgVersion` and `pluginInput` for hosts outside the domain.",
        example: {
          pluginGUID: "e4781092-f116-4b79-b55e-28eb6a224e26",
          portableCcgVersion: "1",
          pluginInput: "contoso-web:webapp-creds",
        },
        with: { credential: { enabled: true, domainJoinConfig } },
      },
    ),
  }),
  mutating: group("The webhook that fills in the contents.", {
    ...webhook("it", 10, "Fail"),
    reinvocationPolicy: value(z.enum(["IfNeeded", "Never"]), "IfNeeded", {
      about: "Whether containers of later webhooks are filled in as well.",
      example: "Never",
    }),
    enabled: value(flag, true, { about: "Register it.", example: false }),
  }),
  validating: group("The webhook that authorises.", webhook("it", 10, "Fail")),
  lint: group("The webhook that checks credential specs themselves.", {
    enabled: value(flag, true, { about: "Register it.", example: false }),
    enforce: value(flag, false, { about: "Refuse what it finds, instead of a warning.", example: true }),
    ...webhook("it", 5, "Ignore"),
  }),
  namespaceSelector: value(
    anyObject,
    {},
    {
      about:
        "Namespaces whose pods are sent; empty: all but the release's own and those with the label `windows.k8s.io/disabled=true`.",
      example: { matchLabels: { gmsa: "enabled" } },
    },
  ),
  objectSelector: value(
    anyObject,
    {},
    {
      about: "Pods that are sent.",
      example: { matchLabels: { gmsa: "enabled" } },
    },
  ),
  matchConditions: group("Only pods with gMSA settings are sent.", {
    enabled: value(flag, true, {
      about: "Kubernetes before 1.28 needs false: every pod is sent then.",
      example: false,
    }),
    extra: value(anyList, [], {
      about: "More conditions.",
      example: [{ name: "not-system", expression: "request.namespace != 'kube-system'" }],
    }),
  }),
  validatingAdmissionPolicy: group("The same decision inside the API server (Kubernetes 1.30).", {
    enabled: value(flag, false, {
      about: "Make it. `mutating.failurePolicy` may then be `Ignore`.",
      example: true,
    }),
  }),
  authoriseExpansion: value(flag, true, {
    about: "Ask for the right to use a spec before its contents go into a pod, too.",
    example: false,
  }),
  missingContents: value(z.enum(["deny", "warn"]), "deny", {
    about: "What becomes of a pod that names a spec and lacks its contents.",
    example: "warn",
  }),
  randomHostname: value(flag, false, {
    about: "A host name of its own for each pod with an identity.",
    example: true,
  }),
  accessCacheTtl: value(duration, "0s", {
    about: "How long an access decision is used again, at most 10s.",
    example: "5s",
  }),
  containerPort: value(z.union([port, z.string().regex(/^[0-9]{1,5}$/)]), 8443, {
    about:
      "Port of the container; the Service has 443. Below 1024 the pod is given a sysctl that lets everybody listen there, which `hostNetwork` does not allow.",
    example: "443",
  }),
  operationsPort: value(port, 9443, { about: "Port of health and metrics.", example: 9402 }),
  hostNetwork: value(flag, false, {
    about: "On the host's network, for API servers that do not reach pods.",
    example: true,
  }),
  drain: value(duration, "15s", { about: "How long reviews may take to end at a stop.", example: "5s" }),
  linger: value(duration, "5s", {
    about: "How long new reviews are still taken at a stop.",
    example: "3s",
  }),
  logLevel: value(logLevel, "info", { about: "How much to log.", example: "debug" }),
  qps: formerValue("There is no throttle."),
  burst: formerValue("There is no throttle."),
  setPodOs: value(flag, true, { about: "Say `os.name: linux` in the pods.", example: false }),
  replicaCount: value(z.int().min(0), 2, { about: "Number of replicas.", example: 3 }),
  updateStrategy: value(
    anyObject,
    { type: "RollingUpdate" },
    {
      about:
        "How a new version replaces the old one. `rollingUpdate` is `maxUnavailable: 0` and `maxSurge: 1`; with `hostNetwork`, where two cannot listen on one node, `1` and `0`.",
      example: { type: "Recreate" },
    },
  ),
  topologySpreadConstraints: optionalValue(anyList, {
    about: "How replicas are spread; without it over nodes, where possible.",
    example: [],
  }),
  podDisruptionBudget: group("What a drain of nodes has to leave.", {
    enabled: value(flag, true, { about: "Make one.", example: false }),
    minAvailable: optionalValue(z.union([z.int(), z.string()]), {
      about: "Replicas that stay.",
      example: 1,
    }),
    maxUnavailable: optionalValue(z.union([z.int(), z.string()]), {
      about: "Replicas that may be missing; not together with `minAvailable`; without either: 1.",
      example: "50%",
    }),
    unhealthyPodEvictionPolicy: value(z.enum(["", "AlwaysAllow", "IfHealthyBudget"]), "AlwaysAllow", {
      about:
        "A pod that is not ready takes no reviews, so nobody waits for it. Kubernetes before 1.27 needs it empty.",
      example: "IfHealthyBudget",
    }),
  }),
  podSecurityContext: value(
    anyObject,
    {
      runAsNonRoot: true,
      runAsUser: 65_532,
      runAsGroup: 65_532,
      fsGroup: 65_532,
      seccompProfile: { type: "RuntimeDefault" },
    },
    { about: "Security context of the pods.", example: { runAsNonRoot: true, runAsUser: 1001 } },
  ),
  securityContext: value(
    anyObject,
    { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ["ALL"] } },
    {
      about: "Security context of the container.",
      example: { runAsNonRoot: true },
    },
  ),
  serviceAccount: group("The service account.", {
    annotations: value(
      textMap,
      {},
      {
        about: "Its annotations.",
        example: { "example.com/team": "identity" },
      },
    ),
  }),
  viewerRole: value(flag, false, {
    about: "Let everybody with the role `view` read credential specs.",
    example: true,
  }),
  ...podValues({
    resources: { requests: { cpu: "50m", memory: "128Mi" }, limits: { memory: "512Mi" } },
    priorityClass: "system-cluster-critical",
  }),
  networkPolicy: networkPolicyValues({
    callers: value(texts, [], {
      about:
        "Networks (CIDR) of the control plane, from which reviews are let in; empty: from anywhere, so that every pod can ask for the contents of specs unless `apiServerClient` is set.",
      example: ["192.0.2.0/24"],
    }),
  }),
});

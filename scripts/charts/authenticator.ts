/**
 * Values of the chart `authenticator`.
 * @module
 */
import { z } from "zod";
import { authenticatorConfigurationKeys, type ValueForm } from "../../src/authenticator/settings.ts";
import { mappingSections } from "../../src/authenticator/mapping/mapping-set.ts";
import {
  anyList,
  anyObject,
  commonValues,
  flag,
  group,
  optionalValue,
  otherImageValues,
  podValues,
  text,
  textMap,
  value,
} from "./values.ts";

/** Forms of the configuration file, as the authenticator reads them. */
const forms: Readonly<Record<ValueForm, z.ZodType>> = {
  text: z.string(),
  flag: z.boolean(),
  count: z.number().positive(),
  texts: z.union([z.string(), z.array(z.union([z.string(), z.int()]))]),
  duration: z.string().regex(/^[0-9]{1,9}(ms|s|m|h)$/),
};

const ofForm = (keys: Readonly<Record<string, ValueForm>>): Record<string, z.ZodType> =>
  Object.fromEntries(Object.entries(keys).map(([name, form]) => [name, forms[form].optional()]));

const keys = authenticatorConfigurationKeys();

const hostPort = z.int().min(1).max(65_535);
const directory = z.string().regex(/^\/\S+$/);

/** Ports and folder of the pods are made from these, so their form is narrower than the program's. */
const alsoOfThePods: Readonly<Record<string, z.ZodType>> = {
  port: hostPort.optional(),
  operationsAddress: z
    .string()
    .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):[1-9][0-9]{0,4}$/)
    .optional(),
  stateDir: directory.optional(),
};

/** The configuration file; `docs/reference/authenticator.md` describes the keys. */
const configuration = z.strictObject({
  ...ofForm(keys.top),
  server: z
    .strictObject({
      ...ofForm(keys.server),
      ...alsoOfThePods,
      ...Object.fromEntries(mappingSections.map((name) => [name, z.array(z.unknown()).optional()])),
    })
    .optional(),
});

export const authenticatorValues = z.strictObject({
  ...commonValues("sallyport/sallyport"),
  clusterId: value(z.string().regex(/^[A-Za-z0-9._-]*$/), "", {
    about: "Required: the id that tokens are signed for, the same as in the users' kubeconfigs.",
    example: "c0123456789abcdef0123456789abcdef",
  }),
  config: value(
    configuration,
    { server: { backendMode: ["MountedFile", "CRD"] } },
    {
      about:
        "More of the configuration file, see [authenticator.md](authenticator.md#configuration-file). `clusterID` comes from `clusterId`; `server.port`, `operationsAddress` and `stateDir` hold for the pods as well.",
      example: {
        server: {
          region: "cn-hangzhou",
          backendMode: ["MountedFile", "CRD", "ACKConfigMap"],
          stsTimeout: "5s",
          mapUsers: [
            {
              userARN: "acs:ram::1234567890123456:user/admin",
              username: "admin",
              groups: ["system:masters"],
            },
          ],
        },
      },
    },
  ),
  stateDirectory: optionalValue(directory, {
    about:
      "Folder of the host for certificate and keys; without it `config.server.stateDir`, else `/var/ack-ram-authenticator`.",
    example: "/var/lib/authenticator",
  }),
  kubeconfigDirectory: value(text, "/etc/kubernetes/ack-ram-authenticator", {
    about: "Folder of the host for the API server's kubeconfig.",
    example: "/etc/kubernetes/authenticator",
  }),
  port: optionalValue(hostPort, {
    about:
      "Port of the webhook on the host; another release on the same nodes needs another. Without it `config.server.port`, else 21362.",
    example: 21_364,
  }),
  operationsPort: optionalValue(hostPort, {
    about:
      "Port of health and metrics on the host; without it that of `config.server.operationsAddress`, else 21363.",
    example: 21_365,
  }),
  user: value(z.int().min(1), 65_534, { about: "User id that it runs as.", example: 65_532 }),
  events: value(flag, true, {
    about: "Write events about mappings, into the namespace `default`.",
    example: false,
  }),
  updateStatus: value(flag, true, { about: "Write the status of mappings.", example: false }),
  crds: group("The CustomResourceDefinition of RAMIdentityMapping; an uninstallation never removes it.", {
    upgrade: value(flag, true, {
      about: "Bring it up to date before an installation and an upgrade.",
      example: false,
    }),
    image: group("The image of the Job that does it.", otherImageValues()),
  }),
  controlPlaneNodes: value(
    textMap,
    {},
    {
      about: "Labels of the nodes it runs on; empty: `node-role.kubernetes.io/control-plane`.",
      example: { "node-role.kubernetes.io/master": "" },
    },
  ),
  updateStrategy: value(
    anyObject,
    { type: "RollingUpdate", rollingUpdate: { maxUnavailable: 1 } },
    { about: "How a new version replaces the old one.", example: { type: "OnDelete" } },
  ),
  extraVolumes: value(anyList, [], {
    about: "More volumes of the pods, such as keys for `--login-config` in `extraArgs`.",
    example: [{ name: "login", secret: { secretName: "login", optional: true } }],
  }),
  extraVolumeMounts: value(anyList, [], {
    about: "More volume mounts of the container.",
    example: [{ name: "login", mountPath: "/etc/login", readOnly: true }],
    with: { extraVolumes: [{ name: "login", secret: { secretName: "login", optional: true } }] },
  }),
  ...podValues({
    resources: { requests: { cpu: "10m", memory: "128Mi" }, limits: { memory: "512Mi" } },
    priorityClass: "system-cluster-critical",
  }),
});
